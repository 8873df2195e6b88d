"""A quote is what a run takes, where it can be counted, and else an interval whose assumptions are stated."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rlaif.stages.quoted_model as quote_module
from rlaif.errors import CapabilityError, InputError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.score import Scorer
from rlaif.llm.prices import price_of
from rlaif.pocket.data import comparisons
from rlaif.prompting import Prompter, load_task
from rlaif.records import Turn
from rlaif.stages.quote import quote

PAIR: dict[str, Any] = {"query": "Grüße?", "response_1": "ja", "response_2": "nein"}


def sizes(*responses: str) -> int:
    """Bytes of what a service reads for one order."""
    prompter = Prompter(load_task("helpfulness"), "preference")
    prompt = prompter.ask((Turn(role="user", content="Grüße?"),), *responses)
    only = "Reply with 1 or 2, and with nothing else."
    return len(f"{prompt.shared}{prompt.question}\n\n{only}\n\n{prompt.continuation}".encode())


def test_what_a_local_model_takes_is_counted_and_is_what_it_takes() -> None:
    rows = list(comparisons(12, task="helpfulness", split="heldout", seed=3))
    (told,) = quote(rows, "helpfulness", ["pocket:labeler-xs"], exemplars=1).quotes
    labels = PreferenceLabeler("helpfulness", "pocket:labeler-xs", exemplars=1, max_unread_mass=1.0).label(rows)
    assert told.input_tokens == (sum(one.input_tokens for one in labels),) * 2
    assert told.output_tokens == (24, 24)
    assert (told.requests, told.method, told.cost_usd, told.is_local) == (24, "exact", None, True)
    (scored,) = quote(rows, "helpfulness", ["pocket:labeler-xs"], score=True).quotes
    responses = [{"query": row["query"], "response": row[f"response_{n}"]} for row in rows for n in (1, 2)]
    scores = Scorer("helpfulness", "pocket:labeler-xs", max_unread_mass=1.0).score(responses)
    assert scored.input_tokens == (sum(one.input_tokens for one in scores),) * 2
    assert scored.requests == 24


def test_what_a_service_takes_is_estimated_from_bytes() -> None:
    found = quote([PAIR], "helpfulness", ["openai:gpt-4.1-mini", "openai:no-such-model"])
    known, unknown = found.quotes
    both = sizes("ja", "nein")
    # Either order has the same bytes; ten tokens more a request are the protocol's.
    assert known.input_tokens == pytest.approx((2 * (both / 5 + 10), 2 * (both / 3 + 10)))
    assert known.output_tokens == (2, 2)
    # $.40 and $1.60 a million.
    assert known.cost_usd == pytest.approx(tuple(0.4e-6 * read + 1.6e-6 * 2 for read in known.input_tokens))
    assert unknown.input_tokens == known.input_tokens
    assert unknown.cost_usd is None


def test_a_beginning_that_all_prompts_share_is_cheaper_where_it_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quote_module, "CACHED_FROM_TOKENS", 500)
    rows = [PAIR, {**PAIR, "query": "Another?"}]
    (short,) = quote(rows, "helpfulness", ["openai:gpt-4.1-mini"]).quotes
    assert short.cached_tokens == 0
    (long,) = quote(rows, "helpfulness", ["openai:gpt-4.1-mini"], exemplars=2, rationale=True).quotes
    prompter = Prompter(load_task("helpfulness"), "preference", "detailed", 2, True)
    shared = len(prompter.ask((Turn(role="user", content="?"),), "a", "b").shared.encode()) / 5
    assert 500 < shared < 1024
    # Two rows in two orders, a rationale and a verdict each: eight requests, of which one round finds nothing.
    assert long.cached_tokens == pytest.approx(6 * shared)
    assert long.cost_usd is not None
    low = 0.4e-6 * (long.input_tokens[0] - 6 * shared) + 0.1e-6 * 6 * shared + 1.6e-6 * long.output_tokens[0]
    assert long.cost_usd[0] == pytest.approx(low)
    # By batch jobs tokens cost half, and what the cache serves costs what is listed for that.
    batch = price_of("openai", "gpt-4.1-mini", batch=True)
    assert batch is not None
    assert (batch.input, batch.output) == pytest.approx((0.2e-6, 0.8e-6))
    assert long.batch_usd is not None
    low = 0.2e-6 * (long.input_tokens[0] - 6 * shared) + batch.cached * 6 * shared + 0.8e-6 * long.output_tokens[0]
    assert long.batch_usd == pytest.approx((low, long.cost_usd[1] / 2))


def test_draws_rationales_and_orders_multiply_what_is_asked() -> None:
    settings: dict[str, Any] = {"method": "sampled", "draws": 5, "rationale": True, "max_rationale_tokens": 100}
    (told,) = quote([PAIR] * 3, "helpfulness", ["anthropic:claude-haiku-4-5"], **settings).quotes
    # Three rows in two orders: a rationale and five draws each.
    assert told.requests == 3 * 2 * (1 + 5)
    assert told.output_tokens == (6 * (60 + 5 * 1), 6 * (100 + 5 * 8))
    (one,) = quote([PAIR] * 3, "helpfulness", ["anthropic:claude-haiku-4-5"], orders="one", **settings).quotes
    assert one.requests == told.requests / 2
    (thinks,) = quote([PAIR], "helpfulness", ["openai:gpt-5-mini"], method="sampled", draws=1).quotes
    assert thinks.output_tokens == (2 * 101, 2 * (8 + 4096))


def test_a_sample_makes_the_interval_wider_and_holds_the_truth() -> None:
    rows = [{**PAIR, "query": "word " * (n % 50)} for n in range(1000)]
    for row in rows[::50]:
        row["query"] = "word"
    (whole,) = quote(rows, "helpfulness", ["openai:gpt-4.1"], sample=1000).quotes
    found = quote(rows, "helpfulness", ["openai:gpt-4.1"], sample=40)
    (part,) = found.quotes
    assert (found.items, found.sampled) == (1000, 40)
    assert part.input_tokens[0] < whole.input_tokens[0] < whole.input_tokens[1] < part.input_tokens[1]
    # 40 of these rows have two standard errors of about 1 %; no more is added.
    assert part.input_tokens[1] < 1.05 * whole.input_tokens[1]


def test_what_cannot_be_judged_is_not_quoted_and_what_cannot_be_asked_is_said() -> None:
    rows = [PAIR, {**PAIR, "response_1": ""}, {**PAIR, "response_2": "ja"}, {"query": 3}]
    found = quote(rows, "helpfulness", ["openai:gpt-4.1"])
    assert (found.items, found.rejected) == (1, 3)
    with pytest.raises(InputError, match=r"there is no row to quote \(2 cannot be used\)"):
        quote(rows[1:3], "helpfulness", ["openai:gpt-4.1"])
    with pytest.raises(CapabilityError, match="anthropic:claude gives no log-probabilities"):
        quote([PAIR], "helpfulness", ["anthropic:claude"])


def test_the_command_shows_models_side_by_side(tmp_path: Path) -> None:
    data = tmp_path / "pairs.jsonl"
    data.write_text(json.dumps(PAIR) + "\n")
    models = ["openai:gpt-4.1-mini", "openai:no-such-model", "pocket:labeler-xs"]
    words = [sys.executable, "-m", "rlaif", "quote", str(data), "--task", "helpfulness"]
    words += [word for model in models for word in ("--llm", model)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "COLUMNS": "160"})
    assert done.returncode == 0, done.stderr
    for word in (*models, "price not known", "nobody is paid", "1 row; prompts of 1 were rendered."):
        assert word in done.stdout
    (told,) = quote([PAIR], "helpfulness", models[:1]).quotes
    assert told.cost_usd is not None
    assert "{:.4f}-{:.4f}".format(*told.cost_usd) in done.stdout
