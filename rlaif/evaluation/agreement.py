"""Agreement of preferences with preferences, whoever gave them. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from rlaif.statistics.intervals import Estimate, share


class Agreement(NamedTuple):
    """How far two judges of the same items agree.

    Attributes:
        same_side: of how many items both prefer the same response; an exact tie (.5) of either counts half.
        difference: mean absolute difference of the two preferences, in [0, 1].
    """

    same_side: Estimate
    difference: float


def agreement(pairs: Iterable[tuple[float, float]]) -> Agreement | None:
    """Compare two judges.

    Args:
        pairs: of P(response 1 preferred), one pair an item.

    Returns:
        How far they agree; None where there is no item.
    """
    n, same, difference = 0, 0.0, 0.0
    for one, other in pairs:
        n += 1
        difference += abs(one - other)
        same += 0.5 if 0.5 in (one, other) else float((one > 0.5) == (other > 0.5))
    if not n:
        return None
    return Agreement(share(same, n), difference / n)
