"""Preferences without their responses' places. Pure.

A preference p is P(response 1 preferred), and a target y in [0, 1] what people prefer (.5 is a tie). Which response is
the first is a coin, so (p, y) and (1 - p, 1 - y) are one observation, and whatever is measured or fitted must be the
same for both. It is made so by folding: confidence c = max(p, 1 - p), and hit = y or 1 - y, how far people prefer the
response that p does.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rlaif.statistics.intervals import Floats


class Folded(NamedTuple):
    """Preferences as confidence, which knows nothing of the responses' places.

    Attributes:
        confidence: (n,) in [.5, 1].
        hit: (n,) the target for the response that is preferred, in [0, 1]; .5 where none is.
    """

    confidence: Floats
    hit: Floats


def confidence_in(p: ArrayLike) -> Floats:
    """How sure preferences are, whichever response they are for.

    It is rounded, since .29 and .71 are as sure, while 1 - .29 is not quite .71 in binary numbers.

    Args:
        p: (n,) preferences.

    Returns:
        (n,) in [.5, 1], to 12 decimals.
    """
    first = np.asarray(p, float)
    confidence: Floats = np.round(np.maximum(first, 1 - first), 12)
    return confidence


def fold(p: ArrayLike, y: ArrayLike) -> Folded:
    """Make one of the two ways to write an observation.

    Args:
        p: (n,) preferences.
        y: (n,) targets.

    Returns:
        For targets of 0, .5 and 1 the same to the last bit, whichever response is the first.
    """
    confidence, target = confidence_in(p), np.asarray(y, float)
    return Folded(confidence, np.where(confidence > 0.5, np.where(np.asarray(p) > 0.5, target, 1 - target), 0.5))
