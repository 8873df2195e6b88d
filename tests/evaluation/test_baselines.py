"""Baselines by hand, and the longest common subsequence against a slow one."""

import random
from collections.abc import Sequence

import pytest

from rlaif.evaluation.baselines import longest_common, overlap, rouge_l, text_numbers, wins


def slow_longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """The textbook's table."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, left in enumerate(one, 1):
        for j, right in enumerate(other, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if left == right else max(table[i - 1][j], table[i][j - 1])
    return table[-1][-1]


def test_the_longest_common_subsequence_is_the_textbooks() -> None:
    coin = random.Random(0)
    for _ in range(300):
        one, other = (coin.choices("abcd", k=coin.randrange(12)) for _ in range(2))
        assert longest_common(one, other) == slow_longest_common(one, other), (one, other)
    # Longer than a machine word.
    one, other = (coin.choices("abcdefgh", k=200) for _ in range(2))
    assert longest_common(one, other) == slow_longest_common(one, other)


def test_rouge_l_is_f1_of_the_common_subsequence_in_any_case() -> None:
    # Lin 2004: "police killed the gunman" against "police kill the gunman": 3 of 4 words in order, P = R = 3/4.
    assert rouge_l("Police kill the gunman.", "police killed the gunman") == pytest.approx(0.75)
    # "the gunman kill police": the gunman, P = R = 2/4.
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(0.5)
    # P = 2/2, R = 2/6: 2·1·(1/3) / (4/3) = 1/2.
    assert rouge_l("a b", "a x b y z w") == pytest.approx(0.5)


def test_what_has_no_words_is_not_like_a_reference_and_cannot_be_measured_against_none() -> None:
    assert rouge_l("", "a b") == 0
    assert rouge_l("a", "") is None
    assert rouge_l("a", " … ") is None


def test_overlap_counts_different_words_once() -> None:
    # the, egg, boils: two of three are in the query.
    assert overlap("The egg boils the EGG", "How do I boil the egg?") == pytest.approx(2 / 3)
    assert overlap("", "How?") is None
    assert overlap("Yes", "") == 0


def test_more_wins_equal_is_half_and_unknown_is_nothing() -> None:
    assert [wins(2, 1), wins(1, 2), wins(1, 1), wins(None, 1), wins(1, None)] == [1, 0, 0.5, None, None]


def test_numbers_of_a_response_come_in_the_order_of_their_names() -> None:
    assert text_numbers(["Boil it?", "Why?", "Eggs"], "eggs, two eggs", "two eggs") == (3, 0.5, pytest.approx(0.8))
    assert text_numbers(["Boil it?"], "", None) == (0, None, None)
    assert text_numbers(["Boil it?"], "it", 7)[2] is None
