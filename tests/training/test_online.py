"""Online training through outages, failures, signals and kills: what is stated, and the same weights bit for bit."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from arms import online
from tiny_policy import tiny_policy

from rlaif.errors import RewardError, TrainingError
from rlaif.records import Failure, FailureKind, Turn
from rlaif.rewards import Candidate, FromTRL, RewardFn, RunningNormalised
from rlaif.training import checkpoint
from rlaif.training.kl_control import KL
from rlaif.training.models import load_policy
from rlaif.training.ppo import Clipping, train_ppo
from rlaif.training.reinforce import train_reinforce
from rlaif.training.rollout import Query, TransformersRollout

STEPS = 6
ADAPTIVE = KL(kl_coef=0.1, control="adaptive", target=0.05, horizon=100)
CLIPPING = Clipping(epochs=2, minibatch=4)
QUERIES = [(0, 3, 700, 4), (0, 3, *range(600, 610), 4), (0, 4), (0, 3, 55, 56, 57, 4), (0, 9, 4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"), hidden=16, layers=1)


class OfTokens:
    """A reward by the response's tokens, that counts what it was asked; some judgements fail by a script."""

    name = "tokens"

    def __init__(self, fails: Any = lambda one, time: None, value: Any = None) -> None:
        self.asked: list[str] = []
        self.fails = fails
        self.value = value or (lambda one: sum(one.token_ids) % 13 / 6 - 1)

    async def __call__(self, batch: Sequence[Candidate]) -> Any:
        for place, one in enumerate(batch):
            kind = self.fails(one, self.asked.count(one.id))
            self.asked.append(one.id)
            yield place, Failure(id=one.id, failure=kind, detail="by script") if kind else self.value(one)

    def usage(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        assert not state


def step_of(candidate: Candidate) -> int:
    return int(candidate.id.split("-")[1])


@contextmanager
def training(folder: Path, out: Path, reward: RewardFn, every: int = 100, **changes: Any) -> Any:
    drawing = {"batch": 8, "max_tokens": 6, "missing_eos_penalty": 0.5} | changes.pop("drawing", {})
    changes = {"stepping": {"learning_rate": 1e-2, "micro_batch": 4}, "saving": {"every_steps": every}} | changes
    torch.manual_seed(0)
    policy = load_policy(folder, torch.float32)
    with online(policy, folder, out, reward, steps=STEPS, drawing=drawing, **changes) as run:
        run.queries = [Query(f"q{n}", (Turn(role="user", content="?"),), ids, {}) for n, ids in enumerate(QUERIES)]
        run.go_on()
        yield run


def trained(folder: Path, out: Path, reward: RewardFn, kl: KL = ADAPTIVE, **changes: Any) -> dict[str, torch.Tensor]:
    with training(folder, out, reward, **changes) as run:
        train_ppo(run, CLIPPING, kl)
        return {name: one.detach().clone() for name, one in run.model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def clean(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of the uninterrupted run, with a reward that is normalised over all batches."""
    return trained(folder, tmp_path_factory.mktemp("clean"), RunningNormalised(OfTokens()))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class BrokenOffError(Exception):
    """What ends a run in these tests."""


def break_at(step: int) -> Any:
    def watch(now: int, _: Any) -> None:
        if now == step:
            raise BrokenOffError

    return watch


# Resume


@pytest.mark.parametrize(("every", "at"), [(2, 3), (2, 4), (100, 2)])
def test_a_run_that_broke_off_goes_on_to_the_same_weights_and_judges_no_step_twice(
    folder: Path, tmp_path: Path, clean: Any, every: int, at: int
) -> None:
    inner = OfTokens()
    with pytest.raises(BrokenOffError):
        trained(folder, tmp_path, RunningNormalised(inner), every=every, watch=break_at(at))
    again = OfTokens()
    assert same(trained(folder, tmp_path, RunningNormalised(again), every=every), clean)
    assert inner.asked == [f"step-{step}-{place}" for step in range(1, at + 1) for place in range(8)]
    assert again.asked == [f"step-{step}-{place}" for step in range(at + 1, STEPS + 1) for place in range(8)]
    assert [row["step"] for row in rows(tmp_path / "metrics.jsonl")] == list(range(1, STEPS + 1))
    # The saved coefficient was gone on from; the settings' own would show in the weights too.
    assert len({row["kl_coef"] for row in rows(tmp_path / "metrics.jsonl")}) == STEPS


class Logging(OfTokens):
    """Says of each batch how far its rewards are from one another."""

    metrics: dict[str, list[float]]

    async def __call__(self, batch: Sequence[Candidate]) -> Any:
        found = [pair async for pair in super().__call__(batch)]
        values = [value for _, value in found if not isinstance(value, Failure)]
        self.metrics = {"spread": [max(values) - min(values)] if values else []}
        for pair in found:
            yield pair


def test_a_run_that_went_on_has_measured_what_the_uninterrupted_one_has(folder: Path, tmp_path: Path) -> None:
    def fails(one: Candidate, time: int) -> FailureKind | None:
        if step_of(one) == 3 and time < 2:
            return "unavailable"
        return "refused" if one.id.endswith("-5") else None

    trained(folder, tmp_path / "whole", Logging(fails), every=2)
    for step in (3, 4):
        with pytest.raises(BrokenOffError):
            trained(folder, tmp_path / "broken", Logging(fails), every=2, watch=break_at(step))
    trained(folder, tmp_path / "broken", Logging(fails), every=2)
    found, wanted = (rows(tmp_path / name / "metrics.jsonl") for name in ("broken", "whole"))
    # How long it had to wait is not forgotten either.
    assert [row.pop("waited_s") > 0.2 for row in found] == [row.pop("waited_s") > 0.2 for row in wanted]
    assert [numbers(row) for row in found] == [numbers(row) for row in wanted]
    assert all(row["labeler_spread"] > 0 for row in wanted)


def numbers(row: dict[str, Any]) -> dict[str, Any]:
    """A step's metrics without seconds."""
    return {name: one for name, one in row.items() if not name.startswith("seconds_")}


def test_what_was_asked_to_end_saves_first_and_goes_on_to_the_same_weights(
    folder: Path, tmp_path: Path, clean: Any
) -> None:
    def watch(now: int, _: Any) -> None:
        if now == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with training(folder, tmp_path, RunningNormalised(OfTokens()), watch=watch) as run:
        with run.keeper.listening(), pytest.raises(SystemExit) as ended:
            train_ppo(run, CLIPPING, ADAPTIVE)
        assert ended.value.code == 143
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    assert same(trained(folder, tmp_path, RunningNormalised(OfTokens())), clean)


@pytest.mark.parametrize("changes", [{"lora": {"rank": 4}}, {"stepping": {"learning_rate": 1e-2, "tf1_eps": True}}])
def test_adapters_and_the_count_of_updates_are_gone_on_from(folder: Path, tmp_path: Path, changes: Any) -> None:
    whole = trained(folder, tmp_path / "whole", OfTokens(), **changes)
    with pytest.raises(BrokenOffError):
        trained(folder, tmp_path / "broken", OfTokens(), every=3, watch=break_at(4), **changes)
    assert same(trained(folder, tmp_path / "broken", OfTokens(), every=3, **changes), whole)


def test_reinforce_goes_on_to_the_same_weights(folder: Path, tmp_path: Path) -> None:
    found = []
    for name, breaks in (("whole", ()), ("broken", (3, 5))):
        for at in (*breaks, None):
            with training(folder, tmp_path / name, OfTokens(), every=2) as run:
                run.watch = break_at(at) if at else run.watch
                try:
                    train_reinforce(run, KL(kl_coef=0.1))
                except BrokenOffError:
                    continue
                found.append({key: one.detach().clone() for key, one in run.model.named_parameters()})
    assert same(*found)


def test_a_line_that_a_kill_cut_costs_no_other_line(folder: Path, tmp_path: Path, clean: Any) -> None:
    with pytest.raises(BrokenOffError):
        trained(folder, tmp_path, RunningNormalised(OfTokens()), watch=break_at(2))
    path = tmp_path / "judgements-0.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    second = OfTokens()
    with pytest.raises(BrokenOffError):
        trained(folder, tmp_path, RunningNormalised(second), watch=break_at(3))
    third = OfTokens()
    assert same(trained(folder, tmp_path, RunningNormalised(third)), clean)
    assert {one.split("-")[1] for one in second.asked} == {"2", "3"}
    assert {one.split("-")[1] for one in third.asked} == {"4", "5", "6"}


def test_judgements_of_another_number_of_processes_are_not_mixed_in(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BrokenOffError):
        trained(folder, tmp_path, OfTokens(), watch=break_at(1))
    path = tmp_path / "judgements-0.jsonl"
    row = rows(path)[0]
    path.write_text(json.dumps(row | {"places": row["places"][::2]}) + "\n")
    with pytest.raises(TrainingError, match="step 1 was judged by another number of processes"):
        trained(folder, tmp_path, OfTokens())


def test_what_another_number_of_processes_drew_ahead_is_not_gone_on_from(folder: Path, tmp_path: Path) -> None:
    drawing = {"one_step_off": True}
    with pytest.raises(BrokenOffError):
        trained(folder, tmp_path, OfTokens(), every=2, watch=break_at(3), drawing=drawing)
    state = checkpoint.last(tmp_path)
    assert state is not None
    torch.save(state | {"ahead": state["ahead"] * 2}, tmp_path / "checkpoint-2" / "state.pt")
    with pytest.raises(
        TrainingError, match=r"2 process\(es\) drew responses ahead .*, and now there are 1; go on with"
    ):
        trained(folder, tmp_path, OfTokens(), every=2, drawing=drawing)


def test_only_the_last_checkpoints_are_kept(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path, OfTokens(), saving={"every_steps": 1, "keep": 2})
    assert {path.name for path in tmp_path.glob("*checkpoint*")} == {"checkpoint-5", "checkpoint-6"}


def test_a_checkpoint_that_a_kill_left_half_is_not_taken_up(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path, OfTokens(), every=3)
    (tmp_path / ".checkpoint-9.draft").mkdir()
    state = checkpoint.last(tmp_path)
    assert state is not None
    assert state["step"] == STEPS


def test_what_was_seen_before_a_first_step_that_was_not_saved_is_seen_once(folder: Path, tmp_path: Path) -> None:
    for at in (1, 2):
        with training(folder, tmp_path, OfTokens()) as run:
            assert run.step == 0
            checkpoint.append(tmp_path / "watch.jsonl", {"step": 0})
            run.watch = break_at(at)
            with pytest.raises(BrokenOffError):
                train_ppo(run, CLIPPING, ADAPTIVE)
    assert rows(tmp_path / "watch.jsonl") == [{"step": 0}]


# Judging beside other work


class Early(OfTokens):
    """A reward that says which candidates it began with before their batch came."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.heard = threading.Event()

    def begin(self, one: Candidate) -> None:
        self.begun.append(one.id)
        self.heard.set()


def test_judging_begins_while_other_responses_are_still_written(folder: Path, tmp_path: Path) -> None:
    reward = Early()

    class Waiting(TransformersRollout):
        """Writes on only when the first response has come to the labeler."""

        def generate(self, queries: Any, seeds: Any, finished: Any = None) -> Any:
            def told(place: int, one: Any) -> None:
                finished(place, one)
                assert reward.heard.wait(10)

            found = super().generate(queries, seeds, told)
            reward.heard.clear()
            return found

    with training(folder, tmp_path, reward, overlap=True) as run:
        run.rollout = Waiting(run.model.policy, run.tokenizer, 6, 1.0)
        train_ppo(run, CLIPPING, ADAPTIVE)
    assert sorted(reward.begun) == sorted(reward.asked)


def test_nothing_begins_early_on_the_labelers_own_cores_or_with_what_was_judged_before(
    folder: Path, tmp_path: Path
) -> None:
    local = Early()
    trained(folder, tmp_path / "local", local)
    assert local.begun == []
    first, second = Early(), Early()
    with pytest.raises(BrokenOffError):
        trained(folder, tmp_path / "out", first, overlap=True, watch=break_at(4))
    trained(folder, tmp_path / "out", second, overlap=True)
    assert {step for one in second.begun if (step := one.split("-")[1])} == {"5", "6"}


OFF = {"drawing": {"one_step_off": True}}


@pytest.mark.parametrize("overlap", [False, True])
def test_one_step_off_a_step_is_drawn_from_the_policy_before_the_last_update(
    folder: Path, tmp_path: Path, overlap: bool
) -> None:
    with training(folder, tmp_path, OfTokens(), overlap=overlap, **OFF) as run:
        weights, drawn_with = run.model.policy.get_output_embeddings().weight, []
        generate = run.rollout.generate

        def watched(*given: Any) -> Any:
            drawn_with.append(weights.detach().clone())
            return generate(*given)

        run.rollout.generate = watched
        before = [weights.detach().clone()]
        run.watch = lambda *_: before.append(weights.detach().clone())
        train_ppo(run, CLIPPING, ADAPTIVE)
    # The first two steps come from the start, step n from the policy after n − 2 updates.
    wanted = [before[0], *before[: STEPS - 1]]
    assert len(drawn_with) == STEPS
    assert all(torch.equal(one, other) for one, other in zip(drawn_with, wanted, strict=True))
    found = rows(tmp_path / "metrics.jsonl")
    assert found[0]["first_ratio_error"] < 1e-4
    assert all(row["first_ratio_error"] > 1e-3 for row in found[1:])


def test_one_step_off_the_next_step_is_drawn_while_this_one_is_judged(folder: Path, tmp_path: Path) -> None:
    drawn = [threading.Event() for _ in range(STEPS + 1)]

    class Slow(OfTokens):
        async def __call__(self, batch: Sequence[Candidate]) -> Any:
            step = step_of(batch[0])
            assert await asyncio.to_thread(drawn[min(step, STEPS - 1)].wait, 10)
            async for one in super().__call__(batch):
                yield one

    with training(folder, tmp_path, Slow(), overlap=True, **OFF) as run:
        generate = run.rollout.generate

        def watched(*given: Any) -> Any:
            found = generate(*given)
            next(one for one in drawn if not one.is_set()).set()
            return found

        run.rollout.generate = watched
        train_ppo(run, CLIPPING, ADAPTIVE)
    assert len(rows(tmp_path / "metrics.jsonl")) == STEPS


@pytest.mark.parametrize(("every", "at"), [(1, 1), (2, 3), (2, 4), (100, 2), (1, 5)])
@pytest.mark.parametrize("method", ["ppo", "reinforce"])
def test_one_step_off_a_run_that_broke_off_goes_on_to_the_same_weights(
    folder: Path, tmp_path: Path, method: str, every: int, at: int
) -> None:
    def run(name: str, reward: Any, **changes: Any) -> dict[str, torch.Tensor]:
        reward = RunningNormalised(reward)
        with training(folder, tmp_path / name, reward, every=every, overlap=True, **OFF, **changes) as run:
            if method == "ppo":
                train_ppo(run, CLIPPING, ADAPTIVE)
            else:
                train_reinforce(run, KL(kl_coef=0.1))
            return {name: one.detach().clone() for name, one in run.model.named_parameters()}

    whole = run("whole", OfTokens())
    with pytest.raises(BrokenOffError):
        run("broken", OfTokens(), watch=break_at(at))
    again = OfTokens()
    assert same(run("broken", again), whole)
    assert {step_of(Candidate(one, (), "")) for one in again.asked} == set(range(at + 1, STEPS + 1))


def test_one_step_off_an_outage_that_lasts_saves_what_was_drawn_before(folder: Path, tmp_path: Path) -> None:
    def fails(one: Candidate, _: int) -> FailureKind | None:
        return "unavailable" if step_of(one) == 4 else None

    whole = trained(folder, tmp_path / "whole", RunningNormalised(OfTokens()), overlap=True, **OFF)
    failures = {"outage_patience_s": 0.1}
    with pytest.raises(TrainingError, match="A checkpoint is kept"):
        trained(folder, tmp_path / "out", RunningNormalised(OfTokens(fails)), failures=failures, overlap=True, **OFF)
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-3"]
    assert same(trained(folder, tmp_path / "out", RunningNormalised(OfTokens()), overlap=True, **OFF), whole)


def test_one_step_off_a_run_that_broke_off_before_its_first_responses_were_scored_draws_them_again(
    folder: Path, tmp_path: Path
) -> None:
    whole = trained(folder, tmp_path / "whole", OfTokens(), overlap=True, **OFF)

    def no_memory(*_: Any, **__: Any) -> Any:
        raise BrokenOffError

    with training(folder, tmp_path / "out", OfTokens(), overlap=True, **OFF) as run:
        run.model.forward = no_memory
        with pytest.raises(BrokenOffError):
            train_ppo(run, CLIPPING, ADAPTIVE)
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-0"]
    assert same(trained(folder, tmp_path / "out", OfTokens(), overlap=True, **OFF), whole)


# Outages and failures


@pytest.mark.parametrize("share", [1, 2])
def test_after_an_outage_the_result_is_that_of_a_run_without_one(
    folder: Path, tmp_path: Path, clean: Any, share: int
) -> None:
    """All or half of the judgements of steps 2 and 5 fail twice."""

    def fails(one: Candidate, time: int) -> FailureKind | None:
        down = step_of(one) in (2, 5) and int(one.id.split("-")[2]) % share == 0
        return "unavailable" if down and time < 2 else None

    assert same(trained(folder, tmp_path, RunningNormalised(OfTokens(fails))), clean)
    found = rows(tmp_path / "metrics.jsonl")
    assert [row["masked_share"] for row in found] == [0.0] * STEPS
    assert [row["waited_s"] > 0.2 for row in found] == [False, True, False, False, True, False]
    assert not (tmp_path / "failures.jsonl").exists()


def test_an_outage_that_lasts_ends_the_run_with_a_checkpoint_of_all_that_was_done(
    folder: Path, tmp_path: Path, clean: Any
) -> None:
    def fails(one: Candidate, _: int) -> FailureKind | None:
        return "unavailable" if step_of(one) == 4 and int(one.id.split("-")[2]) > 3 else None

    failures = {"outage_patience_s": 0.1}
    with pytest.raises(TrainingError, match=r"50% of 8 judgements failed \(4 unavailable\).*A checkpoint is kept"):
        trained(folder, tmp_path, RunningNormalised(OfTokens(fails)), failures=failures)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    again = OfTokens()
    assert same(trained(folder, tmp_path, RunningNormalised(again)), clean)
    assert {one.split("-")[1] for one in again.asked} == {"4", "5", "6"}


@pytest.mark.parametrize("overlap", [False, True])
def test_a_user_s_function_that_raises_ends_the_run_with_a_checkpoint_and_its_own_traceback(
    folder: Path, tmp_path: Path, clean: Any, overlap: bool
) -> None:
    def value(one: Candidate) -> float:
        if step_of(one) == 3:
            raise KeyError("mine")
        return OfTokens().value(one)

    with pytest.raises(KeyError, match="mine") as raised:
        trained(folder, tmp_path, RunningNormalised(OfTokens(value=value)), overlap=overlap)
    assert raised.traceback[-1].name == "value"
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
    assert same(trained(folder, tmp_path, RunningNormalised(OfTokens())), clean)


def test_a_reward_that_is_no_number_ends_the_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=r"tokens: row 0 \(id step-1-0\): the reward is nan"):
        trained(folder, tmp_path, OfTokens(value=lambda _: float("nan")))


def test_unreadable_verdicts_above_the_share_end_the_run_at_once(folder: Path, tmp_path: Path) -> None:
    reward = OfTokens(lambda one, _: "unreadable" if step_of(one) == 2 else None)
    with pytest.raises(TrainingError, match=r"8 unreadable.*waiting would not help"):
        trained(folder, tmp_path, reward)
    assert len(reward.asked) == 16


def test_a_failure_that_is_to_stop_does_so_at_its_step_and_is_asked_for_again(
    folder: Path, tmp_path: Path, clean: Any
) -> None:
    reward = OfTokens(lambda one, _: "refused" if one.id == "step-3-5" else None)
    with pytest.raises(TrainingError, match=r"step-3-5: judgement refused \(by script\)"):
        trained(folder, tmp_path, RunningNormalised(reward), failures={"refused": "stop"})
    assert len(rows(tmp_path / "metrics.jsonl")) == 2
    mended = OfTokens()
    assert same(trained(folder, tmp_path, RunningNormalised(mended), failures={"refused": "stop"}), clean)
    assert {one.split("-")[1] for one in mended.asked} == {"3", "4", "5", "6"}
    assert not (tmp_path / "failures.jsonl").exists()


def test_failures_are_kept_with_their_texts_and_counted_by_class(folder: Path, tmp_path: Path) -> None:
    by_place: dict[str, FailureKind] = {"0": "refused", "3": "unreadable", "6": "unavailable"}
    reward = OfTokens(lambda one, _: by_place.get(one.id.split("-")[2]))
    trained(folder, tmp_path, reward)
    found = rows(tmp_path / "failures.jsonl")
    assert len(found) == 3 * STEPS
    assert [row["failure"] for row in found] == ["refused", "unreadable", "unavailable"] * STEPS
    assert [row["id"] for row in found[:3]] == ["step-1-0", "step-1-3", "step-1-6"]
    assert found[0].keys() >= {"step", "query", "response", "detail"}
    first = rows(tmp_path / "metrics.jsonl")[0]
    assert {name: first[name] for name in first if name.startswith("failed_")} == {
        "failed_refused": 1 / 8, "failed_unreadable": 1 / 8, "failed_unavailable": 1 / 8
    }  # fmt: skip
    assert first["masked_share"] == 2 / 8
    assert len(reward.asked) == 8 * STEPS


@pytest.mark.parametrize("left", ["no judgements", "half of the judgements", "half of the last failure"])
def test_after_a_kill_while_judgements_were_written_each_failure_is_there_once(
    folder: Path, tmp_path: Path, left: str
) -> None:
    by_place: dict[str, FailureKind] = {"0": "refused", "3": "unreadable", "6": "unavailable"}

    def fails(one: Candidate, _: int) -> FailureKind | None:
        return by_place.get(one.id.split("-")[2])

    trained(folder, tmp_path / "whole", OfTokens(fails), every=2)
    out = tmp_path / "killed"
    with pytest.raises(BrokenOffError):
        trained(folder, out, OfTokens(fails), every=2, watch=break_at(4))
    # A kill as the judgements of step 4, behind the checkpoint of step 2, were being written: failures come first.
    judgements, failures = out / "judgements-0.jsonl", out / "failures.jsonl"
    before, last = judgements.read_bytes()[:-1].rsplit(b"\n", 1)
    judgements.write_bytes(before + b"\n" + (last[: len(last) // 2] if left == "half of the judgements" else b""))
    if left == "half of the last failure":
        failures.write_bytes(failures.read_bytes()[:-40])
    again = OfTokens(fails)
    trained(folder, out, again, every=2)
    assert rows(failures) == rows(tmp_path / "whole" / "failures.jsonl")
    assert {one.split("-")[1] for one in again.asked} == {"4", "5", "6"}


def test_15_percent_of_texts_that_always_fail_are_masked_and_no_more(folder: Path, tmp_path: Path) -> None:
    reward = OfTokens(lambda one, _: "unavailable" if sum(one.token_ids or ()) % 7 == 0 else None)
    trained(folder, tmp_path, reward, failures={"max_failed_share": 0.8})
    injected = len(rows(tmp_path / "failures.jsonl"))
    assert injected > 0
    assert sum(row["masked_share"] for row in rows(tmp_path / "metrics.jsonl")) * 8 == pytest.approx(injected)


def test_equal_rewards_leave_everything_finite(folder: Path, tmp_path: Path) -> None:
    weights = trained(folder, tmp_path, OfTokens(value=lambda _: 0.5), kl=KL(kl_coef=0.0))
    assert all(torch.isfinite(one).all() for one in weights.values())
    assert "score_length_correlation" not in rows(tmp_path / "metrics.jsonl")[0]


def test_where_everything_is_masked_nothing_moves(folder: Path, tmp_path: Path) -> None:
    start = dict(load_policy(folder, torch.float32).named_parameters())

    def nothing(completions: list[Any], **_: Any) -> list[None]:
        return [None] * len(completions)

    weights = trained(folder, tmp_path, FromTRL(nothing))
    for name, one in start.items():
        assert torch.equal(weights[f"policy.{name}"], one)
    found = rows(tmp_path / "metrics.jsonl")
    assert [row["masked_share"] for row in found] == [1.0] * STEPS
    assert [row["score"] for row in found] == [None] * STEPS
    # Nor does β, of whose KL nothing is known.
    assert [row["kl_coef"] for row in found] == [ADAPTIVE.kl_coef] * STEPS


def test_an_empty_response_is_a_lone_end_token_with_the_score_of_its_failure(folder: Path, tmp_path: Path) -> None:
    reward = OfTokens(lambda one, _: None if one.response else "rejected")
    with training(folder, tmp_path, reward) as run:
        # Every token that may be drawn ends the response: all are empty.
        run.model.policy.generation_config.eos_token_id = list(range(len(run.tokenizer)))
        drawn, metrics = run.draw()
        assert drawn.mask.tolist() == [[True]] * 8
        assert drawn.scores.tolist() == [-1.0] * 8
        assert [len(one) for one in drawn.responses] == [1] * 8
        assert (metrics["ended_share"], metrics["failed_rejected"]) == (1.0, 1.0)
        train_ppo(run, CLIPPING, ADAPTIVE)
        assert all(torch.isfinite(one).all() for one in run.model.parameters())


def test_a_response_that_was_cut_loses_the_penalty_and_one_that_ended_does_not(folder: Path, tmp_path: Path) -> None:
    with training(folder, tmp_path, OfTokens(value=lambda _: 0.25)) as run:
        run.model.policy.generation_config.eos_token_id = list(range(0, len(run.tokenizer), 5))
        drawn, metrics = run.draw()
        ended = [one[-1] % 5 == 0 for one in drawn.responses]
        assert set(ended) == {True, False}
        assert drawn.scores.tolist() == [0.25 if one else -0.25 for one in ended]
        assert metrics["ended_share"] == sum(ended) / 8
        assert metrics["score"] == 0.25
        # All tokens count, the end token too, and nothing behind it.
        assert drawn.mask.sum(1).tolist() == [len(one) for one in drawn.responses]
        assert drawn.mask[:, 0].all()


def test_where_all_are_cut_all_lose_the_penalty(folder: Path, tmp_path: Path) -> None:
    with training(folder, tmp_path, OfTokens(value=lambda _: 1.0), drawing={"max_tokens": 1}) as run:
        drawn, metrics = run.draw()
        assert drawn.scores.tolist() == [0.5] * 8
        assert metrics["ended_share"] == 0.0


def test_a_judged_response_has_its_tokens_and_its_text_without_the_end(folder: Path, tmp_path: Path) -> None:
    seen: list[Candidate] = []

    def value(one: Candidate) -> float:
        seen.append(one)
        return 0.0

    with training(folder, tmp_path, OfTokens(value=value)) as run:
        run.model.policy.generation_config.eos_token_id = list(range(0, len(run.tokenizer), 5))
        drawn, _ = run.draw()
        assert [list(one.token_ids or ()) for one in seen] == drawn.responses
        for one, response in zip(seen, drawn.responses, strict=True):
            text = response[:-1] if response[-1] % 5 == 0 else response
            assert one.response == run.tokenizer.decode(text, skip_special_tokens=True)


def test_judging_beside_other_work_changes_nothing(folder: Path, tmp_path: Path, clean: Any) -> None:
    assert same(trained(folder, tmp_path, RunningNormalised(OfTokens()), overlap=True), clean)


def test_minibatches_take_each_response_once_in_another_order_each_time(folder: Path, tmp_path: Path) -> None:
    with training(folder, tmp_path, OfTokens()) as run:
        drawn, _ = run.draw()
        orders = []
        for step, epoch in ((0, 0), (0, 1), (1, 0)):
            run.step = step
            found = list(run.minibatches(drawn, 3, epoch))
            assert [len(one) for one in found] == [3, 3, 2]
            assert sorted(row for one in found for row in one) == list(range(8))
            assert list(run.minibatches(drawn, 3, epoch)) == found
            orders.append(tuple(map(tuple, found)))
        assert len(set(orders)) == 3
        for rows_of_it, part in run.parts(drawn, [0, 1, 2, 3, 4]):
            assert len(rows_of_it) <= 4
            for row, ids in zip(rows_of_it, part.ids.tolist(), strict=True):
                whole = [*drawn.queries[row], *drawn.responses[row]]
                assert ids[part.query_tokens - len(drawn.queries[row]) :][: len(whole)] == whole


def test_a_gradient_that_is_no_number_is_not_stepped_on(folder: Path, tmp_path: Path) -> None:
    before = load_policy(folder, torch.float32).state_dict()
    with training(folder, tmp_path, OfTokens(value=lambda _: 1e30)) as run:
        with pytest.raises(TrainingError, match="step 1: the gradient is no number"):
            train_ppo(run, Clipping(whiten=False), KL())
        for name, one in run.model.policy.state_dict().items():
            assert torch.equal(one, before[name])


def test_samples_are_kept_to_be_read(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path, OfTokens(), saving={"samples_every_steps": 3, "samples": 2})
    found = rows(tmp_path / "samples.jsonl")
    assert [row["step"] for row in found] == [1, 1, 3, 3, 6, 6]
    assert found[0].keys() == {"step", "query", "response", "score"}


class Reasoned(OfTokens):
    """One that says why, of the last batch, where the response is of an even place."""

    @property
    def rationales(self) -> dict[str, tuple[str, ...]]:
        return {one: (f"why {one}",) for one in self.asked[-8:] if int(one[-1]) % 2 == 0}


def test_samples_have_the_rationales_of_who_judged_them_after_a_kill_too(folder: Path, tmp_path: Path) -> None:
    saving = {"samples_every_steps": 2, "samples": 3, "every_steps": 100}
    with pytest.raises(BrokenOffError):
        trained(folder, tmp_path, Reasoned(), saving=saving, watch=break_at(3))
    trained(folder, tmp_path, Reasoned(), saving=saving)
    found = rows(tmp_path / "samples.jsonl")
    assert [row["step"] for row in found] == [1, 1, 1, 2, 2, 2, 4, 4, 4, 6, 6, 6]
    for step, (first, second, third) in zip((1, 2, 4, 6), zip(*[iter(found)] * 3, strict=True), strict=True):
        assert first["rationales"] == [f"why step-{step}-0"]
        assert "rationales" not in second
        assert third["rationales"] == [f"why step-{step}-2"]
