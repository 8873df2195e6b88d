"""How many requests may be under way: more while a server answers, fewer while it is overloaded, one while it is gone.

    a fault or two         only that request is tried again
    a share of overloads   the limit shrinks by that share; `Retry-After` holds everybody
    nothing but faults     an outage: one request at a time knocks, until `patience_s` is over

The limit grows by one with each answer at first, by one with each round of answers once it has shrunk.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiolimiter import AsyncLimiter

from rlaif.errors import ServiceError
from rlaif.llm.base import Usage

FIRST_LIMIT = 16
OVERLOADED_SHARE = 0.3
"""Of the last requests: above it the limit shrinks. Random faults of a sound server stay well below."""
WINDOW = 32
OUTAGE_FAULTS, OUTAGE_S = 10, 2.0
"""So many faults, over such a time, with no answer between them are an outage."""
LONGEST_KNOCK_S = 30.0

POSSIBLY_BILLED = Usage(possibly_billed=1)


class Fault(Exception):  # noqa: N818  (nothing has failed yet)
    """A try that brought no answer, and may be repeated.

    Attributes:
        overloaded: whether the server said that it has too much to do (429, 5xx).
        retry_after_s: how long it asks to be left alone.
        lost: what the try took all the same: tokens that the server told, or that it may have billed.
    """

    def __init__(
        self, detail: str, overloaded: bool = False, retry_after_s: float | None = None, lost: Usage | None = None
    ) -> None:
        super().__init__(detail)
        self.overloaded, self.retry_after_s, self.lost = overloaded, retry_after_s, lost or Usage()


class Gate:
    """Lets requests through. All its state belongs to one event loop."""

    def __init__(
        self, most: int, patience_s: float, per_minute: int | None = None, tokens_per_minute: int | None = None
    ) -> None:
        """Open.

        Args:
            most: the highest number of requests under way.
            patience_s: how long an outage is waited for.
            per_minute: the most requests a minute.
            tokens_per_minute: the most tokens a minute.
        """
        self.most, self.patience_s = most, patience_s
        self.limit = float(min(FIRST_LIMIT, most))
        self.under_way = 0
        self._doubling = True
        self._window: deque[bool] = deque(maxlen=WINDOW)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held_until = 0.0
        self._faults, self._faulty_since, self._last_fault = 0, 0.0, ""
        self._answer_s = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        # Buckets of a second (or of one request, where that is longer): a minute's worth at once would be a burst.
        self._requests = AsyncLimiter(max(1.0, per_minute / 60), max(1.0, 60 / per_minute)) if per_minute else None
        self._tokens = AsyncLimiter(tokens_per_minute / 6, 10) if tokens_per_minute else None

    @property
    def is_outage(self) -> bool:
        """Whether the server seems to be gone."""
        lasting = time.monotonic() - self._faulty_since
        return self._faults >= OUTAGE_FAULTS and lasting > max(OUTAGE_S, 3 * self._answer_s)

    @property
    def trouble(self) -> str:
        """What a person should know now; empty while all is well."""
        now = time.monotonic()
        if self.is_outage:
            left = max(0, round(self.patience_s - (now - self._faulty_since)))
            return f"no answer ({self._last_fault}); giving up in {left // 60}:{left % 60:02}"
        if self._held_until > now + 1:
            return f"the server asks to wait {self._held_until - now:.0f} s"
        return ""

    @asynccontextmanager
    async def passed(self, tokens: int = 0) -> AsyncIterator[None]:
        """Wait for one's turn; inside, a request is under way, and how it ended changes the gate.

        Args:
            tokens: about how many the request takes, for the limit a minute.

        Raises:
            ServiceError: the outage lasts longer than `patience_s`.
        """
        await self._turn()
        try:
            if self._requests is not None:
                await self._requests.acquire()
            if self._tokens is not None and tokens:
                await self._tokens.acquire(min(float(tokens), self._tokens.max_rate))
            start = time.monotonic()
            yield
        except Fault as fault:
            self._failed(fault)
            if fault.overloaded:
                # As long as an answer takes, nobody takes its place: else a crowd would be turned away in no time.
                await asyncio.sleep(min(1.0, self._answer_s))
            raise
        else:
            self._answered(time.monotonic() - start)
        finally:
            self.under_way -= 1
            self._let_in()

    def hold(self, seconds: float) -> None:
        """Let nobody through for a while."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    async def _turn(self) -> None:
        if not self._is_open() or self._waiting:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            self._let_in()
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled() and turn.exception() is None:
                    self.under_way -= 1
                    self._let_in()
                raise
        else:
            self.under_way += 1

    def _is_open(self) -> bool:
        allowed = 1 if self.is_outage else int(self.limit)
        return self.under_way < allowed and time.monotonic() >= self._held_until

    def _let_in(self) -> None:
        """Wake as many as may go; where the gate is held, come back when it opens."""
        if self.is_outage and time.monotonic() - self._faulty_since > self.patience_s:
            self._give_up()
        while self._waiting and self._is_open():
            turn = self._waiting.popleft()
            if not turn.done():
                self.under_way += 1
                turn.set_result(None)
        wait = self._held_until - time.monotonic()
        if self._waiting and wait > 0 and self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(wait, self._open_again)

    def _open_again(self) -> None:
        self._alarm = None
        self._let_in()

    def _give_up(self) -> None:
        error = ServiceError(
            f"no answer for {self.patience_s:.0f} s ({self._last_fault}); "
            "every answer that came is kept, run the same command again to go on"
        )
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)

    def _answered(self, seconds: float) -> None:
        self._answer_s = 0.9 * self._answer_s + 0.1 * seconds if self._answer_s else seconds
        if self.is_outage:
            # It is back, and everybody waits: begin small.
            self.limit, self._doubling = float(min(FIRST_LIMIT, self.most)), True
            self._window.clear()
        self._faults = 0
        self._window.append(False)
        # Doubling is one more for each answer; after that, one more for each round of answers.
        self.limit = min(self.most, self.limit + (1 if self._doubling else 1 / self.limit))

    def _failed(self, fault: Fault) -> None:
        now = time.monotonic()
        if self._faults == 0:
            self._faulty_since = now
        self._faults, self._last_fault = self._faults + 1, str(fault)
        self._window.append(fault.overloaded)
        if self.is_outage:
            # As long again by half as it has lasted: knocks grow rarer, and the last one is not late.
            self.hold(min(LONGEST_KNOCK_S, max(0.5, (now - self._faulty_since) / 2), self.patience_s / 10))
        elif len(self._window) == WINDOW and (share := sum(self._window) / WINDOW) > OVERLOADED_SHARE:
            # What was not turned away is what the server can take.
            self.limit, self._doubling = max(1.0, self.limit * (1 - share)), False
            self._window.clear()
            self.hold(fault.retry_after_s or 0.0)
