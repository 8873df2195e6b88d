"""A labeler as a reward function: what is asked, what is paid, and what fails."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from doubles import refuse, scripted

from rlaif.errors import BudgetError, RewardError
from rlaif.labeling.score import Scorer
from rlaif.llm.base import Choose, Generate, NoAnswer, Request
from rlaif.llm.scripted import ScriptedLLM, hashed
from rlaif.records import Failure, Turn
from rlaif.rewards import Candidate, Clipped, RewardFn, WeightedSum, begin, in_order, rewards
from rlaif.stages.reward import LabelerReward


def batch(*responses: str) -> list[Candidate]:
    query = (Turn(role="user", content="How do I boil an egg?"),)
    return [Candidate(f"c{n}", query, response) for n, response in enumerate(responses)]


def scorer(script: Any = hashed, **settings: Any) -> Scorer:
    return Scorer("helpfulness", scripted(script), **settings)


def by_text(request: Request) -> Any:
    """A response with "good" in it gets 10 or 1 at even odds of .75; one with "bad" a 1."""
    text = request.messages[-1].content
    return {"10": 0.75, "1": 0.25} if "good egg" in text else {"1": 1.0}


def test_the_reward_is_the_expected_score_mapped_to_minus_one_and_one() -> None:
    # 10 · .75 + 1 · .25 = 7.75 → 2 · 6.75 / 9 - 1 = .5
    assert rewards(LabelerReward(scorer(by_text)), batch("good egg", "bad egg")) == pytest.approx([0.5, -1])


def test_the_same_response_is_asked_once() -> None:
    drawn = {str(score): 0.1 for score in range(1, 11)}
    fn = LabelerReward(scorer(lambda _: drawn, method="sampled", draws=9, temperature=1.0))
    first, second, third = rewards(fn, batch("an egg", "another egg", "an egg"))
    assert first == third != second
    assert fn.usage()["asked"] == 2 * 9
    assert rewards(fn, batch("another egg")) == [second]


def test_another_query_is_another_item() -> None:
    one, two = batch("an egg", "an egg")
    other = Candidate("c2", (Turn(role="user", content="How do I peel an egg?"),), "an egg")
    fn = LabelerReward(scorer())
    first, second, third = rewards(fn, [one, two, other])
    assert first == second != third
    assert fn.usage()["asked"] == 2


def test_a_second_run_costs_nothing_and_says_the_same(tmp_path: Path) -> None:
    asked: list[Request] = []

    def count(request: Request) -> Any:
        asked.append(request)
        return hashed(request)

    ledger = tmp_path / "ledger.sqlite"
    first = rewards(LabelerReward(scorer(count), ledger), batch("one", "two", "three"))
    again = LabelerReward(scorer(count), ledger)
    renamed = [Candidate(f"later {one.id}", one.query, one.response) for one in batch("one", "two", "three")]
    assert rewards(again, renamed) == first
    assert len(asked) == 3
    assert again.usage() == {
        "asked": 0, "from_ledger": 3, "input_tokens": 0, "cached_tokens": 0, "output_tokens": 0, "possibly_billed": 0
    }  # fmt: skip


def test_what_was_begun_is_asked_once_and_is_what_the_batch_gets() -> None:
    asked: list[str] = []

    def script(request: Request) -> Any:
        asked.append(request.messages[-1].content)
        return refuse(request) if "a bad egg" in asked[-1] else hashed(request)

    async def train(early: bool) -> tuple[list[Any], list[str], float]:
        asked.clear()
        async with LabelerReward(scorer(script)) as fn:
            for one in batch("an egg", "a bad egg", "an egg", "") if early else []:
                fn.begin(one)
            await asyncio.sleep(0.05)
            before = list(asked)
            found = await in_order(fn, batch("another egg", "an egg", "a bad egg", "an egg"))
            return found, before, fn.metrics["score_1_to_10"]

    plain, before, mean = asyncio.run(train(False))
    assert before == []
    early, before, same = asyncio.run(train(True))
    assert len(before) == 2
    assert len(asked) == 3
    assert early == plain
    assert isinstance(plain[2], Failure)
    assert plain[2].id == "c2"
    assert same == mean


def test_what_was_begun_in_vain_is_stopped_at_the_end_and_unopened_nothing_begins() -> None:
    async def train() -> None:
        fn = LabelerReward(scorer())
        fn.begin(batch("an egg")[0])
        assert fn.usage()["asked"] == 0
        async with fn:
            fn.begin(batch("an egg")[0])
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(train())


def test_a_mixture_opens_its_parts_with_itself_and_lets_them_begin() -> None:
    async def train() -> float:
        inner = LabelerReward(scorer())
        async with Clipped(WeightedSum([(inner, 0.5), (inner, 0.25)]), -1.0, 1.0) as mixture:
            begin(mixture, batch("an egg")[0])
            await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) == 1
        # Closed, it begins nothing.
        begin(mixture, batch("another egg")[0])
        return inner.usage()["asked"]

    assert asyncio.run(train()) == 1


def test_the_scorer_s_own_ledger_is_used(tmp_path: Path) -> None:
    rewards(LabelerReward(scorer(ledger=tmp_path / "own.sqlite")), batch("one"))
    again = LabelerReward(scorer(ledger=tmp_path / "own.sqlite"))
    rewards(again, batch("one"))
    assert again.usage()["from_ledger"] == 1


def test_opened_once_it_serves_a_whole_training() -> None:
    llm = Counting()

    async def train() -> tuple[list[Any], LabelerReward]:
        async with LabelerReward(Scorer("helpfulness", llm)) as fn:
            found = [await in_order(fn, batch(f"step {step}", "always")) for step in range(3)]
        return found, fn

    found, fn = asyncio.run(train())
    assert llm.opened == 1
    assert len({step[1] for step in found}) == 1
    assert fn.usage()["input_tokens"] > 0
    # Closed, it opens again for a call, on the same account.
    assert rewards(fn, batch("step 0")) == found[0][:1]
    assert (llm.opened, fn.usage()["asked"]) == (2, 7)


class Counting(ScriptedLLM):
    """Counts how often its stream was opened."""

    def __init__(self) -> None:
        super().__init__(hashed, "scripted:counting")
        self.opened = 0

    async def answer(self, requests: Any) -> Any:
        self.opened += 1
        async for pair in super().answer(requests):
            yield pair


def test_another_event_loop_is_refused_by_name() -> None:
    fn = LabelerReward(scorer())

    async def begin() -> None:
        await fn.__aenter__()

    with asyncio.Runner() as first:
        first.run(begin())
        with pytest.raises(RewardError, match="labeler scripted:test was opened in another event loop"):
            rewards(fn, batch("one"))
        first.run(fn.__aexit__(None, None, None))


def test_rationales_are_known_by_candidate_and_those_of_a_batch_whose_failures_are_asked_again_stay() -> None:
    broken = [True]

    def script(request: Request) -> Any:
        if "away" in request.messages[-1].content and broken:
            return NoAnswer("unavailable", "no connection")
        return f"Because {len(request.messages[-1].content)}" if isinstance(request.want, Generate) else {"10": 1.0}

    fn = LabelerReward(scorer(script, rationale=True))
    assert fn.rationales == {}
    one, away, twin = batch("an egg", "away", "an egg")
    rewards(fn, [one, away, twin])
    (why,) = fn.rationales["c0"]
    assert why.startswith("Because ")
    assert fn.rationales == {"c0": (why,), "c2": (why,)}
    assert fn.metrics["score_1_to_10"] == 10
    broken.clear()
    rewards(fn, [away])
    assert fn.rationales.keys() == {"c0", "c1", "c2"}
    other = Candidate("c3", one.query, "a pan")
    rewards(fn, [other])
    assert fn.rationales.keys() == {"c3"}
    # The same candidates with other responses, as held-out queries have again and again.
    rewards(fn, [Candidate("c3", one.query, "a much longer pan")])
    assert fn.rationales["c3"] != (why,)
    plain = LabelerReward(scorer())
    rewards(plain, [one])
    assert plain.rationales == {}


def test_failures_pass_through_under_the_candidate_s_id() -> None:
    def some(request: Request) -> Any:
        text = request.messages[-1].content
        if "away" in text:
            return NoAnswer("unavailable", "no connection")
        return refuse(request) if "bomb" in text else hashed(request)

    fine, empty, refused, away, again = rewards(
        LabelerReward(scorer(some)), batch("an egg", " \n", "a bomb", "away", "a bomb")
    )
    assert isinstance(fine, float)
    nothing = "response is empty; there is nothing to judge or revise"
    assert empty == Failure(id="c1", failure="rejected", detail=nothing)
    assert refused == Failure(id="c2", failure="refused", detail="will not", exchange="I can't.")
    assert isinstance(away, Failure)
    assert (away.id, away.failure) == ("c3", "unavailable")
    assert isinstance(again, Failure)
    assert (again.id, again.failure) == ("c4", "refused")


def test_unread_answers_are_failures() -> None:
    (found,) = rewards(LabelerReward(scorer(lambda _: {"1": 0.1})), batch("an egg"))
    assert isinstance(found, Failure)
    assert found.failure == "unreadable"


def test_what_breaks_the_model_ends_the_training() -> None:
    def broke(request: Request) -> Any:
        raise BudgetError("the cap of $1 is reached")

    fn: RewardFn = WeightedSum([(LabelerReward(scorer(broke)), 1)])
    with pytest.raises(BudgetError, match="cap"):
        rewards(fn, batch("one", "two"))


def test_rewards_come_as_they_are_answered() -> None:
    async def first() -> int:
        async with LabelerReward(Scorer("helpfulness", Slow())) as fn:
            async for index, _ in fn(batch("slow", "quick")):
                return index
        raise AssertionError

    assert asyncio.run(asyncio.wait_for(first(), 10)) == 1


class Slow(ScriptedLLM):
    """Never answers what is about "slow"."""

    def __init__(self) -> None:
        super().__init__(hashed, "scripted:slow")

    async def answer(self, requests: Any) -> Any:
        async for key, request in requests:
            if "slow" not in request.messages[-1].content:
                yield key, self._outcome(request)


def test_there_is_no_state_to_keep() -> None:
    fn = LabelerReward(scorer())
    assert fn.state_dict() == {}
    fn.load_state_dict({})
    with pytest.raises(RewardError, match="holds fn, not nothing"):
        fn.load_state_dict({"fn": {}})


def test_a_bundled_labeler_rewards_and_a_second_run_costs_nothing(tmp_path: Path) -> None:
    labeler = Scorer("helpfulness", "pocket:labeler-xs")
    texts = batch("Boil it for seven minutes.", "I don't know.", "Eggs are round.")
    first = rewards(LabelerReward(labeler, tmp_path / "ledger.sqlite"), texts)
    again = LabelerReward(labeler, tmp_path / "ledger.sqlite")
    assert rewards(again, texts) == first
    assert all(isinstance(reward, float) and -1 < reward < 1 for reward in first)
    assert (again.usage()["asked"], again.usage()["from_ledger"]) == (0, 3)


def test_an_exact_reading_chooses_among_ten_scores() -> None:
    wanted: list[Any] = []

    def see(request: Request) -> Any:
        wanted.append(request.want)
        return hashed(request)

    rewards(LabelerReward(scorer(see)), batch("an egg"))
    assert wanted == [Choose(tuple(str(n) for n in range(1, 11)))]


def test_the_labeler_s_health_is_that_of_the_last_batch() -> None:
    fn = LabelerReward(scorer(by_text))
    assert fn.metrics == {}
    rewards(fn, batch("good egg", "bad egg", "bad egg"))
    # Asked once each: 7.75 and 1; .25 and 1 at the bottom, .75 and 0 at the top.
    assert fn.metrics == pytest.approx(
        {"score_1_to_10": 4.375, "mass_at_1": 0.625, "mass_at_10": 0.375, "unread_mass": 0.0}
    )
    rewards(fn, batch("good egg"))
    assert fn.metrics["score_1_to_10"] == pytest.approx(7.75)


def test_mass_on_no_answer_is_part_of_the_labeler_s_health() -> None:
    fn = LabelerReward(scorer(lambda _: {"10": 0.6, "1": 0.2}))
    rewards(fn, batch("an egg"))
    # Masses are those of the labeler's answer as it came.
    assert fn.metrics["unread_mass"] == pytest.approx(0.2)
    assert fn.metrics["mass_at_10"] == pytest.approx(0.6)


def test_where_all_judgements_failed_nothing_is_known_of_the_labeler_s_health() -> None:
    broken = LabelerReward(scorer(refuse))
    assert all(isinstance(one, Failure) for one in rewards(broken, batch("good egg")))
    assert broken.metrics == {}
