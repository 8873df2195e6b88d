"""Pictures of a report, as SVG that takes its colours from the page: one picture for light and dark.

matplotlib draws with stand-in colours, each of which is replaced by a CSS variable afterwards. Series differ by marker
and line as well as by colour.
"""

import html
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from rlaif.errors import MissingExtraError
from rlaif.evaluation.report import Cell, Plot
from rlaif.statistics.intervals import Estimate, decimal

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _GRID, _PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0501{number:02d}" for number in range(1, 9))
_VARIABLES = {
    **{_INK: "var(--ink)", _MUTED: "var(--muted)", _GRID: "var(--grid)", _PAPER: "var(--paper)"},
    **{color: f"var(--series-{number})" for number, color in enumerate(SERIES, 1)},
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))
_LABEL_WIDTH, _LEGEND_WIDTH = 34, 60
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
    with canvas(5.2, 5.0 + _legend_height(curves)) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=":", zorder=1)
        _curves(figure, axes, curves)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", anchor="N")
        axes.set_xlabel("label: P(response 1 preferred)")
        axes.set_ylabel("share of people who prefer response 1")
        said = "; ".join(
            f"{name}: " + ", ".join(f"{point.share:.2f} at {point.confidence:.2f}" for point in points)
            for name, points in curves.items()
        )
        return finish(figure, title, f"Reliability diagram. Share of people by label. {said}.")


def lengths(curves: Mapping[str, Sequence[Point]], title: str, x_label: str) -> Plot:
    """How often response 1 is preferred, by how much longer it is.

    Args:
        curves: points by who judges.
        title: what it shows.
        x_label: of the horizontal axis.
    """
    with canvas(6.4, 3.8 + _legend_height(curves)) as (figure, axes):
        axes.axhline(0.5, color=_MUTED, linewidth=1, linestyle=":")
        axes.axvline(0, color=_MUTED, linewidth=1, linestyle=":")
        _curves(figure, axes, curves)
        axes.set(ylim=(-0.02, 1.02))
        axes.set_xlabel(x_label)
        axes.set_ylabel("response 1 preferred")
        said = "; ".join(f"{name}: {points[-1].share:.2f} at the longest" for name, points in curves.items() if points)
        return finish(figure, title, f"Share that prefers response 1 by its relative length. {said}.")


