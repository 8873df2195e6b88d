"""Responses of a policy: seeded one by one, drawn from what top_p leaves, resumable."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CHAT, make_model
from doubles import outcomes, refuse
from hostile import HostileServer

from rlaif.conventions import read_comparisons
from rlaif.errors import CapabilityError, ConfigError, InputError
from rlaif.generation.drawing import _nucleus, draw
from rlaif.llm.base import Capabilities, Generate, NoAnswer, Request
from rlaif.llm.open import open_llm
from rlaif.llm.scripted import ScriptedLLM
from rlaif.pocket.data import queries
from rlaif.pocket.paths import model_folder
from rlaif.records import Comparison, Turn
from rlaif.sampling import Sampler
from rlaif.stages.judge import judge_file

QUERIES = [{"id": str(n), "query": f"Question {n}?", "topic": n} for n in range(12)]


def samples(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]


def test_responses_depend_on_their_own_seed_and_nothing_else(tmp_path: Path) -> None:
    asked = list(queries(8, split="heldout", seed=4, task="harmlessness"))
    for name, rows, batch in (("all", asked, 16_384), ("turned", asked[::-1], 64)):
        llm = open_llm("pocket:policy", batch_tokens=batch)
        ledger = tmp_path / f"{name}.sqlite"
        judge_file(Sampler(llm, n=2, max_tokens=20), rows, tmp_path / name, ledger=ledger, progress=False)
    one, other = ({row["id"]: row["responses"] for row in samples(tmp_path / name)} for name in ("all", "turned"))
    assert one == other
    assert all(first != second for first, second in one.values())
    llm = open_llm("pocket:policy")
    judge_file(Sampler(llm, n=2, max_tokens=20, seed=1), asked, tmp_path / "seed", ledger=None, progress=False)
    assert one != {row["id"]: row["responses"] for row in samples(tmp_path / "seed")}


def test_a_policy_folder_is_a_model_by_its_path() -> None:
    folder = model_folder("policy")
    assert open_llm(str(folder)).identity == open_llm("pocket:policy").identity


def test_the_nucleus_is_the_smallest_set_that_reaches_the_mass() -> None:
    probabilities = torch.tensor([[0.0625, 0.5, 0.1875, 0.25]] * 4, dtype=torch.float64)
    kept = _nucleus(probabilities, torch.tensor([1e-9, 0.5, 0.65, 1.0], dtype=torch.float64))
    # In falling order .5, .25, .1875, .0625, with 0, .5, .75, .9375 before them.
    assert kept.tolist() == [[0, 0.5, 0, 0], [0, 0.5, 0, 0], [0, 0.5, 0, 0.25], [0.0625, 0.5, 0.1875, 0.25]]


def test_a_row_that_draws_from_all_tokens_keeps_its_tail_beside_one_that_does_not() -> None:
    # In float64 1 + 1e-17 is 1: by sums alone the second token would lie beyond a mass of 1.
    probabilities = torch.tensor([[1.0, 1e-17]] * 2, dtype=torch.float64)
    kept = _nucleus(probabilities, torch.tensor([1.0, 0.9], dtype=torch.float64))
    assert kept.tolist() == [[1.0, 1e-17], [1.0, 0.0]]


def generators(rows: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(row) for row in range(rows)]


def test_what_is_kept_is_drawn_in_its_old_proportions() -> None:
    # Of .0625, .5, .1875, .25 a mass of .7 needs the second and the fourth: two draws of three, and one.
    rows = 3000
    scores = torch.tensor([0.0625, 0.5, 0.1875, 0.25]).log().repeat(rows, 1)
    drawn, logprobs = draw(scores, [1.0] * rows, [0.7] * rows, generators(rows))
    counts = Counter(drawn.tolist())
    assert set(counts) == {1, 3}
    # Four standard errors: 4 * sqrt(2/3 * 1/3 / 3000) = .034.
    assert counts[1] / rows == pytest.approx(2 / 3, abs=0.035)
    assert logprobs.exp().tolist() == pytest.approx([2 / 3 if token == 1 else 1 / 3 for token in drawn.tolist()])


def test_noise_on_the_logits_changes_few_draws() -> None:
    rows, vocabulary, noise = 2000, 2048, 1e-3
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)
    found, likelihoods = [], []
    for logits in (scores, scores + noise * torch.randn(scores.shape, generator=generator, dtype=torch.float64)):
        drawn, logprobs = draw(logits, [1.0] * rows, [1.0] * rows, generators(rows))
        found.append(drawn)
        likelihoods.append(logprobs)
    # Where the first two logits are nearer than their noise differs: of 2000 some two. The inverse of the cumulative
    # distribution changed 79.
    assert (found[0] != found[1]).sum() <= 8
    # And the draws are as likely as their distributions say: within four standard errors.
    whole = scores.log_softmax(-1)
    expected = (whole.exp() * whole).sum(-1)
    variance = (whole.exp() * whole**2).sum(-1) - expected**2
    assert abs((likelihoods[0] - expected).sum()) < 4 * variance.sum().sqrt()


def test_a_neighbour_with_another_top_p_changes_no_text() -> None:
    llm = open_llm("pocket:policy")
    query = (Turn(role="user", content="How do I boil an egg?"),)
    asked = [
        Request(query, Generate(20, temperature, seed, top_p=top_p), draw=seed)
        for seed, (temperature, top_p) in enumerate([(1.0, 1.0), (1.0, 0.6), (0.0, 1.0), (1.3, 0.95), (1.0, 1.0)])
    ]
    together = [one.text for one in outcomes(llm, asked)]
    assert together == [one.text for request in asked for one in outcomes(llm, [request])]
    assert len(set(together)) == 5


def test_a_small_top_p_is_greedy(tmp_path: Path) -> None:
    asked = list(queries(3, split="heldout", seed=4, task="harmlessness"))
    found = []
    for name, settings in (("greedy", {"temperature": 0.0}), ("top", {"top_p": 1e-6})):
        sampler = Sampler("pocket:policy", max_tokens=12, **settings)
        judge_file(sampler, asked, tmp_path / name, progress=False)
        found.append([row["responses"] for row in samples(tmp_path / name)])
    assert found[0] == found[1]


def test_requests_without_top_p_keep_the_keys_of_stored_answers() -> None:
    request = Request((Turn(role="user", content="Why?"),), Generate(5, 1.0, 7))
    # Computed before there was a top_p.
    assert request.key({"model": "m"}) == "0436ec94cf4f9d450ae502ea2b99f5190f5928b134fa49053a4d27d647c3c1ca"
    other = Request(request.messages, Generate(5, 1.0, 7, top_p=0.9))
    assert other.key({"model": "m"}) != request.key({"model": "m"})


def answer(request: Request) -> Mapping[str, float] | str | NoAnswer:
    if "Question 3?" in request.messages[0].content and request.draw == 1:
        return NoAnswer("refused", "not this one")
    return {"yes": 0.5, "no": 0.4}  # and nothing at all in a tenth


def test_services_are_asked_with_top_p_and_a_seed_of_each_draw(tmp_path: Path) -> None:
    with HostileServer() as server:
        llm = open_llm("openai:judge", base_url=server.url)
        judge_file(Sampler(llm, n=3, top_p=0.9, temperature=0.7), QUERIES[:1], tmp_path / "out", progress=False)
        told = [(one["temperature"], one["top_p"], one["max_tokens"], one["messages"]) for one in server.bodies]
        assert told == [(0.7, 0.9, 256, [{"role": "user", "content": "Question 0?"}])] * 3
        assert len({one["seed"] for one in server.bodies}) == 3


def test_anthropic_takes_no_top_p_and_is_not_asked_as_if_it_did(tmp_path: Path) -> None:
    with HostileServer() as server:
        llm = open_llm("anthropic:judge", base_url=server.url)
        for settings in ({"top_p": 0.9}, {"temperature": 0.5}, {"temperature": 0}):
            with pytest.raises(CapabilityError, match="anthropic:judge takes neither temperature nor top_p"):
                Sampler(llm, **settings)
        assert server.bodies == []
        judge_file(Sampler(llm, n=2), QUERIES[:1], tmp_path / "out", progress=False)
        assert [set(one) for one in server.bodies] == [{"model", "max_tokens", "messages"}] * 2


def test_a_query_with_a_response_that_failed_is_a_failure_that_keeps_the_others(tmp_path: Path) -> None:
    summary = judge_file(Sampler(ScriptedLLM(answer), n=2), QUERIES, tmp_path / "out", progress=False)
    (failed,) = (json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines())
    assert (summary.count, failed["id"], failed["failure"], failed["detail"]) == (11, "3", "refused", "not this one")
    assert len(failed["partial"]["responses"]) == 1
    rows = samples(tmp_path / "out")
    assert [row["topic"] for row in rows] == [n for n in range(12) if n != 3]
    texts = Counter(text for row in rows for text in row["responses"])
    assert set(texts) <= {"yes", "no", ""}
    assert rows[0]["llm"] == "scripted:own"
    assert rows[0]["finish_reasons"] == ["stop", "stop"]


def test_a_refusal_keeps_what_was_said(tmp_path: Path) -> None:
    summary = judge_file(Sampler(ScriptedLLM(refuse), n=2), QUERIES[:1], tmp_path / "out", progress=False)
    failed = json.loads((tmp_path / "out" / "failures.jsonl").read_text())
    assert (summary.count, summary.failures) == (0, {"refused": 1})
    assert (failed["detail"], failed["exchange"], "partial" in failed) == ("will not", "I can't.", False)


def test_a_draw_that_did_not_arrive_is_asked_again_and_the_others_are_not(tmp_path: Path) -> None:
    def gone(request: Request) -> str | NoAnswer:
        return NoAnswer("unavailable", "is gone") if request.draw == 2 else f"draw {request.draw}"

    def run(script: Any) -> Any:
        return judge_file(Sampler(ScriptedLLM(script), n=4), QUERIES[:3], tmp_path / "out", progress=False)

    assert (run(gone).failures, run(gone).failures) == ({"unavailable": 3}, {"unavailable": 3})
    summary = run(lambda request: f"draw {request.draw}")
    assert (summary.count, summary.totals.asked, summary.totals.from_ledger) == (3, 3, 9)
    assert samples(tmp_path / "out")[0]["responses"] == ["draw 0", "draw 1", "draw 2", "draw 3"]


def test_texts_are_kept_as_they_were_written(tmp_path: Path) -> None:
    written = " \n\u2028 two \x85 lines\t"
    judge_file(Sampler(ScriptedLLM(lambda _: written)), QUERIES[:1], tmp_path / "out", progress=False)
    with (tmp_path / "out" / "samples.jsonl").open(encoding="utf-8") as lines:
        assert [json.loads(line)["responses"] for line in lines] == [[written]]


def test_the_responses_that_a_row_came_with_are_not_taken_for_those_that_were_drawn(tmp_path: Path) -> None:
    old = {"response": "old", "response_1": "old 1", "response_2": "old 2", "human_preference": 1.0, "model_1": "m"}
    rows = [{"id": "a", "query": "Why?", "topic": "eggs", **old}]
    judge_file(Sampler(ScriptedLLM(lambda request: f"new {request.draw}"), n=2), rows, tmp_path / "out", progress=False)
    (row,) = samples(tmp_path / "out")
    assert row["topic"] == "eggs"
    assert not set(old) & set(row)
    ((_, pair),) = read_comparisons(tmp_path / "out" / "samples.jsonl")
    assert isinstance(pair, Comparison)
    assert (pair.id, pair.response_1, pair.response_2) == ("a/1", "new 0", "new 1")


def test_a_second_run_asks_nothing_and_a_larger_one_only_what_is_new(tmp_path: Path) -> None:
    def run(rows: list[dict[str, Any]]) -> int:
        done = judge_file(Sampler(ScriptedLLM(answer), n=1), rows, tmp_path / "out", progress=False)
        return done.totals.asked

    assert [run(QUERIES[:5]), run(QUERIES[:5]), run(QUERIES)] == [5, 0, 7]


RUN = """
import os, sys
from pathlib import Path
from rlaif.llm.scripted import ScriptedLLM
from rlaif.sampling import Sampler
from rlaif.stages.judge import judge_file

