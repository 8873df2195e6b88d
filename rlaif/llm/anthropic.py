"""Anthropic, and every server that speaks its protocol: sampled verdicts, since it has no log-probabilities.

Preamble and exemplars carry a prompt-caching mark, which makes them cheaper where they are long enough. No sampling
parameter is sent: today's models take none, and draw at a temperature of their own.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import anthropic

from rlaif.errors import CapabilityError
from rlaif.llm.base import Answer, Choose, NoAnswer, Outcome, Request, Usage
from rlaif.llm.catalog import entry
from rlaif.llm.gate import POSSIBLY_BILLED, Fault
from rlaif.llm.prices import Budget, price_of
from rlaif.llm.remote import Limits
from rlaif.llm.replies import start_of
from rlaif.llm.service import Service


class AnthropicLLM(Service):
    """A model behind the Anthropic protocol."""

    provider: ClassVar[str] = "anthropic"
    official: ClassVar[str] = "https://api.anthropic.com"
    key_variable: ClassVar[str] = "ANTHROPIC_API_KEY"
    remaining: ClassVar[tuple[tuple[str, str], ...]] = tuple(
        (f"anthropic-ratelimit-{what}-remaining", f"anthropic-ratelimit-{what}-reset")
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
    )

    @property
    def sdk(self) -> ModuleType:
        """Its errors are these."""
        return anthropic

    def connect(self) -> anthropic.AsyncAnthropic:
        """A client of the SDK, which closes with its block."""
        http = anthropic.DefaultAioHttpClient(**self._pool())
        return anthropic.AsyncAnthropic(api_key=self._key(), base_url=self._base_url, max_retries=0, http_client=http)

    def render(self, request: Request) -> tuple[str, dict[str, Any]]:
        """Path and body, as the protocol has them."""
        if isinstance(request.want, Choose):
            raise CapabilityError(f"{self.name} gives no log-probabilities; use --method sampled")
        turns = [turn for turn in request.messages if turn.role != "system"]
        system = [turn.content for turn in request.messages if turn.role == "system"]
        body: dict[str, Any] = {
            "model": self._model,
            "max_tokens": request.want.max_tokens,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
        }
        if system:
            body["system"] = "\n\n".join(system)
        elif request.shared_characters:
            body["messages"][0]["content"] = _marked(turns[0].content, request.shared_characters)
        # A stop sequence of white space alone is a bad request.
        if stops := [stop for stop in request.want.stop if stop.strip()]:
            body["stop_sequences"] = stops
        return "/v1/messages", body

    def read(self, request: Request, body: Any) -> Outcome:
        """What a response says; raises `Fault` where it says nothing."""
        try:
            usage, version = _usage(body["usage"]), str(body["model"])
        except (KeyError, TypeError, AttributeError) as error:
            raise Fault(f"a broken response ({start_of(body)})", lost=POSSIBLY_BILLED) from error
        try:
            text = "".join(block["text"] for block in body["content"] if block["type"] == "text")
            reason = body["stop_reason"]
        except (KeyError, TypeError, AttributeError) as error:
            raise Fault(f"a response without an answer ({start_of(body)})", lost=usage) from error
        if reason == "refusal":
            return NoAnswer("refused", "the model's stop reason is a refusal", text, usage)
        if reason == "model_context_window_exceeded":
            return NoAnswer("too_long", "the model's context was full before it ended", text, usage)
        return Answer(version, usage, text, "length" if reason == "max_tokens" else "stop")


def open_anthropic(
    model: str,
    base_url: str | None = None,
    key_variable: str | None = None,
    limits: Limits | None = None,
    prices: Path | None = None,
    batch: bool = False,
    can: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
) -> AnthropicLLM:
    """Open a model of Anthropic's, or of another server.

    Args:
        model: as the server calls it.
        base_url: of the server; `ANTHROPIC_BASE_URL`, and else Anthropic's own, if None.
        key_variable: the environment variable with the key.
        limits: how hard it is asked.
        prices: a file with prices (see `price_of`); for another server the only ones.
        batch: whether it will be asked by batch jobs, which have a price of their own.
        can: capabilities that the user knows better than the catalog.
        budget: that it spends from, with whoever else has it; one of its own, as the limits say, if None.

    Raises:
        ConfigError: there is no key, a cap on cost and no price, two caps, or no such capability.
    """
    base_url = base_url or os.environ.get("ANTHROPIC_BASE_URL")
    url = base_url.rstrip("/").removesuffix("/v1") if base_url else None
    able = entry("anthropic", model, can).capabilities
    price = price_of("anthropic", model, prices, listed=url is None, batch=batch)
    return AnthropicLLM(model, able, base_url=url, key_variable=key_variable, limits=limits, price=price, budget=budget)


def _marked(content: str, shared_characters: int) -> list[dict[str, Any]]:
    """A text in two blocks, of which the first may be cached."""
    blocks: list[dict[str, Any]] = [
        {"type": "text", "text": content[:shared_characters], "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": content[shared_characters:]},
    ]
    return [block for block in blocks if block["text"]]


def _usage(told: Mapping[str, Any]) -> Usage:
    """All that was read counts as input, whether it was cached, put into the cache or neither."""
    cached = told.get("cache_read_input_tokens") or 0
    read = (told.get("input_tokens") or 0) + cached + (told.get("cache_creation_input_tokens") or 0)
    return Usage(read, cached, told.get("output_tokens") or 0)
