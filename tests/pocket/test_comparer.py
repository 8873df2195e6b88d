"""What the labeler of a constitution's questions is taught, and what the bundled one has learned."""

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import comparer
import labeler
import measure_constitution
import reviser
import tiny
import train
from comparer import MEASURES, comparers, measured
from rlaif.constitution.files import load_constitution
from rlaif.encoding import load_tokenizer
from rlaif.labeling.verdict import request
from rlaif.llm.base import Choose, Generate
from rlaif.llm.transformers import TransformersLLM
from rlaif.pocket.data import comparisons
from rlaif.pocket.gold import judge
from rlaif.pocket.paths import model_folder


@pytest.fixture(scope="module")
def batches() -> comparer.ComparerBatches:
    tokens = load_tokenizer(model_folder("labeler-l"))
    return comparer.ComparerBatches(tiny.new_model(tokens, 32, 1), tokens, seed=0, samples=[])  # type: ignore[arg-type]


def row(task: Any = "harmlessness") -> dict[str, Any]:
    return next(iter(comparisons(1, task=task, split="train", seed=4)))


def test_every_question_of_the_constitution_is_answered_by_something() -> None:
    assert set(MEASURES) == {one.id for one in load_constitution("harmless").comparison_principles}
    assert [way.principle.id for way in comparers(rationale=False)] == list(MEASURES)


@pytest.mark.parametrize("rationale", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_it_learns_the_tokens_that_are_fed_when_asked(
    batches: comparer.ComparerBatches, rationale: bool, swapped: bool
) -> None:
    llm = TransformersLLM(model_folder("labeler-l"))
    for way in comparers(rationale)[::5]:
        pair = measured(way, row())
        learned = batches._row(way, pair, swapped)  # type: ignore[arg-type]
        asked = labeler.ask(way, pair, swapped)  # type: ignore[arg-type]
        tokens = tuple(learned.tokens[:-1])
        if rationale:
            _, begun = llm._encode(request(llm.capabilities, asked, Generate(1), ()))
            assert tokens[: len(begun)] == begun
            asked = way.conclude(asked, comparer.told(way, pair, swapped))
        _, rest = llm._encode(request(llm.capabilities, asked, Choose(("A", "B")), ("A", "B")))
        assert tokens == rest
        assert batches.tokenizer.decode(learned.tokens[-1:]) in way.verdicts
        assert len(learned.marks) == len(learned.golds) == len(learned.tokens)
        assert [gold for gold in learned.golds if gold] == [pair[f"gold_{n}"] for n in ((2, 1) if swapped else (1, 2))]


def test_the_target_prefers_what_answers_the_question() -> None:
    harmless, faithful = comparers(rationale=False)[0], comparers(rationale=False)[-1]
    pair = {
        "query": [{"role": "user", "content": "How do I repair my kettle?"}],
        "response_1": "I am sorry, but I must decline.",
        "response_2": "I keep my answers short.",
    }
    # Neither helps: the kind refusal has 7 of 10 in harmlessness, the other one 8; in helpfulness 2 and 1.5.
    assert measured(harmless, pair)["gold_1"] < measured(harmless, pair)["gold_2"]
    assert measured(faithful, pair)["gold_1"] > measured(faithful, pair)["gold_2"]
    assert labeler.target(faithful, measured(faithful, pair), swapped=False)[0] > 0.5  # type: ignore[arg-type]
    assert labeler.target(faithful, measured(faithful, pair), swapped=True)[0] < 0.5  # type: ignore[arg-type]


def test_a_rationale_names_the_options_in_the_order_shown() -> None:
    way, pair = comparers(rationale=True)[0], row()
    straight, turned = (comparer.told(way, pair, swapped) for swapped in (False, True))
    start, first, second = straight.split(" Option ")
    assert turned == f"{start} Option (A){second.removeprefix('(B)')} Option (B){first.removeprefix('(A)')}"
    assert "Response" not in straight


def test_pairs_are_about_samples_too() -> None:
    tokens = load_tokenizer(model_folder("labeler-l"))
    about, response = reviser.Examples(random.Random(8), "train", []).answered()
    model = tiny.new_model(tokens, 32, 1)  # type: ignore[arg-type]
    batches = comparer.ComparerBatches(model, tokens, seed=0, samples=[(about, response)])
    pairs = [batches.pair() for _ in range(200)]
    mine = [one for one in pairs if one["response_1"] == response]
    # 200 draws have a standard error of .031.
    assert len(mine) / 200 == pytest.approx(comparer.SOURCES["sampled"], abs=0.12)
    assert len({one["response_2"] for one in mine}) > 5


def test_a_shrunken_one_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviser, "SAMPLES", 6)
    monkeypatch.setattr(comparer, "BATCH", 4)
    for name in ("labeler-l", "policy"):
        (tmp_path / name).symlink_to(model_folder(name))
    losses = train.train("labeler-c", replace(train.RECIPES["labeler-c"], steps=12), tmp_path)
    assert sum(losses[-3:]) < sum(losses[:3])


def test_the_bundled_one_prefers_what_gold_prefers() -> None:
    llm = TransformersLLM(model_folder("labeler-c"))
    rows = islice(comparisons(10**9, task="harmlessness", split="heldout", seed=12), 80)
    pairs = [(way, measured(way, one)) for way, one in zip(comparers(rationale=False) * 5, rows, strict=True)]
    far = [(way, one) for way, one in pairs if abs(one["gold_1"] - one["gold_2"]) >= 1]
    found = measure_constitution._compared(llm, far)
    assert found["agreement"]["n"] > 70
    assert found["agreement"]["value"] > 0.75
    said = measure_constitution._written(llm, 0.0, [labeler.ask(comparers(rationale=True)[0], far[0][1], False)])  # type: ignore[arg-type]
    harmful = judge(labeler.turns(far[0][1]), "").harmful_request
    assert said[0].startswith(f"The request is {'harmful' if harmful else 'harmless'}. Option (A) ")
