"""What memory a computation holds: every storage that comes and goes, added up by what it is for."""

import weakref
from collections import Counter
from collections.abc import Collection
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BIG_BYTES = 32 << 20
"""Blocks of this size go back to the system when they are freed (glibc's largest threshold); others leave holes."""


class Tally(TorchDispatchMode):
    """Counts what every operation within its context allocates; tensors without contents count like real ones.

    Attributes:
        most: bytes by kind (`weights`, `gradients`, `logits`, `activations`) when they were most in all.
        most_small: the most that blocks below `BIG_BYTES` ever took together.
    """

    def __init__(self, logit_widths: Collection[int]) -> None:
        """Start at nothing.

        Args:
            logit_widths: a new tensor whose last dimension has one of these sizes holds logits.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.most, self.most_small = Counter[str](), 0
        self._logit_widths = logit_widths
        self._kinds: dict[int, str] = {}
        self._live, self._live_small = Counter[str](), 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, torch.Tensor):
                logits = one.ndim > 1 and one.shape[-1] in self._logit_widths
                self.add(one, "logits" if logits else "activations")
        return made

    def add(self, tensor: torch.Tensor, kind: str) -> None:
        """Count a tensor's storage, until it is freed; one that is counted already stays what it is.

        Args:
            tensor: any, views too.
            kind: what it is for.
        """
        storage = tensor.untyped_storage()
        key, size_bytes = storage._cdata, storage.nbytes()
        if key in self._kinds:
            return
        self._kinds[key] = kind
        self._change(kind, size_bytes, size_bytes < BIG_BYTES)
        weakref.finalize(storage, self._free, key, size_bytes).atexit = False

    def see_gradient(self, weight: torch.Tensor) -> None:
        """From now on what the backward pass left in `weight.grad` is a gradient.

        Args:
            weight: a trained one.
        """
        if weight.grad is None:
            return
        storage = weight.grad.untyped_storage()
        self._live[self._kinds.get(storage._cdata, "gradients")] -= storage.nbytes()
        self._live["gradients"] += storage.nbytes()
        self._kinds[storage._cdata] = "gradients"

    def _free(self, key: int, size_bytes: int) -> None:
        self._change(self._kinds.pop(key), -size_bytes, size_bytes < BIG_BYTES)

    def _change(self, kind: str, by_bytes: int, small: bool) -> None:
        self._live[kind] += by_bytes
        self._live_small += by_bytes if small else 0
        self.most_small = max(self.most_small, self._live_small)
        if self._live.total() > self.most.total():
            self.most = self._live.copy()
