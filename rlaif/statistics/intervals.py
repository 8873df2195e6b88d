"""Intervals and tests that reports and labels share. Pure; nothing of this project is imported here."""

import math

_Z95 = 1.959963984540054


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
