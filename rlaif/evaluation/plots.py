"""Pictures of a report, as SVG that takes its colours from the page: one picture for light and dark.

matplotlib draws with stand-in colours, each of which is replaced by a CSS variable afterwards. Series differ by marker
and line as well as by colour.
"""

import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from rlaif.errors import MissingExtraError
from rlaif.evaluation.report import Cell, Plot
from rlaif.statistics.intervals import Estimate, decimal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _GRID, _PAPER = "#010101", "#020202", "#030303", "#040404"
_SERIES = tuple(f"#0501{number:02d}" for number in range(1, 9))
_VARIABLES = {
    **{_INK: "var(--ink)", _MUTED: "var(--muted)", _GRID: "var(--grid)", _PAPER: "var(--paper)"},
    **{color: f"var(--series-{number})" for number, color in enumerate(_SERIES, 1)},
}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))
_LABEL_WIDTH = 34
_MOST_BARS = 3
"""With more curves, their intervals hide one another."""
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rlaif",
    "hatch.linewidth": 0.8,
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _GRID,
    "legend.frameon": False,
}


class Point(Protocol):
    """Items of about the same place on the horizontal axis."""

    @property
    def confidence(self) -> float:
        """Where they stand."""
        ...

    @property
    def share(self) -> float:
        """The share of them, in [0, 1]."""
        ...

    @property
    def n(self) -> int:
        """How many."""
        ...

    @property
    def low(self) -> float:
        """Lower end of the share's interval."""
        ...

    @property
    def high(self) -> float:
        """Its upper end."""
        ...


def reliability(curves: Mapping[str, Sequence[Point]], title: str) -> Plot:
    """How often people prefer response 1, by what labels say; calibrated labels lie on the diagonal.

    Args:
        curves: points by labeler.
        title: what it shows.
    """
    with _canvas(5.2, 5.0) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=":", zorder=1)
        _curves(axes, curves)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_xlabel("label: P(response 1 preferred)")
        axes.set_ylabel("share of people who prefer response 1")
        said = "; ".join(
            f"{name}: " + ", ".join(f"{point.share:.2f} at {point.confidence:.2f}" for point in points)
            for name, points in curves.items()
        )
        return _plot(figure, title, f"Reliability diagram. Share of people by label. {said}.")


def lengths(curves: Mapping[str, Sequence[Point]], title: str, x_label: str) -> Plot:
    """How often response 1 is preferred, by how much longer it is.

    Args:
        curves: points by who judges.
        title: what it shows.
        x_label: of the horizontal axis.
    """
    with _canvas(6.4, 3.8) as (figure, axes):
        axes.axhline(0.5, color=_MUTED, linewidth=1, linestyle=":")
        axes.axvline(0, color=_MUTED, linewidth=1, linestyle=":")
        _curves(axes, curves)
        axes.set(ylim=(-0.02, 1.02))
        axes.set_xlabel(x_label)
        axes.set_ylabel("response 1 preferred")
        said = "; ".join(f"{name}: {points[-1].share:.2f} at the longest" for name, points in curves.items() if points)
        return _plot(figure, title, f"Share that prefers response 1 by its relative length. {said}.")


def _curves(axes: "Axes", curves: Mapping[str, Sequence[Point]]) -> None:
    most = max((point.n for points in curves.values() for point in points), default=1)
    for place, (name, points) in enumerate(curves.items()):
        color, marker = _SERIES[place % 8], _MARKERS[place % 8]
        x, y = [point.confidence for point in points], [point.share for point in points]
        axes.plot(x, y, color=color, linewidth=1.4, linestyle=_LINES[place % 8], alpha=0.8)
        if len(curves) <= _MOST_BARS:
            axes.vlines(x, [point.low for point in points], [point.high for point in points], color=color, linewidth=1)
        sizes = [12 + 60 * point.n / most for point in points]
        axes.scatter(x, y, s=sizes, color=color, marker=marker, label=_short(name), zorder=3)
    if len(curves) > 1 or next(iter(curves), "") == "people":
        axes.legend(loc="upper left", fontsize=8.5)


