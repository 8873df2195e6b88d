"""Requests handed in as batch jobs: half the price, up to a day's wait, and nothing lost when the laptop is closed.

Requests are collected until no more come, cut into pieces, and each piece is a job. What a later run asks again is
first looked for in the jobs that the ledger knows of; only the rest is handed in. A job that expired or was cancelled
keeps what it answered.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rlaif.errors import CapabilityError, ServiceError
from rlaif.llm.base import Capabilities, NoAnswer, Outcome, Request, Usage
from rlaif.llm.batch_apis import BatchApi, Line, NotYetKnownError, Result
from rlaif.llm.gate import Fault
from rlaif.llm.jobs import Job, Jobs
from rlaif.llm.prices import Budget, Price
from rlaif.llm.service import Service, detail

PIECE = 10_000
PIECE_BYTES = 50_000_000
"""A job's most requests, and bytes of text: OpenAI takes 50,000 and 200 MB, Anthropic 100,000 and 256 MB."""
ITEMS = 20_000
"""Under way at once: they wait together, and each takes memory."""
QUIET_S = 1.0
POLL_S = 30.0
TRIES = 3
_QUEUE_IS_FULL = "token_limit_exceeded"

ResultT = TypeVar("ResultT")
Asked = dict[str, Request]
Done = Callable[[tuple[str, Outcome]], None]


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
        self._progress = _Progress()

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
            run = _Run(self._service, self._api, client, jobs, self._poll_s, self._progress, arrived.put_nowait)

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


