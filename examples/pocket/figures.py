"""Numbers as cards have them: a value with its interval and its n."""

import statistics
from collections.abc import Sequence
from typing import Any

from rlaif.statistics.intervals import wilson


def share(hits: int, n: int) -> dict[str, Any]:
    """A share with its Wilson interval, or None of no rows."""
    if not n:
        return {"value": None, "n": 0}
    low, high = wilson(hits / n, n)
    return {"value": round(hits / n, 4), "low": round(low, 4), "high": round(high, 4), "n": n}


def mean(values: Sequence[float]) -> dict[str, Any]:
    """A mean with its interval (normal) and the values' standard deviation, or None of fewer than two."""
    if len(values) < 2:
        return {"value": None, "n": len(values)}
    center, sd = statistics.fmean(values), statistics.stdev(values)
    reach = 1.96 * sd / len(values) ** 0.5
    bounds = {"low": round(center - reach, 3), "high": round(center + reach, 3)}
    return {"value": round(center, 3), **bounds, "sd": round(sd, 3), "n": len(values)}
