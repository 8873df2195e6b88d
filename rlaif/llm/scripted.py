"""The public double: a model whose answers are a function of the request. For tests, dry runs and benchmarks."""

import asyncio
import hashlib
import math
import random
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from rlaif.llm.base import Answer, Capabilities, Chain, Choose, Generate, NoAnswer, Outcome, Request, Usage
from rlaif.llm.stream import each

Script = Callable[[Request], "Mapping[str, float] | str | NoAnswer"]


class ScriptedLLM:
    """Answers by a script: probabilities of offered answers, a text, or the reason why not."""

    def __init__(
        self,
        script: Script,
        name: str = "scripted:own",
        latency_s: float = 0.0,
        capabilities: Capabilities | None = None,
    ) -> None:
        """Take a script.

        Args:
            script: called once for each request. For `Choose` it returns the probability of each offered
                answer (what is missing to 1 is unread), for `Generate` a text, or the probabilities of texts from
                which the request's seed draws one (what is missing to 1 is an empty text).
            name: tells scripts apart in the ledger.
            latency_s: how long each answer takes; answers do not wait for one another.
            capabilities: what the double claims to be able to do.
        """
        self._script, self._latency_s = script, latency_s
        self.name = name
        self.in_flight, self.trouble = 256, ""
        self.identity: Mapping[str, Any] = {"provider": "scripted", "script": name}
        self._capabilities = capabilities or Capabilities(exact=True, temperature=True, draws=True, continues=True)

    @property
    def capabilities(self) -> Capabilities:
        """What the double claims to be able to do."""
        return self._capabilities

    def count_tokens(self, request: Request) -> int:
        """Words of the request, which is what this model calls tokens.

        Args:
            request: the request.
        """
        return sum(turn.content.count(" ") + 1 for turn in request.messages) + request.continuation.count(" ") + 1

    async def answer(self, requests: AsyncIterator[tuple[str, Request]]) -> AsyncIterator[tuple[str, Outcome]]:
        """Answer each request by the script, after the latency."""
        if not self._latency_s:
            async for key, request in requests:
                yield key, self._outcome(request)
            return

        async def later(request: Request) -> Outcome:
            await asyncio.sleep(self._latency_s)
            return self._outcome(request)

        async for pair in each(requests, later):
            yield pair

    def _outcome(self, request: Request) -> Outcome:
        scripted = self._script(request)
        if isinstance(scripted, NoAnswer):
            return scripted
        usage = Usage(self.count_tokens(request), 0, 1)
        if isinstance(scripted, str):
            return Answer(self.name, usage, scripted)
        if isinstance(request.want, Generate):
            missing = max(0.0, 1 - sum(scripted.values()))
            drawn = random.Random(request.want.seed).choices([*scripted, ""], [*scripted.values(), missing])
            return Answer(self.name, usage, drawn[0])
        numbers = range(len(request.want.answers))
        shares = [scripted.get(answer, 0.0) for answer in request.want.answers]
        chains = [
            Chain((n,), math.log(share) if share > 0 else -math.inf) for n, share in zip(numbers, shares, strict=True)
        ]
        return Answer(self.name, usage, chains=tuple(chains))


def hashed(request: Request) -> Mapping[str, float] | str:
    """A script that knows nothing: each offered answer's probability is a hash of the whole prompt.

    Args:
        request: the request.

    Returns:
        Probabilities that sum to .95, or a fixed rationale.
    """
    if not isinstance(request.want, Choose):
        return "A rationale that knows nothing."
    text = "\0".join([*(turn.content for turn in request.messages), request.continuation])
    seed = hashlib.sha256(text.encode()).digest()
    weights = [1 + seed[number] for number in range(len(request.want.answers))]
    return {answer: 0.95 * w / sum(weights) for answer, w in zip(request.want.answers, weights, strict=True)}
