"""Run a command of `rlaif` as a process of its own, which hears the signals that this one hears."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, NamedTuple


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        code: its exit code; 128 and the signal's number where a signal ended it.
        heard: the last signal that came meanwhile.
    """

    code: int
    heard: int | None


def run_subcommand(words: Sequence[str], lock: IO[str]) -> Ended:
    """Run a command in the current folder and wait for its end, also after Ctrl-C or SIGTERM: it may have to save.

    Args:
        words: those behind `rlaif`.
        lock: a file that the command inherits, and so holds as long as it runs.
    """
    process: subprocess.Popen[bytes] | None = None
    heard: list[int] = []
    early: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)
        if process is None:
            early.append(number)
        else:
            _pass_on(number, process)

    with _hearing(hear):
        process = subprocess.Popen([sys.executable, "-m", "rlaif", *words], pass_fds=[lock.fileno()])
        while early:
            _pass_on(early.pop(0), process)
        code = process.wait()
    return Ended(128 - code if code < 0 else code, heard[-1] if heard else None)


@contextmanager
def _hearing(hear: Callable[[int], None]) -> Iterator[None]:
    """Only a main thread hears signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: hear(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_on(number: int, process: "subprocess.Popen[bytes]") -> None:
    # A terminal sends Ctrl-C to both; a second one would keep the command from saving.
    if number != signal.SIGINT or not _is_in_foreground():
        process.send_signal(number)


def _is_in_foreground() -> bool:
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
