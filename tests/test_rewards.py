"""Reward functions: arithmetic by hand, failures that stay failures, and state that survives."""

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlaif.errors import ConfigError, RewardError, RowError
from rlaif.records import Failure, Turn
from rlaif.rewards import (
    Candidate,
    Clipped,
    FromScores,
    FromTRL,
    LengthPenalty,
    Llama2Rule,
    Logits,
    Reward,
    RewardFn,
    RunningNormalised,
    WeightedSum,
    in_order,
    rewards,
    whiten,
)

REFUSED = Failure(id="labeler's", failure="refused", detail="will not", exchange="I can't.")
UNREADABLE = Failure(id="labeler's", failure="unreadable", detail="mumbles")
REWARD = st.floats(-1e3, 1e3).map(lambda value: round(value, 6))


def candidates(n: int, **columns: Sequence[Any]) -> list[Candidate]:
    return [
        Candidate(
            f"c{i}",
            (Turn(role="user", content=f"q{i}"),),
            f"r{i}",
            tuple(range(i + 1)),
            {name: values[i] for name, values in columns.items()},
        )
        for i in range(n)
    ]


class Listed:
    """Gives the listed rewards, batch after batch, in a shuffled order; and counts what it is paid for."""

    def __init__(self, *values: Any, shuffle: int | None = None) -> None:
        self._values, self._next, self._shuffle = values, 0, shuffle

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        order = list(range(len(batch)))
        start, self._next = self._next, self._next + len(batch)
        if self._shuffle is not None:
            random.Random(self._shuffle).shuffle(order)
        for index in order:
            await asyncio.sleep(0)
            yield index, self._values[start + index]

    def usage(self) -> Mapping[str, float]:
        return {"tokens": self._next}

    def state_dict(self) -> dict[str, Any]:
        return {"next": self._next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._next = state["next"]


async def arrivals(fn: RewardFn, batch: Sequence[Candidate]) -> list[tuple[int, Reward]]:
    return [pair async for pair in fn(batch)]


def failure(reward: Reward) -> Failure:
    assert isinstance(reward, Failure)
    return reward


# The protocol


def test_rewards_come_in_the_order_of_the_batch_whatever_order_they_arrive_in() -> None:
    assert asyncio.run(arrivals(Listed(*range(9), shuffle=1), candidates(9))) != [(i, i) for i in range(9)]
    assert rewards(Listed(*range(9), shuffle=1), candidates(9)) == list(range(9))
    assert rewards(Listed(), []) == []


class Pairs(Listed):
    def __init__(self, *pairs: tuple[int, Any]) -> None:
        super().__init__()
        self._pairs = pairs

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        for pair in self._pairs:
            yield pair


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(0, 1.0), (0, 2.0)], "Pairs gave a second reward for place 0 of a batch of 3"),
        ([(3, 1.0)], "Pairs gave a reward for place 3 of a batch of 3"),
        ([(-1, 1.0)], "Pairs gave a reward for place -1 of a batch of 3"),
        ([(1, 1.0)], r"Pairs gave no reward for places \[0, 2\] of a batch of 3"),
        ([(1, math.nan)], r"Pairs: row 1 \(id c1\): the reward is nan; it must be a finite number"),
        ([(1, -math.inf)], "the reward is -inf"),
        ([(1, None)], "the reward is None"),
        ([(1, "0.5")], "the reward is '0.5'"),
        ([(1, 10**400)], "the reward is 1000"),
    ],
)
def test_a_reward_function_that_breaks_its_word_is_named(pairs: list[tuple[int, Any]], message: str) -> None:
    with pytest.raises(RewardError, match=message):
        rewards(Pairs(*pairs), candidates(3))


class Stepwise(Listed):
    """Streams without being a generator."""

    def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        return self

    def __aiter__(self) -> AsyncIterator[tuple[int, Reward]]:
        return self

    async def __anext__(self) -> tuple[int, Reward]:
        if self._next == len(self._values):
            raise StopAsyncIteration
        self._next += 1
        return self._next - 1, self._values[self._next - 1]


def test_a_stream_need_not_be_a_generator() -> None:
    assert rewards(WeightedSum([(Stepwise(1, 2), 2)]), candidates(2)) == [2, 4]


def test_inside_an_event_loop_rewards_says_what_to_await() -> None:
    async def notebook() -> list[Reward]:
        with pytest.raises(RewardError, match=r"await in_order\(fn, batch\)"):
            rewards(Listed(1), candidates(1))
        return await in_order(Listed(1), candidates(1))

    assert asyncio.run(notebook()) == [1]


