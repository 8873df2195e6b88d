"""The calibration error of preferences, without what chance adds to it. Pure.

Shape legend: n items, C clusters, B bins, R resamples, ... any leading dimensions. Preferences and targets are those of
`folding`.

Deviations from the sources of the debiased error (Bröcker, Climate Dynamics 39 (2012), 655-667; Kumar, Liang and Ma,
arXiv:1909.10155, section 5), which subtract the variance share (1 - share) / (n - 1) of each bin's share of hits:
- the variance is that of the gap between hits and confidence, since confidence varies within a bin;
- it is robust: items of one cluster may depend on each other, and a target need be neither 0 nor 1;
- both sides of .5 share a bin;
- a negative square is not cut off at 0, since the error of perfect labels could then never be 0 on average.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from rlaif.statistics.folding import confidence_in, fold
from rlaif.statistics.intervals import Estimate, Floats, Resampled, ratio


def bin_edges(p: ArrayLike, bins: int = 10) -> Floats:
    """Where confidence is cut so that bins hold equally many items; equal confidences stay together.

    Args:
        p: (n,) preferences.
        bins: how many at most, at least 1; many equal confidences make for fewer.

    Returns:
        (B - 1,) the least confidence of each bin but the first; no bin is empty.
    """
    ordered: Floats = np.sort(confidence_in(p))
    if not len(ordered):
        return ordered
    edges = np.unique(ordered[np.arange(1, bins) * len(ordered) // bins])
    inner: Floats = edges[edges > ordered[0]]
    return inner


def error_columns(p: ArrayLike, y: ArrayLike, edges: Floats) -> Floats:
    """What the calibration error is summed from, for `Bootstrap.sums` together with `error_moments`.

    Args:
        p: (n,) preferences.
        y: (n,) targets.
        edges: (B - 1,) of `bin_edges`, from all data.

    Returns:
        (n, 2B) in the columns of its bin 1, and hit - confidence; elsewhere 0.
    """
    confidence, hit = fold(p, y)
    rows, places = np.arange(len(hit)), np.searchsorted(edges, confidence, side="right")
    columns = np.zeros((len(hit), 2, len(edges) + 1))
    columns[rows, 0, places] = 1
    columns[rows, 1, places] = hit - confidence
    return columns.reshape(len(hit), 2 * len(edges) + 2)


def error_moments(by_cluster: Floats) -> Floats:
    """The moments whose sums over clusters tell the error.

    Args:
        by_cluster: (C, 2B) each cluster's m items and sum s of gaps in each bin.

    Returns:
        (C, 5B) m, s, s², m² and s·m.
    """
    m, s = np.split(by_cluster, 2, axis=-1)
    return np.concatenate([m, s, s * s, m * m, s * m], axis=-1)


def squared_error(sums: Floats) -> Floats:
    """The square of the debiased error.

    In each bin the squared gap is estimated from pairs of different clusters, as the sum of s_c·s_d over the sum of
    m_c·m_d: what a cluster's noise shares with itself is left out, so that the mean over data sets is the square of the
    true gap. Where clusters have m items each, this is g² - V with the gap g = Σs / Σm and its variance
    V = Σ(s - g·m)² / (Σm)² · C / (C - 1); that form is not quite unbiased where they differ in size. A bin of one
    cluster has no such pairs and counts with g², its noise included: the error is then too large, never hidden.

    Args:
        sums: (..., 5B) of `error_moments`.

    Returns:
        (...) on average 0 for preferences without error, so often negative; NaN where there is no item.
    """
    n, s, s2, m2, _ = np.split(np.asarray(sums, float), 5, axis=-1)
    pairs = n * n - m2
    gaps = np.where(pairs > 0, ratio(s * s - s2, pairs), _gap(n, s) ** 2)
    return ratio((n * gaps).sum(-1), n.sum(-1))


def debiased_error(sums: Floats) -> Floats:
    """Root-mean-square calibration error over bins, less what chance adds to it.

    It knows of errors between bins only: within one, errors of opposite sign go unseen.

    Args:
        sums: (..., 5B) of `error_moments`.

    Returns:
        (...) the root of the square, with the square's sign: around 0 for perfect preferences; NaN of no item.
    """
    return _root(squared_error(sums))


def plain_error(sums: Floats) -> Floats:
    """The usual calibration error: the mean absolute gap over bins, above 0 by chance alone.

    Args:
        sums: (..., 5B) of `error_moments`.

    Returns:
        (...) in [0, 1]; NaN of no item.

    Source: Guo et al., arXiv:1706.04599, equation 3; with bins of equally many items.
    """
    n, s, *_ = np.split(np.asarray(sums, float), 5, axis=-1)
    return ratio(np.abs(s).sum(-1), n.sum(-1))


def error_estimate(moments: Resampled) -> Estimate:
    """The debiased error with its 95 % interval.

    Resamples of the data as they are would be around the plain error, since a bin's chance gap is true for them. So
    gaps are shrunk, all by one factor, until the error that is true for the resamples is the estimate, or 0 if that is
    negative; the interval is where the error of 95 % of these lies, with the quantiles widened for few clusters.

    Args:
        moments: of `error_columns` and `error_moments`.

    Returns:
        The estimate; without an interval where there is one cluster, or no gap differs from another.
    """
    total = moments.total
    n, s, *_ = np.split(total, 5)
    items, value = round(n.sum()), float(squared_error(total))
    clusters = int(np.count_nonzero(np.any(moments.by_cluster != 0, axis=1)))
    if not items:
        return Estimate(None)
    error = float(_root(value))
    gaps = _gap(n, s)
    plain = float((n * gaps**2).sum() / items)
    kept = np.sqrt(max(0.0, value) / plain) if plain > 0 else 0.0
    drawn = squared_error(_shifted(moments.resamples, (1 - kept) * gaps))
    if clusters < 2 or not len(drawn) or np.ptp(drawn) < 1e-12:
        return Estimate(error, None, None, items, clusters)
    reach = stats.t.ppf(0.975, clusters - 1) * np.sqrt(clusters / (clusters - 1))
    low, high = _root(np.quantile(drawn, special.ndtr([-reach, reach])))
    return Estimate(error, min(error, float(low)), max(error, float(high)), items, clusters, "percentile")


def _shifted(sums: Floats, shift: Floats) -> Floats:
    """The moments of the same data with every gap of a bin (B,) smaller by `shift`."""
    n, s, s2, m2, sm = np.split(sums, 5, axis=-1)
    squares = np.maximum(0.0, s2 - 2 * shift * sm + shift**2 * m2)
    return np.concatenate([n, s - shift * n, squares, m2, sm - shift * m2], axis=-1)


def _gap(n: Floats, s: Floats) -> Floats:
    """Mean gaps; 0 in empty bins."""
    return np.divide(s, n, out=np.zeros_like(s), where=n > 0)


def _root(square: ArrayLike) -> Floats:
    values = np.asarray(square, float)
    root: Floats = np.sign(values) * np.sqrt(np.abs(values))
    return root
