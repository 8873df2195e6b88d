"""From log-probabilities and texts to distributions, by hand."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.llm.base import Chain
from rlaif.llm.reading import Reading, mean_reading, read_draws, read_exact, read_stated, read_verdict
from rlaif.prompting import Prompter, load_task


def test_ten_is_not_one() -> None:
    # "1" starts the text with .5; in .2 of all cases "0" follows, so "1" alone has .3. "2" has .25.
    reading = read_exact([Chain((1,), math.log(0.5)), Chain((2,), math.log(0.25)), Chain((1, 0), math.log(0.2))])
    assert reading.probabilities == pytest.approx((0.3, 0.25, 0.2))
    assert reading.unread_mass == pytest.approx(0.25)
    assert reading.normalised() == pytest.approx((0.4, 1 / 3, 0.8 / 3))


def test_nested_longer_answers_are_taken_off_once() -> None:
    # (1) ⊃ (1, 0) ⊃ (1, 0, 0): .5, .2 and .05 are starts, so what is meant is .3, .15 and .05.
    chains = [Chain((1,), math.log(0.5)), Chain((1, 0), math.log(0.2)), Chain((1, 0, 0), math.log(0.05))]
    assert read_exact(chains).probabilities == pytest.approx((0.3, 0.15, 0.05))


def test_answers_of_no_probability_are_not_normalised() -> None:
    reading = read_exact([Chain((1,), -math.inf), Chain((2,), -math.inf)])
    assert reading == Reading((0.0, 0.0), 1.0)
    assert reading.normalised() is None


@given(st.lists(st.floats(0.001, 1), min_size=11, max_size=11))
def test_what_is_read_and_unread_always_sums_to_one(weights: list[float]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    one = shares[0] + shares[9]
    starts = [one, *shares[1:9]]
    chains = [Chain((n,), math.log(p)) for n, p in enumerate(starts)] + [Chain((0, 99), math.log(shares[9]))]
    reading = read_exact(chains)
    assert reading.probabilities == pytest.approx(shares[:10], abs=1e-12)
    assert sum(reading.probabilities) + reading.unread_mass == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("task", ["summarization", "helpfulness", "harmlessness"])
def test_draws_are_read_whole_or_not_at_all(task: str) -> None:
    prefer, score = (Prompter(load_task(task), judgement) for judgement in ("preference", "score"))

    def read(prompter: Prompter, *drawn: str) -> Reading:
        return read_draws([prompter.ending + text for text in drawn], prompter.pattern, prompter.verdicts)

    assert read(prefer, "1", " 2", "2.", "1\nIt is kinder.", "**1**") == Reading((0.6, 0.4), 0.0)
    # One number that is no answer, and two answers, are none.
    assert read(prefer, "1", "", "12", "1.5", "1 or 2", "both", "3", "x") == Reading((1 / 8, 0.0), 7 / 8)
    found = read(score, "1", "10", "10/10", "10.", "100", "0", "8.5", "7")
    assert found.probabilities == (1 / 8, 0, 0, 0, 0, 0, 1 / 8, 0, 0, 3 / 8)
    twice = f"1\n\n{prefer.ending}2"
    assert read(prefer, twice, twice) == Reading((0.0, 0.0), 1.0)


def test_the_mean_is_taken_before_renormalisation() -> None:
    mean = mean_reading([Reading((0.8, 0.2), 0.0), Reading((0.0, 0.2), 0.8)])
    assert mean.probabilities == pytest.approx((0.4, 0.2))
    assert mean.unread_mass == pytest.approx(0.4)


def test_the_last_stated_verdict_counts_not_the_last_mention() -> None:
    pattern = re.compile(r"answer=([12])")
    assert read_verdict('It says "answer=1", but answer=2. Response 1 tried.', pattern) == "2"
    assert read_verdict("Response 1 is good.", pattern) is None


@pytest.mark.parametrize(
    ("text", "first"),
    [("85", 0.85), ("0", 0.0), ("100 %", 1.0), ("I would say 7%.", 0.07), ("**60**", 0.6)],
)
def test_a_stated_probability(text: str, first: float) -> None:
    assert read_stated(text) == ((first, pytest.approx(1 - first)), 0.0)


@pytest.mark.parametrize("text", ["", "Response one", "0.85", "-5", "101", "85.5", "8,5", "1000"])
def test_what_is_no_whole_number_of_per_cent_is_unread(text: str) -> None:
    assert read_stated(text) == ((0.0, 0.0), 1.0)
