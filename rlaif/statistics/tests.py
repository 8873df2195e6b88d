"""Tests of paired verdicts, and the correction for many tests. Pure."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def mcnemar(only_first: int, only_second: int) -> float:
    """Whether two judges are right equally often on the same items, exactly.

    Args:
        only_first: items that the first alone got right.
        only_second: items that the second alone got right.

    Returns:
        The two-sided p-value; 1 where they never differ.

    Source: McNemar, Psychometrika 12 (1947), 153-157; in its exact binomial form.
    """
    if not only_first + only_second:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values that allow for how many were looked at.

    Args:
        p_values: of all tests of one family.

    Returns:
        As many, in the same order, each at least as large; below .05 all at once with a chance of error of at most .05.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    found = np.empty(len(p_values))
    found[order] = adjusted
    return [float(value) for value in found]
