"""How far preferences are probabilities: log loss, Brier score, reliability, calibration error. Pure.

Shape legend: n items, B bins.

Preferences p are P(response 1 preferred), and targets y in [0, 1] what people prefer. Both ways to write an
observation, (p, y) and (1 - p, 1 - y), count the same (see `folding`).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rlaif.statistics.calibration_error import bin_edges, error_columns, error_estimate, error_moments
from rlaif.statistics.folding import confidence_in, fold
from rlaif.statistics.intervals import Bootstrap, Estimate, Floats, Resampled, ratio, wilson

CLIP = 1e-6
"""Log loss takes no preference as surer than 1 - CLIP, so that one wrong certainty costs 13.8 nats and no more."""


def log_loss(p: ArrayLike, y: ArrayLike) -> Floats:
    """Cross-entropy of each preference, which is taken to [CLIP, 1 - CLIP] first.

    Args:
        p: (n,) preferences.
        y: (n,) targets.

    Returns:
        (n,) nats; log 2 for a preference of .5.
    """
    confidence, hit = fold(p, y)
    confidence = np.minimum(confidence, 1 - CLIP)
    return -hit * np.log(confidence) - (1 - hit) * np.log1p(-confidence)


def clipped(p: ArrayLike) -> int:
    """How many preferences log loss takes as less sure than they are.

    Args:
        p: (n,) preferences.
    """
    return int(np.count_nonzero(confidence_in(p) > 1 - CLIP))


def brier(p: ArrayLike, y: ArrayLike) -> Floats:
    """Squared distance of each preference to its target.

    Args:
        p: (n,) preferences.
        y: (n,) targets; a tie is the number .5, not a coin that shows 0 or 1.

    Returns:
        (n,) in [0, 1].

    Source: Brier, Monthly Weather Review 78 (1950), 1-3; of one of the two classes.
    """
    distance: Floats = (np.asarray(p, float) - np.asarray(y, float)) ** 2
    return distance


class Bin(NamedTuple):
    """Items of about the same preference.

    Attributes:
        confidence: their mean preference, in [0, 1].
        share: their mean target: where people prefer response 1.
        n: how many; the mirrored bin holds the same ones.
        low: lower end of Wilson's 95 % interval of the share, as of independent items.
        high: its upper end.
    """

    confidence: float
    share: float
    n: int
    low: float
    high: float


def reliability(p: ArrayLike, y: ArrayLike, bins: int = 10) -> list[Bin]:
    """What people prefer, by what is said of it: the points of a reliability diagram.

    Args:
        p: (n,) preferences.
        y: (n,) targets.
        bins: how many at most on each side of .5.

    Returns:
        Bins by rising confidence; each stands there for both sides, so the first mirrors the last.
    """
    confidence, hit = fold(p, y)
    places = np.searchsorted(bin_edges(p, bins), confidence, side="right")
    upper = []
    for place in np.unique(places):
        inside = places == place
        n, share = int(inside.sum()), float(hit[inside].mean())
        upper.append(Bin(float(confidence[inside].mean()), share, n, *wilson(share, n)))
    lower = [Bin(1 - one.confidence, 1 - one.share, one.n, 1 - one.high, 1 - one.low) for one in upper]
    return [one for one in reversed(lower) if one.confidence < 0.5] + upper


class Quality(NamedTuple):
    """How good preferences are as probabilities.

    Attributes:
        log_loss: mean, in nats.
        brier: mean squared distance.
        error: debiased calibration error.
        gain: by how much mean log loss is lower than that of other preferences of the same items; None without.
    """

    log_loss: Estimate
    brier: Estimate
    error: Estimate
    gain: Estimate | None = None


def quality(
    p: ArrayLike, y: ArrayLike, bootstrap: Bootstrap, before: ArrayLike | None = None, bins: int = 10
) -> Quality:
    """Measure preferences, with intervals that allow for clusters.

    Args:
        p: (n,) preferences.
        y: (n,) targets.
        bootstrap: of the items' clusters.
        before: (n,) preferences that these are compared with.
        bins: of the calibration error, at most.
    """
    losses = log_loss(p, y)
    saved = np.zeros_like(losses) if before is None else log_loss(before, y) - losses
    means = np.stack([np.ones_like(losses), losses, brier(p, y), saved], axis=1)
    columns = np.concatenate([means, error_columns(p, y, bin_edges(p, bins))], axis=1)
    sums = bootstrap.sums(columns, lambda found: np.concatenate([found[:, :4], error_moments(found[:, 4:])], axis=1))
    first = Resampled(sums.by_cluster[:, :4], sums.resamples[:, :4])
    n = len(losses)
    return Quality(
        first.estimate(lambda found: ratio(found[..., 1], found[..., 0]), n),
        first.estimate(lambda found: ratio(found[..., 2], found[..., 0]), n),
        error_estimate(Resampled(sums.by_cluster[:, 4:], sums.resamples[:, 4:])),
        None if before is None else first.estimate(lambda found: ratio(found[..., 3], found[..., 0]), n),
    )
