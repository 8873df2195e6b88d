"""What small edits of a response do to its score: those that change its meaning beside those that do not. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rlaif.evaluation import plots
from rlaif.evaluation.alignment import Resampling
from rlaif.evaluation.edits import EDITS
from rlaif.evaluation.report import Cell, Section
from rlaif.statistics.intervals import Estimate, Floats, ratio

SAME = 1e-4
"""Scores that differ by less are the same: in float32 padding alone moves them by some millionths."""

CONTROL = 0.95
"""This quantile of the changes that the control makes is what an edit has to exceed."""


class Change(NamedTuple):
    """What one edit of one response did.

    Attributes:
        kind: of `EDITS`.
        cluster: what the response belongs to, such as its query.
        preferred: whether it is the preferred response of its pair; None where none is known to be.
        change: score after the edit minus score before; None where nothing was scored.
        too_long: it is None since the edited response is too long; otherwise since it has no place for the edit.
    """

    kind: str
    cluster: str
    preferred: bool | None
    change: float | None
    too_long: bool = False


def threshold(changes: Sequence[Change]) -> float | None:
    """What an edit has to move a score by, to move it by more than a control does.

    Args:
        changes: all of them.

    Returns:
        The 95th percentile of how far controls move scores, whichever way, and at least `SAME`; None without controls.
    """
    moved = [abs(one.change) for one in changes if one.change is not None and not EDITS[one.kind].changes_meaning]
    return max(SAME, float(np.quantile(moved, CONTROL))) if moved else None


def sensitivity(changes: Sequence[Change], preferred_by: str, resampling: Resampling, drawn: str = "") -> Section:
    """Lay out what edits did.

    Args:
        changes: at least one.
        preferred_by: whose preference says which response is the preferred one.
        resampling: how intervals are drawn.
        drawn: of which comparisons the responses are, in a sentence.
    """
    above = threshold(changes)
    rows: list[tuple[Cell, ...]] = []
    for changes_meaning, name in ((True, "all that change the meaning"), (False, "all that leave it (control)")):
        kinds = [kind for kind, edit in EDITS.items() if edit.changes_meaning == changes_meaning]
        rows.append((name, *_figures([one for one in changes if one.kind in kinds], above, resampling)))
        rows += [(kind, *_figures([one for one in changes if one.kind == kind], above, resampling)) for kind in kinds]
    return Section(
        "edits",
        "Small edits of the meaning",
        f"Each response is edited in one place, and scored again. {drawn}Moves more than the control: by more than "
        f"{'–' if above is None else f'{above:.4f}'}, the 95th percentile of what edits do that leave the meaning; by "
        "definition about one control in twenty does. Scores have a standard deviation of 1 on the reward model's "
        f"reference set. Falls: of edits of the response that {preferred_by} prefer, the share after which the score "
        "is lower. A response without a place for an edit was not edited.",
        ("edit", "moves more than the control", "moves by (mean)", "preferred response falls", "no place", "too long"),
        rows,
        plots.forest_of(rows, "Share of edits that move the score by more than the control", "share", 1 - CONTROL),
    )


def _figures(changes: Sequence[Change], above: float | None, resampling: Resampling) -> tuple[Cell, ...]:
    scored = [(one, one.change) for one in changes if one.change is not None]
    of_preferred = [(one, change) for one, change in scored if one.preferred]
    too_long = sum(one.too_long for one in changes)
    return (
        Estimate(None) if above is None else _mean(scored, lambda change: float(abs(change) > above), resampling, True),
        _mean(scored, abs, resampling, False),
        _mean(of_preferred, lambda change: float(change < -SAME), resampling, True),
        len(changes) - len(scored) - too_long,
        too_long or None,
    )


def _mean(
    scored: Sequence[tuple[Change, float]], measure: Callable[[float], float], resampling: Resampling, proportion: bool
) -> Estimate:
    if not scored:
        return Estimate(None)
    values: Floats = np.array([[measure(change), 1.0] for _, change in scored])
    sums = resampling.of(np.array([one.cluster for one, _ in scored])).sums(values)
    return sums.estimate(lambda found: ratio(found[..., 0], found[..., 1]), len(scored), proportion=proportion)
