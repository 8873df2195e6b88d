"""Batch jobs in the ledger's file: which requests are handed in, so that none is handed in twice.

before a job is submitted     its own id and the keys of its requests, and beside the ledger a file whose lock goes with
                              the process, however it ends
once it is submitted          the provider's id; the locked file is gone
when a request's outcome is stored as an exchange, it leaves its job, in the same transaction
"""

import fcntl
import os
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from rlaif.errors import StorageError
from rlaif.llm.base import Outcome
from rlaif.llm.ledger import SCHEMA, connect, outcome_from, storing, transaction


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


class Waiting(NamedTuple):
    """A job that is not wholly collected, for a person to see.

    Attributes:
        llm: the model's name.
        job: the provider's id, and where it may not have been submitted, ours.
        is_submitted: which of the two.
        created: when it was written down (Unix seconds).
        left: requests that are not collected.
        size: requests in all.
    """

    llm: str
    job: str
    is_submitted: bool
    created: float
    left: int
    size: int


class Jobs:
    """The jobs of one ledger, as long as one stream of requests lasts. Not for use from several threads at once."""

    def __init__(self, path: Path) -> None:
        """Open or create.

        Args:
            path: the ledger's file.

        Raises:
            StorageError: it cannot be opened.
        """
        self.path = path
        self._since = time.time()
        self._connection = connect(path, SCHEMA)
        self._claims: dict[str, IO[str]] = {}

    def open(self, llm: str, keys: Sequence[str]) -> tuple[Job, set[str]]:
        """Write down a job that is about to be submitted.

        Args:
            llm: the model's name.
            keys: of its requests; those that are in another job already are left there, and those that were answered
                since `Jobs` was opened are in none.

        Returns:
            The job, and the keys that are in it; without any it is not written down.
        """
        job = Job(uuid.uuid4().hex, None, time.time(), os.getpid(), 0)
        self._claim(job.id)
        with storing(self.path), transaction(self._connection):
            mine = {
                key
                for key in keys
                if self._connection.execute(
                    "INSERT OR IGNORE INTO handed_in SELECT ?1, ?2 "
                    "WHERE NOT EXISTS (SELECT 1 FROM exchanges WHERE key = ?1 AND stored_at >= ?3)",
                    (bytes.fromhex(key), job.id, self._since),
                ).rowcount
            }
            job = job._replace(size=len(mine))
            if mine:
                self._connection.execute(
                    "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)",
                    (job.id, llm, None, job.created, job.process, job.size),
                )
        if not mine:
            self._let_go(job.id)
        return job, mine

    def submitted(self, job: Job, remote: str) -> Job:
        """Write down the provider's id."""
        with storing(self.path):
            self._connection.execute("UPDATE jobs SET remote = ? WHERE id = ?", (remote, job.id))
        self._let_go(job.id)
        return job._replace(remote=remote)

    def is_being_submitted(self, job: Job) -> bool:
        """Whether the process that wrote a job down is still at it."""
        if job.remote is not None:
            return False
        try:
            with self._claim_file(job.id).open() as claim:
                # Shared: two that ask at once shall not take one another for the one who submits.
                fcntl.flock(claim, fcntl.LOCK_SH | fcntl.LOCK_NB)
                self._claim_file(job.id).unlink(missing_ok=True)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def answered(self, keys: Iterable[str]) -> list[tuple[str, Outcome]]:
        """What others stored of some requests since `Jobs` was opened; before that it was looked up already."""
        select = "SELECT outcome FROM exchanges WHERE key = ? AND stored_at >= ?"
        found: list[tuple[str, Outcome]] = []
        with storing(self.path):
            for key in keys:
                for (text,) in self._connection.execute(select, (bytes.fromhex(key), self._since)):
                    found.append((key, outcome_from(text)))
        return found

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

    def keys_in(self, job: str) -> set[str]:
        """The keys of all requests of a job that are not collected, whoever asks for them."""
        with storing(self.path):
            return {key.hex() for (key,) in self._connection.execute("SELECT key FROM handed_in WHERE job = ?", (job,))}

    def get(self, job: str) -> Job:
        """A job as it is written down now."""
        columns = "id, remote, created, process, size"
        with storing(self.path):
            return Job(*self._connection.execute(f"SELECT {columns} FROM jobs WHERE id = ?", (job,)).fetchone())

    def known(self) -> set[str]:
        """The provider's ids of all jobs ever submitted."""
        with storing(self.path):
            return {row[0] for row in self._connection.execute("SELECT remote FROM jobs WHERE remote IS NOT NULL")}

    def waiting(self) -> list[Waiting]:
        """Jobs that are not wholly collected, oldest first."""
        with storing(self.path):
            rows = self._connection.execute(
                "SELECT jobs.llm, COALESCE(jobs.remote, jobs.id), jobs.remote IS NOT NULL, jobs.created, COUNT(*), "
                "jobs.size FROM handed_in JOIN jobs ON jobs.id = handed_in.job GROUP BY jobs.id ORDER BY jobs.created"
            ).fetchall()
        return [Waiting(llm, job, bool(submitted), *counts) for llm, job, submitted, *counts in rows]

    def release(self, job: str, keys: Iterable[str]) -> None:
        """Take requests out of a job, to be handed in again; what is in another job by now stays there.

        Args:
            job: our id.
            keys: of the requests.
        """
        with storing(self.path), transaction(self._connection):
            self._connection.executemany(
                "DELETE FROM handed_in WHERE key = ? AND job = ?", [(bytes.fromhex(key), job) for key in keys]
            )

    def abandon(self, job: str) -> bool:
        """Take all requests out of a job that was never submitted.

        Args:
            job: our id.

        Returns:
            False, and nothing is done, where somebody has found it at the provider meanwhile.
        """
        with storing(self.path), transaction(self._connection):
            if self.get(job).remote is not None:
                return False
            self._connection.execute("DELETE FROM handed_in WHERE job = ?", (job,))
        return True

    def forget(self, job: str) -> int:
        """Take all requests out of a job, whatever became of it, to be handed in and paid for again.

        Args:
            job: the provider's id, or ours.

        Returns:
            How many requests there were.
        """
        with storing(self.path):
            return self._connection.execute(
                "DELETE FROM handed_in WHERE job IN (SELECT id FROM jobs WHERE ?1 IN (id, remote))", (job,)
            ).rowcount

    def close(self) -> None:
        """Close the file; nobody submits any more."""
        for job in list(self._claims):
            self._let_go(job)
        self._connection.close()

    def _claim_file(self, job: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{job}.lock")

    def _claim(self, job: str) -> None:
        """Say that we submit a job, before anybody can know of it."""
        file = self._claim_file(job)
        try:
            self._claims[job] = file.open("w")
            fcntl.flock(self._claims[job], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(f"{file}: cannot be locked ({error.strerror}); no batch job was handed in") from error

    def _let_go(self, job: str) -> None:
        if (claim := self._claims.pop(job, None)) is not None:
            self._claim_file(job).unlink(missing_ok=True)
            claim.close()
