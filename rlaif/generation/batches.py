"""Rows of token ids in batches, padded on their left.

Shapes: B rows of a batch, T tokens of the longest row, P tokens of the prefix before each.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch


class Batch(NamedTuple):
    """Left-padded rows behind a prefix: ids (B, T), mask (B, P + T) over prefix and rows, positions (B, T)."""

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor


def left_pad(rows: Sequence[Sequence[int]], prefix_tokens: int, pad: int, device: torch.device) -> Batch:
    """Pad rows on the left to the longest.

    Args:
        rows: B lists of token ids, none empty.
        prefix_tokens: P, how many tokens stand before each row.
        pad: the id to pad with; masked, so that any will do.
        device: where the tensors go.
    """
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows], device=device)
    counts = torch.tensor([[False] * (longest - len(row)) + [True] * len(row) for row in rows], device=device)
    before = counts.new_ones(len(rows), prefix_tokens)
    positions = (prefix_tokens + counts.cumsum(1) - 1).clamp(min=0)
    return Batch(ids, torch.cat([before, counts], 1), positions)


def by_length(lengths: Sequence[int], prefix_tokens: int, budget_tokens: int) -> Iterator[list[int]]:
    """Group rows of like length into batches.

    Args:
        lengths: tokens of each row.
        prefix_tokens: tokens of the prefix, which each row's keys and values count too.
        budget_tokens: the most tokens of a batch, padding and prefix included; a longer row stands alone.

    Yields:
        Indices into `lengths`, longest first, so that the first batch already shows whether memory suffices.
    """
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * (prefix_tokens + longest) > budget_tokens:
            yield batch
            batch = []
        if not batch:
            longest = lengths[index]
        batch.append(index)
    if batch:
        yield batch
