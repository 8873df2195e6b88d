"""Training whose reward is a labeler, from a config file: through kills, warnings and second runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hostile import HostileServer
from safetensors.torch import load_file
from tiny_policy import tiny_policy
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlaif.errors import BudgetError, InputError, RowError, RunFolderError, TrainingError
from rlaif.pocket.data import comparisons, gold
from rlaif.pocket.paths import model_folder
from rlaif.records import Failure, Turn
from rlaif.rewards import FromTRL
from rlaif.stages.online import OnlineConfig, PPOConfig
from rlaif.stages.train import train
from rlaif.stages.watchers import Watch, changed_share, complaints, gold_scores, mean
from rlaif.training.models import head_from_policy, save_folder
from rlaif.training.scoring import normalise
from rlaif.training.tokens import Tokenizer

QUERIES = [
    {"id": row["id"], "query": row["query"]} for row in comparisons(24, task="harmlessness", split="train", seed=3)
]
UNSEEN = [
    {"id": row["id"], "query": row["query"]} for row in comparisons(6, task="harmlessness", split="heldout", seed=4)
]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"), hidden=16, layers=1)


@pytest.fixture
def config(tmp_path: Path, policy: Path) -> Callable[..., Path]:
    """Writes queries and a config that names them."""

    def written(queries: list[dict[str, Any]] = QUERIES, **settings: Any) -> Path:
        content: dict[str, Any] = {
            "model": str(policy),
            "queries": str(write(tmp_path / "queries.jsonl", queries)),
            "steps": 4,
            "rollout": {"batch": 8, "max_tokens": 8},
            "optimisation": {"learning_rate": 1e-2},
            "ppo": {"epochs": 1},
            "labeler": {"llm": "pocket:labeler-xs", "task": "harmlessness"},
            "kl": {"control": "adaptive", "target": 0.05, "horizon": 100},
        } | settings
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return written


def by_length(completions: list[Any], **_: Any) -> list[float]:
    """The more letters, the better."""
    return [len(one[0]["content"]) / 100 for one in completions]


def test_the_command_trains_by_a_labeler_once_and_refuses_other_settings_by_name(
    config: Callable[..., Path], tmp_path: Path
) -> None:
    unseen = write(tmp_path / "unseen.jsonl", UNSEEN)
    watch = {"queries": str(unseen), "every_steps": 2, "gold": "harmlessness", "max_unread_mass": 1e-12}
    optimisation, rollout = {"learning_rate": 1e-4}, {"batch": 8, "max_tokens": 16}
    path = config(model="pocket:policy", steps=2, rollout=rollout, optimisation=optimisation, watch=watch)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "rlaif", "train", "ppo", str(path), "--out", str(out)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{out / 'model'}: trained, 2 steps on 24 queries",
        f"{out / 'report.html'}: how it went, to read",
    ]
    assert "much of the labeler's probability is on no answer (labeler_unread_mass is" in done.stderr
    assert done.stderr.count("warning: ") == 1
    assert "step 2 of 2  score" in done.stderr
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    assert AutoTokenizer.from_pretrained(out / "model").eos_token_id is not None
    start = AutoModelForCausalLM.from_pretrained(model_folder("policy"))
    assert not all(torch.equal(one, other) for one, other in zip(model.parameters(), start.parameters(), strict=True))
    watched = lines(out / "watch.jsonl")
    assert [row["step"] for row in watched] == [0, 2]
    for row in watched:
        assert row["n"] == 6
        assert all(-1 <= row[name] <= 1 for name in ("labeler", "other_form", "gold"))
        assert row["labeler_failed"] == row["gold_failed"] == 0
        assert 0 <= row["changed_share"] <= 1
        assert 0 < row["distinct_share"] <= 1
        # The labeler is what it was, to rounding.
        assert row["anchor_drift"] == pytest.approx(0, abs=1e-4)
    metrics = lines(out / "metrics.jsonl")
    assert {"labeler_score_1_to_10", "labeler_mass_at_1", "labeler_unread_mass", "seconds_generate"} <= metrics[
        0
    ].keys()
    # The mean reward is the mean score, mapped.
    assert metrics[0]["score"] == pytest.approx(2 * (metrics[0]["labeler_score_1_to_10"] - 1) / 9 - 1, abs=0.2)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["status"], manifest["stage"]) == ("complete", "train ppo")
    assert manifest["usage"]["asked"] > 0
    (again,) = train("ppo", path, out, progress=False)
    assert again.before
    with pytest.raises(RunFolderError, match=r"holds another run \(kl\.kl_coef was 0\.05 there and is 0\.2 now\)"):
        train("ppo", path, out, overrides=["kl.kl_coef=0.2"], progress=False)
    with pytest.raises(RunFolderError, match=r"stage was 'train ppo' there and is 'train reinforce' now"):
        train("reinforce", without_ppo(path), out, progress=False)


def without_ppo(path: Path) -> Path:
    settings = yaml.safe_load(path.read_text())
    settings.pop("ppo")
    other = path.with_name("reinforce.yaml")
    other.write_text(yaml.safe_dump(settings))
    return other


def test_a_killed_run_goes_on_to_the_same_weights(config: Callable[..., Path], tmp_path: Path) -> None:
    path = config(steps=8, rollout={"batch": 8, "max_tokens": 12}, checkpoints={"every_steps": 3})
    (whole,) = train("ppo", path, tmp_path / "whole", progress=False)
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "rlaif", "train", "ppo", str(path), "--out", str(out)]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        # Past the checkpoint of step 3, in the midst of a later one.
        while process.poll() is None and not ((out / "metrics.jsonl").exists() and len(lines_so_far(out)) >= 5):
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "model").exists()
    (resumed,) = train("ppo", path, out, progress=False)
    assert not resumed.before
    assert same(whole.out, out)
    assert [row["step"] for row in lines(out / "metrics.jsonl")] == list(range(1, 9))
    found, wanted = (numbers(folder / "metrics.jsonl") for folder in (out, whole.out))
    assert found == wanted
    assert all(row.keys() > {"labeler_score_1_to_10", "labeler_unread_mass", "grad_norm"} for row in wanted)


def numbers(path: Path) -> list[dict[str, Any]]:
    """Metrics without seconds."""
    return [
        {name: one for name, one in row.items() if not name.startswith("seconds_") and name != "waited_s"}
        for row in lines(path)
    ]


def lines_so_far(out: Path) -> list[str]:
    return (out / "metrics.jsonl").read_text().splitlines()


def test_reinforce_trains_by_a_function_in_trl_s_form(config: Callable[..., Path], tmp_path: Path) -> None:
    (found,) = train("reinforce", without_ppo(config()), tmp_path / "run", reward=FromTRL(by_length), progress=False)
    assert found.facts["status"] == "complete"
    assert len(lines(tmp_path / "run" / "metrics.jsonl")) == 4


def test_a_warning_that_is_to_stop_training_does_with_a_checkpoint(config: Callable[..., Path], tmp_path: Path) -> None:
    # Two queries, to each of which there is one response when it is so cold: 2 of 8.
    same_again = {"queries": QUERIES[:2], "rollout": {"batch": 8, "max_tokens": 8, "temperature": 0.001}}
    path = config(**same_again, watch={"min_distinct_share": 0.5, "stop": True})
    with pytest.raises(TrainingError, match=r"^step 1: the policy says the same.*is 0\.25\), and watch\.stop is set"):
        train("ppo", path, tmp_path / "run", reward=FromTRL(by_length), progress=False)
    assert [one.name for one in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-1"]
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "stopped"
    path = config(**same_again)
    train("ppo", path, tmp_path / "run", reward=FromTRL(by_length), progress=False)
    train("ppo", path, tmp_path / "whole", reward=FromTRL(by_length), progress=False)
    assert same(tmp_path / "run", tmp_path / "whole")


def test_adapters_are_merged_into_the_model_folder(config: Callable[..., Path], tmp_path: Path, policy: Path) -> None:
    path = config(lora={"rank": 4})
    train("ppo", path, tmp_path / "run", reward=FromTRL(by_length), progress=False)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    before = dict(AutoModelForCausalLM.from_pretrained(policy).named_parameters())
    changed = {name for name, one in model.named_parameters() if not torch.equal(one, before[name])}
    assert changed
    assert all("proj" in name for name in changed)


def test_queries_that_will_not_do_are_left_out_and_named(config: Callable[..., Path], tmp_path: Path) -> None:
    path = config([*QUERIES[:3], {"id": "empty", "query": ""}], steps=1)
    (found,) = train("ppo", path, tmp_path / "run", reward=FromTRL(by_length), progress=False)
    assert (found.facts["queries"], found.facts["rejected"]) == (3, 1)
    assert len(lines(tmp_path / "run" / "rejected.jsonl")) == 1
    with pytest.raises(InputError, match="none of its rows can be answered"):
        train("ppo", config([{"id": "empty", "query": ""}]), tmp_path / "other", progress=False)


def test_a_failing_labeler_leaves_a_run_that_can_be_gone_on_with(config: Callable[..., Path], tmp_path: Path) -> None:
    calls: list[int] = []

    def breaks(completions: list[Any], **_: Any) -> list[float]:
        calls.append(len(completions))
        if len(calls) == 3:
            raise ConnectionError("mine")
        return by_length(completions)

    path = config()
    with pytest.raises(ConnectionError, match="mine"):
        train("ppo", path, tmp_path / "run", reward=named(breaks), progress=False)
    assert [one.name for one in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]
    train("ppo", path, tmp_path / "run", reward=named(breaks), progress=False)
    assert calls == [8] * 5
    train("ppo", path, tmp_path / "whole", reward=FromTRL(by_length), progress=False)
    assert same(tmp_path / "run", tmp_path / "whole")


def named(function: Any) -> FromTRL:
    reward = FromTRL(function)
    reward.name = "by_length"
    return reward


# What is watched


def test_what_is_above_a_limit_is_complained_of() -> None:
    sound = {
        "labeler_mass_at_1": 0.5, "labeler_mass_at_10": 0.9, "labeler_unread_mass": 0.3,
        "score_length_correlation": -0.8, "distinct_share": 0.2,
    }  # fmt: skip
    assert complaints(sound, Watch()) == {}
    assert complaints({}, Watch()) == complaints(dict.fromkeys(sound), Watch()) == {}
    wrong = {
        "labeler_mass_at_1": 0.91, "labeler_mass_at_10": 0.95, "labeler_unread_mass": 0.31,
        "score_length_correlation": -0.81, "distinct_share": 0.19,
    }  # fmt: skip
    found = complaints(wrong, Watch())
    assert found.keys() == wrong.keys()
    assert found["labeler_mass_at_1"] == "nearly all of the labeler's probability is at 1 (labeler_mass_at_1 is 0.91)"
    assert "distinct_share is 0.19" in found["distinct_share"]


def test_means_and_changes_leave_failures_out() -> None:
    failed = Failure(id="x", failure="refused", detail="no")
    assert mean([0.5, failed, -1.0]) == -0.25
    assert mean([failed]) is None
    # Of the three that both forms answered one is on the other side of the middle.
    assert changed_share([0.5, -0.2, failed, 0.1, 0.3], [0.9, 0.2, 0.1, 0.4, failed]) == pytest.approx(1 / 3)
    assert changed_share([failed], [0.1]) is None


def test_gold_is_mapped_as_a_labeler_s_score_is_and_what_it_cannot_judge_is_no_number() -> None:
    (row,) = comparisons(1, task="harmlessness", split="heldout", seed=4)
    query = tuple(Turn.model_validate(turn) for turn in queries_of(row))
    found = gold_scores([(query, str(row["response_1"])), (query, str(row["response_2"]))], "harmlessness")
    wanted = [gold("harmlessness", query, str(row[name])) for name in ("response_1", "response_2")]
    # 1 → −1, 10 → 1
    assert found == pytest.approx([-1 + (one - 1) * 2 / 9 for one in wanted])
    (unknown,) = gold_scores([((Turn(role="user", content="no query of that world"),), "x")], "harmlessness")
    assert isinstance(unknown, RowError)


def queries_of(row: dict[str, Any]) -> list[Any]:
    query = row["query"]
    return query if isinstance(query, list) else [{"role": "user", "content": query}]


def test_every_setting_of_the_loop_is_in_a_section_one_level_deep() -> None:
    for name, field in PPOConfig.model_fields.items():
        section = getattr(field.annotation, "model_fields", {})
        assert len(section) <= 15, name
        assert not any(hasattr(one.annotation, "model_fields") for one in section.values()), name
    assert OnlineConfig.model_fields.keys() < PPOConfig.model_fields.keys()


def test_what_watches_is_paid_from_the_labeler_s_cap_and_every_start_tells_what_it_used(
    config: Callable[..., Path], tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("openai:judge: {input: 2, output: 8}\n")
    watch = {"queries": str(write(tmp_path / "unseen.jsonl", UNSEEN)), "every_steps": 1}
    out = tmp_path / "run"

    def run(server: HostileServer, cap: float, **more: Any) -> None:
        labeler = {"llm": "openai:judge", "task": "harmlessness", "base_url": server.url, "prices": str(prices)}
        labeler |= {"max_cost_usd": cap, "ledger": str(tmp_path / "ledger.sqlite")}
        train("ppo", config(steps=2, labeler=labeler, watch=watch | more), out, progress=False)

    def billed(server: HostileServer) -> float:
        return 2e-6 * server.input_tokens + 8e-6 * server.output_tokens

    with HostileServer() as server:
        with pytest.raises(BudgetError, match=r"the cap of \$"):
            run(server, 0.01)
        assert 0.005 < billed(server) <= 0.01
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest["status"] == "stopped"
        run(server, 1.0)
        manifest = json.loads((out / "manifest.json").read_text())
        parts = [one[name] for one in manifest["invocations"] for name in ("usage", "usage_of_watchers")]
        told = sum(one["cost_usd"] for one in parts)
        # Of what was under way when the cap was reached nobody heard the answer.
        assert 0.9 * billed(server) < told <= billed(server)
        assert all(one["asked"] for one in parts[1:])
    sections = json.loads((out / "report.json").read_text())["sections"]
    (cost,) = [row for row in sections["training"]["rows"] if row["figure"] == "cost, USD"]
    assert cost["at the end"] == pytest.approx(told)
    (cost,) = [row for row in sections["usage"]["rows"] if row["what"] == "cost, USD"]
    columns = ("for the reward", "for held-out queries")
    assert [cost[name] for name in columns] == pytest.approx(
        [sum(one["cost_usd"] for one in parts[start::2]) for start in (0, 1)]
    )


@pytest.mark.parametrize("name", ["gold", "second_labeler"])
def test_a_watcher_without_queries_to_watch_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"watch\.{name} judges answers to held-out queries"):
        Watch(**{name: "harmlessness"})


@pytest.mark.parametrize("by", ["reward_model", "function"])
def test_a_second_labeler_watches_whoever_rewards(
    config: Callable[..., Path], tmp_path: Path, policy: Path, by: str
) -> None:
    watch = {"queries": str(write(tmp_path / "unseen.jsonl", UNSEEN)), "second_labeler": "pocket:labeler-xs"}
    labeler = {"task": "harmlessness"}
    if by == "reward_model":
        tokenizer = Tokenizer(policy)
        model = head_from_policy(policy, torch.float32, tokenizer.pad)
        normalise(model, [-1.0, 1.0], 256)
        save_folder(model, tokenizer.tokenizer, tmp_path / "reward")
        labeler["reward_model"] = str(tmp_path / "reward")
    reward = FromTRL(by_length) if by == "function" else None
    train("ppo", config(steps=1, labeler=labeler, watch=watch), tmp_path / "run", reward=reward, progress=False)
    names = {"second_labeler", "reward_model"} if by == "reward_model" else {"second_labeler"}
    for row in lines(tmp_path / "run" / "watch.jsonl"):
        assert names == {name for name in ("labeler", "other_form", "second_labeler", "reward_model") if name in row}
        assert all(isinstance(row[name], float) for name in names)
    sections = json.loads((tmp_path / "run" / "report.json").read_text())["sections"]
    assert len(sections["held_out"]["rows"]) == len(names)
    about = json.loads((tmp_path / "run" / "report.json").read_text())["about"]
    assert about["Reward"] == (f"reward model {tmp_path / 'reward'}" if by == "reward_model" else "by_length")
