"""Two ways through a stream of requests: each in a task of its own, or whatever is waiting together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any

from rlaif.llm.base import Choose, Outcome, Request

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


async def in_batches(
    requests: AsyncIterator[tuple[str, Request]],
    answer: Callable[[Sequence[tuple[str, Request]]], Iterator[Sequence[tuple[str, Outcome]]]],
) -> AsyncIterator[tuple[str, Outcome]]:
    """Answer whatever is waiting, again and again, in a thread beside the event loop.

    Args:
        requests: keyed; read as fast as they come.
        answer: yields the outcomes of what it is given, some at a time; runs in a thread.

    Yields:
        Keys and outcomes.
    """
    waiting: asyncio.Queue[tuple[str, Request]] = asyncio.Queue()

    async def collect() -> None:
        async for keyed in requests:
            waiting.put_nowait(keyed)

    collector = asyncio.create_task(collect())
    collector.add_done_callback(lambda _: waiting.put_nowait(("", _END)))
    try:
        while True:
            keyed = [await waiting.get()]
            # Let everyone who is ready ask first: larger choice, better batches.
            for _ in range(3):
                await asyncio.sleep(0)
            while not waiting.empty():
                keyed.append(waiting.get_nowait())
            ready = [pair for pair in keyed if pair[1] is not _END]
            answered = answer(ready)
            while (pairs := await asyncio.to_thread(next, answered, None)) is not None:
                for pair in pairs:
                    yield pair
            if len(ready) < len(keyed):
                collector.result()
                return
    finally:
        collector.cancel()


_END = Request((), Choose(()))
