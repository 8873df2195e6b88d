"""Where a labeler fails: agreement within the values of any column, against all the rest."""

import math
from collections import Counter
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rlaif.evaluation.alignment import Resampling
from rlaif.evaluation.items import Items, Labeler
from rlaif.evaluation.policy import Policy
from rlaif.statistics.intervals import Estimate, Floats, Resampled, ratio
from rlaif.statistics.tests import holm

MOST = 12
"""Of a column with more values than this, numbers are cut into quarters, and of texts the commonest are shown."""


class Slice(NamedTuple):
    """The items with one value of a column.

    Attributes:
        column: its name.
        value: what the items have in it.
        agreement: within the slice.
        difference: agreement within it minus agreement of all others.
        p: of no difference, after Holm's correction for all slices of the labeler; None where nothing can be told.
    """

    column: str
    value: str
    agreement: Estimate
    difference: Estimate
    p: float | None


def slices(items: Items, labeler: Labeler, columns: list[str], policy: Policy, resampling: Resampling) -> list[Slice]:
    """Agreement by slice.

    Args:
        items: comparisons.
        labeler: one of their labelers.
        columns: of the input.
        policy: what counts as agreement.
        resampling: how intervals are drawn.

    Returns:
        By column, the slices in order of their values.

    Raises:
        InputError: no item has such a column.
    """
    chosen = labeler.asked & items.with_people
    if not chosen.any():
        return []
    credit, counts = policy.credits(items.human[chosen], labeler.side[chosen])
    named: list[tuple[str, str]] = []
    summed = [credit, counts]
    for column in columns:
        values = [value for value, taken in zip(items.column(column), chosen, strict=True) if taken]
        for value, member in _members(values):
            named.append((column, value))
            summed += [credit * member, counts * member]
    sums = resampling.of(items.clusters[chosen]).sums(np.stack(summed, 1))
    found = [_slice(column, value, 2 * place, sums) for place, (column, value) in enumerate(named, 1)]
    corrected = iter(holm([one.p for one in found if one.p is not None]))
    return [one if one.p is None else one._replace(p=next(corrected)) for one in found]


def _slice(column: str, value: str, place: int, sums: Resampled) -> Slice:
    def within(found: Floats) -> Floats:
        return ratio(found[..., 0], found[..., 1])

    def difference(found: Floats) -> Floats:
        return within(found) - ratio(found[..., 2] - found[..., 0], found[..., 3] - found[..., 1])

    n, own = round(float(sums.total[place + 1])), sums.only([place, place + 1, 0, 1])
    agreement, gap = sums.only([place, place + 1]).estimate(within, n, proportion=True), own.estimate(difference, n)
    return Slice(column, value, agreement, gap, _p_value(gap, difference(own.resamples), agreement.clusters))


def _p_value(difference: Estimate, drawn: Floats, clusters: int) -> float | None:
    """Two-sided, from the spread of the difference over resamples and Student's t for the slice's clusters."""
    drawn = drawn[~np.isnan(drawn)]
    if difference.value is None or len(drawn) < 2 or not (spread := float(drawn.std(ddof=1))):
        return None
    return float(2 * stats.t.sf(abs(difference.value) / spread, clusters - 1)) if clusters > 1 else None


def _members(values: list[Any]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Names of a column's slices, and (n,) who is in each."""
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(set(numbers)) > MOST and len(numbers) > len(values) / 2:
        return _quarters(values, numbers)
    texts = [_text(value) for value in values]
    common = [text for text, _ in Counter(texts).most_common(MOST)]
    named = [(text, np.array([one == text for one in texts])) for text in sorted(common)]
    if len(set(texts)) > MOST:
        rest = set(common)
        named.append(("(all others)", np.array([one not in rest for one in texts])))
    return named


def _quarters(values: list[Any], numbers: list[float]) -> list[tuple[str, NDArray[np.bool_]]]:
    plain = np.array([float(v) if isinstance(v, int | float) and not isinstance(v, bool) else math.inf for v in values])
    edges = np.unique(np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1]))
    found = []
    for low, high in pairwise(edges):
        inside = (plain >= low) & ((plain <= high) if high == edges[-1] else (plain < high))
        found.append((f"{low:g} to {high:g}", inside))
    return found


def _text(value: Any) -> str:
    return "(none)" if value is None or value == "" else str(value)
