"""A report as one page: it opens from disk, asks no network for anything, and shows the pairs themselves.

What is read first is plain HTML. The pairs are compressed inside the page and unpacked when it stands; a script renders
of them what is looked at. All of them is text: nothing in it is ever taken for HTML.
"""

import base64
import gzip
import hashlib
import json
from pathlib import Path

from rlaif.evaluation.report import Cell, Report
from rlaif.statistics.intervals import Estimate, decimal

_ASSETS = Path(__file__).parent / "assets"


def as_html(report: Report) -> str:
    """Render the page.

    Args:
        report: what was found.

    Returns:
        The whole page; the same report gives the same bytes.
    """
    import jinja2

    script = (_ASSETS / "page.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ASSETS), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        report=report,
        headline=report.sections[0],
        sections=report.sections[1:],
        kind=_kind,
        decimal=decimal,
        labelers=list(dict.fromkeys(label["labeler"] for pair in report.pairs for label in pair.get("labels", ()))),
        pairs=_packed(report),
        style=(_ASSETS / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _kind(cell: Cell) -> str:
    """How the template shows a cell."""
    if isinstance(cell, Estimate):
        return "estimate" if cell.value is not None else "nothing"
    return "nothing" if cell is None else type(cell).__name__


def _packed(report: Report) -> str:
    """The pairs as base64 of gzipped JSON: letters that no HTML parser stumbles over."""
    if not report.pairs:
        return ""
    text = json.dumps(list(report.pairs), separators=(",", ":"), default=str, allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()
