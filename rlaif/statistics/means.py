"""Means over items of which several belong to one query, and differences of two such means on the same queries."""

from collections.abc import Sequence
from typing import Any, Protocol

from rlaif.statistics.intervals import Bootstrap, Estimate, ratio


class Valued(Protocol):
    """A figure of one item, and the query that it belongs to."""

    @property
    def query(self) -> str:
        """The query's id."""
        ...

    @property
    def value(self) -> float:
        """The figure."""
        ...


def mean(values: Sequence[Valued], *, proportion: bool = False) -> Estimate:
    """A mean with its interval over resampled queries.

    Args:
        values: of the items.
        proportion: they are in [0, 1]; where resamples do not vary, the interval is Wilson's.
    """
    if not values:
        return Estimate(None)
    sums = Bootstrap([one.query for one in values]).sums([[one.value, 1.0] for one in values])
    return sums.estimate(lambda totals: ratio(totals[..., 0], totals[..., 1]), len(values), proportion=proportion)


def gain(values: Sequence[Valued], first: Sequence[Valued]) -> Estimate:
    """A mean less another, with the interval of the difference: queries that both have are drawn together.

    Args:
        values: of the items.
        first: what they are compared with.
    """
    if not values or not first:
        return Estimate(None)
    columns = [[one.value, 1.0, 0.0, 0.0] for one in values] + [[0.0, 0.0, one.value, 1.0] for one in first]
    sums = Bootstrap([one.query for one in (*values, *first)]).sums(columns)

    def difference(totals: Any) -> Any:
        return ratio(totals[..., 0], totals[..., 1]) - ratio(totals[..., 2], totals[..., 3])

    return sums.estimate(difference, len(values))
