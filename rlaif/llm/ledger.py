"""The ledger: every exchange with a model that came to an end, kept in SQLite before it counts.

A run that is killed and started again finds its answers here; so does another run that asks the same. Several
processes may share one ledger.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from rlaif.errors import StorageError
from rlaif.llm.base import Answer, Chain, NoAnswer, Outcome, Usage

_BUSY_TIMEOUT_S = 60.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS exchanges (
    key BLOB NOT NULL UNIQUE, llm TEXT NOT NULL, stored_at REAL NOT NULL, outcome TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, llm TEXT NOT NULL, remote TEXT, created REAL NOT NULL, process INTEGER NOT NULL,
    size INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS handed_in (key BLOB PRIMARY KEY, job TEXT NOT NULL)
"""
"""Exchanges, and the requests that are in batch jobs (see `jobs`)."""


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Translate SQLite's complaints about the disk into a `StorageError` that names the file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StorageError(f"{path}: {error}; what was stored before is kept, run again to go on") from error


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """Open a SQLite file whose committed rows survive the death of the process.

    Args:
        path: is created where missing.
        schema: `CREATE … IF NOT EXISTS` statements.

    Raises:
        StorageError: it cannot be opened, or is no SQLite file.
    """
    with storing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path}: cannot be created ({error.strerror})") from error
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        _enter_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(schema)
    return connection


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Turn on write-ahead logging; SQLite does not wait here for another process that does the same."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block's changes or none; the file is ours alone meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Ledger:
    """Exchanges by key. Not for use from several threads at once."""

    def __init__(self, path: Path) -> None:
        """Open or create a ledger.

        Args:
            path: the SQLite file.

        Raises:
            StorageError: it cannot be opened.
        """
        self.path = path
        self._connection = connect(path, SCHEMA)

    def get(self, key: str) -> Outcome | None:
        """The stored outcome of a request, or None."""
        with storing(self.path):
            row = self._connection.execute(
                "SELECT outcome FROM exchanges WHERE key = ?", (bytes.fromhex(key),)
            ).fetchone()
        return None if row is None else outcome_from(row[0])

    def put(self, llm: str, outcomes: Iterable[tuple[str, Outcome]], replace: bool = False) -> None:
        """Store outcomes in one transaction.

        Args:
            llm: the model's name, for `info`.
            outcomes: keys and final outcomes.
            replace: whether a key that is there already takes the new outcome; else it keeps its first.

        Raises:
            StorageError: the disk is full; nothing of this call is stored, everything earlier is.
        """
        now = time.time()
        rows = [(bytes.fromhex(key), llm, now, _to_json(outcome)) for key, outcome in outcomes]
        with storing(self.path), transaction(self._connection):
            instead = "REPLACE" if replace else "IGNORE"
            self._connection.executemany(f"INSERT OR {instead} INTO exchanges VALUES (?, ?, ?, ?)", rows)
            self._connection.executemany("DELETE FROM handed_in WHERE key = ?", [row[:1] for row in rows])

    def info(self) -> list[tuple[str, int, int, float, float]]:
        """Per model: name, exchanges, bytes of outcomes, first and last time stored (Unix seconds)."""
        with storing(self.path):
            return self._connection.execute(
                "SELECT llm, COUNT(*), SUM(LENGTH(outcome)), MIN(stored_at), MAX(stored_at) "
                "FROM exchanges GROUP BY llm ORDER BY llm"
            ).fetchall()

    def purge(self, llm: str | None = None, before: float | None = None) -> int:
        """Delete exchanges and give the space back.

        Args:
            llm: only this model's.
            before: only those stored before this time (Unix seconds).

        Returns:
            How many were deleted.
        """
        with storing(self.path):
            deleted = self._connection.execute(
                "DELETE FROM exchanges WHERE (?1 IS NULL OR llm = ?1) AND (?2 IS NULL OR stored_at < ?2)",
                (llm, before),
            ).rowcount
            self._connection.execute("VACUUM")
        return deleted

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _to_json(outcome: Outcome) -> str:
    body: dict[str, Any] = {"usage": astuple(outcome.usage)}
    match outcome:
        case Answer():
            body |= {"version": outcome.version, "text": outcome.text, "finish": outcome.finish_reason}
            if outcome.chains:
                body["chains"] = [[chain.tokens, chain.logprob] for chain in outcome.chains]
            if outcome.top:
                body["top"] = outcome.top
        case NoAnswer():
            body |= {"kind": outcome.kind, "detail": outcome.detail, "text": outcome.text}
    return json.dumps(body, separators=(",", ":"))


def outcome_from(text: str) -> Outcome:
    """An outcome as it is stored.

    Args:
        text: of the column.
    """
    body = json.loads(text)
    usage = Usage(*body["usage"])
    if "kind" in body:
        return NoAnswer(body["kind"], body["detail"], body["text"], usage)
    chains = tuple(Chain(tuple(tokens), logprob) for tokens, logprob in body.get("chains", ()))
    top = tuple((text, logprob) for text, logprob in body.get("top", ()))
    return Answer(body["version"], usage, body["text"], body["finish"], chains, top)
