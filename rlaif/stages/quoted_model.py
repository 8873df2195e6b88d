"""One model, as far as a quote must know it: what it can do, how many tokens requests are, and what they cost."""

from collections.abc import Sequence
from pathlib import Path

from rlaif.llm.base import Request
from rlaif.llm.catalog import catalog, entry
from rlaif.llm.open import open_llm
from rlaif.llm.prices import price_of

BYTES_PER_TOKEN = (5.0, 3.0)
"""English prose has 4 to 5 bytes a token in today's vocabularies; code and other languages have fewer."""
THINKING_TOKENS = (100, 4096)
"""Of a reasoning model, for each answer."""
PROTOCOL_TOKENS = 10
CACHED_FROM_TOKENS = 1024
"""Shorter beginnings are in no provider's prompt cache."""

Interval = tuple[float, float]


class QuotedModel:
    """A model that nobody asks anything yet; no key is needed.

    Attributes:
        spec: `provider:model`.
        is_local: whether it runs here: its own tokenizer counts, and nobody is paid.
        able: what it can do.
        price: of its tokens; None where nobody knows, or nobody is paid.
        batch_price: the same when it is asked by batch jobs; None where it cannot be.
        thinking: tokens that it writes beside each answer, lowest and highest.
    """

    def __init__(self, spec: str, prices: Path | None = None) -> None:
        """Look it up.

        Args:
            spec: `provider:model`.
            prices: a file of prices (see `price_of`).
        """
        provider, _, model = spec.partition(":")
        self.spec, self.is_local = spec, provider not in catalog()
        self.price = self.batch_price = None
        self.thinking: Interval = (0, 0)
        if self.is_local:
            self._llm = open_llm(spec)
            self.able = self._llm.capabilities
            return
        known = entry(provider, model)
        self.able, self.price = known.capabilities, price_of(provider, model, prices)
        self.thinking = THINKING_TOKENS if known.thinks else (0, 0)
        self.batch_price = price_of(provider, model, prices, batch=True) if known.batch else None

    def tokens(self, requests: Sequence[Request]) -> Interval:
        """How many tokens it reads for requests: counted where its tokenizer is here, and else estimated from bytes.

        Args:
            requests: any.
        """
        if self.is_local:
            count = float(sum(self._llm.count_tokens(one) or 0 for one in requests))
            return count, count
        size = sum(
            len("".join([*(turn.content for turn in one.messages), one.continuation]).encode()) for one in requests
        )
        low, high = (size / ratio + PROTOCOL_TOKENS * len(requests) for ratio in BYTES_PER_TOKEN)
        return low, high

    def cached(self, requests: Sequence[Request]) -> float:
        """Tokens at the beginning of prompts that are the same for all items, as far as a prompt cache holds them.

        Args:
            requests: any.
        """
        shared = (
            len(one.messages[0].content[: one.shared_characters].encode()) / BYTES_PER_TOKEN[0] for one in requests
        )
        return 0.0 if self.is_local else sum(count for count in shared if count >= CACHED_FROM_TOKENS)
