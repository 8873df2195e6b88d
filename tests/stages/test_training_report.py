"""The report of a training's run folder: whole, under way, or cut by a kill."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_policy import tiny_policy
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import ConfigError, InputError
from rlaif.rewards import FromScores
from rlaif.stages.online import PPOConfig, run_online
from rlaif.stages.training_report import is_online_run, read_training, report_training

CONFIG: dict[str, Any] = {
    "identity": {"stage": "train ppo", "steps": 2, "rollout": {"batch": 8}},
    "operation": {"model": "pocket:policy", "queries": "queries.jsonl", "watch": {"queries": None}},
}
CONFIG["identity"]["labeler"] = {"llm": "pocket:labeler-l", "task": "harmlessness"}
STEPS = [
    {"step": 1, "score": 0.25, "score_std": 0.5, "masked_share": 0.0, "seconds_generate": 1.0},
    {"step": 2, "score": 0.5, "score_std": 0.5, "masked_share": None, "seconds_generate": 2.0},
]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder."""

    def written(manifest: dict[str, Any] | None = None, **files: Any) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
        if manifest is not None:
            (folder / "manifest.json").write_text(json.dumps(manifest))
        for name, rows in files.items():
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return written


def test_a_finished_run_is_reported_with_its_cost_and_time(run: Callable[..., Path]) -> None:
    starts: list[dict[str, Any]] = [
        {"seconds": 100.0, "usage": {"cost_usd": 0.125}},
        {"seconds": 20.5, "usage": {"cost_usd": 0.25}},
    ]
    starts[1]["usage_of_watchers"] = {"cost_usd": 0.125}
    manifest = {"status": "complete", "queries": 1600, "usage": {"cost_usd": 0.25}, "invocations": starts}
    folder = run(manifest, metrics=STEPS)
    report = report_training(folder)
    assert report.title == "PPO from pocket:policy"
    assert report.about == {
        "Run": str(folder),
        "Reward": "pocket:labeler-l, harmlessness",
        "Queries": "1,600 of queries.jsonl",
        "Steps": "2 of 2, 8 responses each; complete",
        "Time": "120 s",
        "Starts": "2, beside any that were killed: what those used is not in here",
    }
    written = json.loads((folder / "report.json").read_text())
    assert {"figure": "cost, USD", "at the start": None, "at the end": 0.5, "change": None} in (
        written["sections"]["training"]["rows"]
    )
    assert (folder / "report.html").is_file()
    assert (folder / "report.md").read_text().startswith("# PPO from pocket:policy")


def test_a_run_under_way_is_reported_without_the_line_that_a_kill_cut(run: Callable[..., Path]) -> None:
    folder = run(metrics=STEPS[:1], watch=[])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "sco')
    assert read_training(folder).about["Steps"] == "1 of 2, 8 responses each; not ended yet"


def test_what_is_no_training_or_has_no_step_is_refused(run: Callable[..., Path], tmp_path: Path) -> None:
    assert not is_online_run(tmp_path)
    with pytest.raises(InputError, match=r"is no run folder of rlaif train ppo or reinforce"):
        read_training(tmp_path)
    with pytest.raises(InputError, match=r"metrics\.jsonl: no step is done; there is nothing to report"):
        read_training(run())


def test_the_report_command_knows_a_training_by_its_folder(run: Callable[..., Path], tmp_path: Path) -> None:
    folder = run(metrics=STEPS)
    done = CliRunner().invoke(app, ["report", str(folder), "--out", str(tmp_path / "page")])
    assert done.exit_code == 0, done.output
    assert "score, as trained on" in done.output
    assert (tmp_path / "page" / "report.html").is_file()
    assert not (folder / "report.html").exists()
    done = CliRunner().invoke(app, ["report", str(folder), str(folder)])
    assert isinstance(done.exception, ConfigError)
    assert "is a training, which has a report of its own; name it alone" in str(done.exception)


@pytest.mark.parametrize(
    ("task", "watch", "found"),
    [
        ("harmlessness", {}, {"labeler"}),
        ("my/prompts/harmlessness", {"gold": "harmlessness"}, {"labeler", "gold"}),
        ("helpfulness", {"gold": "helpfulness"}, set()),
        ("helpfulness", {"gold": "harmlessness"}, {"gold"}),
        ("mine", {"harmless_from": 7.0}, {"labeler"}),
    ],
)
def test_a_harmless_rate_is_given_by_those_who_judge_harmlessness(
    run: Callable[..., Path], task: str, watch: dict[str, Any], found: set[str]
) -> None:
    looks = [{"step": step, "n": 1, "kl_per_sequence": 0.0} for step in (0, 2)]
    # 6 of 10
    scores = {"labeler": 1 / 9, "gold": 1 / 9}
    answers = [{"step": step, "id": "a", "query": "Q?", "response": "R", "scores": scores} for step in (0, 2)]
    folder = run(metrics=STEPS, watch=looks, watched=answers)
    operation = CONFIG["operation"] | {"watch": {"queries": "q.jsonl"} | watch, "labeler": {"task": task}}
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"operation": operation}))
    sections = {one.key: one for one in read_training(folder).sections}
    assert found == {row[0] for row in sections["harmless"].rows} if found else "harmless" not in sections
    for row in sections["harmless"].rows if found else ():
        assert row[1].value == (0.0 if "harmless_from" in watch else 1.0)


def test_a_training_ends_with_its_report_and_has_scalars_for_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    queries = tmp_path / "queries.jsonl"
    queries.write_text("".join(json.dumps({"id": f"q-{n}", "query": f"Question {n}?"}) + "\n" for n in range(4)))
    config = PPOConfig(
        model=str(tiny_policy(tmp_path / "policy")),
        queries=queries,
        steps=2,
        rollout={"batch": 4, "max_tokens": 4},
        optimisation={"micro_batch": 4},
        ppo={"epochs": 1},
        watch={"queries": queries, "every_steps": 2},
    )
    reward = FromScores(lambda exchanges: [float(len(response)) / 100 for _, response in exchanges])
    out = tmp_path / "out"
    run_online(config, out, reward, progress=False)
    assert json.loads((out / "report.json").read_text())["sections"]["training"]["rows"][0]["at the end"] == 2
    (scalars,) = [EventAccumulator(str(out / "tensorboard")).Reload()]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = scalars.Scalars("score")
    assert [(one.step, one.value) for one in found] == [(row["step"], pytest.approx(row["score"])) for row in lines]
    assert "seconds_train" in scalars.Tags()["scalars"]