# The weighted sum


def test_a_weighted_sum_weighs_each_part_by_its_own_weight() -> None:
    # 2·1 - .5·10 = -3 and 2·3 - .5·20 = -4
    fn = WeightedSum([(Listed(1, 3), 2), (Listed(10, 20), -0.5)])
    assert rewards(fn, candidates(2)) == [-3, -4]


def test_a_failed_part_is_named_and_the_others_are_kept() -> None:
    fn = WeightedSum([(Listed(1, 2, UNREADABLE, 4), 1), (Listed(10, REFUSED, REFUSED, UNREADABLE), 1)])
    first, second, third, fourth = rewards(fn, candidates(4))
    assert first == 11
    assert second == Failure(
        id="c1",
        failure="refused",
        detail="part 2 (Listed): will not",
        partial={"part 1 (Listed)": 2},
        exchange="I can't.",
    )
    assert (failure(third).failure, failure(third).partial) == ("unreadable", None)
    assert failure(third).detail == "part 1 (Listed): mumbles; part 2 (Listed): will not"
    assert failure(fourth).failure == "unreadable"


def test_parts_are_asked_at_the_same_time_and_a_candidate_waits_only_for_its_own() -> None:
    async def check() -> None:
        begun = asyncio.Barrier(2)

        class Meeting(Listed):
            async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
                await begun.wait()
                yield 1, 1.0
                await last.wait()
                yield 0, 1.0

        last = asyncio.Event()
        stream = aiter(WeightedSum([(Meeting(), 1), (Meeting(), 1)])(candidates(2)))
        assert await asyncio.wait_for(anext(stream), 5) == (1, 2)
        last.set()
        assert await asyncio.wait_for(anext(stream), 5) == (0, 2)

    asyncio.run(check())


class Breaks(Listed):
    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        await asyncio.sleep(0)
        raise ZeroDivisionError("own bug")
        yield 0, 0.0


class Waits(Listed):
    """Never answers, and says when it was told to stop."""

    stopped = False

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        try:
            yield 0, 1.0
            await asyncio.Event().wait()
        finally:
            self.stopped = True


def test_what_a_part_raises_comes_out_and_the_other_parts_are_stopped() -> None:
    waits = Waits()
    with pytest.raises(ZeroDivisionError, match="own bug") as raised:
        rewards(WeightedSum([(waits, 1), (Breaks(), 1)]), candidates(1))
    assert raised.traceback[-1].name == "__call__"
    assert waits.stopped


@pytest.mark.parametrize("around", [lambda fn: WeightedSum([(fn, 1)]), lambda fn: Clipped(fn, 0, 1)])
def test_whoever_stops_listening_stops_the_parts(around: Any) -> None:
    waits = Waits()

    async def first() -> None:
        stream = around(waits)(candidates(2))
        assert await anext(stream) == (0, 1)
        await stream.aclose()
        assert waits.stopped

    asyncio.run(first())


def test_a_sum_without_parts_or_with_a_weight_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="no parts"):
        WeightedSum([])
    with pytest.raises(ConfigError, match=r"part 2 \(Listed\) has the weight nan"):
        WeightedSum([(Listed(), 1), (Listed(), math.nan)])


# Llama 2's rule


def rule(helpfulness: Sequence[Any], safety: Sequence[Any], **options: Any) -> Llama2Rule:
    """Both as logits."""
    return Llama2Rule(Logits(Listed(*helpfulness), 1, 0), Logits(Listed(*safety), 1, 0), **options)


def test_safety_decides_where_it_is_low_or_the_query_is_tagged_and_the_logits_are_whitened() -> None:
    # safety .1 and .1 are below .15, .5 is not; the fourth is tagged: chosen logits are -2.2, 3, -2.2, 1.4.
    # mean 0; variance (4.84 + 9 + 4.84 + 1.96) / 4 = 5.16
    low = math.log(0.1 / 0.9)
    chosen = np.array([low, 3, low, 1.4])
    fn = rule([5, 3, 7, 9], [low, 0, low, 1.4], unsafe_column="unsafe")
    batch = candidates(4, unsafe=[False, False, True, True])
    assert rewards(fn, batch) == pytest.approx((chosen - chosen.mean()) / chosen.std(ddof=0))
    assert rewards(rule([1, 3], [0, 0]), candidates(2)) == [-1, 1]


