"""What a labeler said, read back: a run folder's records and failures, or anybody's file of rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlaif.errors import InputError, RowError
from rlaif.io import read_rows
from rlaif.stages.run_folder import failed_items

RECORD_FILES = (
    "preferences.jsonl",
    "scores.jsonl",
    "rankings.jsonl",
    "harmlessness.jsonl",
    "samples.jsonl",
    "revisions.jsonl",
)


def is_run(source: Path) -> bool:
    """Whether a path is a run folder (or a panel's), not a table that `datasets` saved."""
    return source.is_dir() and not (source / "dataset_info.json").exists()


def records_file(source: Path) -> Path:
    """The file that holds the records of a run.

    Args:
        source: a run folder, or a file, which is its own answer.

    Raises:
        InputError: the folder holds no records.
    """
    if not is_run(source):
        return source
    for name in RECORD_FILES:
        if (source / name).is_file():
            return source / name
    raise InputError(f"{source}: holds no records ({', '.join(RECORD_FILES)}); is it a run folder?")


def read_labels(source: Path) -> Iterator[dict[str, Any]]:
    """Stream labels, and the items that have none.

    Args:
        source: a run folder, or a file of rows.

    Yields:
        Each record's fields. Behind them each failed item's own columns with `failure`, `detail` and whatever did
        succeed; rejected rows, which no model saw, are left out.

    Raises:
        InputError: there are no records, or a row cannot be read.
    """
    path = records_file(source)
    if not is_run(source) or path.stat().st_size:
        yield from _fields(path)
    failures = source / "failures.jsonl"
    if is_run(source) and failures.is_file() and failures.stat().st_size:
        items = failed_items(source)
        for row in _fields(failures):
            if row["failure"] != "rejected":
                key = row["id"] if "response_index" not in row else f"{row['id']}#{row['response_index']}"
                yield {**_written(items.get(key, {})), **(row.pop("partial", None) or {}), **row}


def _written(item: dict[str, Any]) -> dict[str, Any]:
    """An item's columns, with its writer in `model`: `llm` and `llm_version` of a label say who judged."""
    columns = {name: value for name, value in item.items() if name not in ("llm", "llm_version")}
    return ({"model": item["llm"]} if item.get("llm") else {}) | columns


def _fields(path: Path) -> Iterator[dict[str, Any]]:
    for where, fields in read_rows(path):
        if isinstance(fields, RowError):
            raise InputError(f"{where}: {fields}")
        yield fields
