"""A reward model on held-out files: figures by hand from its own scores, files that join, and what cannot be said."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles import refuse, scripted
from tiny_policy import tiny_policy

from rlaif.cli import main
from rlaif.errors import ConfigError, InputError, ModelError
from rlaif.evaluation.report import Report
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.base import Request
from rlaif.records import Turn
from rlaif.stages import edited_scores
from rlaif.stages.evaluate_reward_model import MODEL, evaluate_reward_model, probability
from rlaif.stages.judge import judge_file
from rlaif.statistics.intervals import Estimate
from rlaif.training.likelihood import Likelihood, Policy
from rlaif.training.models import head_from_policy, save_folder
from rlaif.training.scoring import RewardModel, normalise
from rlaif.training.tokens import Tokenizer

TEXTS = [
    ("Wash the dough.", "No, I will not help you with that."),
    ("It is not safe.", "It is."),
    ("Take 8 eggs and boil them.", "Take two."),
    ("Always stir.", "You are rude, and I do not like you."),
    ("Stop it at once!", "Please do go on, and add more salt before noon."),
    ("Well.", "Bread"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random policy, and a random reward model in which a gap of 1 is a logit of 2."""
    folder = tmp_path_factory.mktemp("models")
    policy = tiny_policy(folder / "policy")
    torch.manual_seed(0)
    tokenizer = Tokenizer(policy)
    model = head_from_policy(policy, torch.float32, tokenizer.pad)
    normalise(model, [-1.0, 3.0], 64)
    save_folder(model, tokenizer.tokenizer, folder / "reward")
    return folder


@pytest.fixture(scope="module")
def gaps(folder: Path) -> list[float]:
    """By how much the model scores the first text of each pair higher."""
    model = RewardModel(folder / "reward")
    query = [(Turn(role="user", content=f"Question {n}?"),) for n in range(len(TEXTS))]
    both = [model.scores([(asked, text) for text in texts]) for asked, texts in zip(query, TEXTS, strict=True)]
    return [one - other for one, other in both]


def pair(n: int, **more: Any) -> dict[str, Any]:
    one, other = TEXTS[n]
    return {"id": str(n), "query": f"Question {n}?", "response_1": one, "response_2": other, **more}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def evaluated(folder: Path, *sources: Any, **options: Any) -> Report:
    settings: dict[str, Any] = {"resamples": 100, "progress": False, **options}
    return evaluate_reward_model(str(folder / "reward"), sources, **settings)


def table(report: Report, key: str) -> dict[str, dict[str, Any]]:
    (section,) = [section for section in report.sections if section.key == key]
    return {str(row[0]): dict(zip(section.columns, row, strict=True)) for row in section.rows}


def value(cell: Any) -> tuple[float | None, int]:
    assert isinstance(cell, Estimate)
    return cell.value, cell.n


def test_figures_are_those_of_the_models_own_scores(folder: Path, gaps: list[float]) -> None:
    human = [1, 0, 1, 1, 0, 0]
    report = evaluated(folder, [pair(n, human_preference=label) for n, label in enumerate(human)])
    row = table(report, "accuracy")["people"]
    right = [(gap > 0) == (label == 1) for gap, label in zip(gaps, human, strict=True)]
    assert value(row["accuracy"]) == (pytest.approx(sum(right) / 6), 6)
    assert 0 < sum(right) < 6
    # A gap of 1 is a logit of 2: the reference scores -1 and 3 have a standard deviation of 2.
    said = [1 / (1 + math.exp(-2 * gap)) for gap in gaps]
    losses = [-math.log(p if label else 1 - p) for p, label in zip(said, human, strict=True)]
    assert value(row["log loss"]) == (pytest.approx(sum(losses) / 6, abs=1e-4), 6)
    squares = [(p - label) ** 2 for p, label in zip(said, human, strict=True)]
    assert value(row["Brier"]) == (pytest.approx(sum(squares) / 6, abs=1e-4), 6)
    assert (row["labels"], row["missing"]) == (6, None)
    assert [one["labels"][0]["preference"] for one in report.pairs] == pytest.approx(said, abs=1e-4)
    # Hard labels have no uncertainty of their own.
    assert list(table(report, "probabilities people")) == [MODEL, "always .5"]


