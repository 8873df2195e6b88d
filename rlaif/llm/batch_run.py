"""The way of requests through batch jobs, as long as one stream lasts.

in a job already              is collected from there, also where another process handed it in
in a job that may have been   is looked for at the provider, by one at a time
in none                       is handed in, as far as the budget allows and the provider's queue has room
in a job that did not get
to it                         leaves that job, and is handed in again
"""

import asyncio
import shlex
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from rlaif.errors import ServiceError
from rlaif.llm.base import NoAnswer, Outcome, Request, Usage
from rlaif.llm.batch_apis import BatchApi, Line, Result
from rlaif.llm.batch_calls import FailedError, NotThereError, Progress, until_replied
from rlaif.llm.gate import Fault
from rlaif.llm.jobs import Job, Jobs
from rlaif.llm.prices import Price
from rlaif.llm.service import Service

TRIES = 3
_QUEUE_IS_FULL = "token_limit_exceeded"

ResultT = TypeVar("ResultT")
Asked = dict[str, Request]
Done = Callable[[tuple[str, Outcome]], None]


class BatchRun:
    """Sees requests through jobs."""

    def __init__(
        self, service: Service, api: BatchApi, client: Any, jobs: Jobs, poll_s: float, progress: Progress, done: Done
    ) -> None:
        """Prepare.

        Args:
            service: the model.
            api: its provider's batch API.
            client: of the provider's SDK.
            jobs: of the ledger.
            poll_s: how often a job is looked at.
            progress: what is told of it.
            done: is given each outcome.
        """
        self._service, self._api, self._client, self._jobs = service, api, client, jobs
        self._poll_s, self._progress, self._done = poll_s, progress, done
        self._price, self._budget = service.price or Price(0.0, 0.0, 0.0), service.budget
        self._patience_s = service.limits.outage_patience_s
        self._lost: dict[str, Usage] = {}
        self._looking: dict[str, asyncio.Lock] = {}
        self._under_way, self._one_ended = 0, asyncio.Event()

    async def finish(self, piece: Asked) -> None:
        """See a piece through: what is in a job already is collected, the rest is handed in.

        Args:
            piece: is emptied.
        """
        for key, outcome in self._jobs.answered(piece):
            del piece[key]
            self._done((key, outcome))
        for identifier, keys in self._jobs.holding(piece).items():
            piece |= await self._collect_held(identifier, {key: piece.pop(key) for key in keys})
        await self._hand_in(piece, TRIES)

    async def _collect_held(self, identifier: str, held: Asked) -> Asked:
        """Collect requests of a job that was written down before; returns those to hand in."""
        cost: list[float] = []
        try:
            job = await self._found(identifier)
            return await self._collect(job, held, cost) if job else held
        except FailedError:
            self._jobs.release(identifier, held)
            return held
        finally:
            self._budget.spend(sum(cost))

    async def _found(self, identifier: str) -> Job | None:
        """A job with the provider's id; None, and its requests are free, where it was never submitted."""
        # One at a time: whoever comes second would find that the provider's job is known, and so not this one.
        async with self._looking.setdefault(identifier, asyncio.Lock()):
            await self._while_submitted(identifier)

            async def find() -> str | None:
                # In this order, also for other processes: what was known before the job was read is not this job.
                known = self._jobs.known()
                job, keys = self._jobs.get(identifier), self._jobs.keys_in(identifier)
                if job.remote is not None or not keys:
                    return job.remote
                return await self._api.find(self._client, job, keys, known)

            remote = await self._until_replied(find)
            if remote is not None:
                return self._jobs.submitted(self._jobs.get(identifier), remote)
            return None if self._jobs.abandon(identifier) else self._jobs.get(identifier)

    async def _while_submitted(self, identifier: str) -> None:
        """Wait while another process hands a job in.

        Raises:
            ServiceError: for longer than the patience.
        """
        since = time.monotonic()
        with self._progress.telling() as tell:
            while self._jobs.is_being_submitted(job := self._jobs.get(identifier)):
                if time.monotonic() - since > self._patience_s:
                    raise ServiceError(
                        f"process {job.process} has been handing in a batch job of these requests for "
                        f"{time.time() - job.created:.0f} s; end it or wait for it, then run this command again"
                    )
                tell(f"process {job.process} is handing in a batch job of {job.size:,} requests, which is waited for")
                await asyncio.sleep(min(1.0, self._poll_s))

    async def _hand_in(self, asked: Asked, tries: int) -> None:
        """Hand requests in as far as the budget allows, and again what a job did not get to."""
        full_since: float | None = None
        while asked:
            part = self._affordable(asked)
            try:
                await self._prepare(part)
                rest = await self._by_job(part)
            except FailedError as failed:
                if _QUEUE_IS_FULL not in str(failed):
                    raise ServiceError(f"{self._service.name}: a batch job failed: {failed}") from failed
                # The provider lets only so many tokens wait.
                if self._under_way or len(part) < 2:
                    asked = part | asked
                    full_since = await self._wait_for_room(len(asked), str(failed), full_since)
                    continue
                half = len(part) // 2
                await self._hand_in(dict(list(part.items())[:half]), tries)
                await self._hand_in(dict(list(part.items())[half:]), tries)
                continue
            full_since = None
            if rest and tries > 1:
                await self._hand_in(rest, tries - 1)
            else:
                for key in rest:
                    lost = self._lost.pop(key, Usage())
                    self._done((key, NoAnswer("unavailable", f"{TRIES} batch jobs did not get to it", usage=lost)))

    async def _wait_for_room(self, count: int, why: str, full_since: float | None) -> float | None:
        """Wait until one of our jobs makes room in the provider's queue; where none is under way, a while.

        Args:
            count: how many requests wait.
            why: what the provider says.
            full_since: since when the queue is full without a job of ours.

        Returns:
            `full_since` from now on.

        Raises:
            ServiceError: others have filled the queue for longer than the patience.
        """
        waiting = f"the provider's queue is full, {count:,} request{' waits' if count == 1 else 's wait'}"
        with self._progress.telling() as tell:
            if self._under_way:
                tell(waiting)
                await self._one_ended.wait()
                return None
            now = time.monotonic()
            full_since = now if full_since is None else full_since
            if now - full_since > self._patience_s:
                raise ServiceError(
                    f"{self._service.name}: the provider's queue has been full for {self._patience_s:.0f} s, though no "
                    f"job of this run is in it ({why}); every answer that came is kept, run the same command again "
                    "when other jobs have ended"
                )
            left = max(0, round(self._patience_s - (now - full_since)))
            tell(f"{waiting} ({why}); giving up in {left // 60}:{left % 60:02}")
            await asyncio.sleep(self._poll_s)
            return full_since

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

    async def _prepare(self, part: Asked) -> None:
        """Find out what requests need, while nothing is handed in."""
        of_each_kind = {request.want: request for request in part.values()}

        async def prepare() -> None:
            for request in of_each_kind.values():
                await self._service.prepare_for_batch(self._client, request)

        await self._until_replied(prepare)

    async def _by_job(self, part: Asked) -> Asked:
        """Hand requests in as one job and collect it; returns those that it did not get to.

        Raises:
            FailedError: the job failed; `part` holds what was in it, and is in no job any more.
        """
        others: Asked = {}
        try:
            async with self._budget.reserved(sum(map(self._most, part.values()))) as cost:
                cost.append(0.0)  # What a job does not get to is not billed.
                job, mine = self._jobs.open(self._service.name, list(part))
                # What others have handed in or stored since we looked is collected from there.
                others = {key: part.pop(key) for key in part.keys() - mine}
                rest: Asked = {}
                if part:
                    job = self._jobs.submitted(job, await self._submit(job, part))
                    rest = await self._collect(job, part, cost)
        except FailedError:
            await self.finish(others)
            raise
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

        return await self._until_replied(submit)

    async def _collect(self, job: Job, asked: Asked, cost: list[float]) -> Asked:
        """Wait for a job, pass on what it answered, and return the rest, which is not in it any more."""
        results = await self._results(job, asked)
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
            self._jobs.release(job.id, asked)
            raise
        self._jobs.release(job.id, rest)
        return rest

    async def _results(self, job: Job, asked: Asked) -> dict[str, Result]:
        """What came of a job's requests, when it has ended.

        Raises:
            ServiceError: the provider does not know it.
            FailedError: it failed as a whole; the requests are not in it any more.
        """
        remote = str(job.remote)
        try:
            if problem := await self._problem(job.id, remote, job.size):
                self._jobs.release(job.id, asked)
                raise FailedError(problem)
            return dict(await self._until_replied(lambda: self._api.results(self._client, remote)))
        except NotThereError as error:
            since = datetime.fromtimestamp(job.created).strftime("%Y-%m-%d %H:%M")
            forget = shlex.join(["rlaif", "ledger", "forget", str(self._jobs.path), remote])
            raise ServiceError(
                f"{self._service.name}: the provider knows no batch job {remote} ({error}), though it was handed in "
                f"there at {since}; most likely with another key, project or workspace: run again with that one. To "
                f"hand its requests in again, and pay for them again: {forget}"
            ) from error

    async def _problem(self, identifier: str, remote: str, size: int) -> str:
        """Wait until a job has ended; returns why it failed as a whole, or an empty text."""
        self._under_way += 1
        try:
            while not (state := await self._until_replied(lambda: self._api.look(self._client, remote))).ended:
                self._progress.states[identifier] = state.answered, size
                await asyncio.sleep(self._poll_s)
        finally:
            self._progress.states.pop(identifier, None)
            self._under_way -= 1
        if not state.problem:
            # A job that found no room makes none.
            self._one_ended.set()
            self._one_ended = asyncio.Event()
        return state.problem

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

    async def _until_replied(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        return await until_replied(call, self._service, min(self._poll_s, 5.0), self._progress)
