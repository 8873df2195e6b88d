"""A run folder: one run's configuration, its records in input order, and what a second run needs to go on.

    outputs/<run>/
      config.yaml        the resolved settings, by which the folder refuses another run
      manifest.json      versions, commit, seed, input hash, totals
      <records>.jsonl    in input order          failures.jsonl    likewise
      work.sqlite        items as they were read, and records in order of completion

The input is read once, into `work.sqlite`: that finds faults of the file and duplicate ids on disk before a
model is asked anything, and lets a run start again, grow, or follow a file that changed.
"""

import hashlib
import heapq
import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rlaif.errors import InputError, RowError
from rlaif.io import write_lines
from rlaif.labeling.tables import rejected
from rlaif.llm.ledger import connect, storing, transaction
from rlaif.records import Failure, FailureKind, Record
from rlaif.stages.folder import Folder

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    key TEXT NOT NULL UNIQUE, pass INTEGER NOT NULL, position INTEGER NOT NULL, place TEXT NOT NULL,
    content BLOB NOT NULL, item TEXT, record TEXT, failure TEXT
);
CREATE INDEX IF NOT EXISTS by_position ON items (pass, position);
"""
_PAGE = 1000


class Checks(Protocol):
    """What knows which items it can judge."""

    def check(self, item: Any) -> None:
        """Raise a `RowError` where an item cannot be judged."""
        ...


class Item(NamedTuple):
    """An item to be judged, as it was read."""

    key: str
    json: str


@dataclass(slots=True)
class Index:
    """What reading the input found."""

    selected: int = 0
    duplicates: int = 0
    done_before: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of the input a run takes: the first `limit`, or a random `sample`, or all.

    A sample is the rows with the smallest seeded hashes of their ids, so that a larger one holds a smaller one.
    """

    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def rank(self, identifier: str) -> int:
        """The seeded hash by which rows are drawn.

        Args:
            identifier: the row's id.
        """
        return int.from_bytes(hashlib.sha256(f"{self.seed}\0{identifier}".encode()).digest()[:8], "big")


class RunFolder(Folder):
    """One run's folder with its items; held by one process at a time."""

    elsewhere = " (answers are shared through the ledger)"

    def __init__(self, path: Path, records: str, identity: dict[str, Any]) -> None:
        """Open or create a run folder.

        Args:
            path: the folder.
            records: the name of the records' file, such as `preferences`.
            identity: everything that can change a record.

        Raises:
            RunFolderError: it holds another run, or another process works in it.
            StorageError: it cannot be written.
        """
        super().__init__(path, identity)
        self._records = records
        try:
            self._work = connect(path / "work.sqlite", _SCHEMA)
        except BaseException:
            super().close()
            raise
        self._pass = 0

    def read_in(
        self,
        rows: Iterable[tuple[str, Record | RowError]],
        checks: Checks,
        selection: Selection,
        strict: bool,
    ) -> Index:
        """Read the input into the folder.

        Args:
            rows: places, and items or what is wrong with them.
            checks: knows what can be used.
            selection: which rows are taken.
            strict: stop at the first row that cannot be used.

        Returns:
            What was found.

        Raises:
            InputError: a fault of the file, an id with two contents, or under `strict` a fault of a row.
        """
        index = Index()
        with storing(self.path / "work.sqlite"):
            (last,) = self._work.execute("SELECT COALESCE(MAX(pass), 0) FROM items").fetchone()
            self._pass = last + 1
            with transaction(self._work):
                self._take(_Taken(self._work, self._pass, selection, index), rows, checks, selection, strict)
            counts = "COUNT(*), COUNT(record), SUM(item IS NULL AND record IS NULL)"
            found = self._work.execute(f"SELECT {counts} FROM items WHERE pass = ?", (self._pass,)).fetchone()
        index.selected, index.done_before, index.rejected = found[0], found[1], found[2] or 0
        return index

    @staticmethod
    def _take(
        taken: "_Taken",
        rows: Iterable[tuple[str, Record | RowError]],
        checks: Checks,
        selection: Selection,
        strict: bool,
    ) -> None:
        places, last = 0, None
        for position, (place, row) in enumerate(rows):
            # One row of the input can be several items, such as the responses of a query.
            places, last = places + (place != last), place
            if selection.limit is not None and places > selection.limit:
                break
            item, error = (None, row) if isinstance(row, RowError) else (row, None)
            if item is not None:
                try:
                    checks.check(item)
                except RowError as found:
                    error = found
            if error is not None:
                if strict:
                    raise InputError(f"{place}: {error}")
                taken.reject(position, place, rejected(place, error, item))
            elif item is not None:
                taken.accept(position, place, item)

    def unfinished(self, failed: Collection[FailureKind] | None = None) -> Iterator[Item]:
        """Items without a record, in input order, as they stand when they are reached.

        Args:
            failed: only those that failed in one of these ways.
        """
        position, (wanted, kinds) = -1, _only(failed)
        while True:
            with storing(self.path / "work.sqlite"):
                page = self._work.execute(
                    f"SELECT position, key, item FROM items WHERE pass = ? AND {wanted} AND position > ? "
                    "ORDER BY position LIMIT ?",
                    (self._pass, *kinds, position, _PAGE),
                ).fetchall()
            if not page:
                return
            for position, key, item in page:  # noqa: B007  (the last position is where the next page starts)
                yield Item(key, item)

    def count_unfinished(self, failed: Collection[FailureKind] | None = None) -> int:
        """How many items `unfinished` yields."""
        wanted, kinds = _only(failed)
        with storing(self.path / "work.sqlite"):
            query = f"SELECT COUNT(*) FROM items WHERE pass = ? AND {wanted}"
            return int(self._work.execute(query, (self._pass, *kinds)).fetchone()[0])

    def store(self, results: Iterable[tuple[Item, Record]]) -> None:
        """Store records and failures in one transaction; a record replaces the item's earlier failure.

        Args:
            results: items with what came of them.
        """
        rows = [
            (None, result.to_json(), item.json, item.key)
            if isinstance(result, Failure)
            else (result.to_json(), None, None, item.key)
            for item, result in results
        ]
        with storing(self.path / "work.sqlite"), transaction(self._work):
            self._work.executemany("UPDATE items SET record = ?, failure = ?, item = ? WHERE key = ?", rows)

    def emit(self) -> tuple[int, Counter[str]]:
        """Write the record files in input order, each whole.

        Returns:
            How many records there are, and the failures by kind.
        """
        kinds: Counter[str] = Counter()

        def failures() -> Iterator[str]:
            for line in self._column("failure"):
                kinds[json.loads(line)["failure"]] += 1
                yield line

        count = write_lines(self.path / f"{self._records}.jsonl", self._column("record"))
        write_lines(self.path / "failures.jsonl", failures())
        return count, kinds

    def _column(self, column: str) -> Iterator[str]:
        query = f"SELECT {column} FROM items WHERE pass = ? AND {column} IS NOT NULL ORDER BY position"
        with storing(self.path / "work.sqlite"):
            for (line,) in self._work.execute(query, (self._pass,)):
                yield line

    def close(self) -> None:
        """Let go of the folder."""
        self._work.close()
        super().close()


