"""How things are said: remarks on standard error, so that results on standard output can be piped."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

say = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a result as a table whose first column gives way where there is little room; numbers never break.

    Args:
        header: names of the columns.
        rows: cells, in the same order.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(header):
        if place == 0:
            table.add_column(name, overflow="fold", min_width=8)
        else:
            table.add_column(name, no_wrap=True, justify="right")
    for row in rows:
        table.add_row(*row)
    # Where no terminal is, there is room.
    Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120).print(table)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that something is under way that has no steps to count.

    Args:
        what: it is.
    """
    with say.status(what) if say.is_terminal else nullcontext():
        yield


@contextmanager
def resumable() -> Iterator[None]:
    """Say after Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        command = shlex.join(["rlaif", *sys.argv[1:]])
        say.print(f"\nInterrupted; what was done is kept. To go on:\n  {command}", markup=False)
        raise typer.Exit(130) from None


def is_paid(llm: str) -> bool:
    """Whether somebody is paid for a model's tokens."""
    from rlaif.llm.catalog import catalog

    return llm.partition(":")[0] in catalog()
