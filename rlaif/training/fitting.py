"""What all trainers do alike: take tokens as they are, in a seeded order; go on from a checkpoint; end with one."""

import atexit
import json
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch.utils.data import Sampler
from torch.utils.tensorboard import SummaryWriter
from transformers import PrinterCallback, Trainer
from transformers.integrations import TensorBoardCallback
from transformers.utils import logging

from rlaif.training.models import saving
from rlaif.training.settings import Checkpoints, Optimisation
from rlaif.training.watching import Bar, Metrics, SaveAtTheEnd, SoundGradients

_POOL = 50
"""Batches among which examples of like length are found."""


class ByLength(Sampler[int]):
    """A new order in each epoch, in which the examples of a batch have like lengths."""

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, group: bool = True) -> None:
        """Prepare.

        Args:
            lengths: tokens of each example.
            batch: examples of one step.
            seed: with the epoch it decides everything, so that a resumed training sees the same order.
            group: whether lengths count at all.
        """
        self._lengths, self._batch, self._seed, self._group = lengths, batch, seed, group
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which pass over the data comes next.

        Args:
            epoch: from 0.
        """
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self), generator=generator).tolist()
        if not self._group:
            return iter(order)
        pools = [order[start : start + _POOL * self._batch] for start in range(0, len(order), _POOL * self._batch)]
        alike = [index for pool in pools for index in sorted(pool, key=lambda one: -self._lengths[one])]
        batches = [alike[start : start + self._batch] for start in range(0, len(alike), self._batch)]
        # The last batch may be smaller; it stays the last, so that every other step has a whole one.
        last = [batches.pop()] if len(batches[-1]) < self._batch else []
        mixed = [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]
        return iter([index for batch in mixed + last for index in batch])


class Prepared:
    """A mix-in for TRL's trainers: the data are tokens already, and come in the order of `ByLength`.

    Attributes:
        optimisation: set by the subclass before the trainer's own initialiser runs.
    """

    optimisation: Optimisation
    _step: tuple[int, int] | None = None
    """Micro-batches and examples of the step under way."""

    def get_batch_samples(self, *args: Any, **options: Any) -> Any:
        """Take the micro-batches of a step, and count their examples.

        Args:
            *args: as the trainer has them.
            **options: likewise.
        """
        found = super().get_batch_samples(*args, **options)  # type: ignore[misc]
        self._step = len(found[0]), sum(len(batch.get("row", ())) for batch in found[0])
        return found

    def step_mean(self, values: torch.Tensor) -> torch.Tensor:
        """A micro-batch's part of the mean over all examples of its step, whatever their share of it.

        The last step of an epoch may have a micro-batch that is smaller than the others; a mean of means would give
        its examples more weight, and so make the result depend on `micro_batch`.

        Args:
            values: (B,) of the micro-batch's examples.

        Returns:
            What the trainer, which divides it by the number of micro-batches, adds up to the mean.
        """
        if not self._step or not self.model.training:  # type: ignore[attr-defined]
            return values.mean()
        batches, examples = self._step
        return values.sum() * batches / examples

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _get_train_sampler(self, dataset: Any = None) -> ByLength:
        lengths = (dataset if dataset is not None else self.train_dataset)["length"]  # type: ignore[attr-defined]
        wanted = self.optimisation
        return ByLength(list(lengths), wanted.batch, wanted.seed, wanted.group_by_length)

    def _send_telemetry(self) -> None:
        """Tell nobody."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: the run folder says how the model was made."""


def processes() -> PartialState:
    """The processes that train together (torchrun), and the device of this one; without an accelerator on the CPU."""
    state = PartialState(cpu=not torch.cuda.is_available())
    if state.num_processes > 1:
        _part_at_the_end()
    return state


@cache
def _part_at_the_end() -> None:
    """Have the process leave the others before the interpreter goes: threads that still listen then would abort it."""
    atexit.register(PartialState().destroy_process_group)


def last_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint of a run folder; what a killed process left half-written is removed.

    Args:
        out: the run folder.
    """
    found = sorted(out.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    while found:
        state = found[-1] / "trainer_state.json"  # what the trainer writes last
        try:
            json.loads(state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(found.pop())
        else:
            return found[-1]
    return None


def fit(trainer: Trainer, out: Path, title: str, checkpoints: Checkpoints, progress: bool = True) -> None:
    """Train to the end, from the last checkpoint if there is one.

    Args:
        trainer: ready to train.
        out: the run folder.
        title: what is trained, for the live line.
        checkpoints: the section.
        progress: show it on standard error.

    Raises:
        TrainingError: a loss or a gradient is no number.
        StorageError: a checkpoint cannot be written.
        KeyboardInterrupt: after Ctrl-C, when a checkpoint is written.
        SystemExit: after SIGTERM (143), likewise.
    """
    # Weights that are tied are in a checkpoint once, which transformers reports as keys that are missing.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    trainer.remove_callback(PrinterCallback)
    keeper = SaveAtTheEnd()
    watching = [keeper, SoundGradients(), Metrics(out / "metrics.jsonl")]
    if trainer.is_world_process_zero():
        watching += [TensorBoardCallback(SummaryWriter(str(out / "tensorboard")))]
    for callback in (*watching, *([Bar(title)] if progress else [])):
        trainer.add_callback(callback)
    checkpoint = last_checkpoint(out) if trainer.is_world_process_zero() else None
    trainer.accelerator.wait_for_everyone()
    checkpoint = checkpoint or last_checkpoint(out)
    # Signals reach the main thread only; elsewhere the caller has to see to them.
    listening = keeper.listening() if threading.current_thread() is threading.main_thread() else nullcontext()
    with listening, saving(out):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if keeper.signal is not None and trainer.state.global_step < trainer.state.max_steps:
        raise KeyboardInterrupt if keeper.signal is signal.SIGINT else SystemExit(128 + keeper.signal)
