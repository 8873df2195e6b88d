"""A run killed at random moments loses nothing, asks nothing twice that was stored, and ends the same."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killable.py")
FILES = ("preferences.jsonl", "failures.jsonl")


def start(data: Path, out: Path, log: Path, *constitution: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, str(SCRIPT), str(data), str(out), str(log), *constitution])


def lines(log: Path) -> list[str]:
    return log.read_text().split("\n")[:-1] if log.exists() else []


def stored(ledger: Path) -> set[str]:
    if not ledger.exists():
        return set()
    connection = sqlite3.connect(ledger)
    try:
        return {key.hex() for (key,) in connection.execute("SELECT key FROM exchanges")}
    finally:
        connection.close()


def write_data(path: Path, n: int) -> Path:
    rows = [{"id": str(i), "query": f"q{i}", "response_1": f"a{i}", "response_2": "b" * (i % 7)} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def killed_and_clean(tmp_path: Path, *constitution: str, kills: int, n: int, seed: int) -> None:
    data = write_data(tmp_path / "data.jsonl", n)
    clean, broken = tmp_path / "clean" / "run", tmp_path / "broken" / "run"
    assert start(data, clean, tmp_path / "clean.log", *constitution).wait() == 0
    asked = len(lines(tmp_path / "clean.log"))
    rng = random.Random(seed)
    moments = sorted(rng.randrange(1, asked) for _ in range(kills))
    ledger, known, total = broken.parent / "ledger.sqlite", set[str](), 0
    for attempt, moment in enumerate([*moments, None]):
        log = tmp_path / f"{attempt}.log"
        process = start(data, broken, log, *constitution)
        if moment is None:
            assert process.wait() == 0
        else:
            while process.poll() is None and total + len(lines(log)) < moment:
                time.sleep(0.002)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            for name in FILES:
                # Files of a killed run are whole or absent.
                assert (
                    all(json.loads(line) for line in (broken / name).read_text().splitlines())
                    if (broken / name).exists()
                    else True
                )
        again = lines(log)
        assert len(set(again)) == len(again)
        assert not known & set(again), "a stored exchange was asked again"
        now = stored(ledger)
        assert known <= now, "a stored exchange was lost"
        known, total = now, total + len(again)
    assert known == set(lines(tmp_path / "clean.log"))
    for name in FILES:
        assert (broken / name).read_bytes() == (clean / name).read_bytes()
    assert '"failure":"refused"' in (broken / "failures.jsonl").read_text()


def test_five_kills_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    killed_and_clean(tmp_path, kills=5, n=300, seed=0)


def test_labels_by_a_constitution_survive_kills_too(tmp_path: Path) -> None:
    killed_and_clean(tmp_path, "harmless", kills=3, n=100, seed=0)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(4))
def test_twenty_kills_lose_nothing_and_pay_nothing_twice(tmp_path: Path, seed: int) -> None:
    killed_and_clean(tmp_path, kills=20, n=1500, seed=seed)


def test_ctrl_c_ends_cleanly_with_what_was_answered(tmp_path: Path) -> None:
    data, out, log = write_data(tmp_path / "data.jsonl", 600), tmp_path / "o" / "run", tmp_path / "log"
    process = start(data, out, log)
    while len(lines(log)) < 200:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) != 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["status"] == "interrupted"
    records = [json.loads(line) for line in (out / "preferences.jsonl").read_text().splitlines()]
    assert 0 < len(records) < 600
    assert [int(one["id"]) for one in records] == sorted(int(one["id"]) for one in records)
    assert start(data, out, log).wait() == 0
    assert len(set(lines(log))) >= len(lines(log)) - 16  # only what was under way may be asked again
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert [one["status"] for one in manifest["invocations"]] == ["interrupted", "complete"]
    assert manifest["records"] + sum(manifest["failures"].values()) == 600


def test_two_runs_at_once_share_a_ledger(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data.jsonl", 200)
    both = [start(data, tmp_path / name, tmp_path / f"{name}.log") for name in ("one", "two")]
    assert [process.wait() for process in both] == [0, 0]
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert start(data, tmp_path / "three", tmp_path / "three.log").wait() == 0
    assert lines(tmp_path / "three.log") == []


def test_a_full_disk_stops_the_run_and_keeps_what_was_stored(tmp_path: Path) -> None:
    data, out, log = write_data(tmp_path / "data.jsonl", 400), tmp_path / "o" / "run", tmp_path / "log"
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (160_000, 160_000));"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", limited, str(SCRIPT), str(data), str(out), str(log)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "StorageError" in done.stderr.strip().split("\n")[-1]
    kept, before = stored(out.parent / "ledger.sqlite"), lines(log)
    log.unlink(missing_ok=True)
    assert start(data, out, log).wait() == 0
    assert not kept & set(lines(log))
    assert kept <= set(before)
    assert len((out / "preferences.jsonl").read_text().splitlines()) > 300
