"""Several labelers on the same items, one labeler twice on the same items, and a pilot of several."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from doubles import shown_first
from hostile import HostileServer

from rlaif.errors import BudgetError, ConfigError, RunFolderError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.base import Choose, NoAnswer, Request
from rlaif.llm.open import open_llm
from rlaif.llm.prices import Budget
from rlaif.llm.remote import Limits
from rlaif.llm.scripted import ScriptedLLM
from rlaif.stages.judge import judge_file
from rlaif.stages.panel import label_by_panel
from rlaif.stages.pilot import pilot
from rlaif.stages.repeat import LEAST, ask_again

N = 12


def write(path: Path, n: int = N) -> Path:
    rows = [
        {
            "id": str(i),
            "query": f"Q{i}",
            "response_1": "good",
            "response_2": "bad",
            "human_preference": (1.0, 0.0, 0.5)[i % 3],
            "source": "mine",
        }
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def judge(name: str, good: float, refuses: str = "", first: float = 0.0) -> PreferenceLabeler:
    """Prefers the good response with this probability, `first` more where it is shown first."""

    def script(request: Request) -> Mapping[str, float] | NoAnswer:
        assert isinstance(request.want, Choose)
        if refuses and f" {refuses}\n" in request.messages[-1].content:
            return NoAnswer("refused", "by script")
        is_first = shown_first(request) == "good"
        share = good + first if is_first else good - first
        return {"1": share, "2": 1 - share} if is_first else {"1": 1 - share, "2": share}

    return PreferenceLabeler("helpfulness", ScriptedLLM(script, f"scripted:{name}"))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_panel_keeps_the_mean_and_each_ones_own(tmp_path: Path) -> None:
    data, out = write(tmp_path / "data.jsonl"), tmp_path / "panel"
    panel = label_by_panel([judge("a", 0.9), judge("b", 0.4, refuses="Q3"), judge("c", 0.8)], data, out, progress=False)
    rows = read(out / "preferences.jsonl")
    assert [row["id"] for row in rows] == [str(i) for i in range(N) if i != 3]
    for row in rows:
        assert row["panel"] == pytest.approx({"scripted:a": 0.9, "scripted:b": 0.4, "scripted:c": 0.8})
        assert row["preference"] == pytest.approx(0.7)
        assert (row["preference_12"], row["preference_21"]) == pytest.approx((0.7, 0.7))
        assert row["llm"] == "scripted:a + scripted:b + scripted:c"
        assert (row["method"], row["source"]) == ("exact", "mine")
    assert panel.count == len(rows)
    (failure,) = read(out / "failures.jsonl")
    assert (failure["id"], failure["failure"]) == ("3", "refused")
    assert failure["detail"].startswith("scripted:b: ")
    manifest = json.loads((out / "manifest.json").read_text())
    told = {(one["one"], one["other"]): one for one in manifest["agreement"]}
    assert told["scripted:a", "scripted:c"]["value"] == 1
    assert told["scripted:a", "scripted:c"]["n"] == N - 1
    assert told["scripted:a", "scripted:b"]["value"] == 0
    assert told["scripted:a", "scripted:b"]["difference"] == pytest.approx(0.5)
    # Each one's own run is whole, with what the others could not label.
    assert len(read(out / manifest["members"]["scripted:a"] / "preferences.jsonl")) == N
    again = label_by_panel([judge("a", 0.9), judge("b", 0.4, refuses="Q3")], data, out, progress=False)
    assert all(run.totals.asked == 0 for run in again.members.values())


def test_a_panel_refuses_a_model_twice_and_another_runs_folder(tmp_path: Path) -> None:
    data, out = write(tmp_path / "data.jsonl"), tmp_path / "run"
    with pytest.raises(ConfigError, match=r"scripted:a is there twice; a panel's labelers differ"):
        label_by_panel([judge("a", 0.9), judge("a", 0.9)], data, out)
    judge_file(judge("a", 0.9), data, out, progress=False)
    with pytest.raises(RunFolderError, match="is the run folder of one labeler"):
        label_by_panel([judge("a", 0.9), judge("b", 0.9)], data, out)


def test_sampled_and_exact_labels_mix(tmp_path: Path) -> None:
    sampled = PreferenceLabeler(
        "helpfulness", ScriptedLLM(lambda _: {"1": 0.5, "2": 0.5}, "scripted:s"), method="sampled", draws=4
    )
    data = write(tmp_path / "data.jsonl")
    label_by_panel([judge("a", 0.9), sampled], data, tmp_path / "panel", progress=False)
    (row, *_) = read(tmp_path / "panel" / "preferences.jsonl")
    assert row["method"] == "mixed"
    assert "draws" not in row
    assert row["preference"] == pytest.approx((0.9 + row["panel"]["scripted:s"]) / 2)


def test_a_label_that_never_moves_and_one_that_is_a_coin(tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", 300)
    steady, out = judge("a", 0.9), tmp_path / "steady"
    judge_file(steady, data, out, progress=False)
    found = ask_again(steady, out, progress=False)
    assert found is not None
    assert (found.same_side.value, found.same_side.n, found.difference) == (1, LEAST, 0)
    assert json.loads((out / "manifest.json").read_text())["reliability"]["n"] == LEAST
    # It was asked, not looked up.
    told = json.loads((out / "repeat-1" / "manifest.json").read_text())["invocations"][0]
    assert (told["asked"], told["from_ledger"]) == (2 * LEAST, 0)

    llm = ScriptedLLM(lambda _: {"1": 0.5, "2": 0.5}, "scripted:coin")
    coin, out = PreferenceLabeler("helpfulness", llm, method="sampled", draws=1), tmp_path / "coin"
    judge_file(coin, data, out, progress=False)
    found = ask_again(coin, out, times=3, progress=False)
    assert found is not None
    assert found.same_side.n == 2 * LEAST
    # Both orders of a coin: a tie in half the items, and else either side.
    assert found.same_side.value == pytest.approx(0.5, abs=0.1)
    assert found.difference == pytest.approx(0.375, abs=0.08)
    with pytest.raises(ConfigError, match="repeat is 1; an item is asked at least twice"):
        ask_again(coin, out, times=1)


MODELS = "abc"


def billed(server: HostileServer) -> float:
    return 2e-6 * server.input_tokens + 8e-6 * server.output_tokens


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text("".join(f"openai:{name}: {{input: 2, output: 8}}\n" for name in MODELS))
    return path


@pytest.fixture
def cost_of_one(tmp_path: Path, prices: Path) -> float:
    """What one of the models costs, on 40 items."""
    data = write(tmp_path / "data.jsonl", 40)
    with HostileServer(models=MODELS) as server:
        llm = open_llm("openai:a", base_url=server.url, prices=prices)
        judge_file(PreferenceLabeler("helpfulness", llm), data, tmp_path / "one" / "run", progress=False)
        return billed(server)


@pytest.mark.parametrize(
    ("command", "more"),
    [("label", ["--llm", "openai:b", "--llm", "openai:c"]), ("label", ["--repeat", "3"]),
     ("pilot", ["--llm", "openai:b", "--llm", "openai:c", "--n", "40"])],
    ids=["panel", "repeat", "pilot"],
)  # fmt: skip
def test_a_cap_is_that_of_the_whole_command(
    tmp_path: Path, prices: Path, cost_of_one: float, command: str, more: list[str]
) -> None:
    cap = 1.15 * cost_of_one
    with HostileServer(models=MODELS) as server:
        words = [command, "data.jsonl", "--task", "helpfulness", "--llm", "openai:a", "--base-url", server.url]
        words += ["--prices", str(prices), "--max-cost-usd", str(cap), "--out", "capped/run", *more]
        done = subprocess.run(
            [sys.executable, "-m", "rlaif", *words], capture_output=True, text=True, env=os.environ, cwd=tmp_path
        )
        assert done.returncode == 2, done.stderr
        assert "error: the cap of $" in done.stderr
        assert cost_of_one <= billed(server) <= cap


def test_a_budget_is_that_of_all_who_are_given_it(tmp_path: Path, prices: Path, cost_of_one: float) -> None:
    data, budget = tmp_path / "data.jsonl", Budget(1.15 * cost_of_one)
    with HostileServer(models=MODELS) as server:
        llms = [open_llm(f"openai:{name}", base_url=server.url, prices=prices, budget=budget) for name in MODELS]
        panel = [PreferenceLabeler("helpfulness", llm) for llm in llms]
        with pytest.raises(BudgetError, match=r"the cap of \$"):
            label_by_panel(panel, data, tmp_path / "capped" / "panel", progress=False)
        assert cost_of_one <= billed(server) <= 1.15 * cost_of_one
        assert budget.spent_usd == pytest.approx(billed(server))


def test_a_models_own_cap_holds_for_all_its_runs(tmp_path: Path, prices: Path, cost_of_one: float) -> None:
    data, out = tmp_path / "data.jsonl", tmp_path / "capped" / "run"
    with HostileServer(models=MODELS) as server:
        limits = Limits(max_cost_usd=1.15 * cost_of_one)
        llm = open_llm("openai:a", base_url=server.url, prices=prices, limits=limits)
        labeler = PreferenceLabeler("helpfulness", llm)
        judge_file(labeler, data, out, progress=False)
        with pytest.raises(BudgetError, match=r"the cap of \$"):
            ask_again(labeler, out, times=3, progress=False)
        assert cost_of_one <= billed(server) <= 1.15 * cost_of_one


def test_a_tie_in_one_order_is_not_the_same_position(tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", 10)
    # P(good) is .5 where it is shown first, and .7 where it is shown second; and the other way round.
    one, other = judge("one", 0.6, first=-0.1), judge("other", 0.4, first=0.1)
    found = pilot([one, other], data, tmp_path / "pilot", 10, progress=False)
    for trial in found.trials:
        assert trial.same_position is not None
        assert (trial.same_position.value, trial.same_position.n) == (0, 10)


def test_a_pilot_says_who_agrees_with_people_and_what_the_rest_costs(tmp_path: Path) -> None:
    data, prices = write(tmp_path / "data.jsonl", 60), tmp_path / "prices.yaml"
    prices.write_text("openai:judge: {input: 2, output: 8}\n")
    with HostileServer() as server:
        llm = open_llm("openai:judge", base_url=server.url, prices=prices)
        paid = PreferenceLabeler("helpfulness", llm)
        found = pilot([judge("a", 0.9), judge("b", 0.5, first=0.3), paid], data, tmp_path / "pilot", 30, progress=False)
        sampled = 2e-6 * server.input_tokens + 8e-6 * server.output_tokens
        assert (found.sampled, found.rest) == (30, 30)
        always, positional, third = found.trials
        people = [row["human_preference"] for row in read(tmp_path / "pilot" / "scripted-a" / "preferences.jsonl")]
        assert always.with_people is not None
        assert (always.with_people.n, always.with_people.value) == (
            30 - people.count(0.5),
            people.count(1.0) / (30 - people.count(0.5)),
        )
        assert always.same_position is not None
        assert positional.same_position is not None
        assert (always.same_position.value, positional.same_position.value) == (0, 1)
        assert (always.cost_usd, always.rest_usd) == (None, None)
        assert third.cost_usd == pytest.approx(sampled)
        assert third.rest_usd is not None
        # The rest costs what was quoted, and what the pilot asked is not asked again.
        rest = judge_file(paid, data, tmp_path / "all", progress=False)
        assert rest.totals.from_ledger == 60
        assert third.rest_usd[0] <= (rest.totals.usage.cost_usd or 0) <= third.rest_usd[1]


def test_the_commands(tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl")

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "rlaif", *words], capture_output=True, text=True, env=os.environ, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    two = ["--llm", "pocket:labeler-xs", "--llm", "scripted:hashed"]
    said = run("label", str(data), "--task", "helpfulness", *two, "--out", "panel")
    assert "the mean of 2 labelers, 12 rows (no failures)" in said
    assert "pocket:labeler-xs and scripted:hashed" in said
    said = run("label", str(data), "--task", "helpfulness", "--llm", "scripted:hashed", "--repeat", "2", "--out", "one")
    assert "asked 2 times: the same side 1.000 (0.758-1.000), n = 12 repetitions; the label moves by 0.0000" in said
    said = run("pilot", str(data), "--task", "helpfulness", *two, "--n", "6", "--out", "pilot")
    assert "6 random items, 6 are left" in said
    assert "nobody is paid" in said
    for words in (
        ["label", str(data), "--task", "helpfulness", *two, "--repeat", "2", "--out", "both"],
        ["score", str(data), "--task", "helpfulness", *two, "--out", "scores"],
    ):
        done = subprocess.run([sys.executable, "-m", "rlaif", *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2
        assert "error: --" in done.stderr
