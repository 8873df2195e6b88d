"""Intervals against scipy's, and what they cover."""

import random

import numpy as np
import pytest
from scipy import stats

from rlaif.statistics.intervals import Bootstrap, Estimate, Resampled, ratio, share, wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (500, 1000)])
def test_wilson_is_scipys(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_a_mean_of_shares_is_too_wide_rather_than_too_narrow() -> None:
    rng = random.Random(0)
    covered = 0
    for _ in range(2000):
        low, high = wilson(sum(rng.choice((0.2, 0.5, 0.9)) for _ in range(16)) / 16, 16)
        covered += low <= (0.2 + 0.5 + 0.9) / 3 <= high
    assert covered / 2000 > 0.97


def means(values: np.ndarray, clusters: np.ndarray, samples: int = 4000, seed: int = 0) -> Resampled:
    return Bootstrap(clusters, samples, seed).sums(np.stack([values, np.ones(len(values))], 1))


def mean(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., 0], sums[..., 1])


def test_the_interval_of_a_mean_is_scipys_bca() -> None:
    # Few and skewed values: bias and acceleration both move the ends by more than the tolerance.
    values = np.random.default_rng(3).exponential(1.0, 30) ** 2
    found = means(values, np.arange(30), 40_000).estimate(mean, 30)
    # Ours is wider by the t of 29 degrees and by 30 / 29.
    reach = stats.t.ppf(0.975, 29) * (30 / 29) ** 0.5
    level = 2 * stats.norm.cdf(reach) - 1
    drawn = stats.bootstrap((values,), np.mean, n_resamples=40_000, method="BCa", confidence_level=level, rng=4)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(drawn.confidence_interval.low, rel=0.02)
    assert found.high == pytest.approx(drawn.confidence_interval.high, rel=0.02)
    assert (found.n, found.clusters, found.interval) == (30, 30, "bca")


def test_whole_clusters_are_drawn() -> None:
    # Ten copies of each of 80 values tell no more than the values.
    values = np.random.default_rng(5).random(80)
    copies = means(np.repeat(values, 10), np.repeat(np.arange(80), 10)).estimate(mean, 800)
    alone = means(values, np.arange(80)).estimate(mean, 80)
    assert copies[:3] == pytest.approx(alone[:3])
    assert (copies.n, copies.clusters) == (800, 80)


def test_the_spread_of_resamples_is_the_cluster_robust_standard_error() -> None:
    generator = np.random.default_rng(6)
    clusters = np.repeat(np.arange(300), generator.integers(1, 6, 300))
    values = generator.random(len(clusters)) + generator.random(300)[clusters]
    drawn = mean(means(values, clusters, 8000).resamples)
    gaps = np.bincount(clusters, values - values.mean())
    # The linearised variance of a ratio of sums, clusters as units.
    expected = np.sqrt((gaps**2).sum()) / len(values)
    assert drawn.std() == pytest.approx(expected, rel=0.04)


def test_the_same_seed_draws_the_same_and_another_seed_others() -> None:
    values, clusters = np.arange(20.0), np.array([f"c{n % 7}" for n in range(20)])
    first, again, other = (means(values, clusters, 50, seed).resamples for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert means(values, clusters, 50).by_cluster.sum(0).tolist() == [190, 20]


def test_where_resamples_cannot_tell_there_is_wilson_for_a_share_and_nothing_else() -> None:
    always = means(np.ones(30), np.repeat(np.arange(10), 3))
    assert always.estimate(mean, 30, proportion=True) == (1.0, *wilson(1.0, 10), 30, 10, "wilson")
    assert always.estimate(mean, 30) == (1.0, None, None, 30, 10, "none")
    one = means(np.array([1.0, 0.0]), np.array([4, 4]))
    assert one.estimate(mean, 2) == (0.5, None, None, 2, 1, "none")
    assert one.estimate(mean, 2, proportion=True) == (0.5, *wilson(0.5, 1), 2, 1, "wilson")
    assert one.estimate(lambda sums: mean(sums) * np.nan, 2) == (None, None, None, 2, 1, "none")
    assert means(np.array([]), np.array([])).estimate(mean, 0) == Estimate(None)


def test_clusters_that_a_figure_is_not_made_of_do_not_count() -> None:
    # Of 40 clusters three hold what counts, and all three agree.
    columns = np.zeros((40, 2))
    columns[:3] = 1
    found = Bootstrap(np.arange(40), 200).sums(columns)
    assert found.estimate(mean, 3, proportion=True) == (1.0, *wilson(1.0, 3), 3, 3, "wilson")
    more = Bootstrap(np.arange(40), 200).sums(np.column_stack([columns, np.ones(40)]))
    assert more.only([0, 1]).estimate(mean, 3, proportion=True).clusters == 3
    assert more.times([1, 1, 0]).estimate(mean, 3, proportion=True).clusters == 3


def test_dividing_by_nothing_gives_nan_without_a_warning() -> None:
    assert np.isnan(ratio(1, 0))
    assert ratio([1.0, 3.0], [2.0, 0.0])[0] == 0.5


def test_estimates_read_well() -> None:
    assert str(Estimate(0.25, 0.1, 0.4)) == "0.250 (0.100-0.400)"
    assert str(Estimate(-0.04, -0.08, 0.01)) == "-0.040 (-0.080 to 0.010)"
    assert (str(Estimate(0.5)), str(Estimate(None))) == ("0.500", "-")
    assert share(0, 0) == Estimate(None)