def _curves(figure: "Figure", axes: "Axes", curves: Mapping[str, Sequence[Point]]) -> None:
    keys: list[Artist] = []
    most = max((point.n for points in curves.values() for point in points), default=1)
    for place, points in enumerate(curves.values()):
        color, marker = SERIES[place % 8], MARKERS[place % 8]
        x, y = [point.confidence for point in points], [point.share for point in points]
        # Another line with each turn of the colours, so that no two of 64 curves look the same.
        line = LINES[(place + place // 8) % 8]
        style: dict[str, Any] = {"color": color, "linewidth": 1.4, "linestyle": line}
        axes.plot(x, y, alpha=0.8, **style)
        keys += axes.plot([], [], marker=marker, **style)
        if len(curves) <= _MOST_BARS:
            axes.vlines(x, [point.low for point in points], [point.high for point in points], color=color, linewidth=1)
        sizes = [12 + 60 * point.n / most for point in points]
        axes.scatter(x, y, s=sizes, color=color, marker=marker, zorder=3)
    if _has_legend(curves):
        names = [_short(name, _LEGEND_WIDTH) for name in curves]
        figure.legend(keys, names, loc="outside lower left", fontsize=8.5, handlelength=3.5, borderaxespad=0.8)


def forest(rows: Sequence[tuple[str, Estimate]], title: str, x_label: str, reference: float | None) -> Plot:
    """Estimates with their intervals, one below the other.

    Args:
        rows: labels and estimates; those without a value are left out.
        title: what it shows.
        x_label: of the horizontal axis.
        reference: a value to compare with, drawn as a line; None for none.
    """
    known = [(name, one, one.value) for name, one in rows if one.value is not None]
    with canvas(7.2, 1.0 + 0.36 * max(1, len(known))) as (figure, axes):
        if reference is not None:
            axes.axvline(reference, color=_MUTED, linewidth=1, linestyle=":")
        for place, (_, one, value) in enumerate(known):
            if one.low is not None and one.high is not None:
                axes.hlines(place, one.low, one.high, color=SERIES[0], linewidth=2)
            axes.scatter([value], [place], s=34, color=SERIES[0], zorder=3)
        _name_rows(figure, axes, [name for name, *_ in known])
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
        return finish(figure, title, f"Estimates with 95 % intervals. {said}.")


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
    with canvas(7.2, 1.4 + 0.42 * max(1, len(rows))) as (figure, axes):
        starts = [0.0] * len(rows)
        keys: list[Any] = []
        for number, hatch in enumerate(("", "////", "....")):
            shares = [each[number] for each in rows.values()]
            color = SERIES[number]
            bars = (range(len(rows)), shares, 0.62, starts)
            tint = axes.barh(*bars, color=color, alpha=0.25)
            keys.append((tint, axes.barh(*bars, color="none", edgecolor=color, hatch=hatch, linewidth=1.4)))
            for place, share in enumerate(shares):
                if share >= 0.05:
                    label = axes.text(starts[place] + share / 2, place, f"{share:.0%}", ha="center", va="center")
                    label.set_bbox({"facecolor": _PAPER, "edgecolor": "none", "pad": 1.5})
            starts = [start + share for start, share in zip(starts, shares, strict=True)]
        _name_rows(figure, axes, list(rows))
        axes.set(xlim=(0, 1), ylim=(max(1, len(rows)) - 0.5, -0.5))
        axes.set_xlabel("share of pairs")
        axes.tick_params(axis="y", length=0)
        figure.legend(keys, names, loc="outside upper left", ncols=3, fontsize=8.5)
        said = "; ".join(
            f"{name}: {same:.1%} the same response, {first:.1%} the first twice, {second:.1%} the second twice"
            for name, (same, first, second) in rows.items()
        )
        return finish(figure, title, f"Verdicts in both orders. {said}.")


def check_installed() -> None:
    """See, before a long run, that its report can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "report")


@contextmanager
def canvas(width: float, height: float) -> "Iterator[tuple[Figure, Axes]]":
    """An empty picture; what is drawn within has the style of all pictures.

    Args:
        width: inches.
        height: inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    check_installed()
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(), warnings.catch_warnings():
        # A user's own settings would make other pictures.
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        # The reader's browser draws the letters and has more of them than the font that they are measured with.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def _name_rows(figure: "Figure", axes: "Axes", names: Sequence[str]) -> None:
    """Write names left of the axes, each line with its end there: a browser's letters are not as wide as measured."""
    size, wide = _STYLE["font.size"], 0
    for place, name in enumerate(names):
        lines = _short(name, _LABEL_WIDTH).split("\n")
        for number, line in enumerate(lines):
            above = ((len(lines) - 1) / 2 - number) * 1.2 * size
            at: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            axes.annotate(line, (0, place), (-6, above), ha="right", va="center", annotation_clip=False, **at)
            wide = max(wide, _columns(line) - len(line))
    axes.set_yticks(range(len(names)), [""] * len(names))
    # A wide letter is measured as the narrow box that stands for a missing one: 0.4 of its height too little.
    margin = wide * 0.4 * size / 72 / figure.get_figwidth()
    figure.set_layout_engine("constrained", rect=(margin, 0, 1 - margin, 1))


def _has_legend(curves: Mapping[str, Sequence[Point]]) -> bool:
    return len(curves) > 1 or next(iter(curves), "") == "people"


def _legend_height(curves: Mapping[str, Sequence[Point]]) -> float:
    lines = sum(_short(name, _LEGEND_WIDTH).count("\n") + 1 for name in curves)
    return 0.3 + 0.17 * lines if _has_legend(curves) else 0.0


def _short(name: str, width: int) -> str:
    """A label in at most two lines that fit the margin, broken where a name has parts."""
    rest = " ".join(name[: 4 * width].split())
    rest = "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in rest)
    lines = []
    while rest:
        fits = next((end for end in range(len(rest), 1, -1) if _columns(rest[:end]) <= width), 1)
        parts = [part.end() for part in re.finditer(r"[\s/:,;_.-]", rest[:fits])]
        end = parts[-1] if fits < len(rest) and parts and parts[-1] > fits // 2 else fits
        lines.append(rest[:end].strip())
        rest = rest[end:].strip()
    if len(lines) > 2:
        lines = [lines[0], lines[1][:-1] + "…"]
    # A dollar sign would start a formula.
    return "\n".join(lines).replace("$", r"\$")


def _columns(text: str) -> int:
    """Letters, of which wide ones count twice."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def finish(figure: "Figure", title: str, alt: str) -> Plot:
    """The picture as SVG whose colours are the page's.

    Args:
        figure: of `canvas`, drawn.
        title: what it shows.
        alt: the same in words.
    """
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
    name = f'role="img" aria-label="{html.escape(alt)}"'
    svg = svg.replace("<svg", f'<svg style="width:100%;max-width:{width:.0f}px" {name}', 1)
    return Plot(title, svg, alt)
