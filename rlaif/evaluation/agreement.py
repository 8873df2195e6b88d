"""Agreement of preferences with preferences, whoever gave them. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from rlaif.statistics import wilson


class Share(NamedTuple):
    """A share of items, with its 95 % interval (Wilson) and of how many."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


class Agreement(NamedTuple):
    """How far two judges of the same items agree.

    Attributes:
        same_side: of how many items both prefer the same response; an exact tie (.5) of either counts half.
        difference: mean absolute difference of the two preferences, in [0, 1].
    """

    same_side: Share
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


def share(hits: float, n: int) -> Share:
    """A proportion with its interval.

    Args:
        hits: how many.
        n: of how many, at least 1.
    """
    return Share(hits / n, *wilson(hits / n, n), n)
