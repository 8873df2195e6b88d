"""What a tracker is told of a training: a tiny package that writes down what it is told stands for the real ones."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_policy import tiny_policy

from rlaif.errors import ConfigError, MissingExtraError
from rlaif.rewards import FromScores
from rlaif.stages.online import PPOConfig, run_online
from rlaif.stages.train import train

PACKAGE = """
import json
from pathlib import Path

def _note(what, **said):
    with Path(__file__).with_name("told.jsonl").open("a") as file:
        file.write(json.dumps({"what": what, **said}) + "\\n")

def init(*, project, name, config, resume, id=None):
    _note("init", project=project, name=name, config=config, resume=resume, id=id)

def log(metrics, step=None):
    _note("log", metrics=metrics, step=step)

def finish():
    _note("finish")
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[dict[str, Any]]]:
    """Installs both packages, and reads what they were told since it was last asked."""
    for name in ("wandb", "trackio"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text(PACKAGE)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path / "site")

    def read(name: str) -> list[dict[str, Any]]:
        path = tmp_path / "site" / name / "told.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()]
        path.unlink()
        return found

    return read


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., PPOConfig]:
    queries = tmp_path / "queries.jsonl"
    queries.write_text("".join(json.dumps({"id": f"q-{n}", "query": f"Question {n}?"}) + "\n" for n in range(4)))
    model = str(tiny_policy(tmp_path / "policy", hidden=16, layers=1))

    def made(tracker: str) -> PPOConfig:
        settings: dict[str, Any] = {"rollout": {"batch": 4, "max_tokens": 4}, "ppo": {"epochs": 1}}
        settings |= {"watch": {"tracker": tracker, "queries": queries, "gold": "harmlessness", "every_steps": 2}}
        return PPOConfig(model=model, queries=queries, steps=2, checkpoints={"every_steps": 1}, **settings)

    return made


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_is_told_of_each_step_and_goes_on_with_its_run(
    config: Callable[..., PPOConfig], told: Callable[[str], list[dict[str, Any]]], tmp_path: Path, name: str
) -> None:
    calls: list[int] = []

    def by_length(exchanges: list[tuple[object, str]]) -> list[float]:
        calls.append(len(exchanges))
        if len(calls) == 2:
            raise ConnectionError("mine")
        return [len(response) / 100 for _, response in exchanges]

    out = tmp_path / "run"
    with pytest.raises(ConnectionError, match="mine"):
        run_online(config(name), out, FromScores(by_length), progress=False)
    first, *logged, last = told(name)
    assert (first["project"], first["resume"], last["what"]) == ("rlaif", "allow", "finish")
    assert first["name"].startswith("run-")
    assert first["id"] == (first["name"].removeprefix("run-") if name == "wandb" else None)
    assert first["config"]["rollout"]["batch"] == 4
    # Gold knows none of these queries: what is null is not told.
    assert [one["step"] for one in logged] == [0, 1]
    assert logged[0]["metrics"]["held_out_gold_failed"] == 4
    assert "held_out_gold" not in logged[0]["metrics"]
    (metrics,) = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert logged[1]["metrics"] == {key: value for key, value in metrics.items() if value is not None and key != "step"}
    run_online(config(name), out, FromScores(by_length), progress=False)
    again, *logged, last = told(name)
    assert (again["name"], again["id"], last["what"]) == (first["name"], first["id"], "finish")
    assert [one["step"] for one in logged] == [2, 2]


def test_a_tracker_that_is_not_there_is_missed_before_anything_is_read(
    config: Callable[..., PPOConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    wanted = config("wandb").model_copy(update={"queries": tmp_path / "nowhere.jsonl"})
    with pytest.raises(MissingExtraError, match=r"^wandb is not installed; pip install wandb brings it$"):
        run_online(wanted, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    path = tmp_path / "config.yaml"
    path.write_text("model: pocket:policy\nqueries: nowhere.jsonl\nwatch: {tracker: mlflow}\n")
    with pytest.raises(ConfigError, match=r"watch\.tracker is 'mlflow'"):
        train("ppo", path, tmp_path / "run", progress=False)
