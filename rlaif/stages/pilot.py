"""Try models on a sample: who agrees with people, and what would the rest cost?"""

import statistics
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.columns import ColumnMap
from rlaif.conventions import Format, read_comparisons
from rlaif.evaluation.agreement import agreement
from rlaif.io import read_rows
from rlaif.stages.judge import PairJudge, Summary
from rlaif.stages.panel import label_each
from rlaif.stages.quote import usable
from rlaif.stages.quoted_model import Interval
from rlaif.statistics.intervals import Estimate, share


class Trial(NamedTuple):
    """What one model did with the sample.

    Attributes:
        llm: `provider:model`.
        labels: how many items it labeled.
        failures: how many it did not.
        with_people: of how many it prefers what people prefer, where they are not undecided; None without labels.
        same_position: of how many it prefers the same position in both orders; .5 prefers none.
        cost_usd: of the sample's labels; None where nobody knows, or nobody is paid.
        rest_usd: of the rest, lowest and highest; two standard errors of the sample's mean.
    """

    llm: str
    labels: int
    failures: int
    with_people: Estimate | None
    same_position: Estimate | None
    cost_usd: float | None
    rest_usd: Interval | None


class Pilot(NamedTuple):
    """A trial for each model, of how many items, and how many are left."""

    trials: list[Trial]
    sampled: int
    rest: int


def pilot(
    labelers: Sequence[PairJudge],
    data: Any,
    out: Path,
    n: int = 200,
    *,
    format: Format = "auto",
    columns: ColumnMap | None = None,
    **options: Any,
) -> Pilot:
    """Let several models label the same random items.

    What is labeled here is in the ledger, and not asked again by a run over all items.

    Args:
        labelers: with different models.
        data: a path, or a table that can be read again for each.
        out: the folder for their run folders.
        n: how many items.
        format: whose convention the rows follow.
        columns: which column holds which field.
        **options: see `judge_file`.

    Returns:
        A trial for each labeler, in order.

    Raises:
        InputError: the data cannot be read; nothing was asked.
    """
    rows = read_comparisons(data, format, columns, labelers[0].config.seed)
    items = sum(item is not None for item in usable(rows))
    runs = label_each(labelers, data, out, sample=n, format=format, columns=columns, **options)
    rest = max(0, items - n)
    return Pilot([_trial(llm, summary, rest) for llm, summary in runs.items()], min(n, items), rest)


def _trial(llm: str, summary: Summary, rest: int) -> Trial:
    rows = [row for _, row in read_rows(summary.records) if isinstance(row, dict)] if summary.count else []
    people = [
        (row["preference"], row["human_preference"]) for row in rows if row.get("human_preference") not in (None, 0.5)
    ]
    found = agreement(people)
    both = [row for row in rows if "preference_12" in row and "preference_21" in row]
    same = sum((row["preference_12"] - 0.5) * (row["preference_21"] - 0.5) < 0 for row in both)
    costs = [row["cost_usd"] for row in rows if "cost_usd" in row]
    return Trial(
        llm,
        len(rows),
        sum(count for kind, count in summary.failures.items() if kind != "rejected"),
        found.same_side if found else None,
        share(same, len(both)) if both else None,
        sum(costs) if costs else None,
        _times(costs, rest) if costs else None,
    )


def _times(costs: Sequence[float], rest: int) -> Interval:
    """The cost of the rest, from that of some."""
    mean = statistics.fmean(costs)
    reach = 2 * statistics.stdev(costs) / sqrt(len(costs)) if len(costs) > 1 else mean
    return max(0.0, mean - reach) * rest, (mean + reach) * rest
