"""Answers that a tokenizer cuts, put together again."""

import math

import pytest

from rlaif.llm.base import Answer, Chain, Usage
from rlaif.llm.reading import read_exact, read_top
from rlaif.llm.splits import joined, possible_splits

TEN = tuple(str(n) for n in range(1, 11))


def test_only_answers_that_begin_with_another_can_be_cut() -> None:
    assert possible_splits(("1", "2")) == {}
    assert possible_splits(TEN) == {"1": {"10": "0"}}
    assert possible_splits(("1", "10", "100")) == {"1": {"10": "0", "100": "00"}}


def test_exact_pieces_are_multiplied() -> None:
    logs = {"1": 0.6, "2": 0.3}
    chains = tuple(Chain((n % 10,), math.log(logs.get(a[:1], 0.01))) for n, a in enumerate(TEN, 1))
    chains = (*chains[:9], Chain((1,), math.log(0.6)))
    first, second = Answer("v", Usage(10), chains=chains), Answer("v", Usage(11), chains=(Chain((0,), math.log(0.25)),))
    whole = joined(first, second, TEN, "1", {"10": "0"})
    assert whole.chains[9] == Chain((1, 0), pytest.approx(math.log(0.15)))
    found = read_exact(whole.chains)
    assert (found.probabilities[0], found.probabilities[9]) == pytest.approx((0.45, 0.15))
    assert whole.usage == Usage(21)


def test_likeliest_pieces_are_multiplied() -> None:
    first = Answer("v", Usage(), top=(("1", math.log(0.6)), (" 1", math.log(0.1)), ("2", math.log(0.3))))
    second = Answer("v", Usage(), top=(("0", math.log(0.25)), ("\n", math.log(0.75))))
    found = read_top(joined(first, second, TEN, "1", {"10": "0"}).top, TEN)
    assert found.probabilities == pytest.approx((0.45, 0.3, *[0] * 7, 0.15))
    assert found.unread_mass == pytest.approx(0.1)
    # A "10" that is shown whole as well is the one token and the two: .6 + .1 * .01; "1" is what is left of .1.
    first = Answer("v", Usage(), top=(("10", math.log(0.6)), ("1", math.log(0.1)), ("9", math.log(0.3))))
    rarely = Answer("v", Usage(), top=(("\n", math.log(0.99)), ("0", math.log(0.01))))
    found = read_top(joined(first, rarely, TEN, "1", {"10": "0"}).top, TEN)
    assert found.probabilities == pytest.approx((0.099, *[0] * 7, 0.3, 0.601))
    assert found.unread_mass == pytest.approx(0)
    # A first piece that is not among the likeliest changes nothing.
    first = Answer("v", Usage(), top=(("2", math.log(0.9)),))
    assert joined(first, second, TEN, "1", {"10": "0"}).top == first.top
