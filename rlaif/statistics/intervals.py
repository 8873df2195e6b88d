"""Estimates with intervals: Wilson's for shares of independent items, and the bootstrap of clusters for all else.

Shape legend: n items, C clusters of items (such as all comparisons of one query), K sums, R resamples.

Every statistic here is a function of sums over items (counts of hits, of a class, of a squared error), so that it is
computed for thousands of resamples at once: items become sums by cluster (C, K), and resamples of clusters become
sums again (R, K) by one multiplication of matrices.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

_Z95 = 1.959963984540054
_AT_ONCE = 4_000_000
"""Weights of resamples held at once as numbers of 8 bytes: few enough for a processor's cache."""


class Estimate(NamedTuple):
    """A number with its 95 % interval and of how many items it is made.

    Attributes:
        value: the estimate; None where there is nothing to estimate it from.
        low: lower end of the interval; None where there is none, as of a single cluster.
        high: its upper end.
        n: items.
        clusters: groups of items that belong together; as many as items where each stands alone.
        interval: how the interval was made: `wilson`, `bca`, `percentile`, `stratified`, `robust`,
            `normal`, or `none`.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clusters: int = 0
    interval: str = "none"

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        if self.low is None or self.high is None:
            return decimal(self.value)
        # A dash before a minus sign cannot be read.
        to = "-" if self.low >= 0 else " to "
        return f"{decimal(self.value)} ({decimal(self.low)}{to}{decimal(self.high)})"


def decimal(value: float) -> str:
    """A number with three decimals, or one where it is 100 or more.

    Args:
        value: a figure of a report.
    """
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion, or of any mean of n independent values in [0, 1].

    A value between 0 and 1 varies no more than one that is 0 or 1 with the same mean, so for means of such values
    the interval is too wide rather than too narrow; it never has no width.

    Args:
        share: the proportion found, in [0, 1].
        n: of how many, at least 1.

    Returns:
        Its lower and its upper end, in [0, 1].

    Source: Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    spread = _Z95**2 / n
    center = (share + spread / 2) / (1 + spread)
    reach = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return max(0.0, center - reach), min(1.0, center + reach)


def share(hits: float, n: int) -> Estimate:
    """A proportion of independent items, with Wilson's interval.

    Args:
        hits: how many; an item may count in part.
        n: of how many; of none there is no proportion.
    """
    if not n:
        return Estimate(None)
    return Estimate(hits / n, *wilson(hits / n, n), n, n, "wilson")


def ratio(above: ArrayLike, below: ArrayLike) -> Floats:
    """Divide, with NaN (and no warning) where there is nothing to divide by.

    Args:
        above: any shape.
        below: the same.
    """
    top, bottom = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    found: Floats = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return found


class Bootstrap:
    """Resamples of clusters, drawn with replacement; the same seed draws the same ones for every statistic."""

    def __init__(self, clusters: ArrayLike, samples: int = 2000, seed: int = 0) -> None:
        """Number the clusters.

        Args:
            clusters: (n,) each item's cluster, as whole numbers or texts.
            samples: how many resamples.
            seed: of what is drawn.
        """
        names, self._codes = np.unique(np.asarray(clusters), return_inverse=True)
        self.count, self.samples, self.seed = len(names), samples, seed

    def sums(self, columns: ArrayLike, per_cluster: Callable[[Floats], Floats] | None = None) -> "Resampled":
        """Add columns up over all items, over every resample, and over all clusters but one.

        Args:
            columns: (n, K) what is added up.
            per_cluster: (C, K) sums by cluster to (C, L) columns that are added up instead, such as their squares.
        """
        values = np.asarray(columns, float)
        by_cluster = np.empty((self.count, values.shape[1]))
        for place in range(values.shape[1]):
            by_cluster[:, place] = np.bincount(self._codes, values[:, place], self.count)
        if per_cluster is not None:
            by_cluster = per_cluster(by_cluster)
        if self.count < 2:
            return Resampled(by_cluster, np.empty((0, by_cluster.shape[1])))
        counts = _counts(self.count, self.samples, self.seed)
        drawn = np.zeros((self.samples, by_cluster.shape[1]))
        at_once = max(1, _AT_ONCE // max(1, self.samples))
        for start in range(0, self.count, at_once):
            some = slice(start, start + at_once)
            drawn += counts[:, some].astype(float) @ by_cluster[some]
        return Resampled(by_cluster, drawn)


@lru_cache(maxsize=1)
def _counts(clusters: int, samples: int, seed: int) -> NDArray[np.uint8]:
    """How often each resample holds each cluster, (R, C); a byte each, since none is drawn 256 times by chance."""
    generator = np.random.default_rng(seed)
    counts = np.empty((samples, clusters), np.uint8)
    for row in counts:
        row[:] = np.bincount(generator.integers(clusters, size=clusters), minlength=clusters)
    return counts


class Resampled:
    """Sums over all items, over resamples of them, and over all clusters but one."""

    def __init__(self, by_cluster: Floats, resamples: Floats) -> None:
        """Take sums.

        Args:
            by_cluster: (C, K).
            resamples: (R, K).
        """
        self.by_cluster, self.resamples = by_cluster, resamples
        self.total: Floats = by_cluster.sum(axis=0)

    def only(self, columns: slice | list[int]) -> "Resampled":
        """Some of the sums.

        Args:
            columns: which of the K, in their new order.
        """
        return Resampled(self.by_cluster[:, columns], self.resamples[:, columns])

    def times(self, factors: ArrayLike) -> "Resampled":
        """Every sum multiplied, as by 0 where it is not to count.

        Args:
            factors: (K,).
        """
        by = np.asarray(factors, float)
        return Resampled(self.by_cluster * by, self.resamples * by)

    def estimate(self, statistic: Statistic, n: float, *, proportion: bool = False) -> Estimate:
        """A statistic with its BCa interval, widened for few clusters.

        The quantiles are those of Student's t for C - 1 degrees and a spread of C / (C - 1), as Hesterberg advises,
        since resamples of few clusters vary too little.

        Args:
            statistic: (..., K) sums to (...) values, NaN where it is not defined.
            n: how many items it is made of.
            proportion: the statistic is a mean of values in [0, 1]; where resamples do not vary, the interval is
                Wilson's with as many items as clusters.

        Returns:
            The estimate; without a value where it is not defined, and without an interval where resamples cannot tell.

        Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 14.3; Hesterberg, The American
        Statistician 69 (2015), 371-386, section 5.2.
        """
        items, value = round(n), float(statistic(self.total))
        used = int(np.count_nonzero(np.any(self.by_cluster != 0, axis=1)))
        if not items or math.isnan(value):
            return Estimate(None, n=items, clusters=used)
        drawn = statistic(self.resamples)
        drawn = drawn[~np.isnan(drawn)]
        left_out = statistic(self.total - self.by_cluster)
        left_out = left_out[~np.isnan(left_out)]
        if used > 1 and len(drawn) > 1 and np.ptp(drawn) > 1e-12 and np.ptp(left_out) > 1e-12:
            low, high = _bca(value, drawn, left_out, used)
            return Estimate(value, low, high, items, used, "bca")
        if proportion:
            return Estimate(value, *wilson(min(1.0, max(0.0, value)), used), items, used, "wilson")
        return Estimate(value, None, None, items, used)


def _bca(value: float, drawn: Floats, left_out: Floats, clusters: int) -> tuple[float, float]:
    from scipy import special, stats

    below = (np.count_nonzero(drawn < value) + np.count_nonzero(drawn == value) / 2) / len(drawn)
    bias = special.ndtri(min(max(below, 0.5 / len(drawn)), 1 - 0.5 / len(drawn)))
    gaps = left_out.mean() - left_out
    acceleration = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    reach = stats.t.ppf(0.975, clusters - 1) * math.sqrt(clusters / (clusters - 1))
    ends = bias + np.array([-reach, reach])
    levels = special.ndtr(bias + ends / np.maximum(1 - acceleration * ends, 1e-3))
    low, high = np.quantile(drawn, levels)
    return float(low), float(high)