def test_people_and_labelers_are_apart_and_soft_labels_show_the_lowest_log_loss(
    folder: Path, gaps: list[float]
) -> None:
    rows = [pair(n, human_preference=float(gap > 0), preference=0.8 if gap < 0 else 0.2) for n, gap in enumerate(gaps)]
    report = evaluated(folder, rows)
    found = table(report, "accuracy")
    assert [value(found[name]["accuracy"])[0] for name in ("people", "list")] == [1, 0]
    # H(.8) = -.8 log .8 - .2 log .2 = .5004.
    floor = table(report, "probabilities list")["the labels of list themselves"]["log loss"]
    assert floor.value == pytest.approx(0.5004, abs=1e-4)
    keys = [section.key.split()[0] for section in report.sections]
    assert keys == ["accuracy", *["baselines", "probabilities", "calibration"] * 2, "edits"]
    labels = {label["labeler"]: label["agrees"] for label in report.pairs[0]["labels"]}
    assert labels == {MODEL: True, "list": False}


def test_baselines_are_scored_on_the_same_items(folder: Path, gaps: list[float]) -> None:
    # The first text has 3, 4, 6, 2, 4 and 1 words, the second 8, 2, 2, 9, 10 and 1.
    human = [0, 1, 1, 1, 1, 1]
    rows = [pair(n, human_preference=label) for n, label in enumerate(human)]
    rows[1]["reference"], rows[2]["reference"] = "It is.", "Take 8"
    report = evaluated(folder, rows, supervised=str(folder / "policy"))
    found = table(report, "baselines people")
    # Right on 0, 1, 2, wrong on 3 and 4; pair 5 is a tie, which is half.
    assert value(found["longer (words)"]["accuracy"]) == (pytest.approx(3.5 / 6), 6)
    # Of 2: "Take 8 eggs and boil them" has both words in order, F1 = 4/8; "Take two" one, F1 = 2/4: a tie. Of 1: wrong.
    assert value(found["closer to the reference (ROUGE-L)"]["accuracy"]) == (pytest.approx(0.25), 2)
    # No response shares a word with its query: ties.
    assert value(found["more of its words are in the query"]["accuracy"]) == (0.5, 6)
    right = [(gap > 0) == bool(label) for gap, label in zip(gaps, human, strict=True)]
    lead = found["longer (words)"]
    assert lead["the model is ahead by"].value == pytest.approx((sum(right) - 3.5) / 6)
    credits = [1, 1, 1, 0, 0, 0.5]
    assert lead["model ahead on"] == sum(hit > credit for hit, credit in zip(right, credits, strict=True))
    assert lead["it is ahead on"] == sum(hit < credit for hit, credit in zip(right, credits, strict=True))
    assert found["closer to the reference (ROUGE-L)"]["the model is ahead by"].n == 2


def test_likelihoods_under_the_supervised_policy_are_baselines(folder: Path) -> None:
    rows = [pair(n, human_preference=1) for n in range(len(TEXTS))]
    name = str(folder / "policy")
    found = table(evaluated(folder, rows, supervised=name), "baselines people")
    queries = [(Turn(role="user", content=row["query"]),) for row in rows]
    policy = Policy(folder / "policy")
    asked = [policy.likelihoods([(query, text) for text in texts]) for query, texts in zip(queries, TEXTS, strict=True)]
    both = [(one, other) for one, other in asked if isinstance(one, Likelihood) and isinstance(other, Likelihood)]
    per_token = sum(one.per_token > other.per_token for one, other in both) / 6
    whole = sum(one.nats > other.nats for one, other in both) / 6
    assert value(found[f"likelier per token under {name}"]["accuracy"]) == (pytest.approx(per_token), 6)
    assert value(found[f"likelier as a whole under {name}"]["accuracy"]) == (pytest.approx(whole), 6)


