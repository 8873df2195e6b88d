"""A report as files: `report.json` for programs, `report.md` for repositories, `report.html` to read."""

import json
from pathlib import Path
from typing import Any

from rlaif.evaluation.html import as_html, encodable, known
from rlaif.evaluation.report import Cell, Report, Section
from rlaif.io import replacing
from rlaif.statistics.intervals import Estimate, decimal


def write_report(report: Report, out: Path) -> None:
    """Write a report in its three forms, each whole.

    Args:
        report: what was found.
        out: the folder for `report.json`, `report.md` and `report.html`; it is made where missing.

    Raises:
        StorageError: the folder cannot be written.
    """
    texts = {
        "report.json": json.dumps(as_json(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "report.md": as_markdown(report),
        "report.html": as_html(report),
    }
    for name, text in texts.items():
        with replacing(out / name) as draft:
            draft.write_text(encodable(text), encoding="utf-8")


def as_json(report: Report) -> dict[str, Any]:
    """Every number with its interval and of how many items.

    Args:
        report: what was found.

    Returns:
        `title`, `about`, and under `sections` by key `title`, `note` and `rows`, each a mapping from columns to cells;
        an estimate is a mapping too, and what is not known is null.
    """
    return {
        "title": report.title,
        "about": dict(report.about),
        "sections": {
            section.key: {
                "title": section.title,
                "note": section.note,
                "rows": [
                    {name: _plain(cell) for name, cell in zip(section.columns, row, strict=True)}
                    for row in section.rows
                ],
            }
            for section in report.sections
        },
    }


def _plain(cell: Cell) -> Any:
    cell = known(cell)
    return cell._asdict() if isinstance(cell, Estimate) else cell


def as_markdown(report: Report) -> str:
    """The tables, with what one must know to read them.

    Args:
        report: what was found.
    """
    about = [f"- **{_escaped(name)}**: {_escaped(text)}" for name, text in report.about.items()]
    return "\n\n".join([f"# {_escaped(report.title)}", "\n".join(about), *map(_as_markdown, report.sections)]) + "\n"


def _as_markdown(section: Section) -> str:
    columns, rows = section.shown
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *([cell_text(cell) for cell in row] for row in rows)]
    table = "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)
    return "\n\n".join(part for part in (f"## {_escaped(section.title)}", _escaped(section.note), table) if part)


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def cell_text(cell: Cell) -> str:
    """A cell as people read it.

    Args:
        cell: any; an estimate is shown with its interval and number of items.

    Returns:
        For example `0.711 (0.682-0.739), n = 999`; an en dash for what is not known.
    """
    match known(cell):
        case None:
            return "–"
        case bool(yes):
            return "yes" if yes else "no"
        case int(count):
            return f"{count:,}"
        case float(number):
            return decimal(number) if number >= 0.0005 or number <= 0 else "< 0.001"
        case Estimate() as one:
            return f"{'–' if one.value is None else one}, n = {one.n:,}"
        case _:
            return str(cell)
