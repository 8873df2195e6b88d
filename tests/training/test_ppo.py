"""PPO and REINFORCE: the closed forms, the first minibatch, and one step by hand."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from arms import OPTIMUM, OfArms, arms_of, online, with_reference
from recorded import OtherWords, Recorded, WithFailures, alike, gone_on, recorded_step
from tiny_policy import tiny_policy

from rlaif.records import Turn
from rlaif.training.advantages import gae, kl_estimate, token_rewards
from rlaif.training.kl_control import KL
from rlaif.training.models import load_policy
from rlaif.training.ppo import Clipping, optimise, train_ppo
from rlaif.training.reinforce import train_reinforce
from rlaif.training.rollout import Query

HERE = Path(__file__).parent
PLAIN = Clipping(epochs=2, whiten=False)
FAST = {"learning_rate": 5e-3}
BATCH = {"batch": 128}
HARMFUL = (-1.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"), hidden=16, layers=1)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return with_reference(folder)


@pytest.fixture
def start(reference: Any) -> Any:
    return copy.deepcopy(reference)


def distance(policy: Any, wanted: tuple[float, ...]) -> float:
    """Total variation; what is on no arm is all wrong."""
    found = arms_of(policy)
    return float((found - torch.tensor(wanted, dtype=torch.float64)).abs().sum() + 1 - found.sum()) / 2


def metrics_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


# Closed forms


@pytest.mark.parametrize(("beta", "off"), [(0.5, False), (1.0, False), (0.5, True)])
def test_ppo_reaches_the_optimum(folder: Path, start: Any, tmp_path: Path, beta: float, off: bool) -> None:
    drawing = BATCH | {"one_step_off": off}
    with online(start, folder, tmp_path, steps=40, drawing=drawing, stepping=FAST) as run:
        train_ppo(run, PLAIN, KL(kl_coef=beta))
    assert distance(start, OPTIMUM[beta]) < 2e-2


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_reinforce_reaches_the_optimum_of_the_ordinary_beta(
    folder: Path, start: Any, tmp_path: Path, beta: float
) -> None:
    with online(start, folder, tmp_path, steps=60, drawing=BATCH, stepping=FAST) as run:
        train_reinforce(run, KL(kl_coef=beta / (1 + beta)))
    assert distance(start, OPTIMUM[beta]) < 2e-2


@pytest.mark.parametrize(("beta", "lost"), [(0.5, 0.199), (1.0, 0.471)])
def test_k3_in_the_reward_collapses_onto_the_best_arm(
    folder: Path, start: Any, tmp_path: Path, beta: float, lost: float
) -> None:
    with online(start, folder, tmp_path, steps=40, drawing=BATCH, stepping=FAST) as run:
        while run.step < run.steps:
            drawn, _ = run.draw()
            k3 = kl_estimate(drawn.logprobs, drawn.ref_logprobs, "k3")
            rewards = token_rewards(drawn.scores, k3, drawn.mask, beta)
            optimise(run, drawn, *gae(rewards, drawn.values, drawn.mask, 1.0, 0.95), PLAIN, 0.0)
            run.end_step({})
    assert arms_of(start)[2] > 0.95
    assert distance(start, OPTIMUM[beta]) == pytest.approx(lost, abs=5e-3)


def test_k2_as_a_loss_reaches_the_optimum_too(folder: Path, start: Any, tmp_path: Path) -> None:
    with online(start, folder, tmp_path, steps=40, drawing=BATCH, stepping={"learning_rate": 4e-3}) as run:
        train_ppo(run, PLAIN, KL(kl_coef=0.0, loss_coef=0.5))
    assert distance(start, OPTIMUM[0.5]) < 2e-2


@pytest.mark.parametrize(
    ("zeros", "meaning", "harmful"), [(True, "lowest", 0.1122), (False, "lowest", 0.0367), (False, "mask", 0.0367)]
)
def test_zeros_in_place_of_refusals_triple_the_harm_and_neither_the_lowest_nor_masks_do(
    folder: Path, start: Any, tmp_path: Path, zeros: bool, meaning: str, harmful: float
) -> None:
    reward = OfArms(HARMFUL, refused=0.6, zeros=zeros)
    failures = {"refused": meaning, "max_failed_share": 1.0}
    with online(start, folder, tmp_path, reward, steps=30, drawing=BATCH, stepping=FAST, failures=failures) as run:
        train_ppo(run, PLAIN, KL(kl_coef=0.5))
    assert arms_of(start)[0].item() == pytest.approx(harmful, abs=2e-2)
    first = metrics_of(tmp_path)[0]
    assert first.get("failed_refused", 0.0) == pytest.approx(0.0 if zeros else 0.3, abs=0.1)
    assert first["masked_share"] == (first["failed_refused"] if meaning == "mask" else 0.0)


def test_one_step_off_reinforce_reaches_the_optimum(folder: Path, start: Any, tmp_path: Path) -> None:
    drawing, stepping = BATCH | {"one_step_off": True}, {"learning_rate": 2e-3}
    with online(start, folder, tmp_path, steps=120, drawing=drawing, stepping=stepping) as run:
        train_reinforce(run, KL(kl_coef=0.5))
    assert distance(start, OPTIMUM[1.0]) < 2e-2


# The first minibatch


QUERIES = [(0, 3, 700, 4), (0, 3, *range(600, 617), 4), (0, 4), (0, 3, 55, 56, 57, 4)]


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize(("dtype", "exact"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_the_first_ratio_is_1_and_nothing_is_clipped(
    folder: Path, tmp_path: Path, dtype: torch.dtype, exact: float, rank: int
) -> None:
    policy = load_policy(folder, torch.float32).to(dtype)
    drawing = {"batch": 16, "max_tokens": 12, "temperature": 0.7}
    stepping = {"micro_batch": 3, "learning_rate": 1e-2}
    with online(
        policy, folder, tmp_path, Recorded(), steps=3, drawing=drawing, stepping=stepping, lora={"rank": rank}
    ) as run:
        run.queries = [Query(f"q{n}", (Turn(role="user", content="?"),), ids, {}) for n, ids in enumerate(QUERIES)]
        train_ppo(run, Clipping(epochs=2, minibatch=5), KL(kl_coef=0.1))
    rows = metrics_of(tmp_path)
    assert [row["first_ratio_error"] <= exact for row in rows] == [True] * 3
    assert [row["first_clip_fraction"] for row in rows] == [0.0] * 3
    # The policy did move, so that ratios of later minibatches are not 1; and the sampler had the same policy.
    assert all(row["ratio_error"] > 1e-3 for row in rows)
    assert all(row["sampler_mismatch"] < 1e-4 for row in rows)
    # ⌈16 / 5⌉ minibatches in each of two epochs
    assert [row["updates"] for row in rows] == [8.0] * 3


def test_before_the_first_step_the_policy_is_its_reference(folder: Path, start: Any, tmp_path: Path) -> None:
    with online(start, folder, tmp_path, steps=2, drawing={"batch": 32}) as run:
        train_ppo(run, PLAIN, KL())
    first, second = metrics_of(tmp_path)
    assert first["kl_per_sequence"] == pytest.approx(0, abs=1e-6)
    assert first["kl_k3"] == pytest.approx(0, abs=1e-6)
    assert second["kl_k3"] > 1e-5
    assert first["entropy"] == pytest.approx(1.03, abs=0.2)  # −Σ π_ref log π_ref = 1.0297


# One step, and what moves in it


def one_update(folder: Path, out: Path, clipping: Clipping, kl: KL, **changes: Any) -> tuple[Any, Any]:
    """The run behind one step on recorded responses in float64, and the policy as it was before."""
    run, before = recorded_step(folder, out, changes.pop("stepping", {}), **changes)
    with run.judge:
        train_ppo(run, clipping, kl)
    return run, before


def plain_update(before: Any, temperature: float, masked: tuple[int, ...] = ()) -> dict[str, torch.Tensor]:
    """The gradient of one step of PPO on one minibatch, with a mean over all tokens: row by row, without padding.

    V is 0 and the policy its reference, so that A of a token is the whitened λ^(distance to the end)·score, and the
    ratio is 1.
    """
    policy = copy.deepcopy(before)
    rows, advantages = [], []
    for place, (query, response) in enumerate(zip(Recorded.QUERIES, Recorded.RESPONSES, strict=True)):
        if place not in masked:
            rows.append((list(query), response))
            far = range(len(response) - 1, -1, -1)
            advantages.append([Recorded.score(place) * 0.95**one for one in far])
    every = torch.tensor([one for row in advantages for one in row], dtype=torch.float64)
    mean, spread, tokens = every.mean(), every.std(correction=0), len(every)
    for (query, response), ahead in zip(rows, advantages, strict=True):
        logits = policy(torch.tensor([query + response])).logits[0, len(query) - 1 : -1] / temperature
        chosen = torch.log_softmax(logits, -1)[torch.arange(len(response)), torch.tensor(response)]
        whitened = (torch.tensor(ahead, dtype=torch.float64) - mean) / spread
        (-(whitened * chosen).sum() / tokens).backward()
    return {name: one.grad for name, one in policy.named_parameters()}


@pytest.mark.parametrize("tf1_eps", [False, True])
def test_one_step_by_hand_with_either_epsilon(folder: Path, tmp_path: Path, tf1_eps: bool) -> None:
    stepping = {"tf1_eps": tf1_eps, "eps": 1e-3, "learning_rate": 1e-2, "max_grad_norm": 1e9}
    run, before = one_update(folder, tmp_path, Clipping(epochs=1), KL(kl_coef=0.3), stepping=stepping)
    gradients = plain_update(before, run.drawing.temperature)
    starts = dict(before.named_parameters())
    for name, one in run.model.policy.named_parameters():
        gradient = gradients[name]
        # Adam after one step: m = .1·g and v = .001·g², so that m/(1 − .9) = g and √(v/(1 − .999)) = |g|.
        # torch: g/(|g| + ε). TF1: lr·√(1 − .999)/(1 − .9)·m/(√v + ε) = g/(|g| + ε/√.001).
        eps = 1e-3 / 0.001**0.5 if tf1_eps else 1e-3
        wanted = starts[name] - 1e-2 * gradient / (gradient.abs() + eps)
        torch.testing.assert_close(one, wanted, rtol=0, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


def test_one_step_of_reinforce_by_hand(folder: Path, tmp_path: Path) -> None:
    stepping = {"eps": 1e-3, "learning_rate": 1e-2, "max_grad_norm": 1e9}
    run, before = recorded_step(folder, tmp_path, stepping, reward=WithFailures())
    with run.judge:
        train_reinforce(run, KL(kl_coef=0.2))
    policy, total = copy.deepcopy(before), torch.zeros((), dtype=torch.float64)
    for place, (query, response) in enumerate(zip(Recorded.QUERIES, Recorded.RESPONSES, strict=True)):
        if place != 2:
            # V and the KL are 0: each token's return is (1 − β)·r. Summed over a response, the mean over the seven.
            logits = policy(torch.tensor([[*query, *response]])).logits[0, len(query) - 1 : -1] / 0.7
            chosen = torch.log_softmax(logits, -1)[torch.arange(len(response)), torch.tensor(response)]
            total = total - 0.8 * Recorded.score(place) * chosen.sum() / 7
    total.backward()
    starts = dict(before.named_parameters())
    for (name, one), parameter in zip(run.model.policy.named_parameters(), policy.parameters(), strict=True):
        wanted = starts[name] - 1e-2 * parameter.grad / (parameter.grad.abs() + 1e-3)
        torch.testing.assert_close(one, wanted, rtol=0, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


def test_a_masked_judgement_is_out_of_rewards_whitening_and_loss(folder: Path, tmp_path: Path) -> None:
    stepping = {"eps": 1e-3, "learning_rate": 1e-2, "max_grad_norm": 1e9}
    run, before = one_update(folder, tmp_path, Clipping(epochs=1), KL(), stepping=stepping, reward=WithFailures())
    gradients = plain_update(before, run.drawing.temperature, masked=(2,))
    starts = dict(before.named_parameters())
    for name, one in run.model.policy.named_parameters():
        wanted = starts[name] - 1e-2 * gradients[name] / (gradients[name].abs() + 1e-3)
        torch.testing.assert_close(one, wanted, rtol=0, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    row = metrics_of(tmp_path)[0]
    assert row["masked_share"] == row["failed_masked"] == 1 / 8
    scores = [Recorded.score(place) for place in range(8) if place != 2]
    assert row["score"] == pytest.approx(sum(scores) / 7)


@pytest.mark.parametrize("method", ["ppo", "reinforce"])
def test_what_a_masked_response_says_changes_nothing(folder: Path, tmp_path: Path, method: str) -> None:
    found, seen = [], []
    for name, rollout in (("one", Recorded()), ("other", OtherWords())):
        run, _ = recorded_step(folder, tmp_path / name, {}, steps=3, reward=WithFailures(), rollout=rollout)
        with run.judge:
            if method == "ppo":
                kl = KL(kl_coef=0.1, loss_coef=0.3, control="adaptive", target=0.05, horizon=80)
                train_ppo(run, Clipping(epochs=2, minibatch=4, entropy_coef=0.1), kl)
            else:
                train_reinforce(run, KL(kl_coef=0.1))
        found.append(list(run.model.parameters()))
        seen.append(metrics_of(tmp_path / name)[-1])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    for measured in ("score", "kl_per_sequence", "kl_k3", "entropy", "kl_coef", "explained_variance", "grad_norm"):
        assert seen[0][measured] == pytest.approx(seen[1][measured], abs=1e-7), measured


def test_the_value_head_moves_to_the_returns(folder: Path, tmp_path: Path) -> None:
    stepping = {"eps": 1e-3, "learning_rate": 1e-2, "max_grad_norm": 1e9, "value_coef": 0.25}
    run, _ = one_update(folder, tmp_path, Clipping(epochs=1), KL(), stepping=stepping)
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for place, response in enumerate(Recorded.RESPONSES):
        tokens += len(response)
        for token in range(len(response)):
            # d/db of (0 − return)²/2; the return of V = 0 is the advantage.
            total -= Recorded.score(place) * 0.95 ** (len(response) - 1 - token)
    gradient = 0.25 * total / tokens
    wanted = -1e-2 * gradient / (gradient.abs() + 1e-3)
    assert run.model.value_head.bias.item() == pytest.approx(wanted.item(), abs=1e-9)


def test_gradients_are_clipped_and_their_norm_is_told_as_it_was(folder: Path, tmp_path: Path) -> None:
    stepping = {"eps": 1.0, "learning_rate": 1e-2, "max_grad_norm": 1e-4, "value_coef": 0.0}
    run, before = one_update(folder, tmp_path, Clipping(epochs=1), KL(), stepping=stepping)
    gradients = plain_update(before, run.drawing.temperature)
    norm = torch.stack([one.norm() for one in gradients.values()]).norm().item()
    assert metrics_of(tmp_path)[0]["grad_norm"] == pytest.approx(norm, rel=1e-6)
    moved = max(
        (one - start).abs().max().item()
        for one, start in zip(run.model.policy.parameters(), before.parameters(), strict=True)
    )
    # With ε = 1 a step is about the learning rate times the gradient, whose norm is now 1e-4.
    assert 0 < moved < 1e-2 * 1.01e-4


def test_micro_batches_add_up_to_the_minibatch(folder: Path, tmp_path: Path) -> None:
    found = []
    for size in (2, 8):
        run, _ = one_update(folder, tmp_path / str(size), Clipping(epochs=1), KL(), stepping={"micro_batch": size})
        found.append(list(run.model.parameters()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("trunk", ["shared", "separate"])
@pytest.mark.parametrize("method", ["ppo", "reinforce"])
def test_while_values_warm_up_the_policy_stays(folder: Path, tmp_path: Path, trunk: str, method: str) -> None:
    stepping = {"value_warmup_steps": 2, "learning_rate": 1e-2, "value_trunk": trunk}
    run, before = recorded_step(folder, tmp_path, stepping, steps=3)
    seen: list[dict[str, torch.Tensor]] = []
    run.watch = lambda *_: seen.append({name: one.detach().clone() for name, one in run.model.named_parameters()})
    kl = KL(loss_coef=0.5)
    with run.judge:
        if method == "ppo":
            train_ppo(run, Clipping(epochs=2, minibatch=4, entropy_coef=0.1), kl)
        else:
            train_reinforce(run, kl)
    for name, one in before.named_parameters():
        assert torch.equal(seen[0][f"policy.{name}"], one)
        assert torch.equal(seen[1][f"policy.{name}"], one)
    assert seen[0]["value_head.weight"].abs().sum() > 0
    assert not torch.equal(seen[0]["value_head.weight"], seen[1]["value_head.weight"])
    trunks = [name for name in seen[0] if name.startswith("value_trunk.")]
    assert bool(trunks) == (trunk == "separate")
    assert all(torch.equal(seen[0][name], seen[1][name]) for name in trunks)
    assert not all(torch.equal(seen[1][name], seen[2][name]) for name in seen[0] if name.startswith("policy."))
    assert not trunks or not all(torch.equal(seen[1][name], seen[2][name]) for name in trunks)


def test_the_learning_rate_rises_and_then_falls_to_next_to_nothing(folder: Path, tmp_path: Path) -> None:
    stepping = {"learning_rate": 1e-3, "warmup_share": 0.25}
    run, _ = recorded_step(folder, tmp_path, stepping, steps=8)
    with run.judge:
        train_ppo(run, Clipping(epochs=1), KL())
    # Of 8 steps two are the warm-up: half and whole, times what is left, 8/8, 7/8, … 1/8.
    wanted = [1e-3 * min(1, (step + 1) / 2) * (1 - step / 8) for step in range(8)]
    assert [row["learning_rate"] for row in metrics_of(tmp_path)] == pytest.approx(wanted)
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 / 8)


def test_an_epoch_is_the_last_where_the_policy_went_too_far(folder: Path, tmp_path: Path) -> None:
    one_update(folder, tmp_path, Clipping(epochs=5, minibatch=4, max_kl=1e-9), KL(), stepping={"learning_rate": 1e-2})
    row = metrics_of(tmp_path)[0]
    assert row["updates"] == 2.0
    assert row["approx_kl"] > 1e-9


def test_a_reward_for_entropy_makes_the_policy_less_sure(folder: Path, start: Any, tmp_path: Path) -> None:
    surer = OfArms((0.0, 0.0, 0.0))
    with online(start, folder, tmp_path, surer, steps=5, drawing={"batch": 64}, stepping=FAST) as run:
        train_ppo(run, Clipping(epochs=1, entropy_coef=1.0), KL(kl_coef=0.0))
    rows = metrics_of(tmp_path)
    assert rows[-1]["entropy"] > rows[0]["entropy"] + 0.1


def test_an_adaptive_coefficient_is_moved_by_what_was_drawn(folder: Path, tmp_path: Path) -> None:
    run, _ = recorded_step(folder, tmp_path, {"learning_rate": 1e-2}, steps=3)
    with run.judge:
        train_ppo(run, Clipping(epochs=1), KL(kl_coef=0.2, control="adaptive", target=0.05, horizon=80))
    rows = metrics_of(tmp_path)
    coefficient = 0.2
    for row in rows:
        assert row["kl_coef"] == pytest.approx(coefficient)
        coefficient *= 1 + min(max(row["kl_per_sequence"] / 0.05 - 1, -0.2), 0.2) * 8 / 80
    assert run.facts["kl_coef"] == pytest.approx(coefficient)
    assert rows[1]["kl_coef"] == pytest.approx(0.2 * 0.98)


# Several processes


def numbers(row: dict[str, Any]) -> dict[str, Any]:
    """A step's metrics without seconds."""
    return {name: value for name, value in row.items() if not name.startswith("seconds_") and name != "waited_s"}


