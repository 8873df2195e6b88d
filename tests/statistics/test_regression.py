"""Logistic regression by hand, against statsmodels, and where there is nothing to fit."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special, stats

from rlaif.statistics.regression import Fit, logistic


def data(n: int = 300, clusters: int = 40, seed: int = 0, soft: bool = False) -> tuple[np.ndarray, ...]:
    """Columns on different scales, and targets that are alike within a cluster."""
    draw = np.random.default_rng(seed)
    codes = draw.integers(clusters, size=n)
    x = np.stack([np.ones(n), 1000 * draw.normal(size=n), draw.normal(size=clusters)[codes] / 100], 1)
    logits = x @ np.array([0.3, 0.001, -80.0]) + draw.normal(size=clusters)[codes]
    p = special.expit(logits)
    return x, p if soft else (draw.random(n) < p).astype(float), codes


@pytest.mark.parametrize("soft", [False, True])
def test_coefficients_and_errors_are_those_of_statsmodels(soft: bool) -> None:
    x, y, codes = data(soft=soft)
    fit = logistic(x, y, codes)
    theirs = sm.GLM(y, x, family=sm.families.Binomial()).fit(cov_type="cluster", cov_kwds={"groups": codes}, tol=1e-14)
    # Theirs has the factor (n - 1) / (n - k) as well.
    n, k = x.shape
    assert fit.coefficients == pytest.approx(theirs.params, rel=1e-8)
    assert fit.covariance is not None
    ours = fit.covariance * (n - 1) / (n - k)
    scale = np.sqrt(np.outer(np.diag(ours), np.diag(ours)))
    assert ours / scale == pytest.approx(theirs.cov_params() / scale, abs=1e-8)


def test_an_intercept_alone_is_the_mean_and_its_error_that_of_means_of_clusters() -> None:
    # Clusters (1, 1), (0, 1), (1, 0): p = 4/6, b = log 2, H = 6 * 2/9 = 4/3, scores 2/3, -1/3, -1/3, squared 2/3.
    # V = 3/2 * (3/4)^2 * 2/3 = 9/16, so that the error is .75, and t with 2 degrees is 4.302653.
    fit = logistic(np.ones((6, 1)), [1, 1, 0, 1, 1, 0], ["a", "a", "b", "b", "c", "c"])
    found = fit.estimate([1])
    assert found.value == pytest.approx(np.log(2))
    assert found.high - found.value == pytest.approx(4.302652729911275 * 0.75)
    assert found.value - found.low == pytest.approx(4.302652729911275 * 0.75)
    assert (found.n, found.clusters, found.interval) == (6, 3, "robust")
    chance = fit.probability([1])
    assert chance.value == pytest.approx(2 / 3)
    assert (chance.low, chance.high) == pytest.approx((special.expit(found.low), special.expit(found.high)))


def test_a_combination_of_coefficients_has_the_variance_of_the_combination() -> None:
    x, y, codes = data()
    fit, by = logistic(x, y, codes), np.array([1.0, 500.0, 0.0])
    found = fit.estimate(by)
    assert found.value == pytest.approx(by @ fit.coefficients)
    reach = stats.t.ppf(0.975, 39) * np.sqrt(by @ fit.covariance @ by)
    assert found.high - found.value == pytest.approx(reach)


def test_soft_targets_count_in_parts() -> None:
    # A target of .75 in one item is three 1s and a 0 in a cluster of four, a quarter of the weight each.
    x = np.array([[1, 0.5], [1, -1], [1, 2], [1, 0]])
    soft = logistic(x, [0.75, 0.25, 0.5, 1.0], range(4))
    hard = logistic(np.repeat(x, 4, 0), [1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1], np.repeat(range(4), 4))
    assert soft.coefficients == pytest.approx(hard.coefficients)
    assert soft.covariance == pytest.approx(hard.covariance)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.ones((4, 1)), [1, 1, 1, 1]),
        (np.ones((4, 1)), [0, 0, 0, 0]),
        (np.array([[1, 1], [1, 2], [1, 3], [1, 4.0]]), [0, 0, 1, 1]),
        # Separated but for a tie on the border.
        (np.array([[1, 1], [1, 2], [1, 2], [1, 3.0]]), [0, 0, 1, 1]),
        (np.array([[1, 2], [1, 2], [1, 2], [1, 2.0]]), [0, 1, 0, 1]),
        (np.array([[1, 0], [1, 0], [1, 0], [1, 0.0]]), [0, 1, 0, 1]),
        (np.outer([0.1, 0.7, -0.3, 1.1, 0.9], [1, 3.7]), [0, 1, 0, 0, 1]),
        (np.empty((0, 2)), []),
        (np.array([[1, 2.0]]), [0.5]),
    ],
    ids=["all won", "all lost", "separated", "nearly separated", "constant", "zero", "collinear", "empty", "too few"],
)
def test_without_a_single_maximum_there_is_no_value(x: np.ndarray, y: list[float]) -> None:
    fit = logistic(x, y, range(len(y)))
    assert fit.coefficients is None
    for found in (fit.estimate(np.eye(x.shape[1])[0]), fit.probability(np.eye(x.shape[1])[0])):
        assert (found.value, found.low, found.high, found.n, found.interval) == (None, None, None, len(y), "none")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("apart", [0, 1e-9])
def test_columns_that_cannot_be_told_apart_have_no_coefficients(seed: int, apart: float) -> None:
    draw = np.random.default_rng(seed)
    one, other = draw.normal(size=(2, 12))
    x = np.stack([one, 3.7 * one + apart * draw.normal(size=12), other], 1)
    assert logistic(x, (draw.random(12) < 0.5).astype(float), range(12)).coefficients is None


def test_too_few_clusters_and_residuals_of_zero_give_no_interval() -> None:
    one = logistic(np.ones((4, 1)), [1, 0, 1, 1], [0, 0, 0, 0]).probability([1])
    assert (one.value, one.low, one.clusters) == (pytest.approx(0.75), None, 1)
    # Two clusters and two columns: at the maximum the clusters' scores cancel.
    two = logistic([[1, 1], [1, 2], [1, 3], [1, 4.0]], [1, 0, 1, 1], [0, 1, 1, 1])
    assert two.covariance is None
    for found in (two.estimate([0, 1]), two.estimate([1, 0]), two.probability([1, 1])):
        assert found.value is not None
        assert (found.low, found.high, found.interval) == (None, None, "none")
    ties = logistic(np.ones((4, 1)), [0.5] * 4, range(4)).probability([1])
    assert (ties.value, ties.low, ties.interval) == (0.5, None, "none")


def test_large_samples_find_what_the_data_were_made_from() -> None:
    draw = np.random.default_rng(1)
    x = np.stack([np.ones(40_000), draw.normal(size=40_000)], 1)
    y = (draw.random(40_000) < special.expit(x @ [0.5, -1.0])).astype(float)
    fit: Fit = logistic(x, y, np.arange(40_000))
    assert fit.coefficients == pytest.approx([0.5, -1.0], abs=0.05)
