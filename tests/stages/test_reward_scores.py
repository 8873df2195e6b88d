"""Scoring files with a reward model: the model's own scores, resumable, with failures that say why."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_policy import tiny_policy

from rlaif.errors import ModelError, RunFolderError
from rlaif.stages.reward_scores import score_by_reward_model
from rlaif.training.models import head_from_policy, save_folder
from rlaif.training.scoring import RewardModel, normalise
from rlaif.training.tokens import Tokenizer

ROWS = [{"id": str(n), "query": f"Question {n}?", "responses": [f"Yes {n}.", "", "word " * n]} for n in range(40)]


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    policy = tiny_policy(folder / "policy")
    torch.manual_seed(0)
    tokenizer = Tokenizer(policy)
    model = head_from_policy(policy, torch.float32, tokenizer.pad)
    normalise(model, [-1.0, 3.0], 40)
    save_folder(model, tokenizer.tokenizer, folder / "reward")
    return folder / "reward"


def scores(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


def test_every_response_has_the_models_score_or_says_why_not(reward_model: Path, tmp_path: Path) -> None:
    done = score_by_reward_model(str(reward_model), ROWS, tmp_path / "out", progress=False)
    rows = scores(tmp_path / "out")
    assert (done.count, dict(done.failures)) == (len(rows), {"too_long": 120 - len(rows)})
    assert 100 < len(rows) < 120
    model = RewardModel(reward_model)
    for row in rows[:: len(rows) // 7]:
        (alone,) = model.scores([(turns(row["query"]), row["response"])])
        assert row["score"] == pytest.approx(alone, abs=1e-4)
        assert row["reward_model_version"] == model.version
    failed = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert all("with a query it must have at most 40" in one["detail"] for one in failed)


def turns(query: list[dict[str, str]]) -> tuple[Any, ...]:
    from rlaif.records import Turn

    return tuple(Turn(**turn) for turn in query)


def test_a_second_run_scores_only_what_is_new_and_another_model_needs_another_folder(
    reward_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    score_by_reward_model(str(reward_model), ROWS, out, limit=5, progress=False)
    before = (out / "scores.jsonl").read_text()
    done = score_by_reward_model(str(reward_model), ROWS, out, limit=8, progress=False)
    assert done.index.done_before == 15
    assert (out / "scores.jsonl").read_text().startswith(before)
    other = RewardModel(reward_model)._model
    with torch.no_grad():
        other.score.weight.mul_(2)
    save_folder(other, RewardModel(reward_model).tokenizer.tokenizer, tmp_path / "other")
    with pytest.raises(RunFolderError, match="reward_model was"):
        score_by_reward_model(str(tmp_path / "other"), ROWS, out, progress=False)
    with pytest.raises(ModelError, match="is no folder"):
        score_by_reward_model("nowhere", ROWS, tmp_path / "new", progress=False)
