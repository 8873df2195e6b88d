"""Chains through a service that fails in every way, by batch jobs, and killed: nothing is lost or paid for twice."""

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
from hostile import TRANSIENT, HostileServer

import rlaif.llm.batch as batch_module
from rlaif.constitution.revise import Reviser
from rlaif.errors import BudgetError
from rlaif.llm.ledger import Ledger
from rlaif.llm.open import open_llm
from rlaif.llm.openai import open_openai
from rlaif.llm.remote import Limits
from rlaif.stages.chains import count_rounds
from rlaif.stages.judge import Summary, judge_file

# Every delivery is counted: a busy machine must not look like a server that hangs.
STEADY = Limits(timeout_s=4.0, outage_patience_s=20)
# A response without an answer has its price too, which would stand in the records.
KINDS = tuple(kind for kind in TRANSIENT if kind != "empty")
ROUNDS = 4


@pytest.fixture(autouse=True)
def a_hang_is_longer_than_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "HANG_S", 6.0)


def write(path: Path, n: int) -> Path:
    rows = [{"id": str(i), "query": f"q{i}", "response": f"a{i}"} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def revise(data: Path, out: Path, server: HostileServer, **options: Any) -> Summary:
    reviser = Reviser("harmless", open_openai("judge", server.url, limits=STEADY), revisions=ROUNDS)
    return judge_file(reviser, data, out, progress=False, **options)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "revisions.jsonl").read_text().splitlines()]


def survives_faults(tmp_path: Path, n: int) -> None:
    data = write(tmp_path / "data.jsonl", n)
    with HostileServer() as sound:
        revise(data, tmp_path / "clean", sound, ledger=tmp_path / "clean.sqlite")
        assert set(sound.delivered.values()) == {1}
        assert len(sound.delivered) == 2 * ROUNDS * n
    with HostileServer(share=0.1, kinds=(*KINDS, "filtered")) as faulty:
        summary = revise(data, tmp_path / "faulty", faulty)
        assert (summary.count, summary.failures) == (n, {})
        # Each request was answered once, however often it was tried; a refused critique has no revision behind it.
        assert set(faulty.delivered.values()) == {1}
        found = count_rounds(tmp_path / "faulty")
        assert found.flags["critique_refused"] + found.flags["revision_refused"] == faulty.faults["filtered"] > 0
        assert len(faulty.delivered) == 2 * ROUNDS * n - found.flags["critique_refused"]
        usage = summary.totals.usage
        assert (usage.input_tokens, usage.output_tokens) == (faulty.input_tokens, faulty.output_tokens)
        lost = sum(faulty.faults[kind] for kind in ("hang", "truncated", "cut", "reset", "html"))
        assert usage.possibly_billed == lost > 0
    clean, with_faults = lines(tmp_path / "clean"), lines(tmp_path / "faulty")
    for one, other in zip(clean, with_faults, strict=True):
        untouched = [step["flags"] for step in other["steps"]] == [[]] * ROUNDS
        if untouched:
            assert other == one
        else:
            assert other["response"] == [step for step in other["steps"] if step["kept"]][-1]["revision"]
            assert [step["principle"] for step in other["steps"]] == [step["principle"] for step in one["steps"]]


def test_200_chains_under_faults_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    survives_faults(tmp_path, 200)


@pytest.mark.acceptance
def test_2000_chains_under_faults_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    survives_faults(tmp_path, 2000)


def stored(ledger: Path) -> int:
    if not ledger.exists():
        return 0
    opened = Ledger(ledger)
    try:
        return sum(count for _, count, *_ in opened.info())
    finally:
        opened.close()