def test_files_join_by_id_whichever_way_round_and_people_may_be_elsewhere(
    folder: Path, gaps: list[float], tmp_path: Path
) -> None:
    plain = write(tmp_path / "plain.jsonl", [pair(n, gold=float(gap > 0)) for n, gap in enumerate(gaps)])
    turned = []
    for n, gap in enumerate(gaps):
        row = pair(n, preference=0.9 if gap < 0 else 0.1)
        turned.append({**row, "response_1": row["response_2"], "response_2": row["response_1"]})
    labels = write(tmp_path / "labels.jsonl", turned)
    people = write(tmp_path / "people.jsonl", [{"id": "0", "annotations": [1, 1, 0]}, {"id": "1", "annotations": [0]}])
    report = evaluated(folder, plain, labels, people=people, against=["gold", "preference"], by=["gold"])
    found = table(report, "accuracy")
    assert [(name, value(row["accuracy"])) for name, row in found.items() if name != "people"] == [
        ("labels", (1, 6)),
        ("gold", (1, 6)),
    ]
    assert (found["people"]["labels"], found["people"]["missing"]) == (2, "4 not labeled")
    assert value(found["people"]["accuracy"]) == (((gaps[0] > 0) + (gaps[1] < 0)) / 2, 2)
    assert {row["column"] for row in table(report, "slices gold").values()} == {"gold"}


def test_a_run_folder_has_its_models_name_and_its_refusals_are_counted(
    folder: Path, gaps: list[float], tmp_path: Path
) -> None:
    def script(request: Request) -> Any:
        return refuse(request) if "Question 5" in request.messages[-1].content else {"1": 0.7, "2": 0.3}

    source = write(tmp_path / "pairs.jsonl", [pair(n, human_preference=float(gap > 0)) for n, gap in enumerate(gaps)])
    labeler = PreferenceLabeler("helpfulness", scripted(script))
    judge_file(labeler, source, tmp_path / "run", progress=False)
    found = table(evaluated(folder, tmp_path / "run"), "accuracy")
    assert list(found) == ["people", "scripted:test"]
    # What the labeler refused, people have labeled.
    assert value(found["people"]["accuracy"]) == (1, 6)
    assert (found["scripted:test"]["labels"], found["scripted:test"]["missing"]) == (5, "1 refused")


def test_equal_scores_are_half_and_what_is_too_long_has_no_score(folder: Path) -> None:
    rows = [
        {"id": "same", "query": "Q?", "response_1": "Yes.", "response_2": "Yes.", "human_preference": 1},
        {"id": "long", "query": "Q?", "response_1": "Yes.", "response_2": "no " * 90, "human_preference": 1},
    ]
    row = table(evaluated(folder, rows), "accuracy")["people"]
    assert value(row["accuracy"]) == (0.5, 1)
    assert (row["labels"], row["missing"]) == (2, "1 not scored")
    assert row["log loss"].value == pytest.approx(math.log(2))
    # As an error it counts as wrong: (.5 + 0) / 2.
    assert value(table(evaluated(folder, rows, unreadable="error"), "accuracy")["people"]["accuracy"]) == (0.25, 2)


@pytest.mark.parametrize(
    "rows",
    [
        [pair(0, human_preference=1)],
        [pair(n, preference=0.9) for n in range(6)],
        [pair(n, human_preference=1) for n in range(6)],
        [pair(n, human_preference=0.5) for n in range(6)],
        [pair(n, human_preference=n % 2, response_1="") for n in range(6)],
        [pair(n, human_preference=n % 2, response_1="no " * 90) for n in range(6)],
    ],
    ids=["one", "no people", "one class", "only ties", "empty responses", "no scores"],
)
def test_what_cannot_be_said_is_a_dash_and_never_a_warning(folder: Path, rows: list[dict[str, Any]]) -> None:
    report = evaluated(folder, rows, by=["response_2"])
    for section in report.sections:
        for row in section.rows:
            for cell in row:
                assert cell != "nan"
                if isinstance(cell, Estimate) and cell.value is not None:
                    assert cell.n > 0
                    assert cell.value == cell.value


