"""Around a trainer's loop: metrics as they come, a live line, saving before the end, no step with a loss gone wrong."""

import json
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlaif.errors import TrainingError
from rlaif.io import replacing

_NAMED = 5


class Metrics(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Writes `metrics.jsonl`, a line for each logged step; a resumed training goes on where its checkpoint was."""

    def __init__(self, path: Path) -> None:
        """Prepare.

        Args:
            path: the file.
        """
        self._path, self._started = path, 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Drop lines of steps that the checkpoint does not know."""
        self._started = time.monotonic()
        if not state.is_world_process_zero:
            return
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= state.global_step]
        with replacing(self._path) as draft:
            draft.write_text("".join(f"{line}\n" for line in kept if state.global_step), encoding="utf-8")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        """Add a line; what the trainer says of itself when it stops is no metric of a step."""
        if not state.is_world_process_zero or "train_runtime" in logs:
            return
        line = {"step": state.global_step, "seconds": round(time.monotonic() - self._started, 2), **logs}
        finite = {name: value if _is_number(value) else None for name, value in line.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite) + "\n")


def _is_number(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


class Bar(TrainerCallback):  # type: ignore[misc]
    """Steps done, the last loss and the time left: a live line on a terminal, now and then a plain one elsewhere."""

    def __init__(self, title: str, line_every_s: float = 10.0) -> None:
        """Prepare.

        Args:
            title: what is trained.
            line_every_s: how often a plain line is printed where there is no terminal.
        """
        self._title, self._line_every_s, self._note = title, line_every_s, ""
        self._console = Console(stderr=True, emoji=False)
        self._line = time.monotonic()
        columns = (
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            "{task.fields[note]}",
            TimeRemainingColumn(),
        )
        self._bar = RichProgress(
            *(TextColumn(one) if isinstance(one, str) else one for one in columns), console=self._console
        )
        self._task = self._bar.add_task(title, note="", total=None)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start."""
        if state.is_world_process_zero and self._console.is_terminal:
            self._bar.start()
        self._bar.update(self._task, total=state.max_steps, completed=state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        """Remember what is worth showing."""
        shown = [(name, logs[name]) for name in ("loss", "accuracy", "reward/accuracy") if name in logs]
        self._note = "  ".join(f"{name} {value:.4f}" for name, value in shown) or self._note

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Show."""
        self._bar.update(self._task, completed=state.global_step, note=self._note)
        if time.monotonic() - self._line > self._line_every_s and state.global_step < state.max_steps:
            self._print(state)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop; the last step's own numbers are known only now."""
        if self._console.is_terminal:
            self._bar.stop()
        self._print(state)

    def _print(self, state: TrainerState) -> None:
        self._line = time.monotonic()
        if state.is_world_process_zero and not self._console.is_terminal:
            done = f"{self._title}: step {state.global_step:,} of {state.max_steps:,}"
            self._console.print(f"{done}  {self._note}", highlight=False)


class SaveAtTheEnd(TrainerCallback):  # type: ignore[misc]
    """Ends training with a checkpoint at the next step when the process is asked to end."""

    def __init__(self) -> None:
        """Prepare; `listening` is what asks."""
        self.signal: signal.Signals | None = None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Save and stop, if any process was asked to."""
        if torch.distributed.is_initialized():
            # Each may hear of it at another step; all must stop at one.
            heard = torch.tensor(int(self.signal or 0), device=args.device)
            torch.distributed.all_reduce(heard, torch.distributed.ReduceOp.MAX)
            self.signal = signal.Signals(int(heard)) if heard else None
        if self.signal is not None and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and the first Ctrl-C as the wish to save and end; the second Ctrl-C ends at once."""

        def heard(number: int, _: FrameType | None) -> None:
            if self.signal is not None and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.signal = signal.Signals(number)

        before = {one: signal.signal(one, heard) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class SoundGradients(TrainerCallback):  # type: ignore[misc]
    """Stops before a step with gradients that are no numbers would spoil the weights, and the next checkpoint."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: torch.nn.Module, **_: Any
    ) -> None:
        """Look at all gradients."""
        gradients = [one.grad for one in model.parameters() if one.grad is not None]
        if not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            raise TrainingError(
                f"step {state.global_step + 1}: the gradient is no number, though the loss is; {_REMEDY}"
            )


_REMEDY = (
    "the last checkpoint is kept, and no step was made with it: lower optimisation.learning_rate or look at these rows"
)


def check_loss(losses: torch.Tensor, most: float, step: int, ids: Sequence[str]) -> None:
    """See that a batch's losses are sound, before anything is done with them.

    Args:
        losses: (B,) one for each example.
        most: the highest mean that is taken for sound.
        step: the step that they are for.
        ids: the B examples'.

    Raises:
        TrainingError: the mean is no number or above `most`; names the step and the worst rows.
    """
    values = losses.detach().float()
    mean = values.mean().item()
    if math.isfinite(mean) and mean <= most:
        return
    worst = torch.nan_to_num(values, nan=math.inf).argsort(descending=True)[:_NAMED].tolist()
    rows = ", ".join(f"{ids[index]} ({values[index].item():.3g})" for index in worst)
    limit = f"optimisation.max_loss is {most:g}"
    raise TrainingError(f"step {step}: the loss is {mean:.3g} ({limit}), most in {rows}; {_REMEDY}")
