"""Pictures of what changes with the steps of a training, in the style of all pictures (see `plots`)."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from rlaif.evaluation.plots import LINES, MARKERS, SERIES, canvas, finish
from rlaif.evaluation.report import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW = 30
"""So many points are each marked."""
_TICKS = 10
"""So many whole numbers each have a tick of their own."""


class Spot(NamedTuple):
    """One point of a curve.

    Attributes:
        x: where it stands.
        y: its height; None is a gap.
        low: lower end of what is drawn about it; None for nothing.
        high: its upper end.
    """

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None


def by_step(curves: Mapping[str, Sequence[Spot]], title: str, y_label: str) -> tuple[Plot, ...]:
    """Curves over the steps, with what is about them as a band.

    Args:
        curves: spots by name, in the order of the steps; those without any height are left out.
        title: what it shows.
        y_label: of the vertical axis.

    Returns:
        One picture; none where nothing is known.
    """
    return _picture(curves, title, "step", y_label, bars=False)


def along(curves: Mapping[str, Sequence[Spot]], title: str, x_label: str, y_label: str) -> tuple[Plot, ...]:
    """Curves along any axis, with what is about a spot as a bar.

    Args:
        curves: spots by name, in the order in which they are joined.
        title: what it shows.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.

    Returns:
        One picture; none where nothing is known.
    """
    return _picture(curves, title, x_label, y_label, bars=True)


def _picture(
    curves: Mapping[str, Sequence[Spot]], title: str, x_label: str, y_label: str, bars: bool
) -> tuple[Plot, ...]:
    curves = {name: spots for name, spots in curves.items() if any(one.y is not None for one in spots)}
    if not curves:
        return ()
    with canvas(5.2, 2.7 + (0.25 if len(curves) > 1 else 0.0)) as (figure, axes):
        keys = [_curve(axes, spots, place, bars) for place, spots in enumerate(curves.values())]
        _label(axes, x_label, y_label)
        drawn = [end for spots in curves.values() for one in spots for end in one[1:] if end is not None]
        if min(drawn) >= 0:
            axes.set_ylim(0, 1.06 * max(drawn) or 1)
        places = {one.x for spots in curves.values() for one in spots}
        if bars and len(places) <= _TICKS and all(float(x).is_integer() for x in places):
            axes.set_xticks(sorted(places))
        if len(places) == 1:
            axes.set_xlim(min(places) - 1, min(places) + 1)
        if len(curves) > 1:
            figure.legend(keys, list(curves), loc="outside upper left", ncols=3, fontsize=8.5, handlelength=3)
        said = "; ".join(f"{name}: {_in_words(spots, x_label)}" for name, spots in curves.items())
        return (finish(figure, title, f"{y_label} by {x_label}. {said}."),)


def _curve(axes: "Axes", spots: Sequence[Spot], place: int, bars: bool) -> Any:
    color = SERIES[place % len(SERIES)]
    if bars:
        # Bars of several curves stand beside one another, not on top.
        wide = max(one.x for one in spots) - min(one.x for one in spots) or 2
        spots = [one._replace(x=one.x + 0.01 * place * wide) for one in spots]
    x = [one.x for one in spots]
    y = [_number(one.y) for one in spots]
    about = [one for one in spots if one.y is not None and one.low is not None and one.high is not None]
    if bars or len(about) == 1:
        low, high = ([_number(one[at]) for one in about] for at in (2, 3))
        axes.vlines([one.x for one in about], low, high, color=color)
    elif about:
        low, high = ([_number(one[at]) for one in spots] for at in (2, 3))
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
    # A spot between two gaps has no line to be seen by.
    known = [False, *(one.y is not None for one in spots), False]
    alone = [at for at in range(len(spots)) if known[at + 1] and not known[at] and not known[at + 2]]
    marked = list(range(len(spots))) if bars or len(spots) <= _FEW else alone
    style: dict[str, Any] = {
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 4.5,
        "linestyle": LINES[place % 8],
    }
    return axes.plot(x, y, color=color, linewidth=1.4, markevery=marked, clip_on=False, **style)[0]


def stacked(edges: Sequence[float], parts: Mapping[str, Sequence[float]], title: str, y_label: str) -> Plot:
    """What adds up to a whole at each step, one part above the other.

    Args:
        edges: between the steps: one more than there are numbers in a part.
        parts: numbers by name, all equally many.
        title: what it shows.
        y_label: of the vertical axis.
    """
    with canvas(7.2, 3.2) as (figure, axes):
        below, keys = [0.0] * (len(edges) - 1), list[Any]()
        hatches = ("", "////", "....", "\\\\\\\\", "xxxx")
        for place, numbers in enumerate(parts.values()):
            color = SERIES[place % len(SERIES)]
            above = [one + more for one, more in zip(below, numbers, strict=True)]
            area: dict[str, Any] = {"edges": edges, "baseline": below, "fill": True}
            axes.stairs(above, color=color, alpha=0.25, linewidth=0, **area)
            look: dict[str, Any] = {"facecolor": "none", "edgecolor": color, "hatch": hatches[place % len(hatches)]}
            keys.append(axes.stairs(above, linewidth=1.0, **look, **area))
            below = above
        _label(axes, "step", y_label)
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, None))
        figure.legend(keys, list(parts), loc="outside upper left", ncols=5, fontsize=8.5)
        means = "; ".join(f"{name}: {sum(one) / len(one):.3g} on average" for name, one in parts.items())
        return finish(figure, title, f"{y_label}, one part above the other. {means}.")


def edges_of(steps: Sequence[float]) -> list[float]:
    """Where one step ends and the next begins.

    Args:
        steps: rising, at least one.
    """
    inner = [(one + other) / 2 for one, other in pairwise(steps)]
    first = 2 * steps[0] - inner[0] if inner else steps[0] - 0.5
    return [first, *inner, 2 * steps[-1] - inner[-1] if inner else steps[0] + 0.5]


def _label(axes: "Axes", x_label: str, y_label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    if x_label == "step":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)


def _number(value: float | None) -> float:
    """NaN is where a line breaks."""
    return math.nan if value is None else value


def _in_words(spots: Sequence[Spot], x_label: str) -> str:
    known = [one for one in spots if one.y is not None]
    ends = known[:1] if len(known) == 1 else [known[0], known[-1]]
    return ", then ".join(f"{one.y:.3g} at {x_label} {one.x:.3g}" for one in ends)
