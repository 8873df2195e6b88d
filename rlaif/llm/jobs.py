"""Batch jobs in the ledger's file: which requests are handed in, so that none is handed in twice.

before a job is submitted     its own id and the keys of its requests
once it is submitted          the provider's id
when a request's outcome is stored as an exchange, it leaves its job, in the same transaction
"""

import os
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.llm.ledger import SCHEMA, connect, storing, transaction


class Job(NamedTuple):
    """A job that is not wholly collected.

    Attributes:
        id: ours.
        remote: the provider's; None where it may not have been submitted.
        created: when it was written down (Unix seconds).
        process: of the process that did, on its machine.
        size: how many requests it was submitted with.
    """

    id: str
    remote: str | None
    created: float
    process: int
    size: int

    @property
    def is_being_submitted(self) -> bool:
        """Whether the process that wrote it down is still at it."""
        if self.remote is not None or self.process == os.getpid():
            return False
        try:
            os.kill(self.process, 0)
        except OSError:
            return False
        return True


class Jobs:
    """The jobs of one ledger. Not for use from several threads at once."""

    def __init__(self, path: Path) -> None:
        """Open or create.

        Args:
            path: the ledger's file.

        Raises:
            StorageError: it cannot be opened.
        """
        self.path = path
        self._connection = connect(path, SCHEMA)

    def open(self, llm: str, keys: Sequence[str]) -> tuple[Job, set[str]]:
        """Write down a job that is about to be submitted.

        Args:
            llm: the model's name.
            keys: of its requests; those that are in another job already are left there.

        Returns:
            The job, and the keys that are in it.
        """
        job = Job(uuid.uuid4().hex, None, time.time(), os.getpid(), 0)
        with storing(self.path), transaction(self._connection):
            self._connection.execute(
                "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)", (job.id, llm, None, job.created, job.process, job.size)
            )
            mine = {
                key
                for key in keys
                if self._connection.execute(
                    "INSERT OR IGNORE INTO handed_in VALUES (?, ?)", (bytes.fromhex(key), job.id)
                ).rowcount
            }
            self._connection.execute("UPDATE jobs SET size = ? WHERE id = ?", (len(mine), job.id))
        return job._replace(size=len(mine)), mine

    def submitted(self, job: Job, remote: str) -> Job:
        """Write down the provider's id."""
        with storing(self.path):
            self._connection.execute("UPDATE jobs SET remote = ? WHERE id = ?", (remote, job.id))
        return job._replace(remote=remote)

    def holding(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """Which jobs some requests are in.

        Args:
            keys: of the requests.

        Returns:
            Job ids, each with those of the keys that are in it.
        """
        found: dict[str, list[str]] = {}
        with storing(self.path):
            for key in keys:
                row = self._connection.execute("SELECT job FROM handed_in WHERE key = ?", (bytes.fromhex(key),))
                for (job,) in row:
                    found.setdefault(job, []).append(key)
        return found

    def get(self, job: str) -> Job:
        """A job as it is written down now."""
        columns = "id, remote, created, process, size"
        with storing(self.path):
            return Job(*self._connection.execute(f"SELECT {columns} FROM jobs WHERE id = ?", (job,)).fetchone())

    def known(self) -> set[str]:
        """The provider's ids of all jobs ever submitted."""
        with storing(self.path):
            return {row[0] for row in self._connection.execute("SELECT remote FROM jobs WHERE remote IS NOT NULL")}

    def waiting(self) -> list[tuple[str, str | None, float, int, int]]:
        """Jobs not wholly collected: model, the provider's id, when (Unix seconds), requests left, requests in all."""
        with storing(self.path):
            return self._connection.execute(
                "SELECT jobs.llm, jobs.remote, jobs.created, COUNT(*), jobs.size FROM handed_in "
                "JOIN jobs ON jobs.id = handed_in.job GROUP BY jobs.id ORDER BY jobs.created"
            ).fetchall()

    def release(self, keys: Iterable[str]) -> None:
        """Take requests out of their jobs, to be handed in again."""
        with storing(self.path), transaction(self._connection):
            self._connection.executemany("DELETE FROM handed_in WHERE key = ?", [(bytes.fromhex(key),) for key in keys])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
