"""Batch jobs: handed in once, collected whenever, and what a job did not get to is handed in again."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hostile import HostileServer

import rlaif.llm.batch as batch_module
from rlaif.errors import BudgetError, CapabilityError, ConfigError, ServiceError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.score import Scorer
from rlaif.llm.base import Answer, Choose, NoAnswer, Outcome, Request, Usage
from rlaif.llm.batch_apis import AnthropicBatches, Line, NotYetKnownError, OpenAIBatches
from rlaif.llm.batch_calls import Progress
from rlaif.llm.batch_run import BatchRun
from rlaif.llm.jobs import Job, Jobs
from rlaif.llm.ledger import Ledger
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
    provider: str,
    server: HostileServer,
    data: Path,
    name: str = "run",
    batch: bool = True,
    limit: int | None = None,
    **about: Any,
) -> Summary:
    folder = data.parent
    ledger = folder / "ledger.sqlite"
    url = server.url if provider == "openai" else server.url.removesuffix("/v1")
    llm = open_llm(SPECS[provider], base_url=url, batch=ledger if batch else None, **about)
    settings: dict[str, Any] = {} if provider == "openai" else {"method": "sampled", "draws": 2}
    labeler = PreferenceLabeler("helpfulness", llm, **settings)
    return judge_file(labeler, data, folder / name, ledger=ledger, progress=False, limit=limit)


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


def test_a_full_queue_of_our_own_jobs_is_waited_for(
    server: HostileServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two pieces of 16 do not fit together into a queue of 20.
    monkeypatch.setattr(batch_module, "PIECE", 16)
    server.batches.room, server.batches.looks = 20, 12
    assert label("openai", server, data, limits=Limits(outage_patience_s=0.3)).count == N
    assert [len(job.rows) for job in server.batches.jobs if job.fault != "full"] == [16] * 3
    # Two found no room beside the first, and one beside the second: nobody asked again before a job had ended.
    assert [len(job.rows) for job in server.batches.jobs if job.fault == "full"] == [16] * 3
    assert set(server.batches.answered.values()) == {1}


def test_a_queue_that_others_have_filled_is_waited_for_and_said(
    server: HostileServer, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.batches.room = 0

    def others_leave() -> None:
        while not any(job.fault == "full" for job in server.batches.jobs):
            time.sleep(0.02)
        time.sleep(5)
        server.batches.room = 10**9

    others = threading.Thread(target=others_leave)
    others.start()
    ledger = data.parent / "ledger.sqlite"
    llm = open_llm("openai:judge", base_url=server.url, batch=ledger)
    judge_file(PreferenceLabeler("helpfulness", llm), data, data.parent / "run", ledger=ledger, limit=1)
    others.join()
    assert [len(job.rows) for job in server.batches.jobs if job.fault != "full"] == [1, 1]
    assert "the provider's queue is full, 1 request waits" in capfd.readouterr().err


def test_a_queue_that_others_have_filled_for_too_long_ends_the_run(server: HostileServer, data: Path) -> None:
    server.batches.room = 0
    with pytest.raises(
        ServiceError, match=r"queue has been full for 0 s, though no job of this run is in it \(token_li"
    ):
        label("openai", server, data, limits=Limits(outage_patience_s=0.3))
    assert handed_in(data) == 0
    server.batches.room = 10**9
    assert label("openai", server, data).count == N


def test_a_job_that_fails_leaves_nobody_waiting_for_what_others_handed_in(server: HostileServer, data: Path) -> None:
    llm: Any = open_llm("openai:judge", base_url=server.url, batch=data.parent / "ledger.sqlite")
    asked = {f"{n:02x}" * 32: Request((Turn(role="user", content=f"{n}"),), Choose(("1", "2"))) for n in range(6)}
    theirs, stored = list(asked)[:2], list(asked)[2]
    arrived: list[tuple[str, Outcome]] = []

    class Raced(Jobs):
        """Another process hands in two of the requests just before we do, and stores a third one's answer."""

        other: Jobs | None = None

        def open(self, llm: str, keys: Any) -> tuple[Job, set[str]]:
            if self.other is None:
                self.other = Jobs(self.path)
                job, mine = self.other.open(llm, theirs)
                assert mine == set(theirs)
                self.other.submitted(job, "batch-0")
                ledger = Ledger(self.path)
                ledger.put("openai:judge", [(stored, Answer("theirs", Usage(7)))])
                ledger.close()
            return super().open(llm, keys)

    async def run() -> None:
        api, jobs = OpenAIBatches(), Raced(data.parent / "ledger.sqlite")
        async with llm._service.connect() as client:
            lines = [Line(key, *llm._service.render(asked[key])) for key in theirs]
            assert await api.submit(client, Job("theirs", None, time.time(), 0, 2), lines) == "batch-0"
            server.batches.faults = ["full"]
            seen = BatchRun(llm._service, api, client, jobs, 0.05, Progress(), arrived.append)
            async with asyncio.timeout(20):
                await seen.finish(dict(asked))
        jobs.close()
        assert jobs.other is not None
        jobs.other.close()

    asyncio.run(run())
    assert sorted(key for key, _ in arrived) == sorted(asked)
    assert dict(arrived)[stored] == Answer("theirs", Usage(7))
    assert server.batches.answered == dict.fromkeys(asked.keys() - {stored}, 1)


