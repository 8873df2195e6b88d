"""The bundled labeler: its card fits its prompts, it knows its world, and its recipe learns."""

import importlib.util
import json
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.score import Scorer
from rlaif.labeling.tables import warn_of_foreign_prompts
from rlaif.pocket.paths import model_folder
from rlaif.pocket.world import comparisons
from rlaif.records import Preference, Score
from rlaif.stages.judge import judge_file

RECIPE = Path(__file__).parents[2] / "examples" / "pocket" / "train_labeler.py"


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_labeler", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_prompts_are_those_that_the_model_was_trained_on(recipe: ModuleType) -> None:
    card = json.loads((model_folder("labeler-l") / "card.json").read_text())
    now = {name: way.sha256 for name, way in recipe.prompters().items()}
    assert card["prompts"] == now, "a template changed: train the model again with examples/pocket/train_labeler.py"
    assert len(now) == 18


def test_a_run_with_foreign_prompts_warns(tmp_path: Path) -> None:
    for settings in ({"exemplars": 3}, {"rationale": True}):
        with pytest.warns(UserWarning, match="pocket:labeler-l was not trained on this prompt"):
            warn_of_foreign_prompts(PreferenceLabeler("helpfulness", **settings))
    with pytest.warns(UserWarning, match="task summarization, score"):
        warn_of_foreign_prompts(Scorer("summarization"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = list(comparisons(1, task="helpfulness", split="heldout", seed=0))
        judge_file(PreferenceLabeler("helpfulness", exemplars=2), data, tmp_path / "run", progress=False)


def test_it_agrees_with_gold_in_its_own_world() -> None:
    data = list(comparisons(200, task="harmlessness", split="heldout", seed=99))
    labels = PreferenceLabeler("harmlessness").label(data)
    right = [isinstance(one, Preference) and (one.preference > 0.5) == (one.human_preference == 1.0) for one in labels]
    # The card says .90 (n = 1,000); .80 of 200 is more than four standard errors below.
    assert sum(right) / len(right) > 0.80
    scores = Scorer("harmlessness").score(data[:40])
    by_item = {(one.id, one.response_index): one.score for one in scores if isinstance(one, Score)}
    better = [(row["id"], 0 if row["human_preference"] == 1.0 else 1) for row in data[:40]]
    assert sum(by_item[item, index] > by_item[item, 1 - index] for item, index in better) > 28


def test_the_recipe_learns_from_nothing(recipe: ModuleType, tmp_path: Path) -> None:
    losses = recipe.train(12, seed=0, out=tmp_path / "model", hidden=32, layers=1, rate=1e-2, report_every=6)
    # From log 2048 = 7.6 per token, weighted 1.4, the loss of a model that knows nothing falls at once.
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    labels = PreferenceLabeler("helpfulness", llm=f"transformers:{tmp_path / 'model'}", max_unread_mass=1.0).label(
        list(comparisons(2, task="helpfulness", split="train", seed=0))
    )
    assert all(isinstance(one, Preference) for one in labels)
