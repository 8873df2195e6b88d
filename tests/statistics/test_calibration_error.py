"""The debiased calibration error: by hand, against slow loops, without bias, and inside its interval."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from rlaif.statistics.calibration_error import (
    bin_edges,
    debiased_error,
    error_columns,
    error_estimate,
    error_moments,
    plain_error,
    squared_error,
)
from rlaif.statistics.intervals import Bootstrap, Floats, Resampled

Labels = tuple[Floats, Floats, Floats]


def moments(labels: Labels, bins: int = 10, samples: int = 0, seed: int = 0) -> Resampled:
    p, y, clusters = labels
    return Bootstrap(clusters, samples, seed).sums(error_columns(p, y, bin_edges(p, bins)), error_moments)


def simulated(seed: int, clusters: int, size: int, slope: float = 1.0) -> Labels:
    """Items of one cluster share half of their chance; people's odds are the labels' to the power of `slope`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (clusters, size))
    own, shared = generator.random((clusters, size)), generator.random((clusters, 1))
    luck = np.where(generator.random((clusters, size)) < (0.5 if size > 1 else 0), shared, own)
    y = luck < 1 / (1 + np.exp(-slope * logits))
    return 1 / (1 + np.exp(-logits.ravel())), y.astype(float).ravel(), np.repeat(np.arange(clusters), size)


def uneven(seed: int) -> Labels:
    """Ten clusters of one to twelve items each, whose items all turn out alike: a share of perfect labels of .7."""
    generator = np.random.default_rng(seed)
    sizes = np.array([1, 1, 1, 2, 2, 3, 5, 8, 10, 12])
    hits = (generator.random(10) < 0.7).astype(float)
    return np.full(sizes.sum(), 0.7), np.repeat(hits, sizes), np.repeat(np.arange(10), sizes)


def test_edges_cut_into_equal_parts_and_never_between_equals() -> None:
    assert bin_edges([0.9, 0.2, 0.6, 0.7], 2).tolist() == [0.8]
    assert bin_edges([0.6, 0.6, 0.6, 0.9], 2).tolist() == []
    assert bin_edges([0.6, 0.9, 0.9, 0.1], 2).tolist() == [0.9]
    assert bin_edges([0.29, 0.71, 0.71, 0.29], 2).tolist() == []
    assert bin_edges([], 5).tolist() == []
    assert bin_edges([0.7], 5).tolist() == []
    confidence = np.random.default_rng(0).uniform(0.5, 1, 997).round(9)
    sizes = np.bincount(np.searchsorted(bin_edges(confidence), confidence, side="right"))
    assert (len(sizes), sizes.min(), sizes.max()) == (10, 99, 100)


def test_two_items_by_hand() -> None:
    # Gaps 1 - .7 = .3 and 1 - .9 = .1: mean .2, variance of it (.1² + .1²) / 2² · 2 = .01; .2² - .01 = .3 · .1.
    found = moments((np.array([0.7, 0.9]), np.array([1.0, 1.0]), np.arange(2)), bins=1).total
    assert squared_error(found) == pytest.approx(0.03)
    assert debiased_error(found) == pytest.approx(0.03**0.5)
    assert plain_error(found) == pytest.approx(0.2)


def test_clusters_of_two_sizes_by_hand() -> None:
    # One cluster of two items, gaps .3 and .1, and one of one, gap -.6: pairs of items of both, -.24 over 2 pairs.
    labels = np.array([0.7, 0.1, 0.6]), np.array([1.0, 0.0, 0.0]), np.array([0, 0, 1])
    found = moments(labels, bins=1).total
    assert squared_error(found) == pytest.approx(-0.12)
    assert debiased_error(found) == pytest.approx(-(0.12**0.5))


