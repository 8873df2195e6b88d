"""A stream of requests, each answered in a task of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from rlaif.llm.base import Outcome, Request

Send = Callable[[Request], Awaitable[Outcome]]


async def each(requests: AsyncIterator[tuple[str, Request]], answer: Send) -> AsyncIterator[tuple[str, Outcome]]:
    """Answer every request of a stream in a task of its own.

    Args:
        requests: keyed; read as fast as they come.
        answer: one request's outcome.

    Yields:
        Keys and outcomes, in order of completion. An error of one ends all.
    """
    done: asyncio.Queue[asyncio.Task[tuple[str, Outcome] | None]] = asyncio.Queue()
    running: set[asyncio.Task[tuple[str, Outcome] | None]] = set()

    def start(work: Coroutine[Any, Any, tuple[str, Outcome] | None]) -> None:
        task = asyncio.create_task(work)
        running.add(task)
        task.add_done_callback(done.put_nowait)

    async def one(key: str, request: Request) -> tuple[str, Outcome]:
        return key, await answer(request)

    async def collect() -> None:
        async for key, request in requests:
            start(one(key, request))

    start(collect())
    try:
        while running:
            task = await done.get()
            running.discard(task)
            if (pair := task.result()) is not None:
                yield pair
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
