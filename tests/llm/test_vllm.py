"""The real vLLM engine, in a server and in its own process: it labels as transformers does, and draws as often.

It lives in a virtual environment of its own, which `make vllm` builds.
"""

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import make_model
from doubles import judged, outcomes
from scipy.stats import binom

from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.score import Scorer
from rlaif.labeling.verdict import request
from rlaif.llm.base import Choose, Request
from rlaif.llm.open import open_llm
from rlaif.llm.reading import read_exact
from rlaif.pocket.data import comparisons
from rlaif.pocket.paths import model_folder
from rlaif.records import Comparison, Turn
from rlaif.stages.train import train

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
ENVIRONMENT = {
    **os.environ,
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}
FALSE_ALARM = 1e-6
TEMPLATE = "{{ bos_token }}{% for turn in messages %}{{ turn.content }}{{ '' if loop.last else '\n\n' }}{% endfor %}"
"""As a model without a template is asked here: texts with an empty line between them."""

pytestmark = pytest.mark.skipif(
    not PYTHON.exists() and "RLAIF_REQUIRE_VLLM" not in os.environ,
    reason="vLLM is not installed; make vllm builds it",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server with the large labeler."""
    with serving(tmp_path_factory.mktemp("vllm")) as url:
        yield url


@contextmanager
def serving(folder: Path, *more: str, model: Path | None = None) -> Iterator[str]:
    (folder / "template.jinja").write_text(TEMPLATE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = model or model_folder("labeler-l")
    words = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    words += ["--served-model-name", "labeler", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    words += ["--chat-template", str(folder / "template.jinja"), "--max-num-seqs", "64", "--enforce-eager"]
    words += ["--enable-prefix-caching", "--enable-prompt-tokens-details", *more]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 300
        while not healthy(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
            assert time.monotonic() < until
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def healthy(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=2).status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def pairs() -> list[dict[str, Any]]:
    return list(comparisons(200, task="helpfulness", split="heldout", seed=11))


def farthest(one: list[list[float]], other: list[list[float]]) -> float:
    assert len(one) == len(other) == 400
    return max(abs(a - b) for first, second in zip(one, other, strict=True) for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def by_transformers(pairs: list[dict[str, Any]]) -> list[list[float]]:
    return judged(open_llm("pocket:labeler-l"), pairs)


@pytest.mark.parametrize("endpoint", ["completions", None])
def test_the_server_labels_as_transformers_does(
    server: str, endpoint: str | None, pairs: list[dict[str, Any]], by_transformers: list[list[float]]
) -> None:
    llm = open_llm("openai:labeler", base_url=f"{server}/v1", endpoint=endpoint)
    assert llm.identity["endpoint"] == (endpoint or "chat")
    assert llm.identity["logprobs"] == "raw"
    assert llm.capabilities.exact
    labels = PreferenceLabeler("helpfulness", llm).label(pairs[:5])
    assert {one.method for one in labels} == {"exact"}
    # All prompts of a task begin alike, and a block of them is in the server's cache.
    assert labels[-1].cached_tokens > 0
    assert farthest(judged(llm, pairs), by_transformers) < 1e-3


@pytest.mark.acceptance
def test_processed_log_probabilities_are_noticed_and_read_alike(
    tmp_path: Path, pairs: list[dict[str, Any]], by_transformers: list[list[float]]
) -> None:
    with serving(tmp_path, "--logprobs-mode", "processed_logprobs") as url:
        llm = open_llm("openai:labeler", base_url=f"{url}/v1")
        assert llm.identity["logprobs"] == "processed"
        assert farthest(judged(llm, pairs), by_transformers) < 1e-3


@pytest.mark.acceptance
def test_a_ten_that_the_tokenizer_cuts_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", split_digits=True, hidden=128, spread=0.15)
    rows = [{"id": str(n), "query": f"Question {n}?", "response": f"the response {n}"} for n in range(40)]
    here = Scorer("helpfulness", f"transformers:{model}", max_unread_mass=1.0).score(rows)
    with serving(tmp_path, model=model) as url:
        for endpoint in ("chat", "completions"):
            llm = open_llm("openai:labeler", base_url=f"{url}/v1", endpoint=endpoint)
            there = Scorer("helpfulness", llm, max_unread_mass=1.0).score(rows)
            for one, other in zip(here, there, strict=True):
                assert other.distribution == pytest.approx(one.distribution, rel=1e-2)
    assert min(one.distribution[9] for one in here) > 1e-12


def test_a_policy_is_trained_by_the_server_with_the_scores_that_transformers_gives(
    server: str, tmp_path: Path, pairs: list[dict[str, Any]]
) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text("".join(json.dumps({"id": row["id"], "query": row["query"]}) + "\n" for row in pairs[:40]))
    config = {
        "model": "pocket:policy",
        "queries": str(queries),
        "steps": 10,
        "rollout": {"batch": 8, "max_tokens": 16},
        "ppo": {"epochs": 1},
        "labeler": {"llm": "openai:labeler", "base_url": f"{server}/v1", "task": "helpfulness"},
        "checkpoints": {"samples_every_steps": 1, "samples": 8},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    (trained,) = train("ppo", path, tmp_path / "run", progress=False)
    assert trained.facts["status"] == "complete"
    told = rows_of(trained.out / "judgements-0.jsonl")
    assert [row["step"] for row in told] == list(range(1, 11))
    there = [one for row in told for one in row["rewards"]]
    asked = [
        {"id": str(number), "query": row["query"], "response": row["response"]}
        for number, row in enumerate(rows_of(trained.out / "samples.jsonl"))
    ]
    assert len(there) == len(asked) == 80
    here = Scorer("helpfulness", "pocket:labeler-l").score(asked)
    assert there == pytest.approx([one.scaled for one in here], abs=1e-3)
    # They differ, so that those of other responses would not do.
    assert max(there) - min(there) > 0.1


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


IN_PROCESS = """
import json
from doubles import judged
from rlaif.llm.open import open_llm
from rlaif.pocket.data import comparisons
pairs = list(comparisons(200, task="helpfulness", split="heldout", seed=11))
print(json.dumps(judged(open_llm("vllm:pocket:labeler-l"), pairs)))
"""


def test_in_its_own_process_it_labels_as_transformers_does(by_transformers: list[list[float]]) -> None:
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run([str(PYTHON), "-c", IN_PROCESS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert farthest(json.loads(done.stdout.splitlines()[-1]), by_transformers) < 1e-3


def test_draws_through_the_anthropic_protocol_are_as_frequent_as_their_probabilities(
    server: str, pairs: list[dict[str, Any]]
) -> None:
    draws, few = 20, pairs[:30]
    llm = open_llm("anthropic:labeler", base_url=server)
    labeler = PreferenceLabeler("helpfulness", llm, method="sampled", draws=draws, max_unread_mass=1.0)
    labels = labeler.label(few)
    requests: list[Request] = []
    for row in few:
        item = Comparison.model_validate(row)
        for texts in ((item.response_1, item.response_2), (item.response_2, item.response_1)):
            prompt = labeler.prompter.ask(item.query, *texts)
            asked = request(llm.capabilities, prompt, Choose(("1", "2")), ("1", "2"))
            text, _, ending = asked.messages[0].content.rpartition("\n\n")
            # The same text for a model that goes on from its ending.
            requests.append(replace(asked, messages=(Turn(role="user", content=text),), continuation=ending))
    exact = [read_exact(answer.chains) for answer in outcomes(open_llm("pocket:labeler-l"), requests)]
    tails = []
    for number, label in enumerate(labels):
        for reading, preference, unread, place in (
            (exact[2 * number], label.preference_12, label.unread_mass_12, 0),
            (exact[2 * number + 1], label.preference_21, label.unread_mass_21, 1),
        ):
            # How often response 1 was the answer, of all draws, and how often it is by the exact distribution.
            found = round((1 - unread) * preference * draws)
            p = reading.probabilities[place]
            tails.append(min(1.0, 2 * min(binom.cdf(found, draws, p), binom.sf(found - 1, draws, p))))
    # A two-sided tail is at most .05 in at most .05 of the items; this bound fails one time in a million.
    outside = sum(tail <= 0.05 for tail in tails)
    assert outside <= binom.isf(FALSE_ALARM, len(tails), 0.05)
    assert min(tails) > FALSE_ALARM / len(tails)