def test_a_score_that_the_tokenizer_cuts_is_no_batch_job(data: Path) -> None:
    data.write_text(json.dumps({"id": "1", "query": "Q", "response": "a"}) + "\n")
    ledger = data.parent / "ledger.sqlite"
    with HostileServer(cuts=True) as cutting:
        for endpoint in ("chat", "completions"):
            llm = open_llm("openai:judge", base_url=cutting.url, endpoint=endpoint, batch=ledger)
            with pytest.raises(CapabilityError, match=r"openai:judge: its tokenizer cuts 10, .*use --method sampled"):
                judge_file(Scorer("helpfulness", llm), data, data.parent / endpoint, ledger=ledger, progress=False)
        assert not cutting.batches.jobs
    assert handed_in(data) == 0
    with HostileServer() as whole:
        llm = open_llm("openai:judge", base_url=whole.url, endpoint="completions", batch=ledger)
        judge_file(Scorer("helpfulness", llm), data, data.parent / "whole", ledger=ledger, progress=False)
        assert len(whole.batches.jobs) == 1


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


@pytest.mark.parametrize("now", ["fewer rows", "smaller pieces"])
def test_a_killed_submission_is_found_by_those_who_ask_for_a_part_of_it(
    server: HostileServer, data: Path, monkeypatch: pytest.MonkeyPatch, now: str
) -> None:
    # Anthropic's jobs carry no name of ours: only their keys say whose they are.
    server.batches.hold_reply_s, server.batches.looks = 60.0, 10**9
    process = start("anthropic", server, data)
    wait_for(lambda: bool(server.batches.jobs), process)
    process.kill()
    process.wait()
    # Pieces look for the job at the same time, again and again until it has ended.
    server.batches.hold_reply_s, server.batches.looks = 0.0, 30
    if now == "smaller pieces":
        monkeypatch.setattr(batch_module, "PIECE", 40)
    found = label("anthropic", server, data, limit=5 if now == "fewer rows" else None)
    assert found.count == (5 if now == "fewer rows" else N)
    assert label("anthropic", server, data).count == N
    assert [len(job.rows) for job in server.batches.jobs] == [requests("anthropic")]
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
    with handing_in(server, data, 1.5) as other:
        assert label("openai", server, data).count == N
        # Only when it had ended was it looked for at the provider, and handed in here.
        assert other.poll() is not None
    assert len(server.batches.jobs) == 1
    assert not list(data.parent.glob("*.lock"))


def test_a_job_that_another_process_hands_in_for_ever_is_waited_for_as_long_as_the_patience(
    server: HostileServer, data: Path
) -> None:
    with handing_in(server, data, 60.0) as other:
        with pytest.raises(
            ServiceError, match=rf"process {other.pid} has been handing in a batch job .*run this command"
        ):
            label("openai", server, data, limits=Limits(outage_patience_s=0.3))
        other.kill()
        other.wait()
    assert label("openai", server, data).count == N


def test_a_process_that_has_the_number_of_a_killed_one_is_not_waited_for(server: HostileServer, data: Path) -> None:
    with handing_in(server, data, 60.0) as other:
        other.kill()
        other.wait()
    with sqlite3.connect(data.parent / "ledger.sqlite") as connection:
        connection.execute("UPDATE jobs SET process = ?", (os.getppid(),))
    assert start("openai", server, data).wait(30) == 0
    assert len(server.batches.jobs) == 1


