"""A report as one page: it opens from disk, asks no network for anything, and shows the pairs themselves.

What is read first is plain HTML. The pairs are compressed inside the page and unpacked when it stands; a script renders
of them what is looked at. All of them is text: nothing in it is ever taken for HTML.
"""

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    page = environment.get_template("page.html.j2").render(
        report=report,
        headline=report.sections[0],
        sections=report.sections[1:],
        kind=_kind,
        known=known,
        decimal=decimal,
        labelers=list(dict.fromkeys(label["labeler"] for pair in report.pairs for label in pair.get("labels", ()))),
        pairs=_packed(report),
        style=(_ASSETS / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return encodable(page)


def known(cell: Cell) -> Cell:
    """A cell in which what is not a number is not known, as JSON and people have it.

    Args:
        cell: any; a number may be infinite or NaN, and so may an estimate's.

    Returns:
        The cell, with None in place of such numbers.
    """
    if isinstance(cell, Estimate):
        value, low, high = (_finite(number) for number in cell[:3])
        return cell._replace(value=value, low=low, high=high)
    finite: Cell = _finite(cell)
    return finite


def encodable(text: str) -> str:
    """A text that can be written as UTF-8: halves of surrogate pairs, which come from cut texts, become U+FFFD.

    Args:
        text: any.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _kind(cell: Cell) -> str:
    """How the template shows a cell."""
    if isinstance(cell, Estimate):
        return "estimate" if cell.value is not None else "nothing"
    return "nothing" if cell is None else type(cell).__name__


def _packed(report: Report) -> str:
    """The pairs as base64 of gzipped JSON: letters that no HTML parser stumbles over."""
    if not report.pairs:
        return ""
    finite = _finite(report.pairs)
    text = json.dumps(finite, separators=(",", ":"), ensure_ascii=False, default=str, allow_nan=False)
    return base64.b64encode(gzip.compress(encodable(text).encode(), compresslevel=6, mtime=0)).decode()


def _finite(value: Any) -> Any:
    """A value, or a tree of lists and mappings, with None in place of NaN and infinities."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {name: _finite(one) for name, one in value.items()}
        case list() | tuple():
            return [_finite(one) for one in value]
        case _:
            return value
