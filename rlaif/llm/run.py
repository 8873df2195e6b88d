"""Ask a model through its ledger: one coroutine a request on this side, one stream on the model's.

`Runner.ask` is what stages and labelers await. Answers are stored before anyone sees them.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, TypeVar

from rlaif.llm.base import LLM, Choose, NoAnswer, Outcome, Request, Usage
from rlaif.llm.ledger import Ledger

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Ask(Protocol):
    """Ask one request and wait for its outcome."""

    def __call__(self, request: Request) -> Awaitable[Outcome]:
        """Ask."""
        ...


@dataclass(slots=True)
class Totals:
    """What a runner did: requests the model answered now, those found in the ledger, and what was used now."""

    asked: int = 0
    from_ledger: int = 0
    usage: Usage = field(default_factory=Usage)

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.usage.input_tokens + self.usage.output_tokens


class Runner:
    """Connects awaiting callers with a model's stream, through the ledger.

    Use as an async context manager. The same request asked twice at once is sent once.
    """

    def __init__(self, llm: LLM, ledger: Ledger | None = None, ask_failed_again: bool = False) -> None:
        """Prepare; nothing is asked yet.

        Args:
            llm: the model.
            ledger: where outcomes are kept; None keeps none.
            ask_failed_again: ask again what the ledger says was refused or came without what was asked for.
        """
        self.llm = llm
        self._ask_failed_again = ask_failed_again
        self.totals = Totals()
        self._ledger = ledger
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._requests: asyncio.Queue[tuple[str, Request]] = asyncio.Queue()
        self._arrived: list[tuple[str, Outcome]] = []
        self._arrival = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Runner":
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._store())]
        for task in self._tasks:
            task.add_done_callback(self._fail_all)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # What arrived in the last moment was paid for.
        self._store_arrived()

    async def ask(self, request: Request) -> Outcome:
        """Ask one request.

        Args:
            request: the request.

        Returns:
            Its outcome, stored already where it is final.

        Raises:
            RlaifError: the model or the ledger broke; every waiting caller gets the same error.
        """
        for task in self._tasks:
            if task.done():
                self._raise(task)
        key = request.key(self.llm.identity)
        future = self._waiting.get(key)
        if future is None:
            stored = self._ledger.get(key) if self._ledger is not None else None
            if stored is not None and not (self._ask_failed_again and _holds_nothing(stored, request)):
                self.totals.from_ledger += 1
                return stored
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
            self._requests.put_nowait((key, request))
        return await asyncio.shield(future)

    async def _stream(self) -> AsyncIterator[tuple[str, Request]]:
        while True:
            yield await self._requests.get()

    async def _receive(self) -> None:
        async for key, outcome in self.llm.answer(self._stream()):
            self._arrived.append((key, outcome))
            self._arrival.set()

    async def _store(self) -> None:
        """Everything that arrived since the last time goes into one transaction."""
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            self._store_arrived()

    def _store_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        final = [
            (key, outcome)
            for key, outcome in arrived
            if not (isinstance(outcome, NoAnswer) and outcome.kind == "unavailable")
        ]
        if self._ledger is not None and final:
            self._ledger.put(self.llm.name, final, replace=self._ask_failed_again)
        for key, outcome in arrived:
            self.totals.asked += 1
            self.totals.usage += outcome.usage
            future = self._waiting.pop(key)
            if not future.done():
                future.set_result(outcome)

    def _fail_all(self, task: asyncio.Task[None]) -> None:
        """A stream that ended leaves nobody waiting for ever."""
        if task.cancelled():
            return
        error = task.exception() or RuntimeError(f"{self.llm.name} stopped answering")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
                future.exception()

    @staticmethod
    def _raise(task: asyncio.Task[None]) -> None:
        raise task.exception() or RuntimeError("the model's stream has ended")


@asynccontextmanager
async def watching(llm: LLM, say: Callable[[str], None], every_s: float = 1.0) -> AsyncIterator[None]:
    """Pass on a model's trouble for as long as the block runs.

    Args:
        llm: the model.
        say: told what holds it up, or an empty text, again and again.
        every_s: how often.
    """

    async def watch() -> None:
        while True:
            await asyncio.sleep(every_s)
            say(llm.trouble)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()


def _holds_nothing(outcome: Outcome, request: Request) -> bool:
    """Whether an outcome is no answer, or one without the log-probabilities that were asked for."""
    if isinstance(outcome, NoAnswer):
        return True
    return isinstance(request.want, Choose) and not outcome.chains and not outcome.top


async def in_parallel(
    items: Iterable[ItemT], judge: Callable[[ItemT], Awaitable[ResultT]], limit: int
) -> AsyncGenerator[tuple[ItemT, ResultT], None]:
    """Judge items, at most `limit` at once, and yield each as soon as it is done.

    Args:
        items: read only as fast as they are judged.
        judge: called once for each.
        limit: how many may be under way.

    Yields:
        Each item with its result, in order of completion.
    """
    source = iter(items)
    done: asyncio.Queue[tuple[ItemT, ResultT] | None] = asyncio.Queue(maxsize=limit)

    async def work() -> None:
        for item in source:
            await done.put((item, await judge(item)))

    async def supervise() -> None:
        try:
            await asyncio.gather(*workers)
        finally:
            await done.put(None)

    workers = [asyncio.create_task(work()) for _ in range(limit)]
    supervisor = asyncio.create_task(supervise())
    try:
        while (pair := await done.get()) is not None:
            yield pair
        await supervisor
    finally:
        tasks = [supervisor, *workers]
        for task in tasks:
            task.cancel()
        # Room for the last word of the supervisor, which nobody hears any more.
        while not done.empty():
            done.get_nowait()
        await asyncio.gather(*tasks, return_exceptions=True)
