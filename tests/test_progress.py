"""Progress as plain lines, and as a bar on a real (pseudo-)terminal."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlaif.pocket.data import comparisons
from rlaif.progress import Progress


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("judging", 3, line_every_s=0) as progress:
        progress.advance(None, 100)
        progress.advance("refused", 200)
        progress.advance("refused", 1300)
    last = capsys.readouterr().err.strip().split("\n")[-1]
    assert last.startswith("judging: 3 of 3, ")
    assert last.endswith("/s, 0 s left, 1,300 tokens, 2 refused")


def test_nothing_is_shown_where_nothing_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("judging", 1, show=False, line_every_s=0) as progress:
        progress.advance(None, 1)
    assert capsys.readouterr().err == ""


def write_pairs(path: Path, n: int) -> None:
    rows = comparisons(n, task="harmlessness", split="heldout", seed=0)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def command(tmp_path: Path) -> list[str]:
    words = ["label", "pairs.jsonl", "--task", "harmlessness", "--out", "o/run"]
    return [sys.executable, "-m", "rlaif", *words]


def test_on_a_terminal_there_is_a_bar(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 20)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    words = [*command(tmp_path), "--llm", "scripted:hashed"]
    done = subprocess.run(words, cwd=tmp_path, stderr=theirs, stdout=subprocess.PIPE, env=environment)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 0
    for part in ("scripted:hashed", "━", "20/20", "tokens, no failures"):
        assert part in shown


def stored(ledger: Path) -> int:
    try:
        return int(
            sqlite3.connect(f"file:{ledger}?mode=ro", uri=True).execute("SELECT COUNT(*) FROM exchanges").fetchone()[0]
        )
    except sqlite3.OperationalError:
        return 0


def test_ctrl_c_prints_the_command_that_goes_on(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 3000)
    process = subprocess.Popen(
        command(tmp_path), cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    ledger = tmp_path / "o" / "ledger.sqlite"
    while process.poll() is None and stored(ledger) < 600:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Interrupted; what was done is kept. To go on:\n" in err
    assert "  rlaif label pairs.jsonl --task harmlessness --out o/run" in err
    assert "Traceback" not in err
    done = len((tmp_path / "o" / "run" / "preferences.jsonl").read_text().splitlines())
    assert 0 < done < 3000
