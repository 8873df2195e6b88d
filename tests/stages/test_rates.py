"""Win rates, harmless rates and ratings from files, judged now or before, and the commands that print them."""

import csv
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from doubles import refuse, scripted

from rlaif.cli import rates as command
from rlaif.errors import ConfigError, InputError, RlaifError
from rlaif.evaluation.report import Report
from rlaif.evaluation.writing import as_markdown
from rlaif.labeling.harmlessness import HarmlessJudge
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.base import NoAnswer, Request
from rlaif.pocket.data import comparisons
from rlaif.stages.collect import collect
from rlaif.stages.judge import judge_file
from rlaif.stages.rates import harmless_rate, ratings, win_rate
from rlaif.stages.sheets import write_sheets


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def first(report: Report) -> tuple[Any, ...]:
    return report.sections[0].rows[0]


def by_length(request: Request) -> Any:
    """Prefers the longer response."""
    text = request.messages[-1].content
    one, other = text.split("Response 1 - ")[-1].split("\n\nResponse 2 - ")
    share = 0.9 if len(one) > len(other) else 0.1
    return {"1": share, "2": 1 - share}


def longer() -> PreferenceLabeler:
    return PreferenceLabeler("helpfulness", scripted(by_length))


def samples(path: Path, *responses: str, llm: str | None = None, start: int = 0) -> Path:
    named = {"llm": llm} if llm else {}
    rows = ({"id": str(n), "query": f"q{n}", "responses": [text], **named} for n, text in enumerate(responses, start))
    return write(path, *rows)


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Samples of two policies of the pocket world, of which the first has the better response in three of four."""
    folder, coin = tmp_path_factory.mktemp("policies"), random.Random(0)
    better, worse = [], []
    for row in comparisons(60, task="helpfulness", split="heldout", seed=3):
        texts = [row["response_1"], row["response_2"]]
        if (row["gold_preference"] == 1.0) != (coin.random() < 0.75):
            texts.reverse()
        for rows, text in zip((better, worse), texts, strict=True):
            rows.append({"id": row["id"], "query": row["query"], "responses": [text, "never shown"]})
    return write(folder / "rl.jsonl", *better), write(folder / "sft.jsonl", *worse)


def test_two_policies_are_judged_by_a_real_labeler_and_once(policies: tuple[Path, Path], tmp_path: Path) -> None:
    def judged() -> Report:
        labeler = PreferenceLabeler("helpfulness", "pocket:labeler-s")
        return win_rate(policies, labeler=labeler, out=tmp_path, progress=False, ledger=tmp_path / "ledger.sqlite")

    report = judged()
    name, rate, *_ = first(report)
    assert name == "rl over sft, by pocket:labeler-s"
    # One query is there twice.
    assert (rate.n, rate.clusters) == (60, 59)
    assert 0.6 < rate.value < 0.9
    assert rate.low > 0.5
    labels = read(tmp_path / "labels" / "preferences.jsonl")
    assert {row["response_1"] for row in labels} & {"never shown"} == set()
    # Which policy is shown as response 1 is a coin.
    assert 15 < Counter(row["model_1"] for row in labels)["rl"] < 45
    asked = json.loads((tmp_path / "labels" / "manifest.json").read_text())["invocations"]
    again = judged()
    assert again.sections == report.sections
    invocations = json.loads((tmp_path / "labels" / "manifest.json").read_text())["invocations"]
    assert [one["asked"] for one in invocations] == [asked[0]["asked"], 0]
    # The labels alone say the same, and the other way round the opposite.
    assert first(win_rate([tmp_path / "labels"], policy="rl")) == first(report)
    assert first(win_rate([tmp_path / "labels"], policy="sft"))[1].value == pytest.approx(1 - rate.value)


def test_identical_responses_are_ties_and_empty_ones_failures_and_neither_is_asked(tmp_path: Path) -> None:
    one = samples(tmp_path / "a.jsonl", "longer one", "same", "", "x", "long long", llm="A")
    other = samples(tmp_path / "b.jsonl", "short", "same", "y", "longer two", "z", llm="B")
    report = win_rate([one, other], labeler=longer(), out=tmp_path / "out", progress=False)
    row = first(report)
    # Won, tie, rejected, lost, won: 2.5 of 4.
    assert row[0] == "A over B, by scripted:test"
    assert (row[1].value, row[2].value, row[1].n, row[-1]) == (2.5 / 4, 2.5 / 4, 4, "1 rejected")
    assert len(read(tmp_path / "out" / "labels" / "preferences.jsonl")) == 3
    loss = win_rate([one, other], labeler=longer(), out=tmp_path / "out", failures="loss", progress=False)
    assert first(loss)[1].value == 2.5 / 5
    same = win_rate(
        [one, samples(tmp_path / "c.jsonl", "longer one")], labeler=longer(), out=tmp_path / "n", progress=False
    )
    assert first(same)[1].value == 0.5
    assert not (tmp_path / "n").exists()


def test_rows_of_one_file_only_and_rows_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    one = samples(tmp_path / "a.jsonl", "aa", "bb", "cc")
    other = samples(tmp_path / "b.jsonl", "d", "e", "f", start=1)
    with other.open("a") as file:
        file.write('not json\n{"id": "9", "query": "q9", "responses": []}\n')
    report = win_rate([one, other], labeler=longer(), out=tmp_path / "out", progress=False)
    joined = report.about["Joined"]
    assert joined == f"2 by id; 1 only in {one}; 1 only in {other}; 2 of {other} cannot be read"
    assert first(report)[0].startswith("a over b")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            [{"id": "x", "query": "q0", "responses": ["b"]}],
            r"no id in common \(ids there: 0, …; here: x, …\).*joined by id",
        ),
        ([{"id": "0", "query": "else", "responses": ["b"]}], r"b\.jsonl:1: id 0 has another query in .*a\.jsonl"),
        (
            [{"id": "0", "query": "q0", "responses": [text]} for text in "bc"],
            r"b\.jsonl:2: id 0 is there twice; samples are joined by id",
        ),
        ([{"id": "0", "question": "q0"}], r"b\.jsonl:1: there is no column query"),
    ],
)
def test_files_that_do_not_fit_are_named_before_anything_is_asked(
    tmp_path: Path, other: list[dict[str, Any]], message: str
) -> None:
    one, theirs = samples(tmp_path / "a.jsonl", "a"), write(tmp_path / "b.jsonl", *other)
    with pytest.raises(InputError, match=message):
        win_rate([one, theirs], labeler=longer(), out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_policies_need_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    one = samples(tmp_path / "a.jsonl", "aa", llm="same")
    report = win_rate(
        [one, samples(tmp_path / "b.jsonl", "b", llm="same")], labeler=longer(), out=tmp_path / "o", progress=False
    )
    assert first(report)[0].startswith("a over b")
    with pytest.raises(InputError, match="policies have the same name; rename a file"):
        win_rate([one, samples(tmp_path / "x" / "a.jsonl", "b")], labeler=longer(), out=tmp_path / "o", progress=False)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    one = samples(tmp_path / "a.jsonl", "aa")
    for call, message in (
        (lambda: win_rate([]), "name a run folder, a file of labels, two files of samples, or --people"),
        (lambda: win_rate([one, one]), "two files of samples have to be judged: name --task and --llm"),
        (lambda: win_rate([one], labeler=longer(), out=tmp_path), "compares two files of samples"),
        (lambda: harmless_rate([]), "name files of samples, a run folder or a file with harmless, or --people"),
        (lambda: harmless_rate([], judge=judge_of(0.9)), "a judge needs files of samples"),
        (lambda: ratings([]), "name run folders, files of matches, or --people"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()
    for call, message in (
        (lambda: win_rate([one]), "no row holds a judgement of two models"),
        (lambda: harmless_rate([one]), "no row holds harmless.*; give --task and --llm"),
        (lambda: win_rate([tmp_path / "no.jsonl"]), r"no\.jsonl: no such file"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def fill(sheet: Path, answer: Any) -> None:
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(answer(row) for row in rows)


def test_people_who_filled_in_sheets_are_counted(tmp_path: Path) -> None:
    one = samples(tmp_path / "a.jsonl", "long one", "x", "long three", llm="A")
    other = samples(tmp_path / "b.jsonl", "y", "long two", "z", llm="B")
    sheets = write_sheets(one, tmp_path / "audit", "win-rate", other=other, annotators=2)
    for sheet in sheets.paths:
        fill(sheet, lambda row: row | {"better": "1" if len(row["first"]) > len(row["second"]) else "2"})
    people = collect(tmp_path / "audit").path
    report = win_rate(people=people, policy="A")
    row = first(report)
    assert (row[0], row[1].value, row[1].n) == ("A over B, by people", pytest.approx(2 / 3), 3)
    # Beside a labeler's own labels, which are the same way round whoever is response 1.
    both = win_rate([one, other], labeler=longer(), out=tmp_path / "out", people=people, progress=False)
    assert [(each[0], each[1].value) for each in both.sections[0].rows] == [
        ("A over B, by scripted:test", pytest.approx(2 / 3)),
        ("A over B, by people", pytest.approx(2 / 3)),
    ]
    # On the page people are beside the labels.
    assert [(pair["human"] > 0.5, pair["labels"][0]["agrees"]) for pair in both.pairs] == [
        (len(pair["responses"][0]) > len(pair["responses"][1]), True) for pair in both.pairs
    ]
    assert len(both.pairs) == 3


def test_people_in_a_file_of_their_own_replace_those_beside_labels(tmp_path: Path) -> None:
    row = {"id": "1", "query": "q", "model_1": "A", "model_2": "B"}
    labels = write(tmp_path / "labels.jsonl", row | {"preference": 0.9, "llm": "m", "human_preference": 0.0})
    people = write(tmp_path / "people.jsonl", row | {"preference": 0.1, "human_preference": 1.0})
    assert [(each[0], each[1].value) for each in win_rate([labels], people=people).sections[0].rows] == [
        ("A over B, by m", 1.0),
        ("A over B, by people", 1.0),
    ]
    assert [each[1].value for each in win_rate([labels]).sections[0].rows] == [1.0, 0.0]
    both = ratings([labels], people=people, resamples=100)
    assert [section.title for section in both.sections] == ["Ratings by m", "Ratings by people"]
    assert [section.rows[0][4] for section in both.sections] == [1.0, 1.0]


def judge_of(share: float) -> HarmlessJudge:
    def script(request: Request) -> Any:
        text = request.messages[-1].content
        if "refuse me" in text:
            return NoAnswer("refused", "will not")
        return {"yes": 0.1, "no": 0.9} if "bomb" in text else {"yes": share, "no": 1 - share}

    return HarmlessJudge("harmlessness", scripted(script))


def test_responses_of_policies_are_judged_one_by_one_and_once(tmp_path: Path) -> None:
    rl = samples(tmp_path / "rl.jsonl", "kind", "kind", "refuse me", "", llm="tuned")
    sft = samples(tmp_path / "sft.jsonl", "kind", "a bomb", "a bomb", "kind", llm="base")
    out = tmp_path / "out"
    report = harmless_rate([rl, sft], judge=judge_of(0.8), out=out, progress=False)
    rows = report.sections[0].rows
    assert [(row[0], row[1], row[2].value, row[2].n, row[4]) for row in rows] == [
        ("tuned", "scripted:test", 1.0, 2, "1 refused, 1 rejected"),
        ("base", "scripted:test", 0.5, 4, None),
    ]
    # On the two queries that both have answers to: 1 and 1 against 1 and 0; P(yes) .8, .8 against .8, .1.
    (difference,) = report.sections[1].rows
    assert (difference[0], difference[2].value, difference[2].n) == ("tuned minus base", 0.5, 2)
    assert difference[3].value == pytest.approx(0.35)
    records = read(out / "labels" / "harmlessness.jsonl")
    assert [(row["id"], row["model"], row["llm"]) for row in records[:2]] == [
        ("tuned/0", "tuned", "scripted:test"),
        ("tuned/1", "tuned", "scripted:test"),
    ]
    harmless_rate([rl, sft], judge=judge_of(0.8), out=out, progress=False)
    assert json.loads((out / "labels" / "manifest.json").read_text())["invocations"][1]["asked"] == 0
    # The labels alone hold all that was asked.
    found = harmless_rate([out / "labels"], failures="harmful", threshold=0.7).sections[0].rows
    assert [(row[0], row[1], row[2].value, row[2].n) for row in found] == [
        ("tuned", "scripted:test", pytest.approx(2 / 3), 3),
        ("base", "scripted:test", 0.5, 4),
    ]


def test_what_could_not_be_judged_is_the_labelers_failure_whoever_wrote_it(tmp_path: Path) -> None:
    texts = ("kind", "refuse me", "refuse me", "")
    rows = [
        {"id": str(n), "query": f"q{n}", "responses": [text], "llm": "pocket:policy", "llm_version": "1"}
        for n, text in enumerate(texts)
    ]
    source, out = write(tmp_path / "samples.jsonl", *rows), tmp_path / "out"
    report = harmless_rate([source], judge=judge_of(0.8), out=out, failures="harmful", progress=False)
    assert [(row[0], row[1], row[2].value, row[4]) for row in report.sections[0].rows] == [
        ("pocket:policy", "scripted:test", 0.25, "2 refused, 1 rejected")
    ]
    found = harmless_rate([out / "labels"], failures="harmful").sections[0].rows
    assert [(row[0], row[1], row[2].value) for row in found] == [
        ("pocket:policy", "scripted:test", pytest.approx(1 / 3))
    ]
    # Where every row failed, none names the labeler.
    source = write(tmp_path / "refused.jsonl", *rows[1:3])
    (row,) = harmless_rate([source], judge=judge_of(0.8), out=tmp_path / "h", progress=False).sections[0].rows
    assert (row[0], row[1], row[4]) == ("pocket:policy", "scripted:test", "2 refused")
    pairs = [row | {"responses": ["refuse me", "kind"]} for row in rows[:2]]
    judge_file(PreferenceLabeler("helpfulness", scripted(refuse)), pairs, tmp_path / "w", progress=False)
    assert [row[0] for row in win_rate([tmp_path / "w"]).sections[0].rows] == ["response 1 over response 2, by labeler"]


def test_comparisons_and_people_give_harmless_rates_too(tmp_path: Path) -> None:
    pairs = write(
        tmp_path / "pairs.jsonl",
        {"id": "1", "query": "q", "response_1": "kind", "response_2": "a bomb", "model_1": "A", "model_2": "B"},
    )
    rows = harmless_rate([pairs], judge=judge_of(0.9), out=tmp_path / "out", progress=False).sections[0].rows
    assert [(row[0], row[2].value) for row in rows] == [("A", 1.0), ("B", 0.0)]
    plain = write(tmp_path / "plain.jsonl", {"query": "q", "response": "kind"}, {"query": "q", "response": "bomb"})
    rows = harmless_rate([plain], judge=judge_of(0.9), out=tmp_path / "own", progress=False).sections[0].rows
    assert [(row[0], row[2].value) for row in rows] == [("plain", 0.5)]
    sheets = write_sheets(plain, tmp_path / "audit", "harmless", annotators=1)
    fill(sheets.paths[0], lambda row: row | {"harmless": "no" if row["response"] == "bomb" else "yes"})
    people = collect(tmp_path / "audit").path
    (row,) = harmless_rate(people=people).sections[0].rows
    assert (row[1], row[2].value, row[2].n) == ("people", 0.5, 2)


def test_ratings_read_any_file_of_matches(tmp_path: Path) -> None:
    games = [("a", "b", 1), ("b", "c", 1), ("c", "a", 1), ("a", "c", 1)] * 10
    lines = ["one,two,won", *(f"{one},{two},{won}" for one, two, won in games)]
    (tmp_path / "matches.csv").write_text("\n".join(lines) + "\n")
    from rlaif.columns import ColumnMap

    columns = ColumnMap.from_words(["model_1=one", "model_2=two", "preference=won"])
    rows = ratings([tmp_path / "matches.csv"], columns=columns, resamples=200).sections[0].rows
    assert [row[0] for row in rows] == ["a", "b", "c"]
    assert rows[0][1].low < rows[0][1].value < rows[0][1].high
    assert sum(row[1].value for row in rows) == pytest.approx(3000)


def call(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    command.app(list(words), standalone_mode=False)
    return capsys.readouterr().out


def test_the_commands_print_the_headline_and_write_a_report(
    policies: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rl, sft = map(str, policies)
    out = str(tmp_path / "wins")
    llm = ("--llm", "pocket:labeler-xs")
    printed = call(capsys, "win-rate", rl, sft, "--task", "helpfulness", *llm, "--out", out, "--resamples", "200")
    assert "rl over sft, by" in printed
    assert "pocket:labeler-xs" in printed
    assert f"{out}/report.html" in printed
    assert {path.name for path in (tmp_path / "wins").iterdir()} >= {
        "report.html",
        "report.md",
        "report.json",
        "labels",
    }
    found = json.loads((tmp_path / "wins" / "report.json").read_text())
    assert "win_rate" in json.dumps(found)
    labels = str(tmp_path / "wins" / "labels")
    printed = call(
        capsys, "win-rate", labels, "--policy", "sft", "--failures", "half", "--out", str(tmp_path / "again")
    )
    assert "sft over rl" in printed
    printed = call(capsys, "ratings", labels, "--out", str(tmp_path / "ratings"), "--resamples", "100")
    assert [word in printed for word in ("rl", "sft", "Bradley-Terry", "Elo")] == [True] * 4
    words = ("--task", "harmlessness", *llm, "--max-unread-mass", "1", "--out", str(tmp_path / "harmless"))
    with pytest.warns(UserWarning, match="was not trained on this prompt"):
        printed = call(capsys, "harmless-rate", rl, sft, *words)
    assert "harmless rate" in printed
    assert "rl" in printed
    with pytest.raises(ConfigError, match="--task judges two files of samples, and 1 are named"):
        call(capsys, "win-rate", rl, "--task", "helpfulness", "--out", out)
    with pytest.raises(RlaifError, match=r"helpfulness/harmless_question\.j2: is missing"):
        call(capsys, "harmless-rate", rl, "--task", "helpfulness", "--out", str(tmp_path / "x"))


@pytest.mark.parametrize("name", ["win-rate", "harmless-rate", "ratings"])
def test_help_shows_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = call(capsys, name, "--help")
    assert "Examples" in printed
    assert f"rlaif evaluate {name}" in printed


def test_all_refused_is_a_report_of_dashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = samples(tmp_path / "a.jsonl", "aa"), samples(tmp_path / "b.jsonl", "b")
    labeler = PreferenceLabeler("helpfulness", scripted(refuse))
    row = first(win_rate([one, other], labeler=labeler, out=tmp_path / "out", progress=False))
    assert (row[0], str(row[1]), str(row[4]), row[1].n, row[5]) == (
        "a over b, by scripted:test",
        "-",
        "-",
        0,
        "1 refused",
    )
    judge = HarmlessJudge("harmlessness", scripted(refuse))
    report = harmless_rate([one], judge=judge, out=tmp_path / "h", progress=False)
    assert "| policy | judged by | harmless rate | not judged |" in as_markdown(report)
    assert "| a | scripted:test | –, n = 0 | 1 refused |" in as_markdown(report)
