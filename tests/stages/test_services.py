"""A file labeled through a service that fails in every way: nothing is lost, nothing is paid for twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hostile
import pytest
import yaml
from hostile import FINAL, TRANSIENT, HostileServer

from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.ledger import Ledger
from rlaif.llm.openai import open_openai
from rlaif.llm.remote import Limits
from rlaif.stages.judge import Summary, judge_file

SECRET = "sk-never-to-be-written-down-42"
# Every delivery is counted: a busy machine must not look like a server that hangs.
STEADY = Limits(timeout_s=4.0, outage_patience_s=20)


@pytest.fixture(autouse=True)
def a_hang_is_longer_than_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "HANG_S", 6.0)


def write(path: Path, n: int) -> Path:
    rows = [{"id": str(i), "query": f"q{i}", "response_1": f"a{i}", "response_2": f"b{i}"} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def label(data: Path, out: Path, server: HostileServer, **options: Any) -> Summary:
    labeler = PreferenceLabeler("helpfulness", open_openai("judge", server.url, limits=STEADY))
    return judge_file(labeler, data, out, progress=False, **options)


def preferences(out: Path) -> dict[str, float]:
    lines = (out / "preferences.jsonl").read_text().splitlines()
    return {row["id"]: row["preference"] for row in map(json.loads, lines)}


def survives_faults(tmp_path: Path, n: int) -> None:
    data = write(tmp_path / "data.jsonl", n)
    with HostileServer() as sound:
        label(data, tmp_path / "clean", sound, ledger=tmp_path / "clean.sqlite")
    with HostileServer(share=0.1, kinds=(*TRANSIENT, *FINAL)) as faulty:
        summary = label(data, tmp_path / "faulty", faulty)
        clean, labels = preferences(tmp_path / "clean"), preferences(tmp_path / "faulty")
        assert len(clean) == n
        assert len(labels) + sum(summary.failures.values()) == n
        assert set(summary.failures) == {"unreadable", "refused"}
        # At most two orders of an item can fail, and only by a final fault.
        final = sum(faulty.faults[kind] for kind in FINAL)
        assert final / 2 <= sum(summary.failures.values()) <= final
        assert labels == {name: clean[name] for name in labels}
        assert set(faulty.delivered.values()) == {1}
        usage = summary.totals.usage
        assert (usage.input_tokens, usage.output_tokens) == (faulty.input_tokens, faulty.output_tokens)
        lost = sum(faulty.faults[kind] for kind in ("hang", "truncated", "cut", "reset", "html"))
        assert usage.possibly_billed == lost
        assert sorted(faulty.faults) == sorted((*TRANSIENT, *FINAL))
        # What failed can be asked for again, and nothing else is.
        faulty.share, before = 0.0, sum(faulty.asked.values())
        again = label(data, tmp_path / "faulty", faulty, retry_failures=("unreadable", "refused"))
        off_menu = faulty.faults["off-menu"]
        assert sum(faulty.asked.values()) - before == final - off_menu
        assert 0 < again.failures["unreadable"] <= off_menu
        assert again.failures.keys() <= {"unreadable"}


def test_every_item_of_500_ends_as_a_label_or_a_counted_failure(tmp_path: Path) -> None:
    survives_faults(tmp_path, 500)


@pytest.mark.acceptance
def test_every_item_of_5000_ends_as_a_label_or_a_counted_failure(tmp_path: Path) -> None:
    survives_faults(tmp_path, 5000)


def start(data: Path, out: Path, server: HostileServer, *more: str) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "rlaif", "label", str(data), "--task", "helpfulness", "--out", str(out)]
    words += ["--llm", "openai:judge", "--base-url", server.url, "--key-variable", "MINE_API_KEY", *more]
    environment = {**os.environ, "MINE_API_KEY": SECRET}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def stored(ledger: Path) -> int:
    if not ledger.exists():
        return 0
    opened = Ledger(ledger)
    try:
        return sum(count for _, count, *_ in opened.info())
    finally:
        opened.close()


def survives_kills(tmp_path: Path, n: int, kills: int, seed: int) -> None:
    data, rng = write(tmp_path / "data.jsonl", n), random.Random(seed)
    ledger = tmp_path / "broken" / "ledger.sqlite"
    with HostileServer(latency_s=0.02) as sound:
        label(data, tmp_path / "clean" / "run", sound)
    # A response without an answer has its price too, which would stand in the records.
    kinds = [kind for kind in TRANSIENT if kind != "empty"]
    with HostileServer(share=0.1, kinds=kinds, latency_s=0.02, seed=seed) as faulty:
        unstored = 0
        for moment in sorted(rng.randrange(2 * n) for _ in range(kills)):
            process = start(data, tmp_path / "broken" / "run", faulty, "--timeout-s", "4")
            before = stored(ledger)
            while process.poll() is None and len(faulty.delivered) < moment:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            while faulty.under_way:
                time.sleep(0.01)
            assert stored(ledger) >= before
            unstored = sum(faulty.delivered.values()) - stored(ledger)
        process = start(data, tmp_path / "broken" / "run", faulty, "--timeout-s", "4")
        said = process.communicate()[0].decode()
        assert process.returncode == 0, said
        # What was delivered twice is what had not been stored when a kill came: at most what was under way.
        twice = sum(faulty.delivered.values()) - len(faulty.delivered)
        assert twice == unstored
        assert twice <= kills * 128
    for name in ("preferences.jsonl", "failures.jsonl"):
        broken = [json.loads(line) for line in (tmp_path / "broken" / "run" / name).read_text().splitlines()]
        clean = [json.loads(line) for line in (tmp_path / "clean" / "run" / name).read_text().splitlines()]
        assert broken == clean


def test_five_kills_under_faults_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    survives_kills(tmp_path, 150, kills=5, seed=0)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(3))
def test_twenty_kills_under_faults_lose_nothing_and_pay_nothing_twice(tmp_path: Path, seed: int) -> None:
    survives_kills(tmp_path, 1000, kills=20, seed=seed)


def test_how_hard_a_service_was_asked_is_written_down(tmp_path: Path) -> None:
    with HostileServer() as server:
        label(write(tmp_path / "data.jsonl", 2), tmp_path / "run", server)
    operation = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["operation"]
    assert operation["limits"] == STEADY.model_dump()
    assert operation["limits"]["outage_patience_s"] == 20


def test_two_clients_share_a_ledger_and_no_file_holds_the_key(tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", 60)
    with HostileServer(share=0.3, kinds=("500", "bad"), latency_s=0.01) as server:
        both = [start(data, tmp_path / name, server, "--ledger", str(tmp_path / "one.sqlite")) for name in "ab"]
        said = [process.communicate()[0].decode() for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        assert stored(tmp_path / "one.sqlite") == 120
        alone = start(data, tmp_path / "c", server, "--ledger", str(tmp_path / "one.sqlite"))
        said.append(alone.communicate()[0].decode())
        assert "asked 0 now" in said[2]
        assert server.headers[-1]["Authorization"] == f"Bearer {SECRET}"
    assert preferences(tmp_path / "a").keys() & preferences(tmp_path / "b").keys()
    searched = 0
    for path in tmp_path.rglob("*"):
        if path.is_file():
            searched += 1
            assert SECRET.encode() not in path.read_bytes(), path
    assert searched > 12
    assert SECRET not in "".join(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-cost-usd", "0"], "the command line: max_cost_usd is 0.0: Input should be greater than 0"),
        (["--can", "top_logprobs=["], "--can top_logprobs=[: '[' is no value; write --can top_logprobs=20"),
    ],
)
def test_options_that_will_not_do_are_said_in_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    data = write(tmp_path / "data.jsonl", 1)
    command = [sys.executable, "-m", "rlaif", "label", str(data), "--task", "helpfulness", "--out", str(tmp_path / "r")]
    # Nobody is asked.
    command += ["--llm", "openai:judge", "--base-url", "http://127.0.0.1:9/v1", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: {said}\n"


def test_kinds_of_failures_that_do_not_exist_are_named(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "rlaif", "label", "x.jsonl", "--task", "helpfulness", "--out", str(tmp_path / "run")]
    done = subprocess.run([*words, "--llm", "scripted:hashed", "--retry-failures", "refusd"], capture_output=True)
    assert done.returncode == 2
    assert b"--retry-failures refusd: no such kind; did you mean refused?" in done.stderr