def test_a_safety_score_of_exactly_the_threshold_leaves_helpfulness_in_charge() -> None:
    edge = math.log(0.15 / 0.85)
    # Helpfulness is +1 and -1: of the chosen (1, -1) the whitened are (1, -1); safety would give (0, 0).
    assert rewards(rule([1, -1], [edge, edge]), candidates(2)) == [1, -1]
    below = math.nextafter(edge, -math.inf)
    assert rewards(rule([1, -1], [below, below]), candidates(2)) == pytest.approx([0, 0])
    # σ(0) = .5
    assert rewards(rule([1, -1], [0, 0], threshold=0.5), candidates(2)) == [1, -1]


def test_the_threshold_is_applied_to_the_probability_behind_a_normalised_score() -> None:
    # logit = score · 2 - 3: a score of .5 is the logit -2, σ(-2) = .119 < .15; a score of 1 is -1, σ(-1) = .269.
    # Without the map σ(.5) and σ(1) are both above. Chosen: -2 and helpfulness 4 · 10 + 2 = 42 → whitened -1, 1.
    fn = Llama2Rule(Logits(Listed(20, 4), 10, 2), Logits(Listed(0.5, 1), 2, -3))
    assert rewards(fn, candidates(2)) == pytest.approx([-1, 1])
    assert rewards(Logits(Listed(0.5, 4), 10, 2), candidates(2)) == [7, 42]


def test_llama_2_failures_stay_failures_and_are_left_out_of_the_whitening() -> None:
    low = -5
    fn = rule([1, REFUSED, REFUSED, 3, UNREADABLE], [0, 0, low, REFUSED, REFUSED])
    first, second, third, fourth, fifth = rewards(fn, candidates(5))
    # Chosen are 1 and, since safety decides there, -5: mean -2, spread 3.
    assert (first, third) == (1, -1)
    assert (failure(second).detail, failure(second).partial) == ("helpfulness: will not", {"safety": 0})
    assert (failure(fourth).detail, failure(fourth).partial) == ("safety: will not", {"helpfulness": 3})
    assert (failure(fifth).failure, failure(fifth).partial, failure(fifth).id) == ("refused", None, "c4")


@pytest.mark.parametrize("tag", ["false", None, 1, []])
def test_a_tag_that_is_neither_true_nor_false_is_no_tag(tag: Any) -> None:
    with pytest.raises(RewardError, match=r"row 1 \(id c1\): column unsafe is .*; it must be true or false"):
        rewards(rule([1, 1], [1, 1], unsafe_column="unsafe"), candidates(2, unsafe=[True, tag]))


def test_llama_2_wants_logits_and_probabilities_in_their_places() -> None:
    with pytest.raises(ConfigError, match="Listed may be no logit"):
        Llama2Rule(Listed(), Logits(Listed(), 1, 0))  # type: ignore[arg-type]
    for threshold in (0, 1, -1.7):
        with pytest.raises(ConfigError, match="it is a probability"):
            rule([], [], threshold=threshold)
    for scale in (0, -1, math.nan):
        with pytest.raises(ConfigError, match="score_scale"):
            Logits(Listed(), scale, 0)


def test_whitening_has_population_variance_one_and_no_division_without_spread() -> None:
    # mean 2, population variance 2/3 → ±1 / .8165
    assert whiten([1, 2, 3]) == pytest.approx([-1.224744871391589, 0, 1.224744871391589])
    assert whiten([5.0]) == [0]
    assert whiten([0.1, 0.1, 0.1]) == pytest.approx([0, 0, 0], abs=1e-15)
    assert whiten([]) == []
    assert whiten([REFUSED]) == [REFUSED]
    assert whiten([0, REFUSED, 2]) == [-1, REFUSED, 1]


# Shaping


def test_every_token_beyond_the_free_ones_costs() -> None:
    # lengths 1, 2, 3, 4; two are free: 0, 0, 1, 2 tokens at .25
    fn = LengthPenalty(Listed(1, 1, 1, REFUSED), per_token=0.25, free_tokens=2)
    assert rewards(fn, candidates(4)) == [1, 1, 0.75, REFUSED]
    assert rewards(LengthPenalty(Listed(0, 0), 1), candidates(2)) == [-1, -2]


def test_a_length_needs_tokens_or_another_measure() -> None:
    text = Candidate("t", (Turn(role="user", content="q"),), "three short words")
    with pytest.raises(RewardError, match="id t comes without token_ids"):
        rewards(LengthPenalty(Listed(1), 0.5), [text])
    words = LengthPenalty(Listed(1), 0.5, 1, lambda candidate: len(candidate.response.split()))
    assert rewards(words, [text]) == [0]


