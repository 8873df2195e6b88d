"""A model behind an official SDK: everything but the protocol.

The SDKs of OpenAI and Anthropic come out of one generator, so their clients and errors have the same shape. They send
and receive; concurrency, retries and reading are ours, and their own classes for answers are left aside: these cost
more time than all the rest, and lose fields that they do not know.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ClassVar

import httpx2

from rlaif.errors import ConfigError, ServiceError
from rlaif.llm.base import Capabilities, NoAnswer, Outcome, Request
from rlaif.llm.gate import POSSIBLY_BILLED, Fault
from rlaif.llm.prices import Budget, Price
from rlaif.llm.remote import Limits, Persistent
from rlaif.llm.replies import fault_of, retry_after_s
from rlaif.llm.stream import each

REFUSALS = 8
"""So many bad requests, and no answer, are a fault of the run and not of its items."""


class Service(ABC):
    """A model behind an SDK. Keys are read from the environment, and kept by the SDK alone."""

    provider: ClassVar[str]
    official: ClassVar[str]
    key_variable: ClassVar[str]
    remaining: ClassVar[tuple[tuple[str, str], ...]]
    """Headers with what is left of a rate limit, each with the header that says when it is full again."""

    def __init__(
        self,
        model: str,
        capabilities: Capabilities,
        *,
        base_url: str | None = None,
        key_variable: str | None = None,
        limits: Limits | None = None,
        identity: Mapping[str, Any] | None = None,
        price: Price | None = None,
        room_to_think: int = 0,
        budget: Budget | None = None,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            model: as the server calls it.
            capabilities: what it can do (see `catalog`).
            base_url: of the server; the provider's own if None.
            key_variable: the environment variable that holds the key; the provider's own if None.
            limits: how hard it is asked.
            identity: what else can change its answers.
            price: of its tokens; None where nobody knows it.
            room_to_think: tokens that a reasoning model may use before its answer.
            budget: that it spends from, with whoever else has it; one of its own, as the limits say, if None.

        Raises:
            ConfigError: there is no key, a cap on cost and no price, or two caps.
        """
        self.name, self.capabilities = f"{self.provider}:{model}", capabilities
        limits = limits or Limits()
        self.budget = budget or Budget(limits.max_cost_usd)
        if limits.max_cost_usd not in (None, self.budget.cap_usd):
            raise ConfigError(
                f"{self.name} has two caps: limits.max_cost_usd is {limits.max_cost_usd}, that of the budget "
                f"{self.budget.cap_usd}; leave max_cost_usd to the budget"
            )
        self.limits = limits.model_copy(update={"max_cost_usd": self.budget.cap_usd})
        self.in_flight = self.limits.concurrency
        self.price, self.room_to_think = price, room_to_think
        if self.limits.max_cost_usd is not None and price is None:
            raise ConfigError(f"nobody knows what {self.name} costs, so no cap can be kept; name its price by --prices")
        self._model, self._base_url = model, base_url or self.official
        self._key_variable = key_variable
        self._key()
        self.identity: Mapping[str, Any] = {
            "provider": self.provider,
            "base_url": self._base_url,
            "model": model,
            **(identity or {}),
        }
        self._persistent: Persistent | None = None
        self._answered = self._bad = 0

    @property
    def is_official(self) -> bool:
        """Whether it is the provider's own server."""
        return self._base_url == self.official

    @property
    def trouble(self) -> str:
        """What a person who waits should know now; empty while all is well."""
        return self._persistent.gate.trouble if self._persistent else ""

    def count_tokens(self, request: Request) -> int | None:
        """Not known beforehand: the server has the tokenizer."""
        return None

    async def answer(self, requests: AsyncIterator[tuple[str, Request]]) -> AsyncIterator[tuple[str, Outcome]]:
        """Answer every request, within the limits."""
        async with self.connect() as client:

            async def send(request: Request) -> Outcome:
                return await self._send(client, request)

            self._persistent = Persistent(send, self.limits, self.price, self.room_to_think, self.budget)
            async for keyed in each(requests, self._persistent.answer):
                yield keyed

    @property
    @abstractmethod
    def sdk(self) -> ModuleType:
        """The SDK, for its errors."""

    @abstractmethod
    def connect(self) -> Any:
        """A client of the SDK, which closes with its block."""

    @abstractmethod
    def render(self, request: Request) -> tuple[str, dict[str, Any]]:
        """Path and body of a request, as the protocol has them.

        Args:
            request: what is asked.
        """

    @abstractmethod
    def read(self, request: Request, body: Any) -> Outcome:
        """What a response says.

        Args:
            request: what was asked.
            body: of the response, as JSON values.

        Raises:
            Fault: it says nothing.
        """

    async def prepare_for_batch(self, client: Any, request: Request) -> None:
        """Find out what a request needs that is sent once and without a second one, as in a batch job.

        Args:
            client: of `connect`.
            request: what will be asked.

        Raises:
            CapabilityError: it takes more than one request.
        """
        await self._prepare(client, request)

    async def _prepare(self, client: Any, request: Request) -> None:  # noqa: B027  (most need nothing)
        """Find out what the request needs."""

    async def _send(self, client: Any, request: Request) -> Outcome:
        """One try of one request."""
        try:
            with self.translated():
                await self._prepare(client, request)
                path, body = self.render(request)
                response = await client.post(path, body=body, cast_to=httpx2.Response)
        except self.sdk.APIStatusError as error:
            return self.refused(error.status_code, detail(error))
        self._hold_if_asked(response.headers)
        try:
            answered = json.loads(response.content)
        except ValueError as error:
            said = repr(response.content[:80].decode("utf-8", "replace"))
            raise Fault(f"a broken response ({said})", lost=POSSIBLY_BILLED) from error
        return self.accepted(request, answered)

    def accepted(self, request: Request, body: Any) -> Outcome:
        """What a response says, remembered as the proof that some request is answered.

        Args:
            request: what was asked.
            body: of the response, as JSON values.

        Raises:
            Fault: it says nothing.
        """
        outcome = self.read(request, body)
        self._answered += 1
        return outcome

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the SDK's errors into a `Fault` where a call may be repeated; a status that says no stays as it is."""
        sdk = self.sdk
        try:
            yield
        except sdk.APIStatusError as error:
            fault = fault_of(error.status_code, error.response.headers, detail(error))
            if fault is not None and getattr(error, "code", None) != "insufficient_quota":
                raise fault from error
            raise
        except sdk.APITimeoutError as error:
            raise Fault(f"no answer within {self.limits.timeout_s:g} s", lost=POSSIBLY_BILLED) from error
        except sdk.APIConnectionError as error:
            cause = error.__cause__ or error
            lost = None if isinstance(cause, _NEVER_SENT) else POSSIBLY_BILLED
            raise Fault(f"connection failed ({cause})", lost=lost) from error

    def refused(self, status: int, said: str) -> NoAnswer:
        """A bad request is the item's failure, unless every request is bad.

        Args:
            status: of the response.
            said: what it says.

        Raises:
            ServiceError: no request would be answered.
        """
        if status not in (400, 413, 422):
            raise ServiceError(f"{self.name} at {self._base_url}: {said}")
        self._bad += 1
        if self._bad >= REFUSALS and not self._answered:
            raise ServiceError(f"{self.name}: the first {self._bad} requests were bad: {said}")
        words = ("context length", "context_length", "too long", "maximum context")
        too_long = status == 413 or any(word in said for word in words)
        return NoAnswer("too_long" if too_long else "refused", said)

    def _hold_if_asked(self, headers: Mapping[str, str]) -> None:
        """Where the headers say that nothing is left, wait until there is."""
        for left, full_again in self.remaining:
            if headers.get(left) == "0" and self._persistent is not None:
                self._persistent.gate.hold(retry_after_s(headers.get(full_again)) or 0.0)

    def _key(self) -> str:
        """The key, from the environment; a key for the provider goes to no other server.

        Raises:
            ConfigError: there is none.
        """
        variable = self._key_variable or self.key_variable
        if not self.is_official and self._key_variable is None:
            return "none"
        if found := os.environ.get(variable, "").strip():
            return found
        raise ConfigError(f"the environment variable {variable} holds no key; export {variable}=… and run again")

    def _pool(self) -> dict[str, Any]:
        """Timeout and connections of the HTTP client."""
        most = self.limits.concurrency
        return {
            "timeout": self.limits.timeout_s,
            "limits": httpx2.Limits(max_connections=most, max_keepalive_connections=most),
        }


def detail(error: Any) -> str:
    """Status and message, without any key that a server repeats.

    Args:
        error: an SDK's `APIStatusError`.
    """
    body = error.body
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        body = body["error"]
    message = body.get("message") if isinstance(body, Mapping) else None
    text = str(message or error.response.text[:200] or error.message)
    for name, value in os.environ.items():
        if name.endswith("_API_KEY") and len(value) > 8:
            text = text.replace(value, "***")
    return f"{error.status_code}: {' '.join(text.split())[:300]}"


_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
