"""Maps from preferences to calibrated ones, the same for both ways to write an observation: f(1 - p) = 1 - f(p). Pure.

Shape legend: n items. Preferences and targets are those of `folding`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from rlaif.statistics.calibration import CLIP
from rlaif.statistics.folding import confidence_in, fold
from rlaif.statistics.intervals import Floats

STEEPEST = 100.0
"""The largest slope of `Platt` either way: where all preferences are right, likelihood knows none that is too large."""


@dataclass(frozen=True, slots=True)
class Platt:
    """One slope on the log-odds, f(p) = σ(slope · logit p), for p taken to [CLIP, 1 - CLIP] and giving the same.

    There is no intercept: it would tell the responses' places apart. A slope below 1 makes preferences less sure, and
    one below 0 turns them around, for a labeler that prefers what people reject.

    Attributes:
        slope: 1 changes nothing.

    Source: Platt, in Advances in Large Margin Classifiers (1999), 61-74; one slope as in Guo et al., arXiv:1706.04599,
    section 4.2, where its inverse is the temperature.
    """

    slope: float = 1.0

    @classmethod
    def fit(cls, p: ArrayLike, y: ArrayLike) -> "Platt":
        """Take the slope of the highest likelihood, within ± STEEPEST.

        Args:
            p: (n,) preferences.
            y: (n,) targets; .5 counts as half a hit and half a miss.

        Returns:
            The calibrator; that of slope 1 where no preference takes a side.
        """
        confidence, hit = fold(p, y)
        logits = special.logit(np.minimum(confidence, 1 - CLIP))

        def falling(slope: float) -> float:
            return float(logits @ (special.expit(slope * logits) - hit))

        if not np.any(logits):
            return cls()
        if falling(-STEEPEST) >= 0:
            return cls(-STEEPEST)
        if falling(STEEPEST) <= 0:
            return cls(STEEPEST)
        return cls(float(optimize.brentq(falling, -STEEPEST, STEEPEST)))

    def __call__(self, p: ArrayLike) -> Floats:
        """Calibrate.

        Args:
            p: (n,) preferences.

        Returns:
            (n,) in [CLIP, 1 - CLIP].
        """
        first = np.asarray(p, float)
        logits = self.slope * special.logit(np.minimum(np.maximum(first, 1 - first), 1 - CLIP))
        calibrated: Floats = np.clip(special.expit(np.where(first >= 0.5, logits, -logits)), CLIP, 1 - CLIP)
        return calibrated

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {"slope": self.slope}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Platt":
        """Read back what `to_dict` gave."""
        return cls(float(fields["slope"]))


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A rising line through the shares of hits: the least-squares one of the observations and their mirror images.

    Its upper half is kept, the lower one mirrors it. It never turns preferences around: a labeler that prefers what
    people reject is told .5 throughout.

    Attributes:
        confidence: knots, rising from .5.
        preference: what each becomes, from .5 up; straight lines between, and level behind the last.

    Source: Zadrozny and Elkan, KDD (2002), 694-699.
    """

    confidence: tuple[float, ...] = (0.5,)
    preference: tuple[float, ...] = (0.5,)

    @classmethod
    def fit(cls, p: ArrayLike, y: ArrayLike) -> "Isotonic":
        """Pool neighbours until shares rise; stay 1 / (n + 2) away from 0 and 1, where log loss has no end.

        Args:
            p: (n,) preferences.
            y: (n,) targets.

        Returns:
            The calibrator; that which makes everything .5 where there is no item.
        """
        confidence, hit = fold(p, y)
        if not len(confidence):
            return cls()
        knots, places, weights = np.unique(confidence, return_inverse=True, return_counts=True)
        shares = np.bincount(places, hit) / weights
        fitted = optimize.isotonic_regression(shares, weights=weights)
        # Both halves together rise if and only if the upper one rises and stays above .5; cutting off is least squares.
        values = np.clip(fitted.x, 0.5, 1 - 1 / (len(hit) + 2))
        ends = np.unique([fitted.blocks[:-1], fitted.blocks[1:] - 1])
        start = (0.5,) if knots[0] > 0.5 else ()
        return cls((*start, *knots[ends].tolist()), (*start, *values[ends].tolist()))

    def __call__(self, p: ArrayLike) -> Floats:
        """Calibrate.

        Args:
            p: (n,) preferences.

        Returns:
            (n,) in (0, 1).
        """
        first = np.asarray(p, float)
        upper = np.interp(confidence_in(first), self.confidence, self.preference)
        calibrated: Floats = np.where(first >= 0.5, upper, 1 - upper)
        return calibrated

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {"confidence": list(self.confidence), "preference": list(self.preference)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Isotonic":
        """Read back what `to_dict` gave."""
        return cls(tuple(map(float, fields["confidence"])), tuple(map(float, fields["preference"])))


Calibrator = Platt | Isotonic


def cross_validated(
    fit: Callable[[Floats, Floats], Callable[[Floats], Floats]],
    p: ArrayLike,
    y: ArrayLike,
    clusters: ArrayLike,
    folds: int = 5,
    seed: int = 0,
) -> Floats:
    """Calibrate each item by what was fitted without its cluster.

    Args:
        fit: makes a calibrator from preferences and targets, such as `Platt.fit`.
        p: (n,) preferences.
        y: (n,) targets.
        clusters: (n,) each item's cluster, as whole numbers or texts.
        folds: into how many parts clusters are dealt, at least 2; no more than there are clusters.
        seed: of the dealing.

    Returns:
        (n,) preferences; of a single cluster, by a calibrator that was fitted to no item.
    """
    preferences, targets = np.asarray(p, float), np.asarray(y, float)
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    parts = np.random.default_rng(seed).permutation(len(names)) % folds
    held_out = np.empty_like(preferences)
    for part in range(min(folds, len(names))):
        inside = parts[codes] == part
        held_out[inside] = fit(preferences[~inside], targets[~inside])(preferences[inside])
    return held_out
