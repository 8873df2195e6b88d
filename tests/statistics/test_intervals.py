"""Intervals against scipy's, and what they cover."""

import random

import pytest
from scipy.stats import binomtest

from rlaif.statistics.intervals import wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (500, 1000)])
def test_wilson_is_scipys(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_a_mean_of_shares_is_too_wide_rather_than_too_narrow() -> None:
    rng = random.Random(0)
    covered = 0
    for _ in range(2000):
        low, high = wilson(sum(rng.choice((0.2, 0.5, 0.9)) for _ in range(16)) / 16, 16)
        covered += low <= (0.2 + 0.5 + 0.9) / 3 <= high
    assert covered / 2000 > 0.97
