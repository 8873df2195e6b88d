"""A memory plan, before any weight is read: what training takes, what there is, and what would make it fit.

What a step allocates is counted (see `footprint`); what the allocator loses cannot be: `_LOST_ON_CPU` was measured,
`_LOST_ON_CUDA` is a guess. So a plan is refused only where even the counted part does not fit.
Left out: the buckets of several processes (one more copy of the gradients each), sharding, and what is not the model's.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from rlaif.errors import ConfigError
from rlaif.training.footprint import Footprint, Head, Workload, footprint
from rlaif.training.settings import Optimisation

PARTS = ("weights", "reference", "gradients", "optimizer", "activations", "logits", "workspace")
_LOST_ON_CPU = {(False, False): 0.3, (True, False): 1.0, (False, True): 1.0, (True, True): 2.5}
"""Holes that glibc's `malloc` leaves, as a share of what blocks below 32 MiB take: without and with adapters, without
and with checkpointing, which free and ask more. Measured on random models (see the test marked `acceptance`), and
rough: with adapters from .8 to 2.3. With `MALLOC_MMAP_THRESHOLD_=1048576` in the environment there are none, and a
step takes a quarter to a half longer."""
_LOST_ON_CUDA = 0.1
"""Rounding, holes and the libraries' workspaces, as a share of everything."""


def workload(
    folder: Path,
    head: Head,
    tokens: int,
    optimisation: Optimisation,
    *,
    device: str,
    processes: int = 1,
    rows_per_example: int = 1,
    responses_per_row: int = 1,
    lora_rank: int = 0,
    frozen_layers: int = 0,
    reference: bool = False,
) -> Workload:
    """What a training with these settings asks of the machine.

    Args:
        folder: as in `Workload`, like all that is not said here.
        head: what the model ends in.
        tokens: of the longest row.
        optimisation: the section.
        device: `cpu` or `cuda`: it decides on `autocast` where the section does not.
        processes: that share a batch.
        rows_per_example: rows that each example becomes.
        responses_per_row: each with its query.
        lora_rank: of the adapters.
        frozen_layers: how many layers are not trained.
        reference: whether a second copy of the model is kept.
    """
    return Workload(
        folder,
        head,
        tokens,
        optimisation.micro_batch,
        rows_per_example,
        responses_per_row,
        accumulates=optimisation.batch > optimisation.micro_batch * processes,
        weights=optimisation.weights,
        autocast=device != "cpu" if optimisation.autocast is None else optimisation.autocast,
        gradient_checkpointing=optimisation.gradient_checkpointing,
        lora_rank=lora_rank,
        frozen_layers=frozen_layers,
        reference=reference,
    )


class Remedy(NamedTuple):
    """A setting, the value that helps, and what it saves (after those before it, where remedies go together)."""

    setting: str
    value: str
    saves_bytes: int

    def __str__(self) -> str:
        return f"{self.setting}={self.value} (saves {_size(self.saves_bytes)})"


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What a training takes at the moment when it takes most.

    Attributes:
        parts: bytes of each of `PARTS`; `workspace` is what the allocator is expected to lose.
        available_bytes: what is free on the device now.
        parameters: of the model, adapters included.
        trained: of these.
        counted: whether `activations` and `logits` are known; where they are not, the parts are a lower bound.
        remedies: what makes it fit, if it does not; empty if nothing does.
        together: whether all remedies are needed, in their order; otherwise any one of them is enough.
    """

    parts: dict[str, int]
    available_bytes: int
    parameters: int
    trained: int
    counted: bool
    remedies: tuple[Remedy, ...] = ()
    together: bool = False

    @property
    def total_bytes(self) -> int:
        """The sum of the parts."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether all of it is available."""
        return self.total_bytes <= self.available_bytes

    def advice(self) -> str:
        """What makes it fit, in a sentence; empty where it does."""
        if self.fits:
            return ""
        if not self.remedies:
            return "no setting makes it fit; take a smaller model or a larger machine"
        how = "all of these together make it fit" if self.together else "any one of these makes it fit"
        return f"{how}: {', '.join(map(str, self.remedies))}"

    def rows(self) -> list[tuple[str, str]]:
        """Names and sizes for a small table: the parts that are there, their sum, and what is available."""
        unknown = () if self.counted else ("activations", "logits")
        parts = [(name, "–" if name in unknown else _size(size)) for name, size in self.parts.items()]
        total = ("in all", _size(self.total_bytes) if self.counted else f"at least {_size(self.total_bytes)}")
        return [*(row for row in parts if row[1] != _size(0)), total, ("available", _size(self.available_bytes))]

    def check(self) -> None:
        """See that it may fit.

        Raises:
            ConfigError: it does not, even if the allocator loses nothing; says what would help.
        """
        least = self.total_bytes - self.parts["workspace"]
        if least > self.available_bytes:
            parts = ", ".join(f"{name} {_size(size)}" for name, size in self.parts.items() if size)
            raise ConfigError(
                f"training takes at least {_size(least)} of memory, and {_size(self.available_bytes)} are available "
                f"({parts}); {self.advice()}"
            )