def test_bins_count_by_their_items_by_hand() -> None:
    # Bins {.6, .6} with gaps .4 and -.6, and {.9, .9, .9} with .1 each: squares -.24 and .01.
    p, y = np.array([0.6, 0.6, 0.9, 0.9, 0.1]), np.array([1.0, 0, 1, 1, 0])
    found = moments((p, y, np.arange(5)), bins=2).total
    assert squared_error(found) == pytest.approx((2 * -0.24 + 3 * 0.01) / 5)
    assert plain_error(found) == pytest.approx((2 * 0.1 + 3 * 0.1) / 5)


def test_a_bin_of_one_cluster_counts_with_its_noise() -> None:
    found = moments((np.array([0.6, 0.6]), np.array([1.0, 0.0]), np.array([7, 7])))
    assert squared_error(found.total) == pytest.approx(0.01)
    assert error_estimate(found) == (pytest.approx(0.1), None, None, 2, 1, "none")


@pytest.mark.parametrize("size", [1, 3])
def test_clusters_of_one_size_give_the_gap_less_its_robust_variance(size: int) -> None:
    p, y, clusters = simulated(3, 40, size)
    confidence = np.maximum(p, 1 - p)
    gaps = np.where(p > 0.5, y, 1 - y) - confidence
    sums = np.array([gaps[clusters == one].sum() for one in range(40)])
    gap = gaps.mean()
    variance = ((sums - gap * size) ** 2).sum() / (40 * size) ** 2 * 40 / 39
    assert squared_error(moments((p, y, clusters), bins=1).total) == pytest.approx(gap**2 - variance)


def test_it_is_the_slow_loop_over_pairs_of_clusters_for_all_leading_dimensions() -> None:
    p, y, clusters = labels = simulated(4, 30, 3)
    edges = bin_edges(p, 5)
    confidence = np.maximum(p, 1 - p).round(12)
    gaps, places = np.where(p > 0.5, y, 1 - y) - confidence, np.searchsorted(edges, confidence, side="right")
    square = 0.0
    for place in range(5):
        inside = np.flatnonzero(places == place)
        others = [(i, j) for i in inside for j in inside if clusters[i] != clusters[j]]
        square += len(inside) / len(p) * np.mean([gaps[i] * gaps[j] for i, j in others])
    found = moments(labels, bins=5, samples=6)
    assert squared_error(found.total) == pytest.approx(square)
    for statistic in (squared_error, debiased_error, plain_error):
        one_by_one = [statistic(sums) for sums in found.resamples]
        assert statistic(found.resamples.reshape(2, 3, -1)) == pytest.approx(np.reshape(one_by_one, (2, 3)))


@pytest.mark.parametrize(
    "draw",
    [lambda seed: simulated(seed, 200, 1), lambda seed: simulated(seed, 60, 4), uneven],
    ids=["single items", "clusters", "clusters of uneven sizes"],
)
def test_perfect_labels_have_no_error_on_average_while_the_plain_one_is_above_0(
    draw: Callable[[int], Labels],
) -> None:
    found = [moments(draw(seed)).total for seed in range(800)]
    squares = np.array([squared_error(sums) for sums in found])
    assert abs(squares.mean()) < 3 * squares.std() / len(squares) ** 0.5
    assert np.mean([plain_error(sums) for sums in found]) > 0.05


def test_an_error_is_found_without_bias() -> None:
    # All labels say .9 or .1, and people agree with 70 % of them.
    squares = []
    for seed in range(500):
        generator = np.random.default_rng(seed)
        p, hit = np.where(generator.random(100) < 0.5, 0.9, 0.1), generator.random(100) < 0.7
        labels = p, np.where(p > 0.5, hit, ~hit).astype(float), np.repeat(np.arange(50), 2)
        squares.append(squared_error(moments(labels).total))
    assert abs(np.mean(squares) - 0.04) < 3 * np.std(squares) / 500**0.5
    assert np.mean(squares) == pytest.approx(0.04, abs=0.002)


