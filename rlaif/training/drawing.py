"""A step's responses on their way: drawn, judged, scored by the models, and then numbers to train on.

Shapes: B responses of this process (the global batch is cut by place over the processes), T tokens of the longest.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from rlaif.generation import Continuation, by_length
from rlaif.rewards import Candidate, Reward
from rlaif.training.judged_steps import name_of_response
from rlaif.training.policy_value import PolicyAndValue
from rlaif.training.rollout import Query, pad_rows


class Drawn(NamedTuple):
    """A step's responses in this process, with what was said of them.

    Attributes:
        places: (B) in the global batch.
        queries: (B) ids.
        responses: (B) ids, with the end token where there is one.
        mask: (B, T) tokens that count; none of a response whose judgement is masked.
        logprobs: (B, T) of the policy as it drew.
        sampled_logprobs: (B, T) the same as the sampler had them.
        ref_logprobs: (B, T) of the reference.
        values: (B, T) V before each token.
        entropies: (B, T).
        scores: (B,) with the penalty of those that were cut; 0 where masked.
    """

    places: list[int]
    queries: list[Sequence[int]]
    responses: list[list[int]]
    mask: torch.Tensor
    logprobs: torch.Tensor
    sampled_logprobs: torch.Tensor
    ref_logprobs: torch.Tensor
    values: torch.Tensor
    entropies: torch.Tensor
    scores: torch.Tensor


@dataclass(slots=True)
class Asked:
    """A step's responses in this process, on their way.

    Attributes:
        step: from 0.
        places: (B) in the global batch.
        queries: (B) what is answered.
        written: (B) the responses.
        candidates: (B) the same for the labeler.
        found: what the models say of them, once they were asked (see `score`).
        known: their judgements, once they are there, and what was measured of judging.
        future: their judgements, under way.
    """

    step: int
    places: list[int]
    queries: list[Query]
    written: list[Continuation]
    candidates: list[Candidate]
    found: dict[str, torch.Tensor] | None = None
    known: tuple[list[Reward], dict[str, float | None]] | None = None
    future: Future[list[Reward]] | None = None

    @property
    def tokens(self) -> list[list[int]]:
        """(B) ids of the queries."""
        return [list(one.tokens) for one in self.queries]

    @property
    def responses(self) -> list[list[int]]:
        """(B) ids, with the end token where there is one."""
        return [with_end(one) for one in self.written]

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of responses that were drawn before it: `written` and `found`."""
        assert self.found is not None
        # Other processes are sent it, and have devices of their own.
        found = {name: one.cpu() for name, one in self.found.items()}
        return {"written": [list(one) for one in self.written], "found": found}

    def drawn(self, scores: Sequence[float | None], missing_eos_penalty: float) -> Drawn:
        """With their scores they are what is trained on.

        Args:
            scores: (B,) a number, or None where it is masked.
            missing_eos_penalty: taken from the score of a response that was cut.
        """
        assert self.found is not None
        device, longest = self.found["logprobs"].device, self.found["logprobs"].shape[1]
        responses = self.responses
        kept = [len(one) if score is not None else 0 for one, score in zip(responses, scores, strict=True)]
        mask = torch.arange(longest, device=device) < torch.tensor(kept, device=device)[:, None]
        sampled = torch.zeros_like(self.found["logprobs"])
        for row, one in enumerate(self.written):
            sampled[row, : len(one.logprobs)] = torch.tensor(one.logprobs, dtype=sampled.dtype)
        penalised = [
            0.0 if score is None else score - (0.0 if one.ended else missing_eos_penalty)
            for score, one in zip(scores, self.written, strict=True)
        ]
        numbers = torch.tensor(penalised, dtype=sampled.dtype, device=device)
        return Drawn(
            self.places, [*self.tokens], responses, mask, sampled_logprobs=sampled, scores=numbers, **self.found
        )


def with_end(written: Continuation) -> list[int]:
    """The tokens of a response, with its end token where it drew one.

    Args:
        written: the response.
    """
    return written.tokens + ([written.end] if written.end is not None else [])


def candidate(
    step: int, place: int, query: Query, written: Continuation, tokenizer: PreTrainedTokenizerBase
) -> Candidate:
    """A response for the labeler.

    Args:
        step: from 0.
        place: in the global batch.
        query: what it answers.
        written: the response.
        tokenizer: the policy's.
    """
    text = tokenizer.decode(written.tokens, skip_special_tokens=True)
    name = name_of_response(step + 1, place)
    return Candidate(name, query.turns, text, tuple(with_end(written)), query.columns)


@torch.no_grad()
def score(
    model: PolicyAndValue,
    queries: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    pad: int,
    temperature: float,
    micro_batch: int,
) -> dict[str, torch.Tensor]:
    """What policy, value head and reference say of responses.

    Args:
        model: all three.
        queries: (B) ids.
        responses: (B) ids.
        pad: the padding id.
        temperature: as they were drawn at.
        micro_batch: so many at once.

    Returns:
        (B, T) `logprobs`, `entropies`, `values` of the policy and `ref_logprobs` of the reference; 0 behind the end.
    """
    longest = max(1, *map(len, responses))
    names = ("logprobs", "entropies", "values", "ref_logprobs")
    device = model.value_head.weight.device
    found = {name: torch.zeros(len(responses), longest, device=device) for name in names}
    lengths = [len(query) + len(response) for query, response in zip(queries, responses, strict=True)]
    for indices in by_length(lengths, 0, micro_batch * max(lengths)):
        rows = pad_rows([queries[i] for i in indices], [responses[i] for i in indices], pad, device)
        scored = model(rows, temperature, entropy=True)
        reference = model.reference_logprobs(rows, temperature)
        width = rows.response_mask.shape[1]
        for name, value in zip(names, (*scored, reference), strict=True):
            found[name] = found[name].to(value.dtype)
            found[name][indices, :width] = value
    return found