def test_edits_are_scored_and_fall_by_the_first_reference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [pair(1, human_preference=1), pair(0, human_preference=0.5)]
    edits = table(evaluated(folder, rows), "edits")
    model = RewardModel(folder / "reward")
    query = (Turn(role="user", content="Question 1?"),)
    before, after = model.scores([(query, "It is not safe."), (query, "It is safe.")])
    # "It is not safe." is the preferred one of pair 1; "I will not help you" is of a tie.
    assert value(edits["not dropped"]["preferred response falls"]) == (float(after < before), 1)
    query_0, text = (Turn(role="user", content="Question 0?"),), "No, I will help you with that."
    change_0 = model.scores([(query_0, text)])[0] - model.scores([(query_0, TEXTS[0][1])])[0]
    mean = (abs(after - before) + abs(change_0)) / 2
    assert edits["not dropped"]["moves by (mean)"].value == pytest.approx(mean, abs=1e-4)
    assert (edits["not dropped"]["no place"], edits["not dropped"]["moves by (mean)"].n) == (2, 2)
    monkeypatch.setattr(edited_scores, "MOST_EDITED", 1)
    section = evaluated(folder, rows).sections[-1]
    assert "Responses are those of 1 comparisons, drawn from 2." in section.note
    assert table(evaluated(folder, rows), "edits")["a line break at the end"]["moves by (mean)"].n == 2


def test_probabilities_of_scores_are_symmetric_and_never_overflow() -> None:
    assert probability(0) == 0.5
    assert probability(1) == pytest.approx(1 / (1 + math.exp(-1)))
    assert probability(2.5) + probability(-2.5) == pytest.approx(1)
    assert (probability(1e9), probability(-1e9)) == (1, 0)


def test_every_fault_says_what_would_be_right(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no comparison has human_preference, .*; --against names another column"):
        evaluated(folder, [pair(0)])
    with pytest.raises(InputError, match="there is no column gould; did you mean gold"):
        evaluated(folder, [pair(0, gold=1)], against=["gould"])
    with pytest.raises(InputError, match=r"preference is 7; it must be a number in \[0, 1\]"):
        evaluated(folder, [pair(0, gold=7)], against=["gold"])
    with pytest.raises(InputError, match="there is no column topic; the rows have"):
        evaluated(folder, [pair(0, human_preference=1)], by=["topic"])
    with pytest.raises(ModelError, match="not a reward model"):
        evaluate_reward_model(str(folder / "policy"), [[pair(0, human_preference=1)]], progress=False)
    with pytest.raises(ConfigError, match="ties is 'no'"):
        evaluated(folder, [pair(0, human_preference=1)], ties="no")
    unusable = [pair(0, human_preference=1), {**pair(1, human_preference=1), "query": []}]
    assert evaluated(folder, unusable).about["Not usable"].startswith("1 comparisons: query is empty")


def test_the_command_writes_the_report_and_prints_the_headline(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"Q{n}?", "a": "Yes.", "b": "No, never.", "topic": n % 2, "gold": n % 2} for n in range(20)]
    source = write(tmp_path / "rows.jsonl", rows)
    words = ["evaluate", "reward-model", str(folder / "reward"), str(source), "--map", "query=prompt", "response_1=a"]
    words += [
        "response_2=b",
        "--against",
        "gold",
        "--by",
        "topic",
        "--resamples",
        "100",
        "--out",
        str(tmp_path / "out"),
    ]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code in (0, None)
    assert "gold" in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    (row,) = written["sections"]["accuracy"]["rows"]
    assert (row["against"], row["accuracy"]["n"], row["labels"]) == ("gold", 20, 20)
    assert {"report.md", "report.html"} < {path.name for path in (tmp_path / "out").iterdir()}
    with pytest.raises(SystemExit) as stop:
        main([*words[:3], "query=prompt", "--out", "x"])
    assert stop.value.code == 2
    assert "name at least one run folder or file of comparisons" in capsys.readouterr().err
