"""Agreement as functions of counts, so that resamples of counts give intervals at once. Pure.

Shape legend: ... any leading dimensions (resamples), k categories of the first judge, m of the second.

A confusion matrix counts items by what the first judge (people, in rows) and the second (a labeler, in columns) say.
A credit matrix says how much each cell counts as agreement, in [0, 1]: the identity for nominal categories.
"""

import numpy as np
from numpy.typing import ArrayLike

from rlaif.statistics.intervals import Floats, ratio


def one_hot(codes: ArrayLike, count: int) -> Floats:
    """Columns to be summed into counts.

    Args:
        codes: (n,) whole numbers below `count`.
        count: how many categories.

    Returns:
        (n, count) zeros and ones.
    """
    columns: Floats = np.eye(count)[np.asarray(codes)]
    return columns


def agreement(confusion: Floats, credit: Floats) -> Floats:
    """Observed agreement.

    Args:
        confusion: (..., k, m) counts.
        credit: (k, m).

    Returns:
        (...) in [0, 1]; NaN where nothing is counted.
    """
    return ratio((confusion * credit).sum((-2, -1)), confusion.sum((-2, -1)))


def kappa(confusion: Floats, credit: Floats) -> Floats:
    """Agreement beyond what the two judges' frequencies give by chance.

    Args:
        confusion: (..., k, m) counts.
        credit: (k, m); the identity gives Cohen's kappa, anything else a weighted one.

    Returns:
        (...) at most 1; NaN where chance alone gives full agreement, as where both know one category only.

    Source: Cohen, Educational and Psychological Measurement 20 (1960), 37-46; weighted: Psychological Bulletin 70
    (1968), 213-220.
    """
    shares = ratio(confusion, confusion.sum((-2, -1), keepdims=True))
    by_chance = shares.sum(-1)[..., :, None] * shares.sum(-2)[..., None, :]
    expected = (by_chance * credit).sum((-2, -1))
    below = 1 - expected
    return ratio((shares * credit).sum((-2, -1)) - expected, np.where(np.abs(below) < 1e-12, 0.0, below))


def precision(confusion: Floats) -> Floats:
    """Of what the second judge puts into each category, the share that the first does.

    Args:
        confusion: (..., k, m) counts with m >= k; the second judge's further categories are never right.

    Returns:
        (..., k); NaN for a category that the second judge never uses.
    """
    return ratio(_hits(confusion), confusion[..., : confusion.shape[-2]].sum(-2))


def recall(confusion: Floats) -> Floats:
    """Of what the first judge puts into each category, the share that the second does.

    Args:
        confusion: as for `precision`.

    Returns:
        (..., k); NaN for a category that the first judge never uses.
    """
    return ratio(_hits(confusion), confusion.sum(-1))


def f1(confusion: Floats) -> Floats:
    """The harmonic mean of precision and recall of each category.

    Args:
        confusion: as for `precision`.

    Returns:
        (..., k); NaN for a category that neither uses.
    """
    used = confusion[..., : confusion.shape[-2]].sum(-2) + confusion.sum(-1)
    return ratio(2 * _hits(confusion), used)


def _hits(confusion: Floats) -> Floats:
    hits: Floats = np.diagonal(confusion, axis1=-2, axis2=-1)
    return hits


def coincidences(counts: Floats) -> Floats:
    """What each item adds to the coincidences of its annotators' categories.

    Args:
        counts: (n, k) how many annotators put an item into each category.

    Returns:
        (n, k * k); of fewer than two annotators nothing.

    Source: Krippendorff, Content Analysis (2nd edition, 2004), section 11.3.1.
    """
    n, k = counts.shape
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs[:, np.arange(k), np.arange(k)] -= counts
    found: Floats = (pairs / np.maximum(counts.sum(1) - 1, 1)[:, None, None]).reshape(n, k * k)
    return found


def alpha(coincidence: Floats) -> Floats:
    """Krippendorff's alpha of nominal categories.

    Args:
        coincidence: (..., k, k) summed coincidences.

    Returns:
        (...) at most 1; NaN where only one category was used.
    """
    by_category = coincidence.sum(-1)
    total = by_category.sum(-1)
    observed = total - np.trace(coincidence, axis1=-2, axis2=-1)
    expected = ratio(total**2 - (by_category**2).sum(-1), np.maximum(total - 1, 0))
    return 1 - ratio(observed, np.where(expected < 1e-12, 0.0, expected))