def test_chains_that_are_killed_and_resumed_are_the_same_chains(tmp_path: Path) -> None:
    n, kills = 20, 2
    data, rng = write(tmp_path / "data.jsonl", n), random.Random(3)
    with HostileServer(latency_s=0.02) as sound:
        revise(data, tmp_path / "clean" / "run", sound)
    out, ledger = tmp_path / "broken" / "run", tmp_path / "broken" / "ledger.sqlite"
    with HostileServer(share=0.1, kinds=[kind for kind in KINDS if kind != "hang"], latency_s=0.02) as faulty:
        words = [sys.executable, "-m", "rlaif", "revise", str(data), "--constitution", "harmless", "--out", str(out)]
        words += ["--llm", "openai:judge", "--base-url", faulty.url, "--timeout-s", "4"]
        unstored = 0
        for moment in [*sorted(rng.randrange(2 * ROUNDS * n) for _ in range(kills)), None]:
            process = subprocess.Popen(words, env=os.environ | {"OPENAI_API_KEY": "none"}, stdout=subprocess.PIPE)
            while process.poll() is None and (moment is None or len(faulty.delivered) < moment):
                time.sleep(0.002)
            if moment is not None:
                process.send_signal(signal.SIGKILL)
            said = process.communicate()[0].decode()
            while faulty.under_way:
                time.sleep(0.01)
            if moment is not None:
                unstored = sum(faulty.delivered.values()) - stored(ledger)
        assert process.returncode == 0, said
        assert f"{ROUNDS * n} of {ROUNDS * n} rounds brought a revision; 0 chains have none" in said
        # What was delivered twice is what had not been stored when a kill came: at most what was under way.
        assert sum(faulty.delivered.values()) - len(faulty.delivered) == unstored <= kills * 64
    assert lines(out) == lines(tmp_path / "clean" / "run")


def test_a_cap_is_not_passed_and_a_higher_one_goes_on_from_there(tmp_path: Path) -> None:
    data, prices = write(tmp_path / "data.jsonl", 12), tmp_path / "prices.yaml"
    prices.write_text("openai:judge: {input: 2, output: 8}\n")

    def run(out: str, server: HostileServer, cap: float | None = None) -> Summary:
        limits = STEADY.model_copy(update={"max_cost_usd": cap})
        llm = open_llm("openai:judge", base_url=server.url, prices=prices, limits=limits)
        return judge_file(Reviser("harmless", llm), data, tmp_path / out / "run", progress=False)

    def billed(server: HostileServer) -> float:
        return (2 * server.input_tokens + 8 * server.output_tokens) / 1e6

    with HostileServer() as server:
        run("whole", server)
        whole = billed(server)
    with HostileServer() as server:
        cap = 0.5 * whole
        with pytest.raises(BudgetError, match=r"the cap of \$"):
            run("capped", server, cap)
        assert 0 < billed(server) <= cap
        # A cap is of one run: what is left takes less than half again.
        run("capped", server, whole)
        assert billed(server) == pytest.approx(whole)
        assert set(server.delivered.values()) == {1}
    assert lines(tmp_path / "capped" / "run") == lines(tmp_path / "whole" / "run")


def test_batch_jobs_take_the_chains_round_by_round(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(batch_module, "POLL_S", 0.05)
    monkeypatch.setattr(batch_module, "QUIET_S", 0.3)
    data, ledger = write(tmp_path / "data.jsonl", 12), tmp_path / "ledger.sqlite"
    with HostileServer() as server:
        revise(data, tmp_path / "one-by-one", server, ledger=tmp_path / "other.sqlite")
        asked = sum(server.delivered.values())
        reviser = Reviser("harmless", open_llm("openai:judge", base_url=server.url, batch=ledger), revisions=ROUNDS)
        summary = judge_file(reviser, data, tmp_path / "batches", ledger=ledger, progress=False)
        assert summary.totals.asked == 12 * 2 * ROUNDS
        # A critique or a revision of all chains is one job.
        assert len(server.batches.jobs) == 2 * ROUNDS
        assert sum(server.delivered.values()) == asked
    texts = [
        [[(step["critique"], step["revision"]) for step in row["steps"]] for row in lines(tmp_path / name)]
        for name in ("one-by-one", "batches")
    ]
    assert texts[0] == texts[1]
