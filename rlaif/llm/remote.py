"""What every model behind a network has in common: concurrency, limits, retries, and what they may have cost.

A provider's module says how one request is sent and what its errors mean; everything here is about many of them.
"""

from dataclasses import replace
from typing import Annotated

from pydantic import Field
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from rlaif.config import Config
from rlaif.llm.base import NoAnswer, Outcome, Request, Usage
from rlaif.llm.gate import Fault, Gate
from rlaif.llm.prices import Budget, Price
from rlaif.llm.stream import Send


class Limits(Config):
    """How hard a service is asked; changes no answer.

    Attributes:
        concurrency: the most requests under way; fewer where the server cannot keep up.
        requests_per_minute: the most in a minute; no limit of ours if None.
        tokens_per_minute: the same for tokens, as far as they are known beforehand.
        timeout_s: after which a request is given up and tried again.
        retries: how often a request is tried again; tries during an outage do not count.
        outage_patience_s: how long a server that is gone is waited for.
        max_cost_usd: what a model may spend at most as long as it is open, in all its runs together, what may have
            been billed without an answer included. Models keep one cap together by a `Budget` (see `open_llm`).
    """

    concurrency: Annotated[int, Field(ge=1)] = 64
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    retries: Annotated[int, Field(ge=0)] = 8
    outage_patience_s: Annotated[float, Field(ge=0)] = 900.0
    max_cost_usd: Annotated[float, Field(gt=0)] | None = None


class Persistent:
    """Sends requests until they are answered, within limits."""

    def __init__(
        self,
        send: Send,
        limits: Limits,
        price: Price | None = None,
        room_to_think: int = 0,
        budget: Budget | None = None,
    ) -> None:
        """Prepare.

        Args:
            send: one try of one request; raises `Fault` where it may be repeated.
            limits: how hard.
            price: of a token; without it no cost is known.
            room_to_think: tokens that may be written, and paid for, beside an answer.
            budget: that it spends from; one of its own, as the limits say, if None.
        """
        self._send, self._limits = send, limits
        self._price, self._room_to_think = price or Price(0.0, 0.0, 0.0), room_to_think
        self._is_priced = price is not None
        self.budget = budget or Budget(limits.max_cost_usd)
        self.gate = Gate(
            limits.concurrency, limits.outage_patience_s, limits.requests_per_minute, limits.tokens_per_minute
        )
        self._backoff = wait_random_exponential(multiplier=0.25, max=8)

    async def answer(self, request: Request, tokens: int = 0) -> Outcome:
        """One request's outcome: `unavailable` when every try failed.

        Args:
            request: what is asked.
            tokens: about how many it takes.

        Raises:
            ServiceError: no request will be answered; says why.
        """
        lost, tried = Usage(), 0

        async def attempt() -> Outcome:
            nonlocal lost, tried
            async with self.budget.reserved(self._price.most(request, self._room_to_think)) as cost:
                try:
                    async with self.gate.passed(tokens):
                        outcome = await self._send(request)
                except Fault as fault:
                    lost += fault.lost
                    tried += not self.gate.is_outage
                    if not fault.lost.possibly_billed:
                        cost.append(self._price.cost(fault.lost))
                    raise
                cost.append(self._price.cost(outcome.usage))
                return outcome

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Fault),
            stop=lambda _: tried > self._limits.retries,
            wait=self._pause,
            reraise=True,
        )
        try:
            outcome: Outcome = await retrying(attempt)
        except Fault as fault:
            outcome = NoAnswer("unavailable", f"{fault}; tried {tried} times")
        usage = lost + outcome.usage
        cost = self._price.cost(usage) if self._is_priced else None
        return replace(outcome, usage=replace(usage, cost_usd=cost))

    def _pause(self, state: RetryCallState) -> float:
        """Longer from try to try, with jitter, and never less than the server asks for."""
        fault = state.outcome.exception() if state.outcome else None
        asked = fault.retry_after_s or 0.0 if isinstance(fault, Fault) else 0.0
        return asked + self._backoff(state)