@pytest.mark.parametrize(("per_token", "free"), [(0, 0), (-0.1, 0), (math.inf, 0), (math.nan, 0), (1, -1)])
def test_a_penalty_that_rewards_is_refused(per_token: float, free: int) -> None:
    with pytest.raises(ConfigError):
        LengthPenalty(Listed(), per_token, free)


def test_clipping_keeps_what_is_within_and_failures() -> None:
    assert rewards(Clipped(Listed(-3, 0.5, 3, REFUSED), -1, 2), candidates(4)) == [-1, 0.5, 2, REFUSED]
    assert rewards(Clipped(Listed(-3, 3), -math.inf, 2), candidates(2)) == [-3, 2]
    for low, high in ((1, 1), (2, 1), (math.nan, 1)):
        with pytest.raises(ConfigError, match="the bounds are"):
            Clipped(Listed(), low, high)


def test_running_normalisation_counts_the_present_batch() -> None:
    fn = RunningNormalised(Listed(1, 3, 5, REFUSED, 7, 7))
    # mean 2, spread 1
    assert rewards(fn, candidates(2)) == [-1, 1]
    # 1, 3, 5: mean 3, variance 8/3
    assert rewards(fn, candidates(2)) == [pytest.approx(2 / math.sqrt(8 / 3)), REFUSED]
    # 1, 3, 5, 7, 7: mean 4.6, variance (12.96 + 2.56 + .16 + 5.76 + 5.76) / 5 = 5.44
    assert rewards(fn, candidates(2)) == pytest.approx([2.4 / math.sqrt(5.44)] * 2)
    assert (fn.mean, fn.variance) == pytest.approx((4.6, 5.44))


def test_without_spread_nothing_is_divided() -> None:
    fn = RunningNormalised(Listed(REFUSED, 0.1, 0.1, 0.1))
    assert rewards(fn, candidates(1)) == [REFUSED]
    assert (fn.mean, fn.variance) == (0, 0)
    assert rewards(fn, candidates(3)) == pytest.approx([0, 0, 0], abs=1e-15)


@given(st.lists(st.lists(REWARD, max_size=6), max_size=6))
def test_running_moments_of_batches_are_the_moments_of_all(batches: list[list[float]]) -> None:
    everything = [value for batch in batches for value in batch]
    fn = RunningNormalised(Listed(*everything))
    for batch in batches:
        rewards(fn, candidates(len(batch)))
    mean, variance = (np.mean(everything), np.var(everything)) if everything else (0, 0)
    assert fn.mean == pytest.approx(mean, rel=1e-9, abs=1e-9)
    assert fn.variance == pytest.approx(variance, rel=1e-9, abs=1e-9)


def mixture(values: Sequence[Reward], shuffle: int | None) -> RewardFn:
    parts = WeightedSum([(Listed(*values, shuffle=shuffle), 0.7), (Listed(*values[::-1], shuffle=shuffle), 0.2)])
    return Clipped(RunningNormalised(LengthPenalty(parts, 0.1, 1)), -2, 2)


@given(st.lists(st.one_of(REWARD, st.just(REFUSED)), min_size=8, max_size=8), st.integers(0, 99))
def test_the_order_of_arrival_changes_neither_rewards_nor_state(values: list[Reward], seed: int) -> None:
    straight, shuffled = mixture(values, None), mixture(values, seed)
    for size in (5, 3):
        assert rewards(straight, candidates(size)) == rewards(shuffled, candidates(size))
        assert straight.state_dict() == shuffled.state_dict()
    rules = [
        Llama2Rule(Logits(Listed(*values, shuffle=n), 1, 0), Logits(Listed(*values[::-1], shuffle=n), 1, 0))
        for n in (None, seed)
    ]
    assert rewards(rules[0], candidates(8)) == rewards(rules[1], candidates(8))


@given(st.lists(REWARD, min_size=9, max_size=9))
def test_a_reloaded_state_goes_on_exactly(values: list[float]) -> None:
    whole = mixture(values, None)
    rewards(whole, candidates(4))
    resumed = mixture(values, 3)
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert rewards(resumed, candidates(5)) == rewards(whole, candidates(5))
    assert resumed.state_dict() == whole.state_dict()


