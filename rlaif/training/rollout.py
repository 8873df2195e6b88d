"""Rollouts: responses that a policy draws to queries, with the log-probabilities of what was drawn.

Shapes: B responses, Q tokens of the longest query, T of the longest response.
Rows for the model are queries padded on the left and responses padded on the right, so that place Q is every response's
first token; positions count real tokens. Who draws is behind `Rollout`: transformers here, another engine elsewhere.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlaif.generation import Continuation, LocalModel, Prefix, by_length, generate
from rlaif.records import Turn


@dataclass(frozen=True, slots=True)
class Query:
    """A query to answer.

    Attributes:
        id: names it.
        turns: the dialogue.
        tokens: its ids, up to where the policy speaks.
        columns: whatever else its row holds, for the reward.
    """

    id: str
    turns: tuple[Turn, ...]
    tokens: tuple[int, ...]
    columns: Mapping[str, Any]


Finished = Callable[[int, Continuation], None]
"""Is told of a response, by its place, that is written while others are not."""


class Rollout(Protocol):
    """Draws responses."""

    def generate(
        self, queries: Sequence[Sequence[int]], seeds: Sequence[int], finished: Finished | None = None
    ) -> list[Continuation]:
        """Draw one response to each query.

        Args:
            queries: B lists of token ids.
            seeds: (B,) of each response's own draws; nothing else decides on them.
            finished: told of each response once at most, as soon as it is written, so that judging can begin.

        Returns:
            B continuations with the log-probabilities of their tokens, the end token included.
        """
        ...

    def load_weights(self, policy: PreTrainedModel) -> None:
        """Draw from these weights from now on.

        Args:
            policy: the trained policy.
        """
        ...


class TransformersRollout:
    """Draws from the trained policy itself, in batches of queries of like length."""

    def __init__(
        self,
        policy: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        max_tokens: int,
        temperature: float,
        *,
        autocast: bool = False,
        static_cache: bool = False,
    ) -> None:
        """Take a policy.

        Args:
            policy: it is drawn from as it is at the time.
            tokenizer: its tokenizer.
            max_tokens: the most tokens of a response, its end token included.
            temperature: above 0.
            autocast: multiply matrices in bfloat16, as training does.
            static_cache: make room for all keys and values of a batch before.
        """
        self._autocast, self._static_cache = autocast, static_cache
        self._local = LocalModel(policy, tokenizer)
        self._max_tokens, self._temperature = max_tokens, temperature
        self._batch_tokens = 16_384 if policy.device.type == "cpu" else 131_072

    def load_weights(self, policy: PreTrainedModel) -> None:
        """Draw from these weights from now on; those of the trained policy itself need not be loaded.

        Args:
            policy: the trained policy.
        """
        self._local = self._local._replace(model=policy)

    def generate(
        self, queries: Sequence[Sequence[int]], seeds: Sequence[int], finished: Finished | None = None
    ) -> list[Continuation]:
        """Draw one response to each query.

        Args:
            queries: B lists of token ids.
            seeds: (B,) of each response's own draws.
            finished: told of each response that draws its end token, and of those that are cut with their batch.
        """
        found: dict[int, Continuation] = {}

        def tell(indices: list[int], row: int, one: Continuation) -> None:
            if finished is not None and indices[row] not in found:
                finished(indices[row], one)
            found[indices[row]] = one

        training = self._local.model.training
        self._local.model.eval()
        for indices in by_length([len(one) for one in queries], self._max_tokens, self._batch_tokens):
            with torch.autocast(self._local.model.device.type, torch.bfloat16, enabled=self._autocast):
                drawn = generate(
                    self._local,
                    Prefix((), None),
                    [queries[index] for index in indices],
                    self._max_tokens,
                    [self._temperature] * len(indices),
                    [seeds[index] for index in indices],
                    finished=None if finished is None else partial(tell, indices),
                    static_cache=self._static_cache,
                )
            for row, one in enumerate(drawn):
                tell(indices, row, one)
        self._local.model.train(training)
        return [found[index] for index in range(len(queries))]


class Rows(NamedTuple):
    """Queries with responses for the model: ids and positions (B, Q + T), mask (B, Q + T) bool, and Q."""

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    query_tokens: int

    @property
    def response_mask(self) -> torch.Tensor:
        """(B, T) the responses' tokens."""
        return self.mask[:, self.query_tokens :]


def pad_rows(
    queries: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], pad: int, device: torch.device
) -> Rows:
    """Rows of queries with their responses.

    Args:
        queries: B lists of token ids, none empty.
        responses: B lists of token ids.
        pad: the padding id; masked, so that any will do.
        device: where the tensors go.
    """
    before, after = max(map(len, queries)), max(1, *map(len, responses))
    ids, mask = [], []
    for query, response in zip(queries, responses, strict=True):
        left, right = before - len(query), after - len(response)
        ids.append([pad] * left + list(query) + list(response) + [pad] * right)
        mask.append([False] * left + [True] * (len(query) + len(response)) + [False] * right)
    counts = torch.tensor(mask, device=device)
    positions = (counts.long().cumsum(1) - 1).clamp(min=0)
    return Rows(torch.tensor(ids, device=device), positions, counts, before)


def response_seed(seed: int, step: int, place: int) -> int:
    """The seed of one response's draws: a hash of run, step and place in the batch.

    Args:
        seed: the run's.
        step: from 0.
        place: in the step's batch over all processes.

    Returns:
        A whole number below 2^63.
    """
    digest = hashlib.sha256(f"{seed}\0{step}\0{place}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def batch_places(count: int, batch: int, step: int, seed: int) -> list[int]:
    """Which queries a step takes: pass after pass over all of them, each in an order of its own.

    Args:
        count: of all queries.
        batch: of a step's.
        step: from 0.
        seed: with the pass it decides on the order, so that a resumed training sees the same.
    """
    places: list[int] = []
    for number in range(step * batch, (step + 1) * batch):
        turn, place = divmod(number, count)
        if not places or place == 0:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + turn)
            order = torch.randperm(count, generator=generator).tolist()
        places.append(order[place])
    return places
