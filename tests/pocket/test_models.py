"""The bundled models: their cards fit their prompts, and what the cards say is so."""

import json
import statistics
import warnings
from pathlib import Path
from typing import Any

import pytest

import labeler
import measure
from labeler import turns
from rlaif.constitution.compare import PrincipleLabeler
from rlaif.constitution.revise import Reviser
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.score import Scorer
from rlaif.labeling.tables import warn_of_foreign_prompts
from rlaif.pocket.data import TASKS, Task, comparisons, queries
from rlaif.pocket.gold import judge
from rlaif.pocket.paths import model_folder
from rlaif.stages.judge import judge_file

LABELERS = ("labeler-xs", "labeler-s", "labeler-l")
MODELS = (*LABELERS, "policy", "base", "reviser", "labeler-c")


def card(name: str) -> dict[str, Any]:
    return json.loads((model_folder(name) / "card.json").read_text())  # type: ignore[no-any-return]


def held_out(n: int, task: Task, seed: int = 99) -> list[dict[str, Any]]:
    return list(comparisons(n, task=task, split="heldout", seed=seed))


@pytest.mark.parametrize("name", LABELERS)
def test_the_prompts_are_those_that_the_labelers_were_trained_on(name: str) -> None:
    now = {way: one.sha256 for way, one in labeler.prompters().items()}
    assert card(name)["prompts"] == now, "a template changed: train the labelers again (examples/pocket/train.py)"
    # Three tasks, two preambles or a score, no, one or two exemplars, without and with rationale.
    assert len(now) == 3 * 3 * 3 * 2


def test_all_models_together_are_small_and_have_their_cards() -> None:
    folder = model_folder("labeler-l").parent
    assert sorted(path.name for path in folder.iterdir()) == sorted(MODELS)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 25e6
    for name in MODELS:
        assert {path.name for path in model_folder(name).iterdir()} >= {"README.md", "card.json", "model.safetensors"}
        assert card(name)["name"] == f"pocket:{name}"
        assert f"{card(name)['parameters']:,} parameters" in (model_folder(name) / "README.md").read_text()


def test_a_run_with_foreign_prompts_warns(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="pocket:labeler-l was not trained on this prompt"):
        warn_of_foreign_prompts(PreferenceLabeler("helpfulness", exemplars=3))
    with pytest.warns(UserWarning, match="task summarization, score"):
        warn_of_foreign_prompts(Scorer("summarization", exemplars=4))
    for asks in (Reviser("helpful-honest"), PrincipleLabeler("helpful-honest")):
        with pytest.warns(UserWarning, match="knows the constitution Harmless and was not trained on Helpful and hon"):
            warn_of_foreign_prompts(asks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_foreign_prompts(Reviser("harmless"))
        warn_of_foreign_prompts(PrincipleLabeler("harmless", principles=3))
        labeler = PreferenceLabeler("summarization", exemplars=2, rationale=True)
        judge_file(labeler, held_out(1, "summarization"), tmp_path / "run", progress=False)


@pytest.mark.parametrize("task", TASKS)
def test_the_labelers_agree_with_gold_as_their_cards_say(task: Task) -> None:
    rows = held_out(150, task)
    found = {}
    for name in LABELERS:
        labels = PreferenceLabeler(task, llm=f"pocket:{name}").label(rows)
        found[name] = measure.agreement(rows, labels)["agreement"]["value"]
        said = card(name)["results"]["ways"][f"{task}/preference/detailed/0"]["agreement"]
        # Four standard errors of a share of 150 rows, and half the card's own interval.
        assert abs(found[name] - said["value"]) < 4 * (said["value"] * (1 - said["value"]) / 150) ** 0.5 + 0.02
    assert found["labeler-l"] > found["labeler-xs"]


def test_scores_rise_with_gold_and_rationales_are_written() -> None:
    rows = held_out(60, "harmlessness")
    asked = [{"id": row["id"], "query": row["query"], "response": row["response_1"]} for row in rows]
    found = measure.correlation(rows, Scorer("harmlessness").score(asked))
    assert found["spearman"]["value"] > 0.7
    assert found["failures"] == 0
    (label,) = PreferenceLabeler("harmlessness", rationale=True).label(rows[:1])
    harmful = "harmful" if rows[0]["harmful"] else "harmless"
    assert label.rationales_12[0].startswith(f"The request is {harmful}.")  # type: ignore[union-attr, index]


def test_the_policy_is_what_its_card_says_and_better_than_canned_answers() -> None:
    rows: list[dict[str, Any]] = list(queries(640, split="heldout", seed=7))
    texts = measure.respond_to(model_folder("policy"), rows)
    seen = [judge(turns(row), text) for row, text in zip(rows, texts, strict=True)]
    harmful = [one.complies_with_harm for one in seen if one.harmful_request]
    assert 0.25 < sum(harmful) / len(harmful) < 0.75
    assert sum(one.rude for one in seen) > 2
    assert len(set(texts)) > 600
    said = card("policy")["results"]["quality (1 to 10)"]
    quality = statistics.fmean(one.quality for one in seen)
    # Four standard errors of a mean of 640.
    assert abs(quality - said["value"]) < 4 * said["sd"] / 640**0.5
    tricks = [measure.canned(turns(row)) for row in rows]
    for name in tricks[0]:
        got = statistics.fmean(judge(turns(row), one[name]).quality for row, one in zip(rows, tricks, strict=True))
        assert got < quality - 0.3, name


def test_the_base_model_reads_its_world() -> None:
    (read,) = measure.measure_base(model_folder("base"), 200).values()
    (said,) = card("base")["results"].values()
    assert read["n"] == 4
    # Four standard errors of a mean of four batches; an untrained model has the log of its vocabulary, 7.6.
    assert abs(read["value"] - said["value"]) < 4 * said["sd"] / 2
