"""Real judgements from files: the published figures come out, to the last digit, under each policy."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import real_data

from rlaif.cli import main
from rlaif.columns import ColumnMap
from rlaif.errors import ConfigError, InputError
from rlaif.evaluation.report import Report
from rlaif.stages.evaluate import evaluate_alignment
from rlaif.statistics.intervals import Estimate

ROOT = Path(__file__).parents[2]
MAPS = ROOT / "examples" / "evaluation"


def table(report: Report, key: str) -> list[dict[str, Any]]:
    (section,) = [section for section in report.sections if section.key == key]
    return [dict(zip(section.columns, row, strict=True)) for row in section.rows]


def rounded(cell: Any, digits: int = 4) -> float:
    assert isinstance(cell, Estimate)
    assert cell.value is not None
    return round(cell.value, digits)


def pandalm(unreadable: str) -> Report:
    return evaluate_alignment(
        [real_data("pandalm_gpt35.json.gz")],
        people=real_data("pandalm_testset.json.gz"),
        columns=ColumnMap.from_words([str(MAPS / "pandalm.yaml")]),
        ties="class",
        unreadable=unreadable,  # type: ignore[arg-type]
        resamples=200,
    )


@pytest.mark.parametrize(("unreadable", "agreement"), [("tie", 0.7107), ("error", 0.6977), ("drop", 0.7156)])
def test_pandalm_under_each_policy_for_unreadable_verdicts(unreadable: str, agreement: float) -> None:
    report = pandalm(unreadable)
    (row,) = table(report, "alignment")
    assert rounded(row["agreement"]) == agreement
    assert row["agreement"].n == (974 if unreadable == "drop" else 999)
    assert (row["labels"], row["no label"]) == (974, "25 unreadable")
    # Whichever is chosen, the others stand beside it.
    others = {(one["ties"], one["unreadable"]): rounded(one["agreement"]) for one in table(report, "policies")}
    assert [others["class", name] for name in ("tie", "error", "drop")] == [0.7107, 0.6977, 0.7156]
    assert len(others) == 9


def test_pandalm_by_verdict_and_its_annotators() -> None:
    report = pandalm("tie")
    (headline,) = table(report, "alignment")
    assert rounded(headline["kappa"]) == 0.4958
    macro = table(report, "classes")[-1]
    assert [rounded(macro[name]) for name in ("precision", "recall", "F1")] == [0.5879, 0.5736, 0.5755]
    people = {row["who"]: row for row in table(report, "people")}
    kappas = [rounded(people[f"annotators {pair}"]["kappa"], 3) for pair in ("1 and 2", "1 and 3", "2 and 3")]
    assert kappas == [0.852, 0.879, 0.862]
    by_verdict = {row["verdict"]: row["recall"].n for row in table(report, "classes")[:-1]}
    assert by_verdict == {"tie": 105, "response 1": 422, "response 2": 472}


LLMBAR = [
    ("LLMBar/Natural/GPT-4/Vanilla", 0.95, 0.96, 0.95, 0.505),
    ("LLMBar/Natural/GPT-4/CoT", 0.94, 0.95, 0.91, 0.515),
    ("LLMBar/Natural/ChatGPT/Vanilla", 0.80, 0.83, 0.71, 0.605),
    ("LLMBar/Natural/ChatGPT/CoT", 0.70, 0.78, 0.64, 0.665),
    ("Processed/FairEval/GPT-4/Vanilla_NoRules", 0.7727, 0.6818, 0.6970, 0.6212),
    ("Processed/FairEval/ChatGPT/Vanilla_NoRules", 0.6667, 0.4848, 0.1818, 0.9091),
]


def test_llmbar_completions_read_by_us_in_both_orders() -> None:
    report = evaluate_alignment(
        [real_data("llmbar_judgments.jsonl.gz")],
        people=real_data("llmbar_pairs.jsonl.gz"),
        columns=ColumnMap.from_words([str(MAPS / "llmbar.yaml")]),
        people_columns=ColumnMap.from_words([str(MAPS / "llmbar-people.yaml")]),
        unreadable="error",
        resamples=200,
    )
    orders = {row["labeler"]: row for row in table(report, "orders")}
    positions = {row["labeler"]: row for row in table(report, "position")}
    for name, first, second, same, shown_first in LLMBAR:
        found = orders[name]["response 1 first"], orders[name]["response 2 first"]
        assert tuple(rounded(one) for one in found) == (first, second), name
        assert rounded(positions[name]["same winner"]) == same, name
        assert rounded(positions[name]["shown first wins"]) == shown_first, name
    failures = {row["labeler"]: row["no label"] for row in table(report, "alignment")}
    assert {name: said for name, said in failures.items() if said != "none"} == {
        "LLMBar/Natural/ChatGPT/CoT": "1 unreadable"
    }
    (lost,) = [label for pair in report.pairs for label in pair["labels"] if "failure" in label]
    assert lost["rationales_12"][0].endswith(
        "Both Output (a) and Output (b) are equally good for the given instruction."
    ) or ("equally good" in lost["rationales_12"][0])


def rows(path: Path, *content: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return path


def pair(identifier: int, **more: Any) -> dict[str, Any]:
    return {"id": str(identifier), "query": f"Q{identifier}", "response_1": "one more", "response_2": "two", **more}


def numbers(report: Report) -> list[Any]:
    return [cell for section in report.sections for row in section.rows for cell in row]


@pytest.mark.parametrize(
    "content",
    [
        [pair(1, preference=0.9, human_preference=1)],
        [pair(1, preference=0.9)],
        [pair(n, failure="refused", human_preference=1) for n in range(3)],
        [pair(n, preference=0.9, human_preference=1) for n in range(30)],
        [pair(n, preference=0.9, human_preference=0.5) for n in range(4)],
        [pair(n, preference=0.5, preference_12=1, preference_21=0, human_preference=n % 2) for n in range(4)],
        [pair(n, verdict=1, human_preference=1, query="the same") for n in range(5)],
        [pair(n, preference=float(n % 2), human_preference=n % 2, annotations=[n % 2, 1]) for n in range(6)],
    ],
    ids=["one", "no people", "all failed", "one class", "only ties", "only flips", "one query", "all right"],
)
def test_what_cannot_be_said_is_a_dash_and_never_a_warning(content: list[dict[str, Any]], tmp_path: Path) -> None:
    report = evaluate_alignment([rows(tmp_path / "x.jsonl", *content)], by=["response_2"], resamples=100)
    for cell in numbers(report):
        if isinstance(cell, Estimate):
            assert cell.value is None or cell.value == cell.value
            assert (cell.low is None) == (cell.high is None)
            if cell.low is not None and cell.value is not None and cell.high is not None:
                assert cell.low <= cell.high
        assert cell != "nan"


def test_one_item_has_an_agreement_and_no_sure_interval(tmp_path: Path) -> None:
    source = rows(tmp_path / "x.jsonl", pair(1, preference=0.9, human_preference=1))
    (row,) = table(evaluate_alignment([source]), "alignment")
    assert (row["agreement"].value, row["agreement"].n) == (1, 1)
    # Wilson, of one: from .2 to 1.
    assert row["agreement"].low == pytest.approx(0.2065, abs=1e-4)
    assert row["kappa"] == Estimate(None, n=1, clusters=1)


def test_labels_without_people_still_tell_of_position(tmp_path: Path) -> None:
    both = {"preference_12": 0.9, "preference_21": 0.2}
    source = rows(tmp_path / "x.jsonl", *(pair(n, preference=0.55, **both) for n in range(10)))
    report = evaluate_alignment([source])
    (row,) = table(report, "alignment")
    assert row["agreement"] == Estimate(None)
    assert table(report, "position")[0]["same position"].value == 1


def test_an_empty_join_names_ids_of_both_sides(tmp_path: Path) -> None:
    source = rows(tmp_path / "x.jsonl", pair(1, preference=0.9))
    people = rows(tmp_path / "people.jsonl", {"id": "other", "human_preference": 1})
    with pytest.raises(InputError, match=r"people.jsonl: no id is that of a label \(ids there: other, …; of labels: 1"):
        evaluate_alignment([source], people=people)


def test_policies_that_do_not_exist_are_errors_before_anything_is_read() -> None:
    with pytest.raises(ConfigError, match="ties is 'half-half'; did you mean half"):
        evaluate_alignment(["nowhere.jsonl"], ties="half-half")  # type: ignore[arg-type]


def test_intervals_are_the_same_every_time_and_other_with_another_seed(tmp_path: Path) -> None:
    source = rows(tmp_path / "x.jsonl", *(pair(n, preference=n % 7 / 6, human_preference=n % 2) for n in range(60)))
    first, again, other = (evaluate_alignment([source], seed=seed) for seed in (0, 0, 1))
    assert numbers(first) == numbers(again)
    assert numbers(first) != numbers(other)


def test_the_command_writes_the_report_and_prints_the_headline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main_without_exit(
        *("evaluate", "alignment", str(real_data("pandalm_gpt35.json.gz")), "--map", "id=idx", "verdict=gpt_result"),
        *("--people", str(real_data("pandalm_testset.json.gz")), "--ties", "class", "--unreadable", "tie"),
        *("--by", "cmp_key", "--resamples", "100", "--out", str(tmp_path / "report")),
    )
    said = capsys.readouterr().out
    assert "0.711" in said
    assert "report.html" in said
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    (row,) = found["sections"]["alignment"]["rows"]
    assert (round(row["agreement"]["value"], 4), row["agreement"]["n"]) == (0.7107, 999)
    assert "ties" in (tmp_path / "report" / "report.md").read_text().lower()


def main_without_exit(*words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code in (0, None)
