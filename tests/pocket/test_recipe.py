"""The recipe: each of the bundled models, shrunken, learns within a few steps."""

import copy
import itertools
import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import exercises
import labeler
import measure
import tiny
import train
import writer
from rlaif.encoding import Encoder
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.pocket.data import TASKS, comparisons
from rlaif.pocket.gold import judge
from rlaif.pocket.lexicon import ACTIONS
from rlaif.prompting import Prompter
from rlaif.records import Preference, Turn


def small(name: str) -> train.Recipe:
    base = "base" if name == "policy" else None
    return replace(
        train.RECIPES[name],
        hidden=32,
        layers=1,
        steps=30,
        rate=1e-2,
        base=base,
        scores_first=0,
        matching=0,
        belonging=0,
        last=0,
    )


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    threads = torch.get_num_threads()
    # So small a model gains nothing from a second thread, and loses much where the machine is busy.
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labeler, "BATCH", 8)
        patch.setattr(writer, "BATCH", 8)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base model that the others can start from, and its losses."""
    folder = tmp_path_factory.mktemp("models")
    losses = train.train("base", small("base"), folder)
    (folder / "losses.json").write_text(json.dumps(losses))
    return folder


def falls(losses: list[float]) -> bool:
    return sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_the_base_model_learns(models: Path) -> None:
    assert falls(json.loads((models / "losses.json").read_text()))
    assert json.loads((models / "base" / "training.json").read_text())["steps"] == 30


@pytest.mark.parametrize("name", ["policy", "labeler-l", "labeler-s", "labeler-xs"])
def test_every_other_model_learns(models: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # One way of asking, so that the losses can be compared with one another.
    ways = {way: one for way, one in labeler.prompters().items() if way == "helpfulness/preference/base/0"}
    monkeypatch.setattr(labeler, "prompters", lambda: ways)
    assert falls(train.train(name, small(name), models))
    written = {path.name for path in (models / name).iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "training.json"} <= written
    if name == "labeler-s":
        rows = list(comparisons(2, task="helpfulness", split="train", seed=0))
        labels = PreferenceLabeler("helpfulness", llm=f"transformers:{models / name}", max_unread_mass=1.0).label(rows)
        assert all(isinstance(one, Preference) for one in labels)
    if name == "policy":
        answers = measure.respond_to(models / name, [{"query": [{"role": "user", "content": "How are you?"}]}] * 2)
        assert len(answers) == 2


def test_a_model_with_a_card_is_left_alone(models: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    measure.write_card(models / "base", "base", measure.measure_base(models / "base", 2))
    before = (models / "base" / "model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr("sys.argv", ["train.py", "--out", str(models), "base"])
    train.main()
    assert "base: done" in capsys.readouterr().out
    assert (models / "base" / "model.safetensors").stat().st_mtime_ns == before
    assert "a base model" in (models / "base" / "README.md").read_text().lower()


def test_the_last_batches_go_on_from_a_draft_that_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = replace(small("labeler-xs"), steps=2, last=3)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "_train_last", stop)
        with pytest.raises(KeyboardInterrupt):
            train.train("labeler-xs", recipe, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["labeler-xs.draft"]
    capsys.readouterr()
    losses = train.train("labeler-xs", recipe, tmp_path)
    assert len(losses) == 3
    assert "step 2 of 2" not in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["labeler-xs"]
    assert json.loads((tmp_path / "labeler-xs" / "training.json").read_text())["last"] == 3


def test_the_last_batches_compare_refusals() -> None:
    rows = list(itertools.islice(labeler.near_misses("harmlessness", labeler.LAST.near["harmlessness"], 0), 200))
    found = [judge(labeler.turns(row), row[f"response_{n}"]) for row in rows for n in (1, 2)]
    assert sum(one.refuses for one in found) > 150
    # Those with a fitting alternative are told apart from those without one by nothing else.
    assert any(one.refuses and one.alternative for one in found)
    assert any(one.refuses and not one.alternative for one in found)


def test_exercises_come_first_and_are_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exercises, "BATCH", 32)
    monkeypatch.setattr(exercises, "LENGTHS", (4, 8))
    train.train("base", replace(small("base"), steps=1, matching=2, belonging=3), tmp_path)
    said = capsys.readouterr().out
    assert said.index("step 2 of 2") < said.index("step 3 of 3") < said.index("step 1 of 1")
    torch.manual_seed(0)
    tokens = train.tokenizer()
    model = tiny.new_model(tokens, 64, 2)
    model.config.vocab_size = 300  # The fewer, the sooner.
    exercise = exercises.MatchingBatches(model, tokens, seed=0)
    losses = tiny.fit(model, exercise, 300, 5e-3, 300, list(exercise.heads.parameters()))
    # A coin has .69.
    assert sum(losses[-20:]) / 20 < 0.3


def test_matching_asks_which_tokens_stood_before() -> None:
    tokens = train.tokenizer()
    exercise = exercises.MatchingBatches(tiny.new_model(tokens, 32, 1), tokens, seed=0)
    first, second, found = exercise.draw(30)
    assert first.shape == second.shape == found.shape == (exercises.BATCH, 30)
    assert not torch.equal(exercise.draw(30)[0], first)
    # The special tokens, which are no text, come first.
    assert sorted(tokens.all_special_ids) == list(range(exercise.special))
    assert int(torch.minimum(first, second).min()) >= exercise.special
    for before, after, known in zip(first.tolist(), second.tolist(), found.tolist(), strict=True):
        assert known == [token in before for token in after]
    # 1,920 draws of which half are copies have a standard error of .011.
    assert float(found.float().mean()) == pytest.approx(0.5, abs=0.05)


def test_belonging_asks_which_steps_help_as_gold_would_say() -> None:
    tokens = train.tokenizer()
    exercise = exercises.StepBatches(tiny.new_model(tokens, 32, 1), tokens, seed=0)
    steps = {(ACTIONS.index(one.action), step) for group in exercise.groups for one in group for step in one.steps}
    fitting = foreign = 0
    for _ in range(60):
        row, labels, about = exercise.row()
        assert len(row) == len(labels) == len(about)
        start = next(place for place, label in enumerate(labels) if label != tiny.NOWHERE)
        query = (Turn(role="user", content=tokens.decode(row[1:start])),)
        # Steps that stand side by side and are labeled alike are parted by a full stop.
        for label, places in itertools.groupby(range(start, len(row)), key=lambda place: labels[place]):
            if label == tiny.NOWHERE:
                continue
            span = list(places)
            step = tokens.decode([row[place] for place in span]).strip()
            found = judge(query, f"You could {step}.")
            assert (found.help > 0 or found.harm > 0) if label else found.help == 0, (query, step)
            fitting, foreign = fitting + (label == 1), foreign + (label == 0)
            (action,) = {about[place] for place in span}
            assert (action, step) in steps
            assert not label or action == about[1]
    assert fitting > 120
    assert foreign > 160


def test_two_fifths_of_what_labelers_read_of_help_are_near_misses() -> None:
    tokens = train.tokenizer()
    batches = labeler.LabelerBatches(tiny.new_model(tokens, 32, 1), tokens, seed=0)
    rows = [batches.next_row("helpfulness") for _ in range(300)]
    # 300 draws have a standard error of .028. Other rows say of which kind their responses are.
    assert sum("kind_1" not in row for row in rows) / 300 == pytest.approx(labeler.NEAR_SHARE, abs=0.11)
    assert all("kind_1" in batches.next_row("summarization") for _ in range(20))
    seen = []
    for row in itertools.islice(labeler.near_misses("helpfulness", labeler.HELP, 0), 100):
        found = [judge(labeler.turns(row), row[f"response_{n}"]) for n in (1, 2)]
        assert [one.helpfulness for one in found] == [row["gold_1"], row["gold_2"]]
        assert abs(row["gold_1"] - row["gold_2"]) >= 1
        seen += [any(mark.what in ("step", "harm") for mark in one.marks) for one in found]
    assert 0.4 < sum(seen) / len(seen) < 0.7


def test_a_response_ends_with_its_gold_score() -> None:
    tokens = train.tokenizer()
    batches = labeler.LabelerBatches(tiny.new_model(tokens, 32, 1), tokens, seed=0)
    row = next(labeler.near_misses("helpfulness", labeler.HELP, 1)) | {"gold_1": 7.0, "gold_2": 2.0}
    ways = labeler.prompters()
    for name, swapped, wanted in [
        ("helpfulness/preference/base/0", False, [(1, 7.0), (2, 2.0)]),
        ("helpfulness/preference/detailed/0/rationale", True, [(2, 2.0), (1, 7.0)]),
        ("helpfulness/score/0", False, [(1, 7.0)]),
        ("helpfulness/score/0", True, [(2, 2.0)]),
    ]:
        learned = batches._row(ways[name], row, swapped)
        assert len(learned.golds) == len(learned.tokens)
        found = [(place, gold) for place, gold in enumerate(learned.golds) if gold]
        assert [gold for _, gold in found] == [gold for _, gold in wanted]
        for (place, _), (number, _) in zip(found, wanted, strict=True):
            assert tokens.decode(learned.tokens[: place + 1]).endswith(row[f"response_{number}"])


def test_what_a_labeler_learns_of_a_row_is_its_rationale_then_the_end_then_the_verdict() -> None:
    tokens = train.tokenizer()
    batches = labeler.LabelerBatches(tiny.new_model(tokens, 32, 1), tokens, seed=0, text_weight=0.3)
    for name, way in labeler.prompters().items():
        row = next(iter(comparisons(1, task=way.task.name, split="train", seed=4)))  # type: ignore[arg-type]
        learned = batches._row(way, row, swapped=False)
        assert len(learned.tokens) == len(learned.weights) == len(learned.marks), name
        assert learned.target == labeler.target(way, row, swapped=False)
        # The last token is a verdict, whose place is learned by the target.
        assert tokens.decode(learned.tokens[-1:]) in way.verdicts
        assert (learned.weights[0], learned.weights[-1], learned.marks[-1]) == (0.0, 0.0, tiny.NOWHERE)
        item, weights = learned.tokens[:-1], learned.weights[:-1]
        text = tokens.decode(item)
        if not way.rationale:
            assert text.endswith(way.ending)
            assert set(weights[1:]) == {0.3}
            continue
        told = labeler.rationale(way, row, swapped=False)
        assert tokens.decode([one for one, weight in zip(item, weights, strict=True) if weight == 1.0]) == f" {told}"
        (end,) = [place for place, weight in enumerate(weights) if weight < 0]
        assert tokens.decode(item[:end]).endswith(told)
        assert tokens.decode(item[end:]).strip() == way.ending
        assert set(weights[end + 1 :]) <= {0.0}


def test_scores_come_first_and_then_every_way() -> None:
    tokens = train.tokenizer()
    model = tiny.new_model(tokens, 32, 1)
    batches = labeler.LabelerBatches(model, tokens, seed=0, scores_first=50)
    first, later = ([batches.next_way() for _ in range(n)] for n in (50, 5000))
    assert {(way.judgement, way.exemplars) for way in first} == {("score", 0)}
    assert {way.task.name for way in first} == set(TASKS)
    assert len({id(way) for way in later}) == 54
    plain = sum(way.exemplars == 0 for way in later) / len(later)
    # 12 of 14 are without exemplars; 5,000 draws have a standard error of .005.
    assert plain == pytest.approx(12 / 14, abs=0.03)


def test_tokens_are_marked_with_what_gold_sees_there() -> None:
    tokens = train.tokenizer()
    batches = labeler.LabelerBatches(tiny.new_model(tokens, 32, 1), tokens, seed=0)
    row: dict[str, Any] = {
        "query": [{"role": "user", "content": "How do I steal my neighbor's camera?"}],
        "response_1": "Hide the camera under an old blanket, you fool.",
        "response_2": "I am sorry, but I must say no.",
        "gold_1": 1.0,
        "gold_2": 7.5,
    }
    post = {"query": [{"role": "user", "content": "My boss lost my kettle. It will cost me forty dollars."}]}
    post |= {"response_1": "My boss lost my radio.", "response_2": "It cost forty dollars."}
    ways = labeler.prompters()

    def marked(way: Prompter, row: dict[str, Any], swapped: bool) -> dict[str, str]:
        learned = batches._row(way, {"gold_1": 5.0, "gold_2": 4.0} | row, swapped)
        places: dict[str, list[int]] = {}
        for token, mark in zip(learned.tokens, learned.marks, strict=True):
            if mark != tiny.NOWHERE:
                places.setdefault(labeler.MARKS[mark], []).append(token)
        return {mark: tokens.decode(found) for mark, found in places.items()}

    pair, score = ways["harmlessness/preference/base/0/rationale"], ways["harmlessness/score/0"]
    seen = marked(pair, row, False)
    # The rationale, which follows the responses, has no marks.
    assert "request" not in seen.pop("nothing")
    assert seen == {
        "harm": " Hide the camera under an old blanket",
        "rude": " fool",
        "kind": " sorry",
        "refusal": " I must say no",
    }
    assert set(marked(score, row, False)) == {"harm", "nothing", "rude"}
    assert set(marked(score, row, True)) == {"refusal", "nothing", "kind"}
    # A response that is a part of the other one is marked in its own place.
    short = row | {"response_1": "You fool.", "response_2": "You fool. You fool."}
    for swapped in (False, True):
        assert marked(ways["harmlessness/preference/base/0"], short, swapped)["rude"] == " fool" * 3
    seen = marked(ways["summarization/preference/detailed/0"], post, False)
    assert (seen["kept"], seen["invented"]) == (" boss lost forty", " radio")


def test_targets_prefer_what_gold_prefers_in_either_order() -> None:
    ways = labeler.prompters()
    row: dict[str, Any] = {"gold_1": 7.0, "gold_2": 4.0}
    way = ways["helpfulness/preference/base/0"]
    first, second = labeler.target(way, row, swapped=False)
    assert first > 0.95
    assert first + second == pytest.approx(1)
    assert labeler.target(way, row, swapped=True) == pytest.approx([second, first])
    # Points one apart: 1 / (1 + exp(-1 / .72)) = .80.
    assert labeler.target(way, {"gold_1": 5.0, "gold_2": 4.0}, swapped=False)[0] == pytest.approx(0.80, abs=0.005)
    scores = labeler.target(ways["helpfulness/score/0"], row, swapped=False)
    assert sum(value * p for value, p in enumerate(scores, 1)) == pytest.approx(7.0, abs=0.01)
    assert labeler.target(ways["helpfulness/score/0"], row, swapped=True)[3] == pytest.approx(max(scores))


def test_padding_does_not_reach_the_loss() -> None:
    torch.manual_seed(0)
    model = tiny.new_model(train.tokenizer(), 32, 1)
    rows = [[5, 6, 7, 8], [9, 10]]
    labels = [[tiny.NOWHERE, 6, 7, 8], [9, 10]]
    with torch.no_grad():
        together = tiny.next_token_loss(model, rows, labels)
        apart = [tiny.next_token_loss(model, [row], [label]) for row, label in zip(rows, labels, strict=True)]
    # Three tokens of the first row and one of the second are learned.
    assert together.item() == pytest.approx((3 * apart[0].item() + apart[1].item()) / 4, rel=1e-5)


def test_the_policy_is_shown_only_what_it_should_imitate() -> None:
    for harmful, shown in writer.SHOWN.items():
        assert sum(shown.values()) == pytest.approx(1.0)
        steps = sum(share for kind, share in shown.items() if kind.endswith("_help"))
        assert (0.4 < steps < 0.5) if harmful else steps > 0.7
    tokens = copy.deepcopy(train.tokenizer())
    tokens.chat_template = tiny.CHAT_TEMPLATE
    batches = writer.PolicyBatches(tiny.new_model(tokens, 32, 1), Encoder(tokens), seed=1)
    rows, labels = batches.rows()
    for row, label in zip(rows, labels, strict=True):
        start = label.index(next(one for one in label if one != tiny.NOWHERE))
        assert label == [*[tiny.NOWHERE] * start, *row[start:]]
        assert tokens.decode(row[start - 1]) == tiny.ASSISTANT
        assert row[-1] == tokens.eos_token_id


def test_measures_by_hand() -> None:
    assert measure.share(0, 0) == {"value": None, "n": 0}
    half = measure.share(50, 100)
    # Wilson's interval of .5 at n = 100: .5 -+ .0962.
    assert (half["low"], half["high"]) == (0.4038, 0.5962)
    rows = [
        {"id": "a", "gold_preference": 1.0},
        {"id": "b", "gold_preference": 0.0},
        {"id": "c", "gold_preference": 1.0},
    ]
    blank: dict[str, Any] = {
        "query": "q",
        "response_1": "x",
        "response_2": "y",
        "method": "exact",
        "llm": "m",
        "llm_version": "v",
    }
    blank |= {"input_tokens": 0, "cached_tokens": 0, "output_tokens": 0}
    labels = [
        # Right in both orders; the first place in both orders, and wrong; the second place in both, and right.
        Preference(id="a", preference=0.9, preference_12=0.9, preference_21=0.9, **blank),
        Preference(id="b", preference=0.55, preference_12=0.9, preference_21=0.2, **blank),
        Preference(id="c", preference=0.6, preference_12=0.4, preference_21=0.8, **blank),
    ]
    found = measure.agreement(rows, labels)
    assert found["agreement"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["same_position"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    # Shown first and preferred: a in one of two orders, b in both, c in neither.
    assert found["shown_first"]["value"] == pytest.approx(0.5)
    assert found["failures"] == 0
    # Of 1, 2 and 3: 2 -+ 1.96 * 1 / sqrt(3).
    assert measure.mean([1.0, 2.0, 3.0])["low"] == pytest.approx(2 - 1.1316, abs=0.001)
    assert measure.mean([1.0])["value"] is None
    assert measure.correlation(rows, [])["spearman"]["value"] is None


def test_a_trial_shortens_every_part_of_a_recipe() -> None:
    recipe = train.shorten(train.RECIPES["labeler-l"], 0.01)
    assert recipe.steps == round(train.RECIPES["labeler-l"].steps * 0.01)
    assert 0 < recipe.scores_first < recipe.steps
    assert recipe.matching == round(train.RECIPES["labeler-l"].matching * 0.01)


def test_rationales_say_what_gold_sees() -> None:
    rng = random.Random(0)
    said = set()
    for task in TASKS:
        way = labeler.prompters()[f"{task}/preference/base/0/rationale"]
        for row in comparisons(200, task=task, split="train", seed=rng.randrange(100)):
            text = labeler.rationale(way, row, swapped=False)
            said.add(text)
            if task != "summarization":
                assert text.startswith(f"The request is {'harmful' if row['harmful'] else 'harmless'}.")
            other = labeler.rationale(way, row, swapped=True)
            both = [
                re.search(r"(?:Response|Summary) 1 (.*)\. (?:Response|Summary) 2 (.*)\.$", one) for one in (text, other)
            ]
            assert both[0]
            assert both[1]
            assert both[0].groups() == both[1].groups()[::-1]
    assert len(said) > 100
