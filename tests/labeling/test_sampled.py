"""Answers that are drawn: shares of draws, their intervals, and what they share with exact labels."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from doubles import PAIR, judge, scripted, shown_first
from scipy.stats import binom

from rlaif.errors import CapabilityError, ConfigError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.score import Scorer
from rlaif.llm.base import Capabilities, Choose, Generate, NoAnswer, Request
from rlaif.llm.ledger import Ledger
from rlaif.llm.run import Runner
from rlaif.pocket.data import comparisons
from rlaif.records import Comparison, Failure, Preference, Response, parse
from rlaif.statistics.intervals import wilson

ITEM = parse(Comparison, PAIR)
RESPONSE = parse(Response, {"id": "r", "query": "Q?", "response": "text"})


def draws(p12: float, p21: float, unread: float = 0.0) -> Any:
    """Draws "1" with a probability that depends on the order."""

    def script(request: Request) -> Mapping[str, float]:
        first = p12 if shown_first(request) == "good" else p21
        return {"1": first * (1 - unread), "2": (1 - first) * (1 - unread)}

    return script


def labeler(script: Any, **settings: Any) -> PreferenceLabeler:
    return PreferenceLabeler("helpfulness", scripted(script), method="sampled", **settings)


def test_a_sampled_label_is_the_share_of_the_draws_that_were_read() -> None:
    label = judge(labeler(draws(0.8, 0.3, unread=0.25), draws=400), ITEM)
    assert isinstance(label, Preference)
    # 400 draws, 300 of them read, have a standard error of .023 and .026.
    assert label.preference_12 == pytest.approx(0.8, abs=0.1)
    # Shown second, the good response is "2".
    assert label.preference_21 == pytest.approx(0.7, abs=0.1)
    assert label.unread_mass_12 == pytest.approx(0.25, abs=0.1)
    assert (label.method, label.preference) == ("sampled", (label.preference_12 + label.preference_21) / 2)  # type: ignore[operator]
    assert label.draws == round(400 * (2 - label.unread_mass_12 - label.unread_mass_21))  # type: ignore[operator]
    assert label.interval == pytest.approx(wilson(label.preference, label.draws))


def test_one_order_has_the_draws_of_one_order() -> None:
    label = judge(labeler(draws(1.0, 0.0), draws=10, orders="one"), ITEM)
    assert (label.draws, label.preference, label.interval) == (10, 1.0, wilson(1.0, 10))


def test_a_sampled_score_is_the_mean_of_the_draws_with_an_interval_on_its_scale() -> None:
    def script(request: Request) -> str:
        assert isinstance(request.want, Generate)
        return ["10", " 4.", "1", "15"][request.draw % 4]

    score = judge(Scorer("helpfulness", scripted(script), method="sampled", draws=8), RESPONSE)
    assert score.score == pytest.approx(5.0)
    assert score.distribution == pytest.approx((0.25, 0, 0, 0.25, 0, 0, 0, 0, 0, 0.25))
    assert (score.unread_mass, score.draws, score.method) == (0.25, 6, "sampled")
    low, high = wilson(4 / 9, 6)
    assert score.interval == pytest.approx((1 + 9 * low, 1 + 9 * high))


def test_every_draw_has_a_seed_of_its_own_and_more_draws_begin_with_the_same() -> None:
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return "1"

    judge(labeler(script, draws=4), ITEM)
    few = {one.want for one in asked}
    assert len(few) == 8
    assert all(isinstance(one.want, Generate) and one.want.temperature == 1.0 for one in asked)
    asked.clear()
    judge(labeler(script, draws=6), ITEM)
    assert len({one.want for one in asked}) == 12
    assert few < {one.want for one in asked}


def test_behind_each_of_several_rationales_answers_are_drawn() -> None:
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        assert isinstance(request.want, Generate)
        return "1" if request.continuation.endswith("=") else f"Thought {request.want.seed}"

    settings: dict[str, Any] = {"rationale": True, "self_consistency": 3, "temperature": 0.7, "draws": 4}
    label = judge(labeler(script, **settings), ITEM)
    assert (label.draws, len(label.rationales_12)) == (24, 3)
    verdicts = [one for one in asked if one.continuation.endswith("=")]
    assert len({one.want for one in verdicts}) == 24
    assert len(asked) == 24 + 6


def test_a_draw_that_is_refused_gives_no_verdict_and_costs_none_of_the_others() -> None:
    def script(request: Request) -> Any:
        return NoAnswer("refused", "will not", "I can't.") if request.draw == 0 else "1"

    label = judge(labeler(script, draws=4), ITEM)
    assert (label.preference_12, label.unread_mass_12, label.draws) == (1.0, 0.25, 6)
    failure = judge(labeler(lambda _: NoAnswer("refused", "will not"), draws=4), ITEM)
    assert (failure.failure, failure.detail) == ("refused", "order 12: will not")


def test_a_draw_that_is_unavailable_fails_the_item_and_only_it_is_asked_again(tmp_path: Path) -> None:
    asked = 0
    down = True

    def script(request: Request) -> Any:
        nonlocal asked
        asked += 1
        return NoAnswer("unavailable", "down") if down and request.draw == 2 else "1"

    def run() -> Any:
        async def judged() -> Any:
            one = labeler(script, draws=4)
            async with Runner(one.llm, Ledger(tmp_path / "ledger.sqlite")) as runner:
                return await one.judge(ITEM, runner.ask)

        return asyncio.run(judged())

    failure = run()
    assert isinstance(failure, Failure)
    assert (failure.failure, asked) == ("unavailable", 8)
    down = False
    label = run()
    assert isinstance(label, Preference)
    assert (label.draws, asked) == (8, 10)


def test_too_many_unread_draws_make_an_item_unreadable() -> None:
    failure = judge(labeler(lambda _: "Both are fine.", draws=4), ITEM)
    assert failure.failure == "unreadable"
    assert "1.0000 of the probability is on no offered answer" in failure.detail


def test_a_model_that_cannot_be_sampled_or_has_no_log_probabilities_is_told_what_would_do() -> None:
    for able, method, remedy in [
        (Capabilities(exact=True, continues=True), "sampled", "--method exact"),
        (Capabilities(temperature=True, continues=True), "exact", "--method sampled"),
    ]:
        with pytest.raises(CapabilityError, match=remedy):
            PreferenceLabeler("helpfulness", scripted(draws(0.5, 0.5), capabilities=able), method=method)


def test_a_real_models_draws_follow_its_exact_probabilities() -> None:
    rows = list(comparisons(8, task="helpfulness", split="heldout", seed=3))
    n = 40
    exact = PreferenceLabeler("helpfulness", "pocket:labeler-xs", max_unread_mass=1.0).label(rows)
    sampled = PreferenceLabeler(
        "helpfulness", "pocket:labeler-xs", method="sampled", draws=n, max_unread_mass=1.0
    ).label(rows)
    tails = []
    for one, other in zip(exact, sampled, strict=True):
        for order in ("12", "21"):
            p, unread = getattr(one, f"preference_{order}"), getattr(one, f"unread_mass_{order}")
            found, lost = getattr(other, f"preference_{order}"), getattr(other, f"unread_mass_{order}")
            read = round(n * (1 - lost))
            for hits, of, chance in ((round(found * read), read, p), (round(lost * n), n, unread)):
                tails.append(2 * min(binom.cdf(hits, of, chance), binom.sf(hits - 1, of, chance)))
    # With 32 tails a false alarm comes once in 30,000 changes of the model; the draws are seeded.
    assert min(tails) > 1e-6
    assert len({one.preference for one in sampled}) > 4


def test_a_choice_is_never_drawn_where_exact_labels_are_wanted() -> None:
    def script(request: Request) -> Mapping[str, float]:
        assert isinstance(request.want, Choose)
        return {"1": 0.6, "2": 0.4}

    label = judge(PreferenceLabeler("helpfulness", scripted(script)), ITEM)
    assert (label.method, label.draws, label.interval) == ("exact", None, None)


def test_a_stated_probability_is_read_in_both_orders_and_anything_else_is_unreadable() -> None:
    def script(request: Request) -> str:
        text = request.messages[-1].content
        assert text.endswith("0 to 100, and with nothing else.")
        assert "How probable is it that the right answer is 1?" in text
        assert (request.want, request.continuation) == (Generate(8), "")
        return "80" if shown_first(request) == "good" else "30 %"

    plain = Capabilities()  # Nothing is needed but text.
    stating = PreferenceLabeler("helpfulness", scripted(script, capabilities=plain), method="verbalized")
    label = judge(stating, ITEM)
    assert isinstance(label, Preference)
    assert (label.preference_12, label.preference_21) == pytest.approx((0.8, 0.7))
    assert (label.method, label.draws, label.unread_mass_12) == ("verbalized", None, 0)
    mumbling = scripted(lambda _: "both are fine", capabilities=plain)
    failure = judge(PreferenceLabeler("helpfulness", mumbling, method="verbalized"), ITEM)
    assert isinstance(failure, Failure)
    assert (failure.failure, failure.exchange) == ("unreadable", "both are fine")
    with pytest.raises(ConfigError, match="verbalized asks how probable a preference is"):
        Scorer("helpfulness", mumbling, method="verbalized")


def test_a_stated_probability_is_asked_for_behind_the_rationale() -> None:
    seen = []

    def script(request: Request) -> str:
        seen.append(request.messages[-1].content)
        return "It is kind." if len(seen) <= 2 else "90"

    llm = scripted(script, capabilities=Capabilities())
    label = judge(PreferenceLabeler("helpfulness", llm, method="verbalized", rationale=True), ITEM)
    assert isinstance(label, Preference)
    assert label.rationales_12 == ("It is kind.",)
    assert all("It is kind.\n\nHow probable" in text for text in seen[2:])
    assert len(seen) == 4
