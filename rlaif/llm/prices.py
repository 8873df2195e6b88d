"""What tokens cost, and a cap that is never passed. Prices come from genai-prices, or from a file of the user's."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import Field

from rlaif.config import Config, build
from rlaif.errors import BudgetError, ConfigError
from rlaif.llm.base import Choose, Request, Usage

_MILLION = 1_000_000
_OVERHEAD_TOKENS = 100
BATCH_SHARE = 0.5
"""Of the usual price, where OpenAI and Anthropic are asked by batch jobs."""


class Price(NamedTuple):
    """US dollars a token: read, read from the provider's prompt cache, written."""

    input: float
    cached: float
    output: float

    def cost(self, usage: Usage) -> float:
        """What some tokens cost, in US dollars; what may have been billed besides is not in it."""
        fresh = usage.input_tokens - usage.cached_tokens
        return fresh * self.input + usage.cached_tokens * self.cached + usage.output_tokens * self.output

    def most(self, request: Request, room_to_think: int = 0) -> float:
        """More than one try of a request can cost: no text has more tokens than bytes.

        Args:
            request: what is asked.
            room_to_think: tokens that may be written beside the answer.
        """
        texts = [turn.content for turn in request.messages] + [request.continuation]
        read = sum(len(text.encode()) for text in texts) + _OVERHEAD_TOKENS
        if isinstance(request.want, Choose):
            # A tokenizer may cut an answer that begins with another, which takes a second request.
            answers = request.want.answers
            pieces = 1 + sum(any(one != other and one.startswith(other) for other in answers) for one in answers)
            return pieces * (read * self.input + (1 + room_to_think) * self.output)
        return read * self.input + (request.want.max_tokens + room_to_think) * self.output


class _Line(Config):
    """One model's prices in a user's file, in US dollars a million tokens."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached: Annotated[float, Field(ge=0)] | None = None


def price_of(
    provider: str, model: str, file: Path | None = None, listed: bool = True, batch: bool = False
) -> Price | None:
    """What a model costs.

    Args:
        provider: such as `openai`.
        model: as the provider calls it.
        file: YAML of the user's, `provider:model` to `input`, `output` and perhaps `cached`, in US dollars a million
            tokens; it comes first.
        listed: whether the provider's list prices hold; they do not for another server of its protocol.
        batch: asked by batch jobs, which halve the prices of a file too.

    Returns:
        The price; None where nobody knows it.

    Raises:
        ConfigError: the file cannot be read.
    """
    own = _from_file(file, f"{provider}:{model}") if file else None
    if own is not None:
        return Price(*(BATCH_SHARE * dollars for dollars in own)) if batch else own
    return _listed(provider, model, batch) if listed else None


def _from_file(file: Path, name: str) -> Price | None:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: must map provider:model to input, output and perhaps cached")
    if name not in content:
        return None
    line = build(_Line, content[name] if isinstance(content[name], dict) else {}, f"{file}: {name}")
    cached = line.input if line.cached is None else line.cached
    return Price(line.input / _MILLION, cached / _MILLION, line.output / _MILLION)


def _listed(provider: str, model: str, batch: bool) -> Price | None:
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    way = {"processing": "batch"} if batch else None

    def dollars(**tokens: int) -> float:
        told = calc_price(Tokens(**tokens), model_ref=model, provider_id=provider, price_context=way)
        return float(told.total_price) / 1000

    try:
        return Price(
            dollars(input_tokens=1000),
            dollars(input_tokens=1000, cache_read_tokens=1000),
            dollars(output_tokens=1000),
        )
    except LookupError:
        return None


class Budget:
    """Counts what is spent, and lets no try begin that could pass the cap; after one that did not fit, none at all.

    Whoever is given the same budget keeps one cap together: models, runs one after the other, and event loops in
    several threads.
    """

    def __init__(self, cap_usd: float | None) -> None:
        """Start at nothing; without a cap everything begins.

        Args:
            cap_usd: the most that may be spent.

        Raises:
            ConfigError: it is not above 0.
        """
        if cap_usd is not None and not cap_usd > 0:
            raise ConfigError(f"the cap on cost is {cap_usd} dollars, with which nothing begins; it must be above 0")
        self.cap_usd, self.spent_usd, self._reserved_usd = cap_usd, 0.0, 0.0
        self._under_way, self._is_reached = 0, False
        self._lock = threading.Lock()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def room_usd(self) -> float:
        """What is neither spent nor held back; infinite without a cap."""
        return math.inf if self.cap_usd is None else self.cap_usd - self.spent_usd - self._reserved_usd

    def spend(self, usd: float) -> None:
        """Count what was spent without having been held back.

        Args:
            usd: how much.
        """
        with self._lock:
            self.spent_usd += usd

    @asynccontextmanager
    async def reserved(self, most_usd: float) -> AsyncIterator[list[float]]:
        """Hold back a try's upper bound until its price is known.

        Args:
            most_usd: more than it can cost.

        Yields:
            A list to which the try's cost is appended; where nothing is, all that was held back counts as spent.

        Raises:
            BudgetError: nothing is under way any more, and it does not fit under the cap, or another did not.
        """
        while (settled := self._take(most_usd)) is not None:
            try:
                await settled
            finally:
                with self._lock:
                    if settled in self._waiting:
                        self._waiting.remove(settled)
        cost: list[float] = []
        try:
            yield cost
        finally:
            with self._lock:
                self._reserved_usd -= most_usd
                self._under_way -= 1
                self.spent_usd += sum(cost) if cost else most_usd
                for waiting in self._waiting:
                    # Its loop may be that of another thread.
                    waiting.get_loop().call_soon_threadsafe(_wake, waiting)

    def _take(self, most_usd: float) -> "asyncio.Future[None] | None":
        """Hold an amount back; where it does not fit, return what ends when something was settled."""
        with self._lock:
            if most_usd <= self.room_usd and not self._is_reached:
                self._reserved_usd += most_usd
                self._under_way += 1
                return None
            if not self._under_way:
                # What is smaller might fit still, and would be broken off by this error when it is paid for already.
                self._is_reached = True
                raise BudgetError(
                    f"the cap of ${self.cap_usd:.2f} is reached (${self.spent_usd:.4f} spent or possibly billed); "
                    "every answer is kept, raise --max-cost-usd and run again to go on"
                )
            settled = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            return settled


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
