"""Rewards while training: what a failure means, how an outage is waited for, and what is not waited for."""

import asyncio
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from rlaif.errors import RewardError, TrainingError
from rlaif.records import Failure, FailureKind, Turn
from rlaif.rewards import Candidate, FromTRL, Reward, RunningNormalised
from rlaif.training.judging import Failures, Judge, resolve

QUICK = {"outage_patience_s": 60.0}


def failure(kind: FailureKind, name: str = "c") -> Failure:
    return Failure(id=name, failure=kind, detail=f"{kind} by script")


def candidates(count: int) -> list[Candidate]:
    return [Candidate(f"c{n}", (Turn(role="user", content="?"),), f"r{n}", (n,)) for n in range(count)]


class Scripted:
    """Gives what a script says of the candidate and of how often it was asked for before."""

    name = "scripted"

    def __init__(self, script: Any) -> None:
        self.script, self.asked, self.calls = script, Counter[str](), list[list[str]]()

    async def __call__(self, batch: Sequence[Candidate]) -> Any:
        self.calls.append([one.id for one in batch])
        for place, one in enumerate(batch):
            self.asked[one.id] += 1
            yield place, self.script(one, self.asked[one.id])

    def usage(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        assert not state


def judged(reward: Any, count: int = 10, **settings: Any) -> tuple[list[Reward], float, list[str]]:
    said: list[str] = []
    with Judge(reward, Failures(**QUICK | settings), said.append) as judge:
        rewards, waited = judge.wait(judge.ask(candidates(count)), candidates(count))
    return rewards, waited, said


def test_by_default_what_comes_with_the_text_is_the_lowest_and_what_comes_with_the_labeler_is_masked() -> None:
    kinds: tuple[FailureKind, ...] = ("refused", "rejected", "too_long", "unreadable", "unavailable", "masked")
    scores, counts = resolve([0.5, *map(failure, kinds), -0.25], Failures())
    assert scores == [0.5, -1.0, -1.0, -1.0, None, None, None, -0.25]
    assert counts == Counter(kinds)


def test_each_class_is_what_its_setting_says() -> None:
    settings = Failures(refused="mask", rejected="mask", too_long="lowest", lowest_reward=-3.0)
    scores, _ = resolve([failure("refused"), failure("rejected"), failure("too_long")], settings)
    assert scores == [None, None, -3.0]


@pytest.mark.parametrize("kind", ["refused", "rejected", "too_long", "unreadable", "unavailable"])
def test_a_class_that_is_to_stop_does_and_no_other(kind: FailureKind) -> None:
    with pytest.raises(TrainingError, match=rf"^c: judgement {kind} \({kind} by script\), and such are to stop"):
        resolve([1.0, failure(kind)], Failures(**{kind: "stop"}))
    others = [one for one in ("refused", "rejected", "too_long", "unreadable", "unavailable") if one != kind]
    assert len(resolve([failure(one) for one in others], Failures(**{kind: "stop"}))[0]) == 4  # type: ignore[arg-type]


def test_failures_are_not_settings_of_a_service() -> None:
    with pytest.raises(ValueError, match="unavailable"):
        Failures(unavailable="lowest")  # type: ignore[arg-type]


def test_none_of_a_function_in_trl_s_form_is_masked_and_no_failure_of_the_labeler() -> None:
    def odd(completions: list[Any], **_: Any) -> list[float | None]:
        return [None if place % 2 else float(place) for place in range(len(completions))]

    rewards, _, said = judged(FromTRL(odd), 4, max_failed_share=0.0)
    scores, counts = resolve(rewards, Failures(unreadable="stop", unavailable="stop"))
    assert scores == [0.0, None, 2.0, None]
    assert counts == {"masked": 2}
    assert said == [""]


def test_an_outage_is_waited_for_and_only_what_failed_is_asked_again() -> None:
    def script(one: Candidate, time: int) -> Reward:
        number = int(one.id[1:])
        return failure("unavailable") if number >= 6 and time < 3 else float(number)

    reward = Scripted(script)
    rewards, waited, said = judged(reward, 10)
    assert rewards == [float(n) for n in range(10)]
    assert waited > 0
    everyone, last = [f"c{n}" for n in range(10)], [f"c{n}" for n in range(6, 10)]
    assert reward.calls == [everyone, last, last]
    assert said[0].startswith("40% of the judgements failed; waiting for 0 s")
    assert said[-1] == ""


def test_a_share_that_is_not_above_the_limit_is_not_waited_for() -> None:
    reward = Scripted(lambda one, _: failure("unavailable") if int(one.id[1:]) < 3 else 1.0)
    rewards, _, _ = judged(reward, 10, max_failed_share=0.3)
    assert len(reward.calls) == 1
    assert sum(isinstance(one, Failure) for one in rewards) == 3


def test_an_outage_that_lasts_ends_training_when_patience_is_at_its_end() -> None:
    reward = Scripted(lambda *_: failure("unavailable"))
    with pytest.raises(TrainingError) as raised:
        judged(reward, 4, outage_patience_s=0.3)
    assert "100% of 4 judgements failed (4 unavailable), more than failures.max_failed_share 0.3" in str(raised.value)
    assert "(outage_patience_s)" in str(raised.value)
    assert "unavailable by script" in str(raised.value)
    assert len(reward.calls) > 1


def test_unreadable_verdicts_are_not_waited_for() -> None:
    reward = Scripted(lambda one, _: failure("unreadable") if int(one.id[1:]) < 4 else 1.0)
    with pytest.raises(TrainingError, match=r"40% of 10 judgements failed \(4 unreadable\).*waiting would not help"):
        judged(reward, 10)
    assert len(reward.calls) == 1


def test_of_both_the_unavailable_are_waited_for_first() -> None:
    def script(one: Candidate, time: int) -> Reward:
        number = int(one.id[1:])
        if number < 2:
            return failure("unreadable")
        return failure("unavailable") if number < 6 and time == 1 else 1.0

    rewards, _, _ = judged(Scripted(script), 10)
    assert sum(isinstance(one, Failure) for one in rewards) == 2


def test_refusals_count_as_failed_only_where_they_are_masked() -> None:
    reward = Scripted(lambda *_: failure("refused"))
    assert len(judged(reward, 4)[0]) == 4
    with pytest.raises(TrainingError, match=r"4 refused.*waiting would not help"):
        judged(reward, 4, refused="mask")


def test_a_reward_that_remembers_its_batches_ends_an_outage_as_if_there_had_been_none() -> None:
    def after(calls: int) -> Any:
        def script(one: Candidate, time: int) -> Reward:
            number = int(one.id[1:])
            return failure("unavailable") if number >= 5 and time <= calls else float(number * number)

        return RunningNormalised(Scripted(script))

    clean, flaky = after(0), after(2)
    assert judged(flaky, 10)[0] == judged(clean, 10)[0]
    assert flaky.state_dict() == clean.state_dict()


def test_what_a_user_s_function_raises_comes_out_with_its_traceback() -> None:
    def mine(**_: Any) -> list[float]:
        return [1 / 0]

    with pytest.raises(ZeroDivisionError) as raised:
        judged(FromTRL(mine), 1)
    assert "return [1 / 0]" in "".join(traceback.format_exception(raised.value))


def test_a_reward_that_is_no_number_is_an_error_of_the_function() -> None:
    with pytest.raises(RewardError, match=r"scripted: row 1 \(id c1\): the reward is nan"):
        judged(Scripted(lambda one, _: float("nan") if one.id == "c1" else 1.0), 3)


class Opened(Scripted):
    """Notes where it was opened, asked and closed."""

    def __init__(self) -> None:
        super().__init__(lambda *_: 1.0)
        self.loops: list[tuple[str, Any, str]] = []

    def _note(self, what: str) -> None:
        self.loops.append((what, asyncio.get_running_loop(), threading.current_thread().name))

    async def __aenter__(self) -> "Opened":
        self._note("opened")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._note("closed")

    async def __call__(self, batch: Sequence[Candidate]) -> Any:
        self._note("asked")
        async for pair in super().__call__(batch):
            yield pair


def test_a_reward_is_opened_asked_and_closed_in_one_loop_and_closed_after_an_error_too() -> None:
    reward = Opened()

    def train() -> None:
        with Judge(reward, Failures()) as judge:
            for _ in range(2):
                judge.wait(judge.ask(candidates(1)), candidates(1))
            raise RuntimeError("training broke")

    with pytest.raises(RuntimeError, match="training broke"):
        train()
    assert [what for what, _, _ in reward.loops] == ["opened", "asked", "asked", "closed"]
    assert len({loop for _, loop, _ in reward.loops}) == 1
    assert {thread for _, _, thread in reward.loops} == {"judge"}
    assert reward.loops[0][1].is_closed()


def test_what_nobody_waits_for_any_more_ends_before_the_reward_is_closed() -> None:
    class Slow(Opened):
        async def __call__(self, batch: Sequence[Candidate]) -> Any:
            self._note("asked")
            try:
                await asyncio.sleep(60)
                yield 0, 1.0
            finally:
                self._note("let go")

    reward = Slow()
    with Judge(reward, Failures()) as judge:
        asked = judge.ask(candidates(1))
        while len(reward.loops) < 2:
            time.sleep(0.01)
    assert [what for what, _, _ in reward.loops] == ["opened", "asked", "let go", "closed"]
    assert asked.cancelled()


def test_an_outage_does_not_hold_up_whoever_asks_for_an_end() -> None:
    for number, ended in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)):
        with Judge(Scripted(lambda *_: failure("unavailable")), Failures()) as judge, pytest.raises(ended):
            judge.wait(judge.ask(candidates(2)), candidates(2), lambda number=number: int(number))
