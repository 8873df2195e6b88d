"""Batches of queries with K responses each, in two layouts that give the same numbers.

Shapes: B queries, K responses of the query that has most, R rows, T tokens of the longest row.

- `rows`: each response is a row of its own behind its query: R = B·K; the query goes through the model K times.
- `shared`: a query and all its responses are one row: R = B. The query goes through the model once, and each
  response sees it and itself, by a mask and by positions that start again behind the query. The query's last token
  is there once for each response, since it is what predicts the response's first token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from transformers import PreTrainedModel

IGNORED = -100
"""The label of a token whose probability does not count, as transformers and TRL have it."""


class _Row(NamedTuple):
    """One row: ids, positions, the branch of each token (0 the query, k + 1 response k), and where branches end."""

    ids: list[int]
    positions: list[int]
    branches: list[int]
    responses: list[int]


def _alone(query: Sequence[int], response: Sequence[int], number: int) -> _Row:
    length = len(query) + len(response)
    return _Row(
        [*query, *response],
        list(range(length)),
        [0] * len(query) + [1] * len(response),
        [-1] * len(query) + [number] * len(response),
    )


def _together(query: Sequence[int], responses: Sequence[Sequence[int]], first: int) -> _Row:
    prefix, last = query[:-1], query[-1]
    row = _Row(list(prefix), list(range(len(prefix))), [0] * len(prefix), [-1] * len(prefix))
    for index, response in enumerate(responses):
        row.ids.extend([last, *response])
        row.positions.extend(range(len(prefix), len(prefix) + 1 + len(response)))
        row.branches.extend([index + 1] * (1 + len(response)))
        row.responses.extend([-1, *[first + index] * len(response)])
    return row


@dataclass(frozen=True, slots=True)
class Collator:
    """Makes tensors of examples: mappings with `query` (ids) and `responses` (K lists of ids).

    Attributes:
        pad: the padding id.
        share_query: the `shared` layout.
        side: where rows are padded; no number depends on it.
        columns: numbers of the examples that are passed on, each as a (B,) tensor.
    """

    pad: int
    share_query: bool = True
    side: Literal["right", "left"] = "right"
    columns: tuple[str, ...] = ()

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate.

        Args:
            examples: B of them.

        Returns:
            `input_ids`, `position_ids` and `labels` (R, T), where labels are `IGNORED` but for response tokens;
            `attention_mask`, (R, T), or (R, 1, T, T) bool in the shared layout; `responses` (R, T), the number b·K + k
            of the response that a token belongs to, or B·K; `ends` (B, K), where in the flattened rows each response
            has its last token; `counts` (B,), how many responses each query has; and the columns.
        """
        most = max(len(example["responses"]) for example in examples)
        rows: list[_Row] = []
        for index, example in enumerate(examples):
            query, responses, first = example["query"], example["responses"], index * most
            if self.share_query:
                rows.append(_together(query, responses, first))
            else:
                rows += [_alone(query, response, first + k) for k, response in enumerate(responses)]
        longest = max(len(row.ids) for row in rows)
        ids = self._padded([row.ids for row in rows], longest, self.pad)
        branches = self._padded([row.branches for row in rows], longest, -1)
        responses = self._padded([row.responses for row in rows], longest, -1)
        counts = torch.tensor([len(example["responses"]) for example in examples])
        batch = {
            "input_ids": ids,
            "position_ids": self._padded([row.positions for row in rows], longest, 0),
            "attention_mask": _tree_mask(branches) if self.share_query else (branches >= 0).long(),
            "labels": ids.masked_fill(responses < 0, IGNORED),
            "responses": responses.masked_fill(responses < 0, len(examples) * most),
            "ends": _ends(responses, len(examples), most),
            "counts": counts,
        }
        return batch | {
            name: torch.tensor([example[name] for example in examples], dtype=torch.float32) for name in self.columns
        }

    def _padded(self, rows: Sequence[list[int]], longest: int, value: int) -> torch.Tensor:
        fill = [[value] * (longest - len(row)) for row in rows]
        if self.side == "left":
            return torch.tensor([pad + row for row, pad in zip(rows, fill, strict=True)])
        return torch.tensor([row + pad for row, pad in zip(rows, fill, strict=True)])


def _tree_mask(branches: torch.Tensor) -> torch.Tensor:
    """(R, 1, T, T) bool: a token sees what stands before it in the query and in its own branch."""
    same = branches[:, :, None] == branches[:, None, :]
    query = branches[:, None, :] == 0
    causal = torch.ones(branches.shape[1], branches.shape[1], dtype=torch.bool).tril()
    return ((same | query) & causal)[:, None]


def separate_mask(examples: torch.Tensor) -> torch.Tensor:
    """The mask of rows that hold several examples: a token sees what stands before it in its own.

    Args:
        examples: (R, T) the number of the example that a token belongs to; -1 for padding, which sees only padding.

    Returns:
        (R, 1, T, T) bool.
    """
    causal = torch.ones(examples.shape[1], examples.shape[1], dtype=torch.bool).tril()
    return ((examples[:, :, None] == examples[:, None, :]) & causal)[:, None]


def _ends(responses: torch.Tensor, queries: int, most: int) -> torch.Tensor:
    """(B, K) places of last tokens in the flattened rows; a response that is not there gets place 0."""
    flat = responses.flatten()
    places = torch.arange(len(flat))
    ends = torch.zeros(queries * most, dtype=torch.long)
    ends.scatter_reduce_(0, flat.clamp(min=0), places.masked_fill(flat < 0, 0), "amax")
    return ends.view(queries, most)


def can_share_query(model: PreTrainedModel) -> bool:
    """Whether a model computes the same in the shared layout: full attention that takes a mask of its own.

    Args:
        model: the model.
    """
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    plain = layers == {"full_attention"} and not getattr(config, "alibi", False)
    rotary = getattr(config, "rope_parameters", None) is not None
    return plain and rotary and config._attn_implementation == "sdpa"


def response_logprobs(token_logprobs: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The log-probability of each response, summed over its tokens.

    Args:
        token_logprobs: (R, T − 1) of each token behind the first, given what it sees; 0 where the label is `IGNORED`.
        batch: of a `Collator`.

    Returns:
        (B, K) nats; 0 where a query has fewer responses.
    """
    queries, most = batch["ends"].shape
    sums = token_logprobs.new_zeros(queries * most + 1)
    return sums.scatter_add(0, batch["responses"][:, 1:].flatten(), token_logprobs.flatten())[:-1].view(queries, most)