class _Progress:
    """What can be said of jobs that are under way."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[int, int]] = {}
        self.trouble = ""

    @property
    def text(self) -> str:
        if self.trouble or not self.states:
            return self.trouble
        answered, size = (sum(counts) for counts in zip(*self.states.values(), strict=True))
        jobs = f"{len(self.states)} batch job{'s'[: len(self.states) != 1]}"
        return f"{jobs}, {answered:,} of {size:,} requests answered; stop at will, the same command collects later"


class _FailedError(Exception):
    """A whole job that brought nothing."""


class _Run:
    """The way of requests through jobs, as long as one stream lasts."""

    def __init__(
        self, service: Service, api: BatchApi, client: Any, jobs: Jobs, poll_s: float, progress: _Progress, done: Done
    ) -> None:
        self._service, self._api, self._client, self._jobs = service, api, client, jobs
        self._poll_s, self._progress, self._done = poll_s, progress, done
        self._price, self._budget = service.price or Price(0.0, 0.0, 0.0), Budget(service.limits.max_cost_usd)
        self._lost: dict[str, Usage] = {}

    async def finish(self, piece: Asked) -> None:
        """See a piece through: what is in a job already is collected, the rest is handed in."""
        for identifier, keys in self._jobs.holding(piece).items():
            held = {key: piece.pop(key) for key in keys}
            cost: list[float] = []
            try:
                job = await self._found(self._jobs.get(identifier), held)
                piece |= await self._collect(job, held, cost) if job else held
            except _FailedError:
                self._jobs.release(held)
                piece |= held
            self._budget.spent_usd += sum(cost)
        await self._hand_in(piece, TRIES)

    async def _found(self, job: Job, held: Asked) -> Job | None:
        """An earlier job with the provider's id; None, and its requests released, where it was never submitted."""
        while job.is_being_submitted:
            await asyncio.sleep(min(1.0, self._poll_s))
            job = self._jobs.get(job.id)
        if job.remote is None:
            remote = await self._patiently(lambda: self._api.find(self._client, job, held, self._jobs.known()))
            if remote is None:
                self._jobs.release(held)
                return None
            job = self._jobs.submitted(job, remote)
        return job

    async def _hand_in(self, asked: Asked, tries: int) -> None:
        """Hand requests in as far as the budget allows, and again what a job did not get to."""
        while asked:
            part = self._affordable(asked)
            try:
                rest = await self._by_job(part)
            except _FailedError as failed:
                if _QUEUE_IS_FULL not in str(failed) or len(part) == 1:
                    raise ServiceError(f"{self._service.name}: a batch job failed: {failed}") from failed
                # The provider lets only so many tokens wait: two jobs, one after the other.
                half = len(part) // 2
                await self._hand_in(dict(list(part.items())[:half]), tries)
                await self._hand_in(dict(list(part.items())[half:]), tries)
                continue
            if rest and tries > 1:
                await self._hand_in(rest, tries - 1)
            else:
                for key in rest:
                    lost = self._lost.pop(key, Usage())
                    self._done((key, NoAnswer("unavailable", f"{TRIES} batch jobs did not get to it", usage=lost)))

    def _affordable(self, asked: Asked) -> Asked:
        """Take as many requests out as fit under the cap now; at least one, which waits for room or ends the run."""
        room = self._budget.room_usd
        part: Asked = {}
        for key, request in list(asked.items()):
            room -= self._most(request)
            if part and room < 0:
                break
            part[key] = asked.pop(key)
        return part

    def _most(self, request: Request) -> float:
        return self._price.most(request, self._service.room_to_think)

    async def _by_job(self, part: Asked) -> Asked:
        """Hand requests in as one job and collect it; returns those that it did not get to."""
        async with self._budget.reserved(sum(map(self._most, part.values()))) as cost:
            cost.append(0.0)  # What a job does not get to is not billed.
            job, mine = self._jobs.open(self._service.name, list(part))
            # What another process has handed in since we looked is collected from there.
            others = {key: part.pop(key) for key in part.keys() - mine}
            rest: Asked = {}
            if part:
                job = self._jobs.submitted(job, await self._submit(job, part))
                rest = await self._collect(job, part, cost)
        await self.finish(others)
        return rest

    async def _submit(self, job: Job, part: Asked) -> str:
        """Submit a job that is written down; returns the provider's id."""
        tried = False

        async def submit() -> str:
            nonlocal tried
            # Without a reply it may have been taken all the same.
            if tried and (found := await self._api.find(self._client, job, part, self._jobs.known())):
                return found
            tried = True
            lines = [Line(key, *self._service.render(request)) for key, request in part.items()]
            return await self._api.submit(self._client, job, lines)

        return await self._patiently(submit)

    async def _collect(self, job: Job, asked: Asked, cost: list[float]) -> Asked:
        """Wait for a job, pass on what it answered, and return the rest, which is in no job any more."""
        remote = str(job.remote)
        try:
            while not (state := await self._patiently(lambda: self._api.look(self._client, remote))).ended:
                self._progress.states[job.id] = state.answered, job.size
                await asyncio.sleep(self._poll_s)
            if state.problem:
                raise _FailedError(state.problem)
            results = dict(await self._patiently(lambda: self._api.results(self._client, remote)))
        except _FailedError:
            self._jobs.release(asked)
            raise
        finally:
            self._progress.states.pop(job.id, None)
        rest: Asked = {}
        try:
            # Answers first: errors alone would look as if nothing were ever answered.
            for key in sorted(asked, key=lambda key: key not in results or results[key].status != 200):
                outcome = self._outcome(key, asked[key], results.get(key))
                if outcome is None:
                    rest[key] = asked[key]
                else:
                    cost.append(outcome.usage.cost_usd or 0.0)
                    self._done((key, outcome))
        except ServiceError:
            self._jobs.release(asked)
            raise
        self._jobs.release(rest)
        return rest

    def _outcome(self, key: str, request: Request, result: Result | None) -> Outcome | None:
        """What came of a request; None where the job did not get to it."""
        if result is None or result.status >= 500 or result.status == 429:
            return None
        if result.status != 200:
            return self._service.refused(result.status, result.said)
        try:
            outcome = self._service.accepted(request, result.body)
        except Fault as fault:
            self._lost[key] = self._lost.get(key, Usage()) + fault.lost
            return None
        usage = self._lost.pop(key, Usage()) + outcome.usage
        known = self._service.price
        return replace(outcome, usage=replace(usage, cost_usd=known.cost(usage) if known else None))

    async def _patiently(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Call the batch API until it replies.

        Raises:
            ServiceError: it says no, or is gone for longer than the patience.
            _FailedError: it knows nothing of the job.
        """
        patience_s, since = self._service.limits.outage_patience_s, time.monotonic()
        while True:
            try:
                with self._service.translated():
                    reply = await call()
                self._progress.trouble = ""
                return reply
            except NotYetKnownError as unknown:
                since, self._progress.trouble = time.monotonic(), str(unknown)
            except Fault as fault:
                if time.monotonic() - since > patience_s:
                    raise ServiceError(
                        f"no reply for {patience_s:.0f} s ({fault}); every answer that came is kept"
                    ) from fault
                self._progress.trouble = f"no reply ({fault})"
            except self._service.sdk.APIStatusError as error:
                if error.status_code == 404:
                    raise _FailedError(detail(error)) from error
                raise ServiceError(f"{self._service.name}: {detail(error)}") from error
            await asyncio.sleep(min(self._poll_s, 5.0))


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