def plan(work: Workload, device: str) -> MemoryPlan:
    """What a training will take; about a second for 20 layers, ten times that where it does not fit.

    Args:
        work: what is asked.
        device: `cpu`, `cuda`, `cuda:1`, …

    Raises:
        ModelError: transformers cannot build the model.
        ConfigError: the model has not so many layers as are to be frozen.
    """
    available = available_bytes(device)
    counted = cache(lambda one: footprint(one, device))
    step = counted(work)
    found = MemoryPlan(_parts(step, work, device), available, step.parameters, step.trained, step.counted)
    if found.fits:
        return found
    remedies, together = find_remedies(work, lambda one: sum(_parts(counted(one), one, device).values()), available)
    return replace(found, remedies=remedies, together=together)


def _parts(step: Footprint, work: Workload, device: str) -> dict[str, int]:
    if torch.device(device).type == "cpu":
        lost = _LOST_ON_CPU[work.lora_rank > 0, work.gradient_checkpointing] * step.small_bytes
    else:
        lost = _LOST_ON_CUDA * step.most.total()
    return {name: step.most[name] for name in PARTS} | {"workspace": round(lost)}


def available_bytes(device: str, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that is free on a device now.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, …
        proc: where Linux tells of the machine.
        cgroup: where it tells of the container, in either version.

    Returns:
        Bytes; on a CPU the least of what the machine and the container have left, or without Linux all of its memory.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    machine = _fields(proc / "meminfo").get("MemAvailable:", 0) * 1024
    found = [machine or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder, limit, used, cached in (
        (cgroup, "memory.max", "memory.current", "inactive_file"),
        (cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            left = int((folder / limit).read_text()) - int((folder / used).read_text())
        except (OSError, ValueError):  # no container, or one without a limit ("max")
            continue
        # Files that were read are counted as used, but make room for whoever asks.
        found.append(max(0, left + _fields(folder / "memory.stat").get(cached, 0)))
    return min(found)


def _fields(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    lines = [line.split() for line in path.read_text().splitlines()]
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}


_Need = Callable[[Workload], int]
_FIELDS = ("micro_batch", "gradient_checkpointing", "autocast", "lora_rank", "weights", "tokens")
"""From what changes no number to what changes most."""


def find_remedies(work: Workload, need: _Need, available: int) -> tuple[tuple[Remedy, ...], bool]:
    """What makes a training fit that does not.

    Args:
        work: what is asked.
        need: the bytes that some work takes.
        available: bytes.

    Returns:
        Every setting that is enough by itself, and False; if there is none, those that are enough together, each with
        its strongest value but the last, and True. None, where nothing is enough.
    """
    found = [_best(work, field, need, available) for field in _FIELDS]
    alone = tuple(remedy for remedy, better in filter(None, found) if need(better) <= available)
    if alone:
        return alone, False
    chosen: list[Remedy] = []
    for field in _FIELDS:
        best = _best(work, field, need, available)
        if best is not None:
            remedy, work = best
            chosen.append(remedy)
        if need(work) <= available:
            return tuple(chosen), True
    return (), False


def _best(work: Workload, field: str, need: _Need, available: int) -> tuple[Remedy, Workload] | None:
    """The mildest value of a setting that is enough, or its strongest; None if it saves nothing."""
    options = list(_options(work, field))
    # Each look takes seconds: where the strongest is not enough, no other is.
    milder = options[:-1] if options and need(options[-1][2]) <= available else []
    for setting, value, better in (*milder, *options[-1:]):
        saved = need(work) - need(better)
        if saved > 0 and (need(better) <= available or better is options[-1][2]):
            return Remedy(setting, value, saved), better
    return None


def _options(work: Workload, field: str) -> Iterator[tuple[str, str, Workload]]:
    """A setting's name, a better value and the work with it; the mildest first."""
    setting = f"optimisation.{field}"
    match field:
        case "micro_batch":
            for size in range(work.micro_batch - 1, 0, -1):
                if work.micro_batch % size == 0:  # then it divides the batch, too
                    yield setting, str(size), work._replace(micro_batch=size, accumulates=True)
        case "gradient_checkpointing":
            yield setting, "true", work._replace(gradient_checkpointing=True)
        case "autocast":
            yield setting, "true", work._replace(autocast=True)
        case "lora_rank":
            yield "lora.rank", "16", work._replace(lora_rank=16)
        case "weights":
            yield setting, "bfloat16", work._replace(weights="bfloat16")
        case "tokens":
            tokens = work.tokens
            while (tokens := tokens // 2) >= 64:
                yield "max_tokens", str(tokens // work.responses_per_row), work._replace(tokens=tokens)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