def test_the_state_of_another_reward_is_refused() -> None:
    sum_of_two = WeightedSum([(FromScores(list), 1), (FromScores(list), 1)])
    with pytest.raises(RewardError, match="RunningNormalised: the stored state holds parts, not count, fn, mean, squ"):
        RunningNormalised(FromScores(list)).load_state_dict(sum_of_two.state_dict())
    with pytest.raises(RewardError, match="has 1 parts; there are 2"):
        sum_of_two.load_state_dict(WeightedSum([(FromScores(list), 1)]).state_dict())
    with pytest.raises(RewardError, match="list: the stored state holds fn, not nothing"):
        FromScores(list).load_state_dict({"fn": {}})
    with pytest.raises(RewardError, match="holds nothing, not fn"):
        Clipped(FromScores(list), 0, 1).load_state_dict({})


def test_usage_of_parts_adds_up() -> None:
    fn = WeightedSum([(Listed(1, 1), 1), (Clipped(Listed(1, 1), 0, 1), 1), (FromScores(lambda pairs: [1, 1]), 1)])
    assert fn.usage() == {"tokens": 0}
    rewards(fn, candidates(2))
    assert fn.usage() == {"tokens": 4}
    assert FromScores(list).usage() == {}


# TRL's functions


def test_a_function_gets_what_trl_gives_it() -> None:
    seen: dict[str, Any] = {}

    def everything(**keywords: Any) -> list[float]:
        seen.update(keywords)
        keywords["log_metric"]("hits", 0.5)
        keywords["log_metric"]("hits", 1.5)
        keywords["log_extra"]("gold", ["a", "b"])
        return [1, 2]

    turns = (Turn(role="system", content="s"), Turn(role="user", content="u"))
    batch = [Candidate("a", turns, "one", (5, 6), {"solution": "x", "prompt": "not ours"})]
    batch.append(Candidate("b", turns, "two", (7,), {"solution": "y", "prompt": "not ours"}))
    fn = FromTRL(everything, trainer_state="state")
    assert rewards(fn, batch) == [1, 2]
    dialogue = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert callable(seen.pop("log_metric"))
    assert callable(seen.pop("log_extra"))
    assert seen == {
        "prompts": [dialogue, dialogue],
        "completions": [[{"role": "assistant", "content": "one"}], [{"role": "assistant", "content": "two"}]],
        "completion_ids": [[5, 6], [7]],
        "solution": ["x", "y"],
        "trainer_state": "state",
    }
    assert (fn.metrics, fn.extra) == ({"hits": [0.5, 1.5]}, {"gold": ["a", "b"]})


def test_functions_that_trl_ships_are_accepted_unchanged() -> None:
    trl = pytest.importorskip("trl.rewards")
    user = (Turn(role="user", content="q"),)
    texts = ["<think>\nso\n</think>\nyes", "yes"]
    batch = [Candidate(text[:3], user, text, tuple(range(n))) for text, n in zip(texts, (60, 95), strict=True)]
    assert rewards(FromTRL(trl.think_format_reward), batch) == [1, 0]
    # 100 tokens at most, punished over the last 20: (80 - 95) / 20 = -.75
    overlong = FromTRL(trl.get_soft_overlong_punishment(max_completion_len=100, soft_punish_cache=20))
    assert rewards(overlong, batch) == [0, -0.75]


def starts_with_r(completions: list[str], prompts: list[str], **kwargs: Any) -> list[bool]:
    return [c.startswith("r") and p.startswith("q") for c, p in zip(completions, prompts, strict=True)]


async def waits_first(completions: Any, **kwargs: Any) -> list[float | None]:
    await asyncio.sleep(0)
    return [0.5, None]


class Callable:
    async def __call__(self, completions: Any, **kwargs: Any) -> Any:
        return np.array([1.5, 2.5], dtype=np.float32)


def test_functions_of_every_shape_are_accepted() -> None:
    batch = candidates(2)
    assert rewards(FromTRL(starts_with_r, conversational=False), batch) == [1, 1]
    masked = Failure(id="c1", failure="masked", detail="waits_first returned None")
    assert rewards(FromTRL(waits_first), batch) == [0.5, masked]
    assert rewards(FromTRL(Callable()), batch) == [1.5, 2.5]
    assert rewards(FromTRL(lambda **_: torch.tensor([1.0, 2.0])), batch) == [1, 2]
    halved = partial(lambda scale, completions, **_: [scale, scale], 0.5)
    assert rewards(FromTRL(halved), batch) == [0.5, 0.5]
    assert rewards(FromTRL(lambda **_: 1 / 0), []) == []
    assert FromTRL(partial(starts_with_r)).name == "starts_with_r"
    assert FromTRL(Callable()).name == "Callable"
    assert FromScores(Callable().__call__).name == "Callable.__call__"


