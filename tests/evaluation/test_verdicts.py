"""Recorded verdicts are read, and none is invented."""

import re

import pytest

from rlaif.errors import ConfigError, RowError
from rlaif.evaluation.verdicts import FIRST, SECOND, TIE, UNREAD, VerdictReading, is_judged, read_judgement, side

READING = VerdictReading()


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Output (a)", 1),
        ("  output (B).\n", 0),
        ("2", 0),
        ("[[A]]", 1),
        ("I weighed both. [[C]]", 0.5),
        ("**1**", 1),
        ("Tie", 0.5),
        ("Output (a) is terse. Therefore, Output (b) is better.", 0),
        ("Response 1 is clearly the better one here.", 1),
        # The last statement counts: the first one was weighed and dropped.
        ("At first sight Output (a) is better. On closer look Output (b) is better.", 0),
        ("Preferred response: 2", 0),
        ("Better: Response 1", 1),
        ("The winner is Assistant B.", 0),
        ("The winner is a.", 1),
        ("Verdict: (a) is terse and right.", 1),
        ("Better: A by a mile", 1),
        ("The verdict is a tie.", 0.5),
        ("Verdict: a tie", 0.5),
        ("A tie.", 0.5),
        ("Output (a) is better. I don't think that Output (b) is better.", 1),
    ],
)
def test_a_stated_verdict_is_read(text: str, first: float) -> None:
    assert READING.stated(text) == first


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Both Output (a) and Output (b) are equally good for the given instruction.",
        "Output (a) mentions the visa; Output (b) does not.",
        "I cannot say whether Output (a) is better.",
        "If Output (b) is better depends on the reader.",
        "I don't think Output (a) is better.",
        "It would be wrong to say that Output (a) is better",
        "Is Output (a) is better?",
        "The better response is a matter of taste.",
        "Verdict: a toss-up",
        "Output (a) is longer, and Output (b) is shorter.",
        "The better answer would be 1.5 pages long.",
        "Better: 12 of them.",
        "Response 3",
    ],
)
def test_a_mere_mention_is_no_verdict(text: str) -> None:
    assert READING.stated(text) is None


def test_a_completion_says_which_position_won_and_a_verdict_which_response() -> None:
    # Shown second, response 1 is what the model calls (b).
    said = read_judgement({"completion_12": "Output (a)", "completion_21": "Output (b)"}, READING)
    assert (said.preference, dict(said.orders), said.failure) == (1, {"12": 1, "21": 1}, None)
    said = read_judgement({"verdict_12": "1", "verdict_21": 2.0}, READING)
    assert (said.preference, dict(said.orders)) == (0.5, {"12": 1, "21": 0})
    assert read_judgement({"verdict": "Tie"}, READING).preference == 0.5


def test_one_order_that_cannot_be_read_makes_the_comparison_unreadable_and_keeps_the_other() -> None:
    said = read_judgement({"completion_12": "Hard to say.", "completion_21": "Output (a)"}, READING)
    assert (said.preference, dict(said.orders), said.failure) == (None, {"12": None, "21": 0}, "unreadable")
    # A failure of ours holds the order that did succeed; the other one was asked for too.
    said = read_judgement({"failure": "refused", "detail": "order 21", "preference_12": 0.9}, READING)
    assert (said.preference, said.failure, dict(said.orders)) == (None, "refused", {"12": 0.9, "21": None})
    assert read_judgement({"verdict": "garbage"}, READING).failure == "unreadable"
    assert read_judgement({"completion": 7}, READING).failure == "unreadable"


def test_a_swapped_judgement_is_the_same_with_the_responses_names_exchanged() -> None:
    said = read_judgement({"preference": 0.7, "preference_12": 0.9, "preference_21": 0.5}, READING).swapped()
    assert said.preference == pytest.approx(0.3)
    assert said.orders == {"21": pytest.approx(0.1), "12": 0.5}
    assert said.swapped().orders == {"12": pytest.approx(0.9), "21": 0.5}


def test_sides() -> None:
    assert [side(one) for one in (0.5001, 0.5, 0.4999, 1, 0, None)] == [FIRST, TIE, SECOND, FIRST, SECOND, UNREAD]


def test_rows_without_any_judgement_are_known() -> None:
    assert not is_judged({"id": "1", "human_preference": 1})
    assert all(is_judged({name: None}) for name in ("failure", "preference", "verdict_21", "completion"))


def test_a_users_own_pattern_and_meanings_count_alone() -> None:
    own = VerdictReading.of(r"Winner=(\w+)", {"completion": {"X": 1, "Y": 0}})
    assert own.stated("Winner=X ... Winner=y") == 0
    assert own.stated("Winner=a") is None
    assert own.meant("x") == 1
    assert VerdictReading.of(None, {}).meant("A") == 1


@pytest.mark.parametrize(
    ("pattern", "values", "message"),
    [
        ("(", {}, "is not a regular expression"),
        ("verdict", {}, "has no group; put one around the verdict"),
        (None, {"verdict": {"A": "first"}}, "verdict: A means 'first'; write 1"),
        (None, {"completion_12": {"A": True}}, "completion_12: A means True"),
    ],
)
def test_patterns_and_meanings_that_will_not_do_are_errors(
    pattern: str | None, values: dict[str, dict[str, object]], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        VerdictReading.of(pattern, values)


@pytest.mark.parametrize("value", ["high", 1.2, -0.1, True, float("nan")])
def test_a_preference_that_is_no_probability_is_an_error(value: object) -> None:
    with pytest.raises(RowError, match="it must be a number in"):
        read_judgement({"preference": value}, READING)
