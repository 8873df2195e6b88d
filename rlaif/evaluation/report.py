"""A report: what is said, apart from how it is written down.

Every evaluation makes a `Report`; the terminal, `report.json`, `report.md` and `report.html` are four views of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlaif.statistics.intervals import Estimate

Cell = str | int | float | bool | Estimate | None


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture.

    Attributes:
        title: what it shows.
        svg: the picture, which takes its colours from the page.
        alt: the same in words, for those who cannot see it.
    """

    title: str
    svg: str
    alt: str


@dataclass(frozen=True, slots=True)
class Section:
    """A table with what one must know to read it, and pictures of it.

    Attributes:
        key: its name in `report.json`.
        title: its heading.
        note: how the numbers are made, in a sentence or two; empty for none.
        columns: names of the columns; the first one says what a row is about.
        rows: as many cells in each.
        plots: pictures.
    """

    key: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    plots: tuple[Plot, ...] = ()

    @property
    def shown(self) -> "tuple[list[str], list[list[Cell]]]":
        """The columns and rows that people see: without columns behind the first figure of which nothing is known."""
        later = range(1, len(self.columns))
        first = next((place for place in later if not all(isinstance(row[place], str) for row in self.rows)), 1)
        kept = [
            place
            for place in range(len(self.columns))
            if place <= first or not all(_is_nothing(row[place]) for row in self.rows)
        ]
        return [self.columns[place] for place in kept], [[row[place] for place in kept] for row in self.rows]


def _is_nothing(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, Estimate) and cell.value is None and not cell.n)


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found.

    Attributes:
        title: the page's heading.
        about: sources, policies and settings, by name.
        sections: the first holds the headline figures.
        pairs: the items themselves, for the page to show: `id`, `query` (turns or a text), `responses` (texts),
            `models`, `notes` (what stands above each response), `human` (P(response 1 preferred) by people),
            `annotations`, `columns` (others, by name), and `labels`, one for each labeler: `labeler`,
            `preference`, `preference_12`, `preference_21`, `rationales_12`, `rationales_21`, `failure`, `detail`,
            `agrees` (with people). What is not known is left out.
    """

    title: str
    about: Mapping[str, str]
    sections: Sequence[Section]
    pairs: Sequence[Mapping[str, Any]] = field(default=())
