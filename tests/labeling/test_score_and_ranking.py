"""Scores and rankings by hand."""

from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from doubles import judge, refuse, scripted, shown_first

from rlaif.errors import ConfigError
from rlaif.labeling.ranking import Ranker
from rlaif.labeling.score import Scorer, scale
from rlaif.llm.base import Request
from rlaif.records import Response, Sample, parse

RESPONSE = parse(Response, {"id": "r", "query": "Q?", "response": "text", "response_index": 3, "topic": "t"})


def test_the_score_is_the_expectation_after_renormalisation() -> None:
    # .6 on 10 and .2 on 4, .2 unread: (.6 · 10 + .2 · 4) / .8 = 8.5, and 2 · 7.5 / 9 - 1 = 2/3.
    score = judge(Scorer("helpfulness", scripted(lambda _: {"10": 0.6, "4": 0.2})), RESPONSE)
    assert score.score == pytest.approx(8.5)
    assert score.scaled == pytest.approx(2 / 3)
    assert score.distribution == pytest.approx((0, 0, 0, 0.2, 0, 0, 0, 0, 0, 0.6))
    assert score.unread_mass == pytest.approx(0.2)
    assert (score.response_index, score.model_extra) == (3, {"topic": "t"})


def test_the_scale_sends_one_to_minus_one_ten_to_one_and_the_uniform_to_zero() -> None:
    assert (scale(1), scale(10), scale(5.5)) == (-1, 1, 0)


def test_a_failed_score_is_a_failure_with_its_index() -> None:
    failure = judge(Scorer("helpfulness", scripted(refuse)), RESPONSE)
    assert (failure.failure, failure.response_index, failure.exchange) == ("refused", 3, "I can't.")


def test_comparisons_in_a_table_give_one_score_for_each_response() -> None:
    frame = pd.DataFrame([{"id": "a", "query": "q", "response_1": "x", "response_2": ""}])
    found = Scorer("helpfulness", scripted(lambda _: {"7": 1.0})).score(frame)
    assert list(found["response_index"]) == [0, 1]
    assert found["score"].iloc[0] == pytest.approx(7)
    assert list(found["failure"].fillna("-")) == ["-", "rejected"]


WORTH = {"a": 0.1, "b": 0.7, "c": 0.3, "d": 0.9, "e": 0.5}


def by_worth(request: Request) -> dict[str, float]:
    """The probability of each is its share of the worth of both."""
    text = request.messages[-1].content
    first, second = shown_first(request), text.split("Response 2 - ")[-1].split("\n")[0]
    share = WORTH[first] / (WORTH[first] + WORTH[second])
    return {"1": share, "2": 1 - share}


SAMPLE = parse(Sample, {"id": "s", "query": "Q?", "responses": list("abcde"), "topic": "t"})


def test_all_pairs_rank_by_the_mean_probability_of_being_preferred() -> None:
    ranking = judge(Ranker("helpfulness", scripted(by_worth)), SAMPLE)
    assert [SAMPLE.responses[index] for index in ranking.order] == ["d", "b", "e", "c", "a"]
    assert ranking.comparisons == 10
    # a against b, c, d, e: .1/.8, .1/.4, .1/1, .1/.6 with mean .160416…
    assert ranking.scores[0] == pytest.approx((1 / 8 + 1 / 4 + 1 / 10 + 1 / 6) / 4)
    assert sum(ranking.scores) == pytest.approx(5 / 2)
    assert ranking.model_extra == {"topic": "t"}


def test_a_tournament_finds_the_same_order_with_fewer_comparisons() -> None:
    ranking = judge(Ranker("helpfulness", scripted(by_worth), mode="tournament"), SAMPLE)
    worths = [WORTH[SAMPLE.responses[index]] for index in ranking.order]
    assert all(better > worse for better, worse in pairwise(worths))
    assert ranking.comparisons < 10
    assert ranking.scores is None


def test_a_failed_comparison_fails_the_ranking_and_keeps_the_others() -> None:
    def script(request: Request) -> Any:
        return refuse(request) if "Response 1 - d" in request.messages[-1].content else by_worth(request)

    failure = judge(Ranker("helpfulness", scripted(script)), SAMPLE)
    assert failure.failure == "refused"
    assert failure.detail.startswith("responses 0 and 3: ")
    assert failure.partial is not None
    assert failure.partial["0-1"] == pytest.approx(1 / 8)


def test_a_list_is_ranked_and_an_unknown_mode_is_named() -> None:
    found = Ranker("helpfulness", scripted(by_worth)).rank([{"query": "q", "responses": ["a", "b", "a"]}, SAMPLE])
    assert [getattr(one, "failure", None) for one in found] == ["rejected", None]
    with pytest.raises(ConfigError, match="known are all-pairs and tournament"):
        Ranker("helpfulness", scripted(by_worth), mode="league")  # type: ignore[arg-type]


def test_scores_of_comparisons_carry_the_other_columns() -> None:
    rows = [{"query": "q", "response_1": "x", "response_2": "y", "topic": "t", "human_preference": 1.0, "model_1": "m"}]
    for score in Scorer("helpfulness", scripted(lambda _: {"7": 1.0})).score(rows):
        assert score.model_extra == {"topic": "t", "human_preference": 1.0, "model_1": "m"}
    samples = [{"query": "q", "responses": ["a", "b"], "topic": "t"}]
    assert Scorer("helpfulness", scripted(lambda _: {"7": 1.0})).score(samples)[1].model_extra == {"topic": "t"}