@pytest.mark.parametrize(("slope", "error"), [(1.0, 0.0), (0.5, 0.1065), (-0.5, 0.436)])
@pytest.mark.parametrize("size", [1, 4])
def test_the_interval_holds_the_error_about_as_often_as_it_says(slope: float, error: float, size: int) -> None:
    inside = 0
    for seed in range(200):
        found = error_estimate(moments(simulated(seed, 400 // size, size, slope), samples=300, seed=seed))
        assert found.low is not None
        assert found.high is not None
        assert found.value is not None
        assert found.low <= found.value <= found.high
        inside += found.low <= error <= found.high
    assert inside / 200 >= 0.91


@pytest.mark.parametrize("slope", [1.0, 0.3])
def test_the_interval_is_that_of_labels_whose_gaps_were_shrunk_one_by_one(slope: float) -> None:
    p, y, clusters = labels = simulated(2, 30, 4, slope)
    edges = bin_edges(p, 3)
    columns = error_columns(p, y, edges)
    counts, gaps = columns[:, :3], columns[:, 3:]
    gap = gaps.sum(0) / counts.sum(0)
    square = float(squared_error(moments(labels, bins=3).total))
    kept = (max(0, square) / ((counts.sum(0) * gap**2).sum() / 120)) ** 0.5
    # Perfect labels keep nothing of their gaps here, others much.
    assert kept == 0 if slope == 1 else 0.5 < kept < 1
    shrunk = np.hstack([counts, gaps - counts * gap * (1 - kept)])
    drawn = squared_error(Bootstrap(clusters, 200, 5).sums(shrunk, error_moments).resamples)
    reach = stats.t.ppf(0.975, 29) * (30 / 29) ** 0.5
    ends = np.quantile(drawn, stats.norm.cdf([-reach, reach]))
    found = error_estimate(moments(labels, bins=3, samples=200, seed=5))
    assert found[1:3] == pytest.approx(tuple(np.sign(ends) * np.abs(ends) ** 0.5))


def test_an_estimate_says_of_how_much_it_is_made() -> None:
    found = error_estimate(moments(simulated(0, 50, 4), samples=100))
    assert (found.n, found.clusters, found.interval) == (200, 50, "percentile")


@pytest.mark.parametrize(
    ("p", "y", "error"),
    [
        ([1.0, 0.0, 1.0], [1.0, 0.0, 1.0], 0.0),
        ([1.0, 0.0, 1.0], [0.0, 1.0, 0.0], 1.0),
        ([0.5, 0.5, 0.5], [1.0, 0.5, 0.0], 0.0),
        ([0.8, 0.8, 0.2], [0.5, 0.5, 0.5], 0.3),
        ([0.8], [1.0], 0.2),
    ],
    ids=["all right and certain", "all wrong and certain", "all halves", "all ties", "one item"],
)
def test_labels_that_do_not_vary_have_an_error_and_no_interval(p: list[float], y: list[float], error: float) -> None:
    found = error_estimate(moments((np.array(p), np.array(y), np.arange(len(p))), samples=50))
    assert found == (pytest.approx(error), None, None, len(p), len(p), "none")


def test_of_no_item_there_is_no_error() -> None:
    nothing = moments((np.empty(0), np.empty(0), np.empty(0)))
    assert np.isnan(debiased_error(nothing.total))
    assert np.isnan(plain_error(nothing.total))
    assert error_estimate(nothing).value is None


def test_columns_by_cluster_are_added_up_in_their_place() -> None:
    # Clusters of 1 + 2 and of 5: squares 9 and 25.
    found = Bootstrap([0, 0, 1], 20).sums([[1.0], [2.0], [5.0]], lambda sums: np.hstack([sums, sums**2]))
    assert found.by_cluster.tolist() == [[3, 9], [5, 25]]
    assert found.total.tolist() == [8, 34]
    assert {tuple(row) for row in found.resamples.tolist()} == {(6, 18), (8, 34), (10, 50)}
    assert Bootstrap(["one"]).sums([[1.0]], lambda sums: np.hstack([sums] * 3)).resamples.shape == (0, 3)
