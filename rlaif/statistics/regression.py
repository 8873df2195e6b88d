"""Logistic regression with soft targets, and errors that allow for clusters of items that belong together.

Shape legend: n items, k columns, C clusters.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rlaif.statistics.intervals import Estimate, Floats

_STEPS = 30
"""Newton's method needs about six; where the data are separated it never arrives, and goes about a logit a step."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model.

    Attributes:
        coefficients: (k,) in logits; None where there are none: data that are separated or singular, or no data.
        covariance: (k, k) of the coefficients; None where clusters are too few to tell (no more than columns).
        n: items.
        clusters: groups of items that belong together.
    """

    coefficients: Floats | None
    covariance: Floats | None
    n: int
    clusters: int

    def estimate(self, weights: ArrayLike) -> Estimate:
        """A linear combination of the coefficients, in logits.

        Args:
            weights: (k,) how much each coefficient counts.

        Returns:
            The estimate; its interval takes the quantiles of Student's t with C - 1 degrees of freedom.
        """
        if self.coefficients is None:
            return Estimate(None, n=self.n, clusters=self.clusters)
        by = np.asarray(weights, float)
        value = float(by @ self.coefficients)
        variance = 0.0 if self.covariance is None else float(by @ self.covariance @ by)
        # Residuals that are all zero, as where everything is a tie, say nothing about what would vary.
        if variance <= 1e-18:
            return Estimate(value, n=self.n, clusters=self.clusters)
        reach = float(special.stdtrit(self.clusters - 1, 0.975)) * math.sqrt(variance)
        return Estimate(value, value - reach, value + reach, self.n, self.clusters, "robust")

    def probability(self, weights: ArrayLike) -> Estimate:
        """The probability that belongs to a linear combination of the coefficients.

        Args:
            weights: (k,) the columns' values at which to take it.

        Returns:
            The estimate in logits and its interval, each mapped through the logistic function.
        """
        logit = self.estimate(weights)
        value, low, high = (None if one is None else float(special.expit(one)) for one in logit[:3])
        return logit._replace(value=value, low=low, high=high)


def logistic(x: ArrayLike, y: ArrayLike, clusters: ArrayLike) -> Fit:
    """Fit the model that P(y = 1) is the logistic function of x b, by maximum likelihood and without an intercept.

    A target between 0 and 1 counts as that share of a 1. The covariance is the sandwich of clusters, C / (C - 1) times
    H^-1 (sum over clusters of u u^T) H^-1, where H is the Hessian and u a cluster's score, the sum of x (y - p).

    Args:
        x: (n, k) columns.
        y: (n,) targets in [0, 1].
        clusters: (n,) each item's cluster, as whole numbers or texts.

    Returns:
        The fit; without coefficients where the likelihood has no single maximum.

    Source: Liang and Zeger, Biometrika 73 (1986), 13-22, equation 7 with independence as working correlation.
    """
    columns, targets = np.asarray(x, float), np.asarray(y, float)
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    count, nothing = len(names), Fit(None, None, len(targets), len(names))
    scale = np.linalg.norm(columns, axis=0)
    if not len(targets) or np.any(scale == 0):
        return nothing
    columns = columns / scale
    # The Hessian has the square of the columns' condition: closer than this it cannot tell them apart.
    if np.linalg.matrix_rank(columns, rtol=1e-7) < columns.shape[1]:
        return nothing
    found = _maximum(columns, targets)
    if found is None:
        return nothing
    p = special.expit(columns @ found)
    bread = np.linalg.inv(_hessian(columns, p)) / np.outer(scale, scale)
    if count <= columns.shape[1]:
        # The scores of all clusters add up to zero: so few of them leave a direction in which nothing seems to vary.
        return Fit(found / scale, None, len(targets), count)
    scores = np.zeros((count, columns.shape[1]))
    np.add.at(scores, codes, columns * scale * (targets - p)[:, None])
    return Fit(found / scale, count / (count - 1) * bread @ (scores.T @ scores) @ bread, len(targets), count)


def _hessian(columns: Floats, p: Floats) -> Floats:
    """(k, k) of the negative log-likelihood."""
    return (columns * (p * (1 - p))[:, None]).T @ columns


def _loss(columns: Floats, targets: Floats, coefficients: Floats) -> float:
    """The negative log-likelihood."""
    logits = columns @ coefficients
    return float((np.logaddexp(0, logits) - targets * logits).sum())


def _maximum(columns: Floats, targets: Floats) -> Floats | None:
    """Newton's method with halved steps; None where it does not arrive."""
    found = np.zeros(columns.shape[1])
    loss = _loss(columns, targets, found)
    for _ in range(_STEPS):
        p = special.expit(columns @ found)
        try:
            step = np.linalg.solve(_hessian(columns, p), columns.T @ (targets - p))
        except np.linalg.LinAlgError:
            return None
        while (after := _loss(columns, targets, found + step)) > loss + 1e-12 * abs(loss):
            step = step / 2
        found, loss = found + step, after
        if np.max(np.abs(columns @ step)) < 1e-9:
            return found
    return None