def test_a_mask_stays_a_mask_in_a_sum() -> None:
    fn = WeightedSum([(FromTRL(waits_first), 1), (Listed(2, 3), 1)])
    first, second = rewards(fn, candidates(2))
    assert first == 2.5
    assert (failure(second).failure, failure(second).partial) == ("masked", {"part 2 (Listed)": 3})


def test_what_a_function_raises_keeps_its_traceback() -> None:
    def careless(completions: Any, **_: Any) -> list[float]:
        return [completions[0]["content"]]

    with pytest.raises(TypeError, match="list indices") as raised:
        rewards(FromTRL(careless), candidates(1))
    assert raised.traceback[-1].name == "careless"


def short(**_: Any) -> Any:
    return [1.0]


def forgets(**_: Any) -> Any:
    return None


def says(**_: Any) -> Any:
    return [1.0, "good"]


def divides(**_: Any) -> Any:
    return [1.0, math.nan]


def wants(solution: Any, **_: Any) -> Any:
    return [1.0, 1.0]


def closed(prompts: Any, completions: Any) -> Any:
    return [1.0, 1.0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (short, "short returned 1 rewards for 2 rows"),
        (forgets, "forgets returned None; a list with one reward a row is wanted"),
        (says, r"says: row 1 \(id c1\): the reward is 'good'; it must be a finite number"),
        (divides, r"divides: row 1 \(id c1\): the reward is nan"),
        (
            wants,
            "wants: missing a required .*argument: 'solution'; it is called with the keywords completion_ids, comp",
        ),
        # Written in C, it does not tell its signature.
        (dict, "dict returned 5 rewards for 2 rows"),
        (closed, "closed: got an unexpected keyword argument 'completion_ids'"),
    ],
)
def test_a_function_that_does_not_keep_to_trl_s_form_is_named(function: Any, message: str) -> None:
    with pytest.raises(RewardError, match=message):
        rewards(FromTRL(function), candidates(2))


def test_rows_that_a_function_cannot_be_given_are_named() -> None:
    ragged = [*candidates(1, solution=["x"]), Candidate("late", candidates(1)[0].query, "r")]
    with pytest.raises(RewardError, match=r"short: row 1 \(id late\) lacks the column solution"):
        rewards(FromTRL(short), ragged)
    turns = (Turn(role="user", content="a"), Turn(role="assistant", content="b"), Turn(role="user", content="c"))
    with pytest.raises(RewardError, match=r"short: row 0 \(id d\) is a dialogue, no single turn; use conversational"):
        rewards(FromTRL(short, conversational=False), [Candidate("d", turns, "r")])


def test_token_ids_are_given_only_where_all_are_known() -> None:
    def count(completions: Any, completion_ids: Any = None, **_: Any) -> list[float]:
        return [len(ids) for ids in completion_ids] if completion_ids else [0] * len(completions)

    mixed = [*candidates(1), Candidate("text", candidates(1)[0].query, "r")]
    assert rewards(FromTRL(count), candidates(2)) == [1, 2]
    assert rewards(FromTRL(count), mixed) == [0, 0]


# Plain scores


def test_a_function_of_pairs_becomes_a_reward() -> None:
    seen: list[Any] = []

    def score(pairs: Any) -> list[Any]:
        seen.extend(pairs)
        return [0.5, RowError("the response is longer than 8 tokens")]

    batch = candidates(2)
    first, second = rewards(FromScores(score), batch)
    assert first == 0.5
    assert second == Failure(id="c1", failure="rejected", detail="the response is longer than 8 tokens")
    assert seen == [(batch[0].query, "r0"), (batch[1].query, "r1")]
    assert rewards(FromScores(score), []) == []


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0], "score returned 1 rewards for 2 rows"),
        ([1.0, math.inf], r"score: row 1 \(id c1\): the reward is inf"),
        ([1.0, None], "the reward is None"),
        (3.0, "score returned 3.0; a list"),
    ],
)
def test_scores_that_are_no_scores_are_named(scores: Any, message: str) -> None:
    def score(pairs: Any) -> Any:
        return scores

    with pytest.raises(RewardError, match=message):
        rewards(FromScores(score), candidates(2))
