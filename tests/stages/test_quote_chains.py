"""What `rlaif quote --revisions` says beside what a run then takes."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.constitution.principles import Constitution, Principle, draw
from rlaif.constitution.revise import Reviser
from rlaif.errors import InputError
from rlaif.pocket.data import comparisons
from rlaif.records import Draft, Turn
from rlaif.stages.judge import judge_file
from rlaif.stages.quote_chains import quote_chains

SETTINGS: dict[str, Any] = {"revisions": 2, "max_tokens": 32, "max_critique_tokens": 16}


def rows(n: int, answered: bool) -> list[dict[str, Any]]:
    found = comparisons(n, task="harmlessness", split="heldout", seed=3)
    given = [{"id": row["id"], "query": row["query"], "response": row["response_1"]} for row in found]
    return given if answered else [{"id": row["id"], "query": row["query"]} for row in given]


@pytest.mark.filterwarnings("ignore:.*was not trained on this prompt")
@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("critique", [True, False])
def test_a_local_run_takes_what_was_quoted(answered: bool, critique: bool, tmp_path: Path) -> None:
    data, settings = rows(6, answered), SETTINGS | {"critique": critique}
    found = quote_chains(data, "harmless", ["pocket:policy"], **settings)
    (quote,) = found.quotes
    done = judge_file(Reviser("harmless", "pocket:policy", **settings), data, tmp_path / "run", progress=False)
    assert (found.items, found.rejected, found.sampled) == (6, 0, 6)
    assert quote.requests == done.totals.asked == 6 * (2 * (1 + critique) + (not answered))
    low, high = quote.input_tokens
    assert low <= done.totals.usage.input_tokens <= high
    assert done.totals.usage.output_tokens <= quote.output_tokens[1]
    assert quote.cost_usd is None


def test_a_service_is_quoted_in_dollars_and_exemplars_can_be_cached() -> None:
    plain, worked = (
        quote_chains(rows(20, True), "harmless", ["openai:gpt-4.1-mini"], exemplars=exemplars).quotes[0]
        for exemplars in (0, 4)
    )
    assert plain.requests == worked.requests == 20 * 8
    assert plain.cost_usd is not None
    assert worked.cost_usd is not None
    assert plain.cost_usd[1] < worked.cost_usd[1]
    assert plain.cached_tokens == 0 < worked.cached_tokens < worked.input_tokens[0]
    assert worked.batch_usd is not None
    assert worked.batch_usd[1] == pytest.approx(worked.cost_usd[1] / 2)


def test_rows_that_cannot_be_revised_are_counted() -> None:
    some = [*rows(2, False), {"id": "x", "query": [{"role": "assistant", "content": "Hello"}]}]
    found = quote_chains(some, "harmless", ["pocket:policy"])
    assert (found.items, found.rejected) == (2, 1)
    with pytest.raises(InputError, match="no row to quote"):
        quote_chains(some[2:], "harmless", ["pocket:policy"])


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    data = tmp_path / "queries.jsonl"
    data.write_text('{"query": "Q"}\n')
    for words, missing in ((["--llm", "pocket:policy"], "--constitution"), (["--constitution", "harmless"], "--llm")):
        done = CliRunner().invoke(app, ["quote", str(data), "--revisions", "2", *words])
        assert f"{missing} is missing" in str(done.exception)
    done = CliRunner().invoke(
        app, ["quote", str(data), "--revisions", "2", "--constitution", "harmless", "--llm", "pocket:policy"]
    )
    assert done.exit_code == 0
    assert "pocket:policy text" in done.stdout


def test_a_later_response_is_quoted_by_the_principles_that_it_draws() -> None:
    short = Principle(id="short", critique_request="What is rude?", revision_request="Rewrite it.")
    long = Principle(id="long", critique_request="What is rude? " * 200, revision_request="Rewrite it.")
    constitution = Constitution(title="Two", description="A short one and a long one.", principles=(short, long))

    def drawn(number: int, seed: int) -> str:
        item = Draft(id="a", query=(Turn(role="user", content="Q?"),), response="R", response_index=number)
        return draw(constitution, "revision", seed, item.drawn_by, 1)[0].id

    seed = next(seed for seed in range(100) if (drawn(0, seed), drawn(1, seed)) == ("short", "long"))
    read = [
        quote_chains(
            [{"id": "a", "query": "Q?", "response": "R", "response_index": number}],
            constitution,
            ["openai:gpt-4.1-mini"],
            revisions=1,
            seed=seed,
        )
        .quotes[0]
        .input_tokens[0]
        for number in (0, 1)
    ]
    assert read[1] > read[0] + 400
