"""The batch APIs of OpenAI and Anthropic: hand requests in, see how far they are, fetch what came of them."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import httpx2

from rlaif.llm.jobs import Job
from rlaif.llm.replies import start_of

_CLOCK_S = 60.0
"""How far a provider's clock may be behind ours."""


class Line(NamedTuple):
    """One request of a job: its key, and path and body as the protocol has them."""

    key: str
    path: str
    body: dict[str, Any]


class State(NamedTuple):
    """How far a job is.

    Attributes:
        ended: whether nothing more will come.
        answered: how many of its requests are.
        problem: why the whole job failed; empty where it did not.
    """

    ended: bool
    answered: int
    problem: str = ""


class Result(NamedTuple):
    """What came of one request.

    Attributes:
        status: as of HTTP: 200, or why there is no answer; 503 where it was not got to.
        body: the response, or the error.
    """

    status: int
    body: Any

    @property
    def said(self) -> str:
        """An error in words."""
        error = self.body.get("error", self.body) if isinstance(self.body, Mapping) else self.body
        message = error.get("message") if isinstance(error, Mapping) else None
        return f"{self.status}: {message or start_of(error)}"


class BatchApi(Protocol):
    """What a provider's batch jobs need. Each method calls the SDK, whose errors come through."""

    async def submit(self, client: Any, job: Job, lines: Sequence[Line]) -> str:
        """Hand requests in; returns the provider's id."""
        ...

    async def find(self, client: Any, job: Job, keys: Collection[str], known: Collection[str]) -> str | None:
        """The provider's id of a job that may have been submitted without our hearing of it; None if it was not.

        Args:
            client: of the SDK.
            job: ours.
            keys: of all its requests that are not collected.
            known: the provider's ids of other jobs.

        Raises:
            NotYetKnownError: it can be said later.
        """
        ...

    async def look(self, client: Any, remote: str) -> State:
        """How far a job is."""
        ...

    async def results(self, client: Any, remote: str) -> Iterator[tuple[str, Result]]:
        """What came of each request of a job that has ended."""
        ...


class OpenAIBatches:
    """OpenAI's: a file goes up, files come down. Our id is in the job's metadata."""

    async def submit(self, client: Any, job: Job, lines: Sequence[Line]) -> str:
        """Hand requests in."""
        rows = ({"custom_id": key, "method": "POST", "url": f"/v1{path}", "body": body} for key, path, body in lines)
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        file = await client.files.create(file=(f"{job.id}.jsonl", content), purpose="batch")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint=f"/v1{lines[0].path}", completion_window="24h", metadata={"rlaif": job.id}
        )
        return str(batch.id)

    async def find(self, client: Any, job: Job, keys: Collection[str], known: Collection[str]) -> str | None:
        """The newest jobs, back to when this one was written down."""
        async for batch in client.batches.list(limit=100):
            if (batch.metadata or {}).get("rlaif") == job.id:
                return str(batch.id)
            if batch.created_at < job.created - _CLOCK_S:
                return None
        return None

    async def look(self, client: Any, remote: str) -> State:
        """How far a job is."""
        batch = await client.batches.retrieve(remote)
        counts = batch.request_counts
        problem = ""
        if batch.status == "failed":
            errors = (batch.errors.data if batch.errors else None) or []
            problem = "; ".join(f"{one.code}: {one.message}" for one in errors[:3]) or "no reason was given"
        ended = batch.status in ("completed", "expired", "cancelled", "failed")
        return State(ended, counts.completed + counts.failed if counts else 0, problem)

    async def results(self, client: Any, remote: str) -> Iterator[tuple[str, Result]]:
        """Answers are in one file, errors in another; either may be missing."""
        batch = await client.batches.retrieve(remote)
        files = [name for name in (batch.output_file_id, batch.error_file_id) if name]
        contents = [(await client.files.content(name)).content for name in files]
        return (_openai_result(row) for content in contents for row in _rows(content))


def _openai_result(row: Mapping[str, Any]) -> tuple[str, Result]:
    response, error = row.get("response") or {}, row.get("error")
    if response.get("status_code"):
        return row["custom_id"], Result(response["status_code"], response.get("body"))
    return row["custom_id"], Result(503, {"error": error})


class AnthropicBatches:
    """Anthropic's: requests and results in one call each. A job carries no name of ours, only our keys."""

    async def submit(self, client: Any, job: Job, lines: Sequence[Line]) -> str:
        """Hand requests in."""
        requests = [{"custom_id": line.key, "params": line.body} for line in lines]
        batch = await client.messages.batches.create(requests=requests)
        return str(batch.id)

    async def find(self, client: Any, job: Job, keys: Collection[str], known: Collection[str]) -> str | None:
        """A job as large as this one, not older and not known: it is this one if its results have our keys."""
        async for batch in client.messages.batches.list(limit=100):
            if batch.created_at.timestamp() < job.created - _CLOCK_S:
                return None
            counts = batch.request_counts
            size = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
            if batch.id in known or size != job.size:
                continue
            if batch.processing_status != "ended":
                raise NotYetKnownError(f"batch {batch.id} may be ours; that is known when it has ended")
            if any(key in keys for key, _ in await self.results(client, batch.id)):
                return str(batch.id)
        return None

    async def look(self, client: Any, remote: str) -> State:
        """How far a job is."""
        batch = await client.messages.batches.retrieve(remote)
        counts = batch.request_counts
        return State(batch.processing_status == "ended", counts.succeeded + counts.errored)

    async def results(self, client: Any, remote: str) -> Iterator[tuple[str, Result]]:
        """One line each, in any order."""
        response = await client.get(f"/v1/messages/batches/{remote}/results", cast_to=httpx2.Response)
        return (_anthropic_result(row) for row in _rows(response.content))


class NotYetKnownError(Exception):
    """Whether a job is ours can be said only later."""


def _anthropic_result(row: Mapping[str, Any]) -> tuple[str, Result]:
    result = row["result"]
    match result["type"]:
        case "succeeded":
            return row["custom_id"], Result(200, result["message"])
        case "errored":
            error = result.get("error") or {}
            kind = str((error.get("error") or error).get("type"))
            status = {"invalid_request_error": 400, "request_too_large": 413}.get(kind, 503)
            return row["custom_id"], Result(status, error)
        case other:
            return row["custom_id"], Result(503, {"error": {"message": other}})


def _rows(content: bytes) -> Iterator[dict[str, Any]]:
    # Not splitlines: a text may hold separators that only it takes for line ends.
    return (json.loads(line) for line in content.split(b"\n") if line.strip())
