"""The one door to language models: a stream of requests in, a stream of answers out."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rlaif.records import Turn

DType = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Choose:
    """Ask how probable each of the offered answers is as the model's next words."""

    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask for text. Temperature 0 is greedy; otherwise `seed` alone decides what is drawn.

    With `top_p` below 1 each token is drawn from the smallest set of likeliest ones whose mass reaches it.
    """

    max_tokens: int
    temperature: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model.

    Attributes:
        messages: the dialogue, oldest first.
        want: what is asked for.
        continuation: the start of the model's own text, which it goes on from.
        shared_characters: how much of the first message is the same for many requests (for caches).
        draw: tells repeated questions apart; each draw is asked and paid for once.
    """

    messages: tuple[Turn, ...]
    want: Choose | Generate
    continuation: str = ""
    shared_characters: int = 0
    draw: int = 0

    def key(self, identity: Mapping[str, Any]) -> str:
        """The ledger's key: a hash of every field that can change the answer.

        Args:
            identity: the model's own part (`LLM.identity`).

        Returns:
            A hexadecimal SHA-256.
        """
        match self.want:
            case Choose(answers):
                want: dict[str, Any] = {"answers": answers}
            case Generate(max_tokens, temperature, seed, stop, top_p):
                want = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, "stop": stop}
                if top_p != 1:
                    # Stored answers from before there was a choice keep their keys.
                    want["top_p"] = top_p
        fields = [
            sorted(identity.items()),
            [(turn.role, turn.content) for turn in self.messages],
            self.continuation,
            sorted(want.items()),
            self.draw,
        ]
        return hashlib.sha256(json.dumps(fields, ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """What one exchange took.

    Attributes:
        input_tokens: read.
        cached_tokens: those of them that a prefix cache served.
        output_tokens: written.
        possibly_billed: tries that may have been billed although no answer of theirs arrived.
        cost_usd: what the tokens cost when they were asked for; None where nobody knows, or nobody is paid.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    possibly_billed: int = 0
    cost_usd: float | None = None

    def __add__(self, other: "Usage") -> "Usage":
        costs = [usage.cost_usd for usage in (self, other) if usage.cost_usd is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.possibly_billed + other.possibly_billed,
            sum(costs) if costs else None,
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """One offered answer as the model's tokens, and the log-probability (nats) that the text starts with them."""

    tokens: tuple[int, ...]
    logprob: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered.

    Attributes:
        version: of the model that was served.
        usage: what it took.
        text: to a Generate.
        finish_reason: how the text ended.
        chains: to a Choose, one for each offered answer, where the model is exact.
        top: to a Choose, where the model shows only its likeliest next tokens: each text with its
            log-probability (nats); empty where none came.
    """

    version: str
    usage: Usage
    text: str = ""
    finish_reason: Literal["stop", "length"] = "stop"
    chains: tuple[Chain, ...] = ()
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there is no answer. `unavailable` is transient and never stored; the others are final."""

    kind: Literal["refused", "too_long", "unavailable"]
    detail: str
    text: str = ""
    usage: Usage = Usage()


Outcome = Answer | NoAnswer


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do; checked before it is asked.

    Attributes:
        exact: log-probabilities of whole offered answers (`Choose`).
        top_logprobs: how many log-probabilities it gives at a position; 0 for none.
        temperature: whether a temperature, and `top_p`, can be set.
        draws: whether two answers to one request can differ, at the model's own temperature if need be.
        continues: whether it continues a text begun in its name.
        n_per_request: how many draws one request can bring.
        system_role: whether a dialogue may start with a system turn.
        batch_api: whether requests can be handed in as a batch job.
        context_tokens: the most tokens of a request and its answer together; None if not known.
    """

    exact: bool = False
    top_logprobs: int = 0
    temperature: bool = False
    draws: bool = False
    continues: bool = False
    n_per_request: int = 1
    system_role: bool = True
    batch_api: bool = False
    context_tokens: int | None = None


class LLM(Protocol):
    """A language model behind the door.

    Attributes:
        name: `provider:model`, as the user wrote it.
        identity: everything of the model that can change an answer, as JSON values.
        in_flight: how many items are worth having under way at once.
    """

    name: str
    identity: Mapping[str, Any]
    in_flight: int

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def trouble(self) -> str:
        """What a person who waits should know now, such as that the server is gone; else empty."""
        ...

    def count_tokens(self, request: Request) -> int | None:
        """How many tokens the model reads for a request; None where that cannot be known beforehand."""
        ...

    def answer(self, requests: AsyncIterator[tuple[str, Request]]) -> AsyncIterator[tuple[str, Outcome]]:
        """Answer a stream of keyed requests, in any order.

        Args:
            requests: pairs of key and request; may wait for earlier answers before it yields more.

        Yields:
            Each key with its outcome, once.
        """
        ...
