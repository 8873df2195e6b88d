"""Keys and values: of a shared start, which goes through the model once, and of texts that grow.

Shapes: B rows of a batch, P tokens of the prefix.
"""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache, PreTrainedModel, StaticCache
from transformers.cache_utils import DynamicLayer, StaticLayer


class Prefix(NamedTuple):
    """The shared start of many prompts: its tokens, and keys and values (None where it is empty)."""

    tokens: tuple[int, ...]
    cache: DynamicCache | None


@torch.inference_mode()
def read_prefix(model: PreTrainedModel, tokens: Sequence[int]) -> Prefix:
    """Run the shared prefix through the model, once.

    Args:
        model: the model.
        tokens: (P,) its token ids.
    """
    if not tokens:
        return Prefix((), None)
    cache = DynamicCache(config=model.config)
    ids = torch.tensor([list(tokens)], device=model.device)
    model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return Prefix(tuple(tokens), cache)


def serve(prefix: Prefix, rows: int) -> DynamicCache | None:
    """The prefix's keys and values for a batch. Where layers are plain they are shared, not copied.

    Args:
        prefix: what stands before every row.
        rows: of the batch.

    Returns:
        The cache; None where the prefix is empty.
    """
    if prefix.cache is None:
        return None
    if any(type(layer) is not DynamicLayer for layer in prefix.cache.layers):
        cache = copy.deepcopy(prefix.cache)
        cache.batch_repeat_interleave(rows)
        return cache
    cache = DynamicCache()
    for layer in prefix.cache.layers:
        served = DynamicLayer()
        served.lazy_initialization(layer.keys, layer.values)
        served.keys = layer.keys.expand(rows, -1, -1, -1)
        served.values = layer.values.expand(rows, -1, -1, -1)
        cache.layers.append(served)
    return cache


class _Roomy(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """A layer's keys and values with room for all that will be written.

    The plain layer copies them all for each token that is added: the cost of a text grows with its length squared.
    """

    def __init__(self, before: DynamicLayer, tokens: int) -> None:
        super().__init__()
        self._tokens, self._rooms = tokens, list[torch.Tensor]()
        if before.is_initialized:
            self.lazy_initialization(before.keys, before.values)
            self.keys, self.values = before.keys, before.values

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        start, end = self.get_seq_length(), self.get_seq_length() + keys.shape[-2]
        if self._rooms:
            for room, new in zip(self._rooms, (keys, values), strict=True):
                room[..., start:end, :] = new
        else:
            for whole in super().update(keys, values):
                rest = whole.new_empty(*whole.shape[:-2], self._tokens, whole.shape[-1])
                self._rooms.append(torch.cat([whole, rest], -2))
        self.keys, self.values = (room[..., :end, :] for room in self._rooms)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        if not self._rooms:
            super().batch_select_indices(indices)
            return
        end = self.get_seq_length()
        self._rooms = [room[indices] for room in self._rooms]
        self.keys, self.values = (room[..., :end, :] for room in self._rooms)


def with_room(model: PreTrainedModel, cache: DynamicCache | None, tokens: int) -> DynamicCache | None:
    """A cache with room for what will be written.

    Args:
        model: the model.
        cache: what stands before; None where nothing does.
        tokens: so many that are written.

    Returns:
        The cache; where a layer is not a plain one, as it is.
    """
    roomy = DynamicCache(config=model.config) if cache is None else cache
    if any(type(layer) is not DynamicLayer for layer in roomy.layers):
        return cache
    roomy.layers = [_Roomy(layer, tokens) for layer in roomy.layers]
    return roomy


def can_shrink(cache: DynamicCache | None) -> bool:
    """Whether rows of a batch can leave the cache before the others.

    Args:
        cache: of a batch; only one of plain layers with room can.
    """
    return cache is not None and all(type(layer) is _Roomy for layer in cache.layers)


class _Alike(StaticLayer):  # type: ignore[misc]  # transformers has no types
    """A static layer whose values are as wide as its keys, which autocast leaves in float32 behind a rotation."""

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        found: tuple[torch.Tensor, torch.Tensor] = super().update(keys, values.to(keys.dtype))
        return found


def static(model: PreTrainedModel, tokens: int) -> StaticCache:
    """A cache that is made whole before, which autocast can write to.

    Args:
        model: the model.
        tokens: of the longest row, query and response.
    """
    cache = StaticCache(config=model.config.get_text_config(decoder=True), max_cache_len=tokens)
    cache.layers = [_Alike(tokens) if type(layer) is StaticLayer else layer for layer in cache.layers]
    return cache
