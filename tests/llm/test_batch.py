"""Batch jobs: handed in once, collected whenever, and what a job did not get to is handed in again."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import HostileServer

import rlaif.llm.batch as batch_module
from rlaif.errors import BudgetError, CapabilityError, ConfigError, ServiceError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.base import Choose, NoAnswer, Request
from rlaif.llm.batch_apis import AnthropicBatches, Line, NotYetKnownError
from rlaif.llm.jobs import Job, Jobs
from rlaif.llm.open import open_llm
from rlaif.llm.remote import Limits
from rlaif.records import Turn
from rlaif.stages.judge import Summary, judge_file

SPECS = {"openai": "openai:judge", "anthropic": "anthropic:claude-haiku-4-5"}
N = 24


@pytest.fixture(params=sorted(SPECS))
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "POLL_S", 0.05)
    monkeypatch.setattr(batch_module, "QUIET_S", 0.1)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer(models=("judge",)) as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [{"id": str(n), "query": f"Q{n}", "response_1": f"a{n}", "response_2": f"b{n}"} for n in range(N)]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text("".join(f"{spec}: {{input: 2, output: 8}}\n" for spec in SPECS.values()))
    return path


def label(
    provider: str, server: HostileServer, data: Path, name: str = "run", batch: bool = True, **about: Any
) -> Summary:
    folder = data.parent
    ledger = folder / "ledger.sqlite"
    url = server.url if provider == "openai" else server.url.removesuffix("/v1")
    llm = open_llm(SPECS[provider], base_url=url, batch=ledger if batch else None, **about)
    settings: dict[str, Any] = {} if provider == "openai" else {"method": "sampled", "draws": 2}
    labeler = PreferenceLabeler("helpfulness", llm, **settings)
    return judge_file(labeler, data, folder / name, ledger=ledger, progress=False)


def requests(provider: str) -> int:
    return 2 * N * (1 if provider == "openai" else 2)


def handed_in(data: Path) -> int:
    with sqlite3.connect(data.parent / "ledger.sqlite") as connection:
        return int(connection.execute("SELECT COUNT(*) FROM handed_in").fetchone()[0])


def test_a_job_is_handed_in_collected_and_paid_at_half_the_price(
    provider: str, server: HostileServer, data: Path, prices: Path
) -> None:
    summary = label(provider, server, data, prices=prices)
    assert summary.count == N
    assert summary.totals.asked == requests(provider)
    assert len(server.batches.jobs) == 1
    assert set(server.batches.answered.values()) == {1}
    usage = summary.totals.usage
    assert usage.input_tokens == server.input_tokens
    assert usage.output_tokens == server.output_tokens
    assert usage.cost_usd == pytest.approx((2e-6 * server.input_tokens + 8e-6 * server.output_tokens) / 2)
    assert handed_in(data) == 0
    # The ledger is the same for both ways of asking.
    again = label(provider, server, data, "live", batch=False)
    assert (again.count, again.totals.asked, again.totals.from_ledger) == (N, 0, requests(provider))
    lines = [(data.parent / run / "preferences.jsonl").read_text() for run in ("run", "live")]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("fault", ["expire", "broken"])
def test_what_a_job_did_not_get_to_is_handed_in_again(
    provider: str, server: HostileServer, data: Path, fault: str
) -> None:
    server.batches.faults = [fault]
    summary = label(provider, server, data)
    assert summary.count == N
    first, second = server.batches.jobs
    assert len(first.rows) == requests(provider)
    assert len(second.rows) == (requests(provider) // 2 if fault == "expire" else 1)
    assert sum(server.batches.answered.values()) == requests(provider) + (fault == "broken")
    assert summary.totals.usage.input_tokens == server.input_tokens


def test_errors_of_a_row_are_failures_of_that_row(provider: str, server: HostileServer, data: Path) -> None:
    server.batches.faults = ["errors", "errors", "errors"]
    summary = label(provider, server, data)
    assert summary.count + sum(summary.failures.values()) == N
    assert summary.failures["unavailable"] > 0
    if provider == "openai":
        assert summary.failures["refused"] > 0
    assert handed_in(data) == 0
    # What was not got to three times is asked for by the next run.
    answered = server.batches.answered.total()
    again = label(provider, server, data)
    assert again.count == N - summary.failures["refused"]
    assert set(server.batches.answered.values()) == {1}
    assert server.batches.answered.total() > answered


def test_a_reply_that_is_lost_is_no_second_job(provider: str, server: HostileServer, data: Path) -> None:
    server.batches.lose_reply = True
    summary = label(provider, server, data)
    assert summary.count == N
    assert len(server.batches.jobs) == 1


def test_too_many_waiting_tokens_halve_the_job(server: HostileServer, data: Path) -> None:
    server.batches.most = 15
    summary = label("openai", server, data)
    assert summary.count == N
    assert [len(job.rows) for job in server.batches.jobs if job.fault != "full"] == [12] * 4


def test_a_job_that_fails_as_a_whole_ends_the_run_and_holds_nothing_back(server: HostileServer, data: Path) -> None:
    server.batches.faults = ["invalid"]
    with pytest.raises(ServiceError, match="openai:judge: a batch job failed: invalid_json_line: no"):
        label("openai", server, data)
    assert handed_in(data) == 0
    assert label("openai", server, data).count == N


def test_a_cap_cuts_jobs_and_is_never_passed(server: HostileServer, data: Path, prices: Path) -> None:
    with pytest.raises(BudgetError, match=r"the cap of \$0.01 is reached"):
        label("openai", server, data, prices=prices, limits=Limits(max_cost_usd=0.005))
    billed = (2e-6 * server.input_tokens + 8e-6 * server.output_tokens) / 2
    assert 0.0025 < billed <= 0.005
    assert len(server.batches.jobs) > 1
    assert label("openai", server, data, prices=prices, limits=Limits(max_cost_usd=1.0)).count == N
    assert set(server.batches.answered.values()) == {1}


def test_a_laptop_that_is_closed_collects_later(provider: str, server: HostileServer, data: Path) -> None:
    server.batches.looks = 10**9
    process = start(provider, server, data)
    wait_for(lambda: bool(server.batches.jobs) and server.batches.jobs[0].looks > 1, process)
    process.kill()
    process.wait()
    assert handed_in(data) == requests(provider)
    words = [sys.executable, "-m", "rlaif", "ledger", "info", str(data.parent / "ledger.sqlite")]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert f"{SPECS[provider]}: batch job batch-0 of" in said
    assert f"{requests(provider)} of {requests(provider)} requests not collected" in said
    server.batches.looks = 0
    summary = label(provider, server, data)
    assert summary.count == N
    assert len(server.batches.jobs) == 1
    assert handed_in(data) == 0


def test_a_submission_that_is_killed_is_found_again(provider: str, server: HostileServer, data: Path) -> None:
    # The server takes the job, and the client dies before it reads the reply.
    server.batches.hold_reply_s = 60.0
    server.batches.looks = 1
    process = start(provider, server, data)
    wait_for(lambda: bool(server.batches.jobs), process)
    process.kill()
    process.wait()
    server.batches.hold_reply_s = 0.0
    with sqlite3.connect(data.parent / "ledger.sqlite") as connection:
        assert connection.execute("SELECT remote FROM jobs").fetchall() == [(None,)]
    assert label(provider, server, data).count == N
    assert len(server.batches.jobs) == 1
    assert set(server.batches.answered.values()) == {1}


def test_a_submission_that_was_killed_before_it_was_sent_is_sent_now(
    provider: str, server: HostileServer, data: Path
) -> None:
    # A job that is written down, and of which the provider knows nothing.
    jobs = Jobs(data.parent / "ledger.sqlite")
    jobs.open(SPECS[provider], keys_of(provider, server))
    jobs.close()
    assert label(provider, server, data).count == N
    assert len(server.batches.jobs) == 1
    assert handed_in(data) == 0


def test_a_job_that_another_process_is_handing_in_is_waited_for(server: HostileServer, data: Path) -> None:
    keys = keys_of("openai", server)
    jobs = Jobs(data.parent / "ledger.sqlite")
    job, _ = jobs.open("openai:judge", keys)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1.5)"]) as other:
        # Who has ended is gone only when somebody asked how.
        threading.Thread(target=other.wait).start()
        with sqlite3.connect(jobs.path) as connection:
            connection.execute("UPDATE jobs SET process = ? WHERE id = ?", (other.pid, job.id))
        assert jobs.get(job.id).is_being_submitted
        assert label("openai", server, data).count == N
        # Only when it had ended was it looked for at the provider, and handed in here.
        assert other.poll() is not None
    jobs.close()
    assert len(server.batches.jobs) == 1


def test_anothers_job_is_not_waited_for(server: HostileServer) -> None:
    server.batches.looks = 10**9
    llm: Any = open_llm(SPECS["anthropic"], base_url=server.url.removesuffix("/v1"))
    body = {"model": "claude", "max_tokens": 1, "messages": []}

    def lines(*keys: str) -> list[Line]:
        return [Line(key * 64, "/v1/messages", body) for key in keys]

    async def find() -> tuple[str | None, str | None]:
        api = AnthropicBatches()
        async with llm.connect() as client:
            ours = Job("x", None, time.time(), 0, 2)
            known = await api.submit(client, ours, lines("a", "b"))
            await api.submit(client, ours, lines("c", "d", "e"))
            # One of the same size is known already, the other is of another size: none can be this one.
            first = await api.find(client, ours, {"f" * 64, "0" * 64}, {known})
            with pytest.raises(NotYetKnownError):
                await api.find(client, ours, {"f" * 64, "0" * 64}, set())
            return known, first

    assert asyncio.run(find()) == ("batch-0", None)


def test_two_processes_do_not_hand_in_the_same_requests(server: HostileServer, data: Path) -> None:
    server.batches.looks, server.batches.hold_reply_s = 3, 1.0
    first = start("openai", server, data)
    wait_for(lambda: bool(server.batches.jobs), first)
    summary = label("openai", server, data, "second")
    assert summary.count == N
    assert first.wait(30) == 0
    assert len(server.batches.jobs) == 1


def test_what_another_process_handed_in_meanwhile_is_in_no_job_of_ours(server: HostileServer, data: Path) -> None:
    jobs = Jobs(data.parent / "ledger.sqlite")
    first, mine = jobs.open("openai:judge", ["aa", "bb"])
    second, rest = jobs.open("openai:judge", ["bb", "cc"])
    assert (mine, rest) == ({"aa", "bb"}, {"cc"})
    assert (jobs.get(first.id).size, jobs.get(second.id).size) == (2, 1)
    assert jobs.holding(["aa", "bb", "cc"]) == {first.id: ["aa", "bb"], second.id: ["cc"]}
    jobs.close()


def test_a_server_without_batch_jobs_says_so_and_holds_nothing_back(server: HostileServer, data: Path) -> None:
    ledger = data.parent / "ledger.sqlite"
    for _ in range(2):
        llm = open_llm("openai:judge", base_url=server.url.removesuffix("/v1") + "/other/v1", batch=ledger)
        with pytest.raises(ServiceError, match=r"openai:judge: a batch job failed: 404"):
            judge_file(PreferenceLabeler("helpfulness", llm), data, data.parent / "run", ledger=ledger, progress=False)
    assert label("openai", server, data, "another").count == N


def test_models_and_servers_without_batch_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-used")
    with pytest.raises(CapabilityError, match="openai:some-model cannot be asked by batch jobs"):
        open_llm("openai:some-model", batch=tmp_path / "ledger.sqlite")
    with pytest.raises(ConfigError, match=r"pocket:labeler-l has no batch API; it is for openai: and anthropic:"):
        open_llm("pocket:labeler-l", batch=tmp_path / "ledger.sqlite")


def test_a_stream_is_cut_where_a_piece_is_full_or_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "PIECE", 3)

    async def stream() -> AsyncIterator[tuple[str, Request]]:
        for n in range(5):
            yield str(n), Request((Turn(role="user", content="?"),), Choose(("1", "2")))
        await asyncio.sleep(0.3)
        yield "5", Request((Turn(role="user", content="?"),), Choose(("1", "2")))

    async def cut() -> list[list[str]]:
        return [list(piece) async for piece in batch_module.pieces(stream(), quiet_s=0.1)]

    assert asyncio.run(cut()) == [["0", "1", "2"], ["3", "4"], ["5"]]


def keys_of(provider: str, server: HostileServer) -> list[str]:
    """Keys of requests that the first row takes."""
    url = server.url if provider == "openai" else server.url.removesuffix("/v1")
    llm: Any = open_llm(SPECS[provider], base_url=url)
    settings: dict[str, Any] = {} if provider == "openai" else {"method": "sampled", "draws": 2}
    keys: list[str] = []

    async def ask(request: Request) -> Any:
        keys.append(request.key(llm.identity))
        return NoAnswer("refused", "only the key is wanted")

    labeler = PreferenceLabeler("helpfulness", llm, **settings)
    row = labeler.item.model_validate({"id": "0", "query": "Q0", "response_1": "a0", "response_2": "b0"})
    asyncio.run(labeler.judge(row, ask))
    return keys


def start(provider: str, server: HostileServer, data: Path) -> "subprocess.Popen[bytes]":
    url = server.url if provider == "openai" else server.url.removesuffix("/v1")
    settings = "" if provider == "openai" else "method='sampled', draws=2"
    code = f"""
import rlaif.llm.batch as batch
batch.POLL_S, batch.QUIET_S = 0.05, 0.1
from pathlib import Path
from rlaif import PreferenceLabeler, judge_file, open_llm
llm = open_llm({SPECS[provider]!r}, base_url={url!r}, batch=Path({str(data.parent / "ledger.sqlite")!r}))
labeler = PreferenceLabeler("helpfulness", llm, {settings})
judge_file(labeler, {str(data)!r}, Path({str(data.parent / "run")!r}), progress=False)
"""
    return subprocess.Popen([sys.executable, "-c", code], stderr=sys.stderr)


def wait_for(happened: Any, process: "subprocess.Popen[bytes]", seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, "the run has ended"
        assert time.monotonic() < end, "it never happens"
        time.sleep(0.02)
