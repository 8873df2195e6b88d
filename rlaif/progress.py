"""Progress of long work: a live bar on a terminal, plain lines elsewhere. A leaf."""

import sys
import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """Done, rate, time left, failures by kind and tokens, on standard error."""

    def __init__(self, title: str, total: int | None, show: bool = True, line_every_s: float = 10.0) -> None:
        """Prepare; `with` starts it.

        Args:
            title: what is being done.
            total: how many items there are; None if not known.
            show: whether anything is shown.
            line_every_s: how often a plain line is printed where there is no terminal.
        """
        self._title, self._total, self._show, self._line_every_s = title, total, show, line_every_s
        self._tokens = 0
        self._cost_usd: float | None = None
        self._trouble = ""
        self._console = Console(stderr=True, emoji=False)
        self._live = self._console.is_terminal and self._show
        self._failures: Counter[str] = Counter()
        self.done = 0
        self._started = self._line = time.monotonic()
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[notes]}"),
            console=self._console,
            refresh_per_second=4,
            disable=not self._live,
        )
        self._task = self._bar.add_task(title, total=total, rate="", notes="")

    def __enter__(self) -> "Progress":
        self._started = self._line = time.monotonic()
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._refresh()
        self._bar.stop()

    def advance(self, failure: str | None, tokens: int, cost_usd: float | None = None) -> None:
        """Count one item.

        Args:
            failure: its kind, where it failed.
            tokens: how many were asked for so far in all.
            cost_usd: what was spent so far in all, where it costs anything.
        """
        self._cost_usd = cost_usd
        self.done += 1
        if failure is not None:
            self._failures[failure] += 1
        self._tokens = tokens
        now = time.monotonic()
        if self._live:
            if now - self._line > 0.25 or self.done == self._total:
                self._line = now
                self._refresh()
        elif self._show and now - self._line > self._line_every_s:
            self._line = now
            rate = self.done / (now - self._started)
            left = f", {(self._total - self.done) / rate:.0f} s left" if self._total else ""
            of = f" of {self._total:,}" if self._total else ""
            print(  # noqa: T201
                f"{self._title}: {self.done:,}{of}, {rate:.1f}/s{left}, {self._notes()}",
                file=sys.stderr,
                flush=True,
            )

    def trouble(self, text: str) -> None:
        """Say what holds the work up; an empty text says that nothing does.

        Args:
            text: shown at once where it is new, and then as often as a line is printed.
        """
        now = time.monotonic()
        is_new, self._trouble = bool(text) and not self._trouble, text
        if self._live:
            self._refresh()
        elif self._show and text and (is_new or now - self._line > self._line_every_s):
            self._line = now
            print(f"{self._title}: {text}", file=sys.stderr, flush=True)  # noqa: T201

    def _notes(self) -> str:
        if self._trouble:
            return self._trouble
        failures = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self._failures.items()))
        cost = "" if self._cost_usd is None else f", ${self._cost_usd:,.4f}"
        return f"{self._tokens:,} tokens{cost}, {failures or 'no failures'}"

    def _refresh(self) -> None:
        elapsed = time.monotonic() - self._started
        rate = f"{self.done / elapsed:.1f}/s" if elapsed > 0 else ""
        self._bar.update(self._task, completed=self.done, rate=rate, notes=self._notes())
