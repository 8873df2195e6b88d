"""How an online training goes, on standard error: a live table on a terminal, elsewhere a plain line now and then."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rlaif.evaluation.training_steps import number, phase_name
from rlaif.evaluation.watched import WATCHERS
from rlaif.statistics.intervals import decimal
from rlaif.training import checkpoint

_METRICS = {
    "score": "score",
    "kl_per_sequence": "KL per sequence, nats",
    "response_tokens": "response tokens",
    "masked_share": "masked, share",
    "clip_fraction": "clip fraction",
    "explained_variance": "explained variance",
}
_IN_A_LINE = {"score": "score", "kl_per_sequence": "KL", "response_tokens": "tokens", "masked_share": "masked"}


class Telling:
    """Says how a training goes."""

    def __init__(
        self,
        title: str,
        steps: int,
        show: bool = True,
        usage: Callable[[], Mapping[str, float]] = dict,
        *,
        every_s: float = 5.0,
        console: Console | None = None,
    ) -> None:
        """Prepare.

        Args:
            title: what is trained.
            steps: in all.
            show: whether anything is shown.
            usage: what the labeler took so far.
            every_s: how often a plain line is printed where there is no terminal.
            console: where; standard error if None.
        """
        self._title, self._steps, self._usage, self._every_s = title, steps, usage, every_s
        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
        self._console.quiet = not show
        self._live = show and self._console.is_terminal and not self._console.is_dumb_terminal
        self._started = self._last = time.monotonic()
        self._begun_at: int | None = None
        self._step, self._left_s = 0, 0.0
        self._first: Mapping[str, Any] = {}
        self._now: Mapping[str, Any] = {}
        self._looks: Sequence[Mapping[str, Any]] = ()
        self._spent: Mapping[str, float] = {}
        self._sample: Mapping[str, Any] | None = None
        self._trouble = ""
        self._is_ending: Callable[[], bool] = lambda: False

    @contextmanager
    def table(self, is_ending: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Keep the table at the bottom of a terminal while the block runs; what else is printed appears above it.

        Args:
            is_ending: whether the training was asked to end.
        """
        self._started, self._is_ending = time.monotonic(), is_ending
        if not self._live:
            yield
            return
        # What is printed to a file must not end on the terminal.
        to_terminal = sys.stdout.isatty()
        with Live(console=self._console, get_renderable=self._drawn, redirect_stdout=to_terminal, refresh_per_second=4):
            yield

    def trouble(self, text: str) -> None:
        """Say what holds training up: in the table, or once in a line.

        Args:
            text: empty when nothing does any more.
        """
        is_new, was, self._trouble = bool(text) and not self._trouble, self._trouble, text
        if not self._live and is_new:
            self._console.print(f"waiting: {text}", markup=False)
        elif not self._live and was and not text:
            self._console.print("going on", markup=False)

    def warn(self, text: str) -> None:
        """Say what is wrong.

        Args:
            text: in a line of its own, which stays.
        """
        self._console.print(f"warning: {text}", markup=False, style="yellow")

    def step(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Say where training is.

        Args:
            step: how many are done; 0 before the first.
            metrics: of the step, by name.
        """
        if self._begun_at is None:
            self._begun_at = max(0, step - 1)
        if step == 0:
            return
        now = time.monotonic()
        self._left_s = (now - self._started) / (step - self._begun_at) * (self._steps - step)
        self._first, self._now = self._first or metrics, metrics
        self._step, self._spent = step, self._usage()
        if self._live or (step < self._steps and now - self._last < self._every_s):
            return
        self._last = now
        known = ((title, metrics.get(name)) for name, title in _IN_A_LINE.items())
        said = "  ".join(f"{title} {value:.3g}" for title, value in known if value is not None)
        self._console.print(f"step {step:,} of {self._steps:,}  {said}  {self._left_s:.0f} s left", markup=False)

    def read(self, folder: Path) -> None:
        """Show the last sample and what the watchers say.

        Args:
            folder: the training's run folder.
        """
        if self._live:
            self._looks = checkpoint.read(folder / "watch.jsonl")
            samples = checkpoint.read(folder / "samples.jsonl")
            self._sample = samples[-1] if samples else None

    def _drawn(self) -> Padding:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("")
        for title in (f"step {max(1, (self._begun_at or 0) + 1):,}", f"step {self._step:,}"):
            table.add_column(title, justify="right", min_width=9)
        for name, title in _METRICS.items():
            ends = [number(row, name) for row in (self._first, self._now)]
            if ends != [None, None]:
                table.add_row(title, *map(_shown, ends))
        lines = {
            "held-out": self._said_of_held_out(),
            "time": " · ".join(
                f"{phase_name(name)} {seconds:.1f} s"
                for name, seconds in self._now.items()
                if name.startswith("seconds_")
            ),
            "labeler": _amounts(self._spent),
            "sample": _read(self._sample),
            "waiting": self._trouble,
        }
        shown = [_line(f"{name}: {text}") for name, text in lines.items() if text]
        if self._is_ending():
            ending = "ending: a checkpoint is saved after this step; Ctrl-C again ends at once"
            shown.append(_line(ending, "yellow"))
        left = f", {_duration(self._left_s)} left" if 0 < self._step < self._steps else ""
        head = _line(f"step {self._step:,} of {self._steps:,}{left}: {self._title}", "bold")
        # A terminal writes ^C behind the last line, which must not wrap for it: a line too many would stay.
        return Padding(Group(head, *([table] if table.row_count else []), *shown), (0, 3, 0, 0))

    def _said_of_held_out(self) -> str:
        if not self._looks:
            return ""
        said = []
        for name, title in WATCHERS.items():
            ends = [number(row, name) for row in (self._looks[0], self._looks[-1])]
            if ends != [None, None] and name != "other_form":
                said.append(f"{title} {' → '.join(_shown(one) for one in ends)}")
        return f"{' · '.join(said)} (step {self._looks[0]['step']:,} → {self._looks[-1]['step']:,})"


def _shown(value: float | None) -> str:
    return "–" if value is None else decimal(value)


def _line(text: str, style: str = "") -> Text:
    """One line of the terminal, whatever a model wrote: no control characters, cut where the line ends."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return Text(plain, style, no_wrap=True, overflow="ellipsis")


def _amounts(usage: Mapping[str, float]) -> str:
    parts = [
        f"{int(usage[name]):,} {title}"
        for name, title in {"asked": "requests", "input_tokens": "tokens read", "output_tokens": "written"}.items()
        if name in usage
    ]
    if "cost_usd" in usage:
        parts.append(f"${usage['cost_usd']:,.4f}")
    return ", ".join(parts)


def _read(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    said = row.get("failure") or decimal(row["score"])
    return f"{said} (step {row['step']:,}) {row['response']}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