def forest(rows: Sequence[tuple[str, Estimate]], title: str, x_label: str, reference: float | None) -> Plot:
    """Estimates with their intervals, one below the other.

    Args:
        rows: labels and estimates; those without a value are left out.
        title: what it shows.
        x_label: of the horizontal axis.
        reference: a value to compare with, drawn as a line; None for none.
    """
    known = [(name, one, one.value) for name, one in rows if one.value is not None]
    with _canvas(7.2, 1.0 + 0.36 * max(1, len(known))) as (figure, axes):
        if reference is not None:
            axes.axvline(reference, color=_MUTED, linewidth=1, linestyle=":")
        for place, (_, one, value) in enumerate(known):
            if one.low is not None and one.high is not None:
                axes.hlines(place, one.low, one.high, color=_SERIES[0], linewidth=2)
            axes.scatter([value], [place], s=34, color=_SERIES[0], zorder=3)
        axes.set_yticks(range(len(known)), [_short(name) for name, *_ in known])
        axes.set_ylim(len(known) - 0.4, -0.6)
        axes.set_xlabel(x_label)
        axes.grid(axis="x", linewidth=0.6)
        counts = axes.secondary_yaxis("right")
        counts.set_yticks(range(len(known)), [f"{decimal(value)}, n = {one.n:,}" for _, one, value in known])
        for side in (axes, counts):
            side.tick_params(axis="y", length=0)
            for spine in ("left", "right"):
                side.spines[spine].set_visible(False)
        said = "; ".join(f"{name}: {one}, n = {one.n:,}" for name, one, _ in known)
        return _plot(figure, title, f"Estimates with 95 % intervals. {said}.")


def forest_of(
    rows: Sequence[tuple[Cell, ...]], title: str, x_label: str, reference: float | None = None
) -> tuple[Plot, ...]:
    """The first figure of each row of a table, with what stands before it as its label.

    Args:
        rows: of a section.
        title: what it shows.
        x_label: of the horizontal axis.
        reference: a value to compare with.

    Returns:
        One picture; none where no row has a value.
    """
    drawn = []
    for row in rows:
        place = next((place for place, cell in enumerate(row) if isinstance(cell, Estimate)), None)
        if place is not None and isinstance(one := row[place], Estimate) and one.value is not None:
            drawn.append((", ".join(str(cell) for cell in row[:place]), one))
    return (forest(drawn, title, x_label, reference),) if drawn else ()


def positions(rows: Mapping[str, tuple[float, float, float]], title: str) -> Plot:
    """What decides when the same pair is shown in both orders.

    Args:
        rows: by labeler, the share of pairs in which the same response wins, the first position wins twice, and the
            second does; they sum to 1.
        title: what it shows.
    """
    names = ("same response, or a tie", "first position twice", "second position twice")
    with _canvas(7.2, 1.4 + 0.42 * max(1, len(rows))) as (figure, axes):
        starts = [0.0] * len(rows)
        for number, (name, hatch) in enumerate(zip(names, ("", "////", "...."), strict=True)):
            shares = [each[number] for each in rows.values()]
            color = _SERIES[number]
            axes.barh(range(len(rows)), shares, 0.62, starts, color="none", edgecolor=color, hatch=hatch, linewidth=1.4)
            axes.barh(range(len(rows)), shares, 0.62, starts, color=color, alpha=0.25, label=name)
            for place, share in enumerate(shares):
                if share >= 0.05:
                    label = axes.text(starts[place] + share / 2, place, f"{share:.0%}", ha="center", va="center")
                    label.set_bbox({"facecolor": _PAPER, "edgecolor": "none", "pad": 1.5})
            starts = [start + share for start, share in zip(starts, shares, strict=True)]
        axes.set_yticks(range(len(rows)), [_short(name) for name in rows])
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
        axes.set_xlabel("share of pairs")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, fontsize=8.5, borderaxespad=0.3)
        said = "; ".join(
            f"{name}: {same:.1%} the same response, {first:.1%} the first twice, {second:.1%} the second twice"
            for name, (same, first, second) in rows.items()
        )
        return _plot(figure, title, f"Verdicts in both orders. {said}.")


def check_installed() -> None:
    """See, before a long run, that its report can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "report")


@contextmanager
def _canvas(width: float, height: float) -> "Iterator[tuple[Figure, Axes]]":
    """An empty picture, in inches; what is drawn within has the style of all pictures."""
    check_installed()
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def _short(name: str) -> str:
    """A label in at most two lines that fit the margin."""
    lines = textwrap.wrap(name, _LABEL_WIDTH, break_long_words=True) or [""]
    if len(lines) > 2:
        lines = [lines[0], lines[1][: _LABEL_WIDTH - 1] + "…"]
    # A dollar sign would start a formula.
    return "\n".join(lines).replace("$", r"\$")


def _plot(figure: "Figure", title: str, alt: str) -> Plot:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    # Ids are unique within a picture; the page holds several.
    mark = sha256(f"{title}\0{svg}".encode()).hexdigest()[:8]
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{mark}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", svg)
    size = re.search(r'width="([\d.]+)pt"', svg)
    width = float(size.group(1)) / 0.75 if size else 600.0
    svg = re.sub(r'(<svg[^>]*?) width="[^"]+"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]+"', r"\1", svg, count=1)
    svg = svg.replace("<svg", f'<svg style="width:100%;max-width:{width:.0f}px" role="img"', 1)
    return Plot(title, svg, alt)
