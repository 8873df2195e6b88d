"""Simulated annotators: their noise, biases and ties are what they say."""

import math
import random
from itertools import pairwise
from typing import Any

import pytest

from rlaif.pocket.annotators import ANNOTATORS, Annotator
from rlaif.pocket.data import comparisons

SHORT, LONG = "one two", "one two three four"


def rate(annotator: Annotator, gold_1: float, gold_2: float, response_1: str = SHORT, response_2: str = SHORT) -> float:
    rng = random.Random(0)
    said = [annotator.judge(rng, gold_1, gold_2, response_1, response_2).preference for _ in range(20_000)]
    return sum(said) / len(said)


def logistic(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))


# 20,000 draws have a standard error of at most .0036.
def test_noise_is_the_scale_of_a_logistic_curve() -> None:
    assert rate(Annotator("a", noise=2.0), 7, 5) == pytest.approx(logistic(1), abs=0.012)
    assert rate(Annotator("a", noise=2.0), 5, 7) == pytest.approx(1 - logistic(1), abs=0.012)


def test_a_lapse_is_a_coin() -> None:
    assert rate(Annotator("a", noise=0.01, lapse=0.2), 9, 1) == pytest.approx(0.9, abs=0.012)


def test_twice_the_length_is_worth_what_it_says() -> None:
    annotator = Annotator("a", noise=1.0, length=1.5)
    assert rate(annotator, 5, 5, LONG, SHORT) == pytest.approx(logistic(1.5), abs=0.012)
    assert rate(annotator, 5, 5, SHORT, LONG) == pytest.approx(1 - logistic(1.5), abs=0.012)


def test_a_place_bias_favors_neither_response_on_average_and_costs_agreement() -> None:
    annotator = Annotator("a", noise=0.5, first=3.0)
    assert rate(annotator, 5, 5) == pytest.approx(0.5, abs=0.012)
    # Half the time 6 + 3 against 5, half the time 6 against 5 + 3.
    assert rate(annotator, 6, 5) == pytest.approx((logistic(8) + logistic(-4)) / 2, abs=0.012)


def test_what_is_close_is_a_tie() -> None:
    annotator = Annotator("a", noise=1.0, tie=1.0)
    assert rate(annotator, 5.5, 5) == 0.5
    assert annotator.judge(random.Random(0), 5.5, 5, SHORT, SHORT).preference == 0.5
    assert rate(annotator, 9, 5) > 0.9


def test_annotators_of_a_file_agree_with_gold_and_with_each_other_as_far_as_people_do() -> None:
    rows: list[dict[str, Any]] = list(comparisons(2000, task="helpfulness", split="heldout", seed=0))
    by_annotator = list(zip(*(row["annotations"] for row in rows), strict=True))
    gold = [row["gold_preference"] for row in rows]
    agree = [sum(a == g for a, g in zip(said, gold, strict=True)) / len(gold) for said in by_annotator]
    assert len(agree) == len(ANNOTATORS) == 5
    assert max(agree) == agree[0]
    assert all(0.6 < one < 0.98 for one in agree)
    between = [sum(a == b for a, b in zip(*pair, strict=True)) / len(gold) for pair in pairwise(by_annotator)]
    assert all(0.5 < one < 0.9 for one in between)
    # A coin decides what is shown first, for each annotator anew; 2,000 throws have a standard error of .011.
    for first in zip(*(row["shown_first"] for row in rows), strict=True):
        assert first.count(1) / len(first) == pytest.approx(0.5, abs=0.045)
    assert all(row["human_preference"] == sum(row["annotations"]) / 5 for row in rows)