def failed_items(path: Path) -> dict[str, dict[str, Any]]:
    """The items of a run that have no record, by key, as they were read.

    Args:
        path: the run folder, which another process may be working in; a copy without its `work.sqlite` knows none.
    """
    work = path / "work.sqlite"
    if not work.is_file():
        return {}
    with storing(work):
        connection = sqlite3.connect(f"{work.resolve().as_uri()}?mode=ro", uri=True)
        try:
            query = "SELECT key, item FROM items WHERE item IS NOT NULL AND failure IS NOT NULL"
            return {key: json.loads(item) for key, item in connection.execute(query)}
        finally:
            connection.close()


def _only(failed: Collection[FailureKind] | None) -> tuple[str, tuple[FailureKind, ...]]:
    """The SQL condition on items that are to be judged, and its values."""
    if failed is None:
        return "item IS NOT NULL", ()
    marks = ", ".join("?" * len(failed))
    return f"item IS NOT NULL AND json_extract(failure, '$.failure') IN ({marks})", tuple(failed)


@dataclass(slots=True)
class _Taken:
    """The rows taken in one pass over the input."""

    work: sqlite3.Connection
    number: int
    selection: Selection
    index: Index
    drawn: list[tuple[int, str]] = field(default_factory=list)
    keys: dict[str, list[str]] = field(default_factory=dict)

    def accept(self, position: int, place: str, item: Record) -> None:
        """Take an item; what was made of the same content before stays."""
        response = getattr(item, "response_index", None)
        key = item.id if response is None else f"{item.id}#{response}"
        try:
            text = item.to_json()
        except RowError as error:
            raise InputError(f"{place}: {error}") from error
        content = hashlib.sha256(text.encode()).digest()[:16]
        known = self.work.execute("SELECT pass, place, content FROM items WHERE key = ?", (key,)).fetchone()
        if known is not None and known[0] == self.number:
            if known[2] != content:
                raise InputError(f"{place}: id {item.id} was at {known[1]} with other content; ids must differ")
            self.index.duplicates += 1
            return
        if not self._draw(item.id, key):
            return
        if known is not None and known[2] == content:
            self.work.execute(
                "UPDATE items SET pass = ?, position = ?, place = ? WHERE key = ?",
                (self.number, position, place, key),
            )
        else:
            self.work.execute(
                "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
                (key, self.number, position, place, content, text),
            )

    def reject(self, position: int, place: str, failure: Failure) -> None:
        """Take a row that cannot be used."""
        key = f"\0rejected\0{position}\0{place}"
        if self._draw(failure.id, key):
            self.work.execute(
                "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, NULL, NULL, ?)",
                (key, self.number, position, place, b"", failure.to_json()),
            )

    def _draw(self, identifier: str, key: str) -> bool:
        """Whether an item belongs to the sample of ids so far; an id that is displaced leaves with all its items."""
        if self.selection.sample is None:
            return True
        if identifier in self.keys:
            self.keys[identifier].append(key)
            return True
        entry = (-self.selection.rank(identifier), identifier)
        if len(self.drawn) < self.selection.sample:
            heapq.heappush(self.drawn, entry)
        elif entry > self.drawn[0]:
            _, out = heapq.heapreplace(self.drawn, entry)
            # They keep their records, for a larger sample later, but are not part of this pass.
            self.work.executemany("UPDATE items SET pass = 0 WHERE key = ?", [(one,) for one in self.keys.pop(out)])
        else:
            return False
        self.keys[identifier] = [key]
        return True