out, log = sys.argv[1:]
lines = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def script(request):
    os.write(lines, (request.key(llm.identity) + "\\n").encode())
    return {"yes": 0.5, "no": 0.4}

llm = ScriptedLLM(script, latency_s=0.01)
llm.in_flight = 4
rows = [{"id": str(n), "query": f"Question {n}?"} for n in range(60)]
judge_file(Sampler(llm, n=4), rows, Path(out), progress=False)
"""


def asked(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_a_killed_run_ends_the_same_and_asks_for_nothing_that_was_stored(tmp_path: Path) -> None:
    def start(name: str, log: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path / name / "run"), str(tmp_path / log)])

    assert start("whole", "whole.log").wait() == 0
    assert len(set(asked(tmp_path / "whole.log"))) == 240
    stored: set[str] = set()
    for number, moment in enumerate((40, 60)):
        log = tmp_path / f"{number}.log"
        process = start("killed", log.name)
        while process.poll() is None and len(asked(log)) < moment:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not stored & set(asked(log))
        ledger = sqlite3.connect(tmp_path / "killed" / "ledger.sqlite")
        stored = {key.hex() for (key,) in ledger.execute("SELECT key FROM exchanges")}
        ledger.close()
    assert 0 < len(stored) < 240
    assert start("killed", "rest.log").wait() == 0
    assert set(asked(tmp_path / "rest.log")) == set(asked(tmp_path / "whole.log")) - stored
    assert samples(tmp_path / "killed" / "run") == samples(tmp_path / "whole" / "run")


def test_a_dialogue_that_a_chat_template_refuses_does_not_stop_the_others(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", chat=True)
    strict = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + CHAT
    (folder / "chat_template.jinja").write_text(strict)
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    rows = [{"id": "with", "query": turns}, {"id": "without", "query": "Why?"}]
    summary = judge_file(Sampler(str(folder), max_tokens=3), rows, tmp_path / "out", progress=False)
    failed = json.loads((tmp_path / "out" / "failures.jsonl").read_text())
    assert (summary.count, failed["id"], failed["failure"]) == (1, "with", "rejected")
    assert "chat template refuses the dialogue (no system turn)" in failed["detail"]


def test_a_model_without_a_role_for_the_system_rejects_its_turns(tmp_path: Path) -> None:
    llm = ScriptedLLM(answer, capabilities=Capabilities(temperature=True, draws=True, system_role=False))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    judge_file(Sampler(llm), [{"query": turns}], tmp_path / "out", progress=False)
    failed = json.loads((tmp_path / "out" / "failures.jsonl").read_text())
    assert (failed["failure"], failed["detail"]) == (
        "rejected",
        "query has a turn of the system, which scripted:own does not take",
    )


def test_an_instruction_is_asked_with_the_input_below_it(tmp_path: Path) -> None:
    rows = [{"instruction": "Translate.", "input": "Guten Tag"}, {"instruction": "Wait.", "input": ""}]
    judge_file(Sampler(ScriptedLLM(answer)), rows, tmp_path / "out", progress=False)
    told = [row["query"][0]["content"] for row in samples(tmp_path / "out")]
    assert told == ["Translate.\n\nGuten Tag", "Wait."]


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ({"query": ""}, "query is empty; there is nothing to answer"),
        (
            {"query": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " "}]},
            "the last turn of query is empty; there is nothing to answer",
        ),
        (
            {"query": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "query ends with a turn",
        ),
        ({"query": 7}, "query is 7"),
        ({"query": "a\0b"}, "holds a NUL character"),
    ],
)
def test_queries_that_cannot_be_answered_are_rejected(row: dict[str, Any], detail: str, tmp_path: Path) -> None:
    rows = [row | {"id": "bad"}, {"id": "good", "prompt": "Why?", "query": "Why?"}]
    summary = judge_file(Sampler(ScriptedLLM(answer)), rows, tmp_path / "out", progress=False)
    failed = json.loads((tmp_path / "out" / "failures.jsonl").read_text())
    assert (summary.count, failed["failure"]) == (1, "rejected")
    assert detail in failed["detail"]


def test_a_file_without_queries_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no query; its columns are question \(--map query=COLUMN\)"):
        judge_file(Sampler(ScriptedLLM(answer)), [{"question": "Why?"}], tmp_path / "out", progress=False)


def test_what_a_model_cannot_do_is_said_before_it_is_asked() -> None:
    fixed = ScriptedLLM(answer, capabilities=Capabilities(draws=True))
    with pytest.raises(CapabilityError, match="takes neither temperature nor top_p; leave both at 1"):
        Sampler(fixed, top_p=0.9)
    with pytest.raises(CapabilityError, match="gives one response to a query; leave n at 1"):
        Sampler(ScriptedLLM(answer, capabilities=Capabilities(temperature=True)), n=2)
    with pytest.raises(ConfigError, match="n is 2 at temperature 0, where all responses are the same"):
        Sampler(fixed, n=2, temperature=0)
    with pytest.raises(ConfigError, match="top_p"):
        Sampler(fixed, top_p=0)
