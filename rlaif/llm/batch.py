"""Requests handed in as batch jobs: half the price, up to a day's wait, and nothing lost when the laptop is closed.

Requests are collected until no more come, cut into pieces, and each piece is a job. What a later run asks again is
first looked for in the jobs that the ledger knows of; only the rest is handed in. A job that expired or was cancelled
keeps what it answered.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

from rlaif.errors import CapabilityError
from rlaif.llm.base import Capabilities, Outcome, Request
from rlaif.llm.batch_apis import BatchApi
from rlaif.llm.batch_calls import Progress
from rlaif.llm.batch_run import Asked, BatchRun
from rlaif.llm.jobs import Jobs
from rlaif.llm.service import Service

PIECE = 10_000
PIECE_BYTES = 50_000_000
"""A job's most requests, and bytes of text: OpenAI takes 50,000 and 200 MB, Anthropic 100,000 and 256 MB."""
ITEMS = 20_000
"""Under way at once: they wait together, and each takes memory."""
QUIET_S = 1.0
POLL_S = 30.0


class BatchLLM:
    """A service that is asked by batch jobs."""

    def __init__(self, service: Service, api: BatchApi, jobs: Path, poll_s: float | None = None) -> None:
        """Prepare; nothing is asked yet.

        Args:
            service: its model, protocol, key and limits.
            api: its provider's batch API.
            jobs: the ledger's file.
            poll_s: how often a job is looked at; `POLL_S` if None.

        Raises:
            CapabilityError: the model is not served by the batch API.
        """
        able = service.capabilities
        if able.exact or (service.is_official and not able.batch_api):
            raise CapabilityError(f"{service.name} cannot be asked by batch jobs (see rlaif models); leave --batch out")
        self.name, self.identity, self.in_flight = service.name, service.identity, ITEMS
        self.limits = service.limits
        self._service, self._api, self._jobs, self._poll_s = service, api, jobs, poll_s or POLL_S
        self._progress = Progress()

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._service.capabilities

    @property
    def trouble(self) -> str:
        """How far the jobs are: for hours nothing else is to be seen."""
        return self._progress.text

    def count_tokens(self, request: Request) -> int | None:
        """As the service does."""
        return self._service.count_tokens(request)

    async def answer(self, requests: AsyncIterator[tuple[str, Request]]) -> AsyncIterator[tuple[str, Outcome]]:
        """Answer every request by some job."""
        arrived: asyncio.Queue[tuple[str, Outcome] | asyncio.Task[None]] = asyncio.Queue()
        running: set[asyncio.Task[None]] = set()
        jobs = Jobs(self._jobs)

        def start(work: Coroutine[Any, Any, None]) -> None:
            task = asyncio.create_task(work)
            running.add(task)
            task.add_done_callback(arrived.put_nowait)

        async with self._service.connect() as client:
            run = BatchRun(self._service, self._api, client, jobs, self._poll_s, self._progress, arrived.put_nowait)

            async def collect() -> None:
                async with aclosing(pieces(requests, QUIET_S)) as cut:
                    async for piece in cut:
                        start(run.finish(piece))

            start(collect())
            try:
                while running:
                    one = await arrived.get()
                    if isinstance(one, asyncio.Task):
                        running.discard(one)
                        one.result()
                    else:
                        yield one
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
                jobs.close()


async def pieces(requests: AsyncIterator[tuple[str, Request]], quiet_s: float) -> AsyncGenerator[Asked, None]:
    """Cut a stream into pieces: a piece is full, or nothing was asked for a while.

    Args:
        requests: keyed.
        quiet_s: how long a while is.

    Yields:
        Requests by key.
    """
    queue: asyncio.Queue[tuple[str, Request] | None] = asyncio.Queue()

    async def collect() -> None:
        async for keyed in requests:
            queue.put_nowait(keyed)

    collector = asyncio.create_task(collect())
    collector.add_done_callback(lambda _: queue.put_nowait(None))
    piece, size, ended = dict[str, Request](), 0, False
    try:
        while not ended:
            keyed = None
            try:
                async with asyncio.timeout(quiet_s if piece else None):
                    keyed = await queue.get()
                    ended = keyed is None
            except TimeoutError:
                pass
            if keyed is not None:
                key, request = keyed
                piece[key] = request
                size += sum(len(turn.content.encode()) for turn in request.messages)
            if piece and (keyed is None or len(piece) >= PIECE or size >= PIECE_BYTES):
                yield piece
                piece, size = {}, 0
        collector.result()
    finally:
        collector.cancel()
