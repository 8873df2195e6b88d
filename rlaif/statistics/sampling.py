"""Stratified samples: how many of each stratum, which ones, and what they say about the whole pool. Pure.

Notation: H strata; stratum h has N_h items of which n_h are drawn; N = sum of N_h, W_h = N_h / N, f_h = n_h / N_h;
q_h is the expected share of hits there, and s_h^2 the variance of its values.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from scipy import optimize, special

from rlaif.statistics.intervals import Estimate

LEAST = 5
"""Items drawn from a stratum that has so many: fewer say nothing of how its values vary."""
SUREST = 0.95
"""No share is planned with that is surer: what is not expected would not be looked for."""


class Stratum(NamedTuple):
    """The items that were drawn from a stratum.

    Attributes:
        size: items in the stratum, N_h.
        values: of those drawn, each in [0, 1].
    """

    size: int
    values: Sequence[float]


def temper(sizes: Sequence[int], shares: Sequence[float], most: float) -> tuple[float, ...]:
    """The shares of hits to plan with, where those who claim them may be too sure of themselves.

    Each is pulled into [.5, .95]; then all are drawn down by the same log-odds until the share in the whole pool is
    at most `most`. A smaller share has a larger variance, so this never makes a sample smaller.

    Args:
        sizes: (H,) items.
        shares: (H,) claimed shares of hits, in [0, 1].
        most: the share in the whole pool to count on at most, in [.5, 1].

    Returns:
        (H,) shares in [.5, .95].
    """
    claimed = [min(max(share, 0.5), SUREST) for share in shares]

    def lowered(by: float) -> list[float]:
        return [max(0.5, float(special.expit(special.logit(share) - by))) for share in claimed]

    def excess(by: float) -> float:
        return overall(sizes, lowered(by)) - most

    if excess(0) <= 0:
        return tuple(claimed)
    all_even = float(special.logit(SUREST))
    return tuple(lowered(optimize.brentq(excess, 0, all_even) if excess(all_even) < 0 else all_even))


def overall(sizes: Sequence[int], shares: Sequence[float]) -> float:
    """The share of hits in the whole pool.

    Args:
        sizes: (H,) items, at least one in all.
        shares: (H,) shares of hits.
    """
    return sum(size * share for size, share in zip(sizes, shares, strict=True)) / sum(sizes)


def allocate(sizes: Sequence[int], shares: Sequence[float], within: float) -> tuple[int, ...]:
    """How many items to draw from each stratum: the smallest of Neyman's allocations that reaches as near as asked.

    These are n_h in proportion to N_h * sqrt(q_h * (1 - q_h)), in whole numbers, with at least min(N_h, 5) and at most
    N_h: each further item goes where it takes most off the variance.

    Args:
        sizes: (H,) items, each at least 1.
        shares: (H,) expected shares of hits.
        within: the half-width of the 95 % interval, above 0.

    Returns:
        (H,) items to draw; all of them where fewer do not do.

    Source: Neyman, Journal of the Royal Statistical Society 97 (1934), 558-625; exact in whole numbers by Wright,
    The American Statistician 66 (2012), 217-224.
    """
    counts = [min(size, LEAST) for size in sizes]
    weights = [size**2 * share * (1 - share) for size, share in zip(sizes, shares, strict=True)]
    while half_width(sizes, shares, counts) > within:
        free = [h for h, size in enumerate(sizes) if counts[h] < size]
        best = max(free, key=lambda h: weights[h] / (counts[h] * (counts[h] + 1)))
        counts[best] += 1
    return tuple(counts)


def half_width(sizes: Sequence[int], shares: Sequence[float], counts: Sequence[int]) -> float:
    """How far the 95 % interval of a stratified sample is expected to reach to either side.

    Args:
        sizes: (H,) items.
        shares: (H,) expected shares of hits.
        counts: (H,) items to draw, each at least 1.
    """
    return _reach(sizes, [share * (1 - share) for share in shares], counts)


def _reach(sizes: Sequence[int], variances: Sequence[float], counts: Sequence[int]) -> float:
    """Student's quantile times the standard error, the sum over strata of W_h^2 (1 - f_h) s_h^2 / n_h under a root.

    Source: Cochran, Sampling Techniques (3rd edition, 1977), equations 5.12 and, for the degrees of freedom
    (Satterthwaite's), 5.16.
    """
    total = sum(sizes)
    parts = [
        (size / total) ** 2 * (1 - count / size) * variance / count
        for size, variance, count in zip(sizes, variances, counts, strict=True)
    ]
    if not (variance := sum(parts)):
        return 0.0
    degrees = variance**2 / sum(part**2 / max(count - 1, 1) for part, count in zip(parts, counts, strict=True))
    return float(special.stdtrit(degrees, 0.975)) * math.sqrt(variance)


def draw(identifiers: Iterable[str], count: int, seed: int) -> list[str]:
    """Draw items by seeded hashes of their ids, so that their order does not matter.

    Args:
        identifiers: the items' ids, each once.
        count: how many to draw; a larger sample begins with a smaller one.
        seed: of the hashes.

    Returns:
        Those drawn, in an order that says nothing.
    """
    return sorted(identifiers, key=lambda one: _hash(f"sampling\0{seed}\0{one}"))[:count]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def stratified(strata: Iterable[Stratum]) -> Estimate:
    """The mean of a pool of which each stratum was sampled at a rate of its own, with its 95 % interval.

    The mean of each stratum's values counts by the stratum's size; the variance has the finite population correction,
    so that strata of which every item is known add nothing to it. A stratum whose values do not vary, as a single
    one does not, is given the variance it had with one hit and one miss more: five hits in a row are no certainty.

    Args:
        strata: those without a value are left out, so that the estimate is one of the others alone.

    Returns:
        The estimate, its interval within [0, 1]; of no values it has none.

    Source: Cochran, Sampling Techniques (3rd edition, 1977), sections 5.3 to 5.4.
    """
    known = [stratum for stratum in strata if stratum.values]
    if not known:
        return Estimate(None)
    sizes, counts = [stratum.size for stratum in known], [len(stratum.values) for stratum in known]
    value = overall(sizes, [math.fsum(stratum.values) / len(stratum.values) for stratum in known])
    reach = _reach(sizes, [_variance(stratum.values) for stratum in known], counts)
    n = sum(counts)
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach), n, n, "stratified")


def _variance(values: Sequence[float]) -> float:
    n, total = len(values), math.fsum(values)
    if min(values) == max(values):
        mean = (total + 1) / (n + 2)
        return mean * (1 - mean)
    return math.fsum((value - total / n) ** 2 for value in values) / (n - 1)