@pytest.mark.parametrize("which", ["look", "results"])
def test_a_job_that_the_provider_does_not_know_is_never_handed_in_again_unasked(
    provider: str, server: HostileServer, data: Path, which: str
) -> None:
    server.batches.looks = 10**9
    process = start(provider, server, data)
    wait_for(lambda: bool(server.batches.jobs) and server.batches.jobs[0].looks > 1, process)
    process.kill()
    process.wait()
    server.batches.looks = 0
    ledger = str(data.parent / "ledger.sqlite")
    # To another key the job is not there.
    (server.batches.hidden if which == "look" else server.batches.hidden_results).add("batch-0")
    for _ in range(2):
        with pytest.raises(
            ServiceError, match=f"knows no batch job batch-0 .*another key.* rlaif ledger forget {ledger} "
        ):
            label(provider, server, data)
    assert len(server.batches.jobs) == 1
    assert handed_in(data) == requests(provider)
    words = [sys.executable, "-m", "rlaif", "ledger", "forget", ledger]
    wrong = subprocess.run([*words, "batch-1"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no batch job batch-1 waits to be collected; did you mean batch-0?" in wrong.stderr
    kept = subprocess.run([*words, "batch-0"], input="n\n", capture_output=True, text=True)
    assert kept.returncode == 1
    assert handed_in(data) == requests(provider)
    done = subprocess.run([*words, "batch-0", "--yes"], capture_output=True, text=True)
    assert done.stdout == f"{requests(provider)} requests are in no batch job any more\n"
    assert label(provider, server, data).count == N
    assert len(server.batches.jobs) == 2


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


def test_two_processes_that_wait_for_one_job_hand_its_rest_in_once(server: HostileServer, data: Path) -> None:
    server.batches.looks, server.batches.faults = 10**9, ["expire"]
    first = start("openai", server, data)
    wait_for(lambda: bool(server.batches.jobs) and server.batches.jobs[0].looks > 1, first)
    done: list[Summary] = []

    def later() -> None:
        llm = open_llm("openai:judge", base_url=server.url, batch=data.parent / "ledger.sqlite")
        # It looks ten times less often, and comes when the other has released the rest, or has handed it in.
        llm._poll_s = 0.5  # type: ignore[attr-defined]
        labeler = PreferenceLabeler("helpfulness", llm)
        ledger = data.parent / "ledger.sqlite"
        done.append(judge_file(labeler, data, data.parent / "second", ledger=ledger, progress=False))

    second = threading.Thread(target=later)
    second.start()
    looks = server.batches.jobs[0].looks
    time.sleep(2)
    assert server.batches.jobs[0].looks > looks
    # The first job ends at once, and the next one only when both have seen that.
    server.batches.looks = 20
    second.join(60)
    assert first.wait(60) == 0
    assert done[0].count == N
    assert [len(job.rows) for job in server.batches.jobs] == [requests("openai"), requests("openai") // 2]
    assert set(server.batches.answered.values()) == {1}


def test_a_request_is_released_from_its_own_job_only(data: Path) -> None:
    ours, theirs = Jobs(data.parent / "ledger.sqlite"), Jobs(data.parent / "ledger.sqlite")
    first, _ = ours.open("openai:judge", ["aa", "bb"])
    theirs.release(first.id, ["aa"])
    second, mine = theirs.open("openai:judge", ["aa"])
    assert mine == {"aa"}
    ours.release(first.id, ["aa", "bb"])
    assert ours.holding(["aa", "bb"]) == {second.id: ["aa"]}
    # What was found at the provider is not given up by whoever did not find it.
    theirs.submitted(second, "batch-0")
    assert not ours.abandon(second.id)
    assert ours.keys_in(second.id) == {"aa"}
    ours.close()
    theirs.close()


def test_what_another_process_stored_meanwhile_is_in_no_job_and_what_is_asked_again_is(data: Path) -> None:
    path = data.parent / "ledger.sqlite"
    ledger, refused = Ledger(path), NoAnswer("refused", "no")
    ledger.put("openai:judge", [("aa", refused)])
    jobs = Jobs(path)
    ledger.put("openai:judge", [("bb", Answer("v", Usage(1)))])
    assert jobs.answered(["aa", "bb", "cc"]) == [("bb", Answer("v", Usage(1)))]
    _, mine = jobs.open("openai:judge", ["aa", "bb", "cc"])
    assert mine == {"aa", "cc"}
    jobs.close()
    ledger.close()


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


@contextmanager
def handing_in(server: HostileServer, data: Path, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    """A process that has written a job of the first row down, and is busy handing it in."""
    code = f"""
import time
from pathlib import Path
from rlaif.llm.jobs import Jobs
jobs = Jobs(Path({str(data.parent / "ledger.sqlite")!r}))
jobs.open("openai:judge", {keys_of("openai", server)!r})
print("at it", flush=True)
time.sleep({seconds})
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at it\n"
        try:
            yield process
        finally:
            process.kill()


def wait_for(happened: Any, process: "subprocess.Popen[bytes]", seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, "the run has ended"
        assert time.monotonic() < end, "it never happens"
        time.sleep(0.02)