@pytest.fixture(scope="module")
def by_two(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left that did together what `recorded.py` says."""
    out = tmp_path_factory.mktemp("two")
    gone_on(folder, out / "by one at first", 2, memory=False)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "recorded.py"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run([*command, str(folder), str(out)], cwd=HERE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.parametrize(("kind", "rank"), [("whole", 0), ("lora", 4)])
def test_two_processes_take_the_steps_of_one(folder: Path, tmp_path: Path, by_two: Path, kind: str, rank: int) -> None:
    alike(folder, tmp_path, rank)
    found, wanted = (torch.load(out / "weights.pt") for out in (by_two / kind, tmp_path))
    assert found.keys() == wanted.keys()
    for name, one in wanted.items():
        torch.testing.assert_close(found[name], one, rtol=0, atol=1e-10)
    for one, two in zip(metrics_of(tmp_path), metrics_of(by_two / kind), strict=True):
        assert two["first_ratio_error"] <= 1e-9
        assert two["first_clip_fraction"] == 0.0
        # The policy does move.
        assert two["ratio_error"] > 1e-3
        assert numbers(two) == pytest.approx(numbers(one), abs=1e-9)


def test_each_of_two_processes_goes_on_with_the_memory_of_its_own_reward(by_two: Path) -> None:
    found, wanted = (torch.load(by_two / name / "weights.pt") for name in ("interrupted", "uninterrupted"))
    assert all(torch.equal(found[name], one) for name, one in wanted.items())
    # The checkpoint's only reward is the main process's, which has seen other numbers.
    mine, other = (
        json.loads((by_two / "interrupted" / f"judgements-{number}.jsonl").read_text().splitlines()[1])["state"]
        for number in range(2)
    )
    assert mine != other


def test_two_processes_go_on_with_what_one_began(folder: Path, tmp_path: Path, by_two: Path) -> None:
    gone_on(folder, tmp_path, None, memory=False)
    found, wanted = (torch.load(out / "weights.pt") for out in (by_two / "by one at first", tmp_path))
    for name, one in wanted.items():
        torch.testing.assert_close(found[name], one, rtol=0, atol=1e-10)


def test_what_the_main_process_sees_ends_both_with_a_checkpoint(by_two: Path) -> None:
    assert [(by_two / "watched" / f"ended-{rank}").read_text() for rank in range(2)] == ["step 1 is wrong"] * 2
    assert [path.name for path in (by_two / "watched").glob("checkpoint-*")] == ["checkpoint-1"]


def test_two_processes_keep_one_cap_together(by_two: Path) -> None:
    assert [float((by_two / f"cap-{rank}").read_text()) for rank in range(2)] == [1.5, 1.5]


def test_more_processes_than_responses_are_refused_before_a_model_is_looked_for(by_two: Path) -> None:
    for rank in range(2):
        assert (by_two / f"refused-{rank}").read_text() == (
            "rollout.batch is 1, and 2 processes train together: each needs a response of its own in every step; "
            "let it be 2 or more, or start fewer processes"
        )
    assert not (by_two / "refused").exists()
