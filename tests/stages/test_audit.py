"""People check a labeler: which pairs are planned, how blind sheets are, and how filled ones are read back."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import real_data

from rlaif.cli.audit import app
from rlaif.errors import ConfigError, InputError, RlaifError, RunFolderError
from rlaif.evaluation.agreement import agreement
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.base import NoAnswer, Request
from rlaif.llm.scripted import ScriptedLLM
from rlaif.stages.audit import plan_audit, stratum_of
from rlaif.stages.collect import Collected, collect
from rlaif.stages.judge import judge_file
from rlaif.stages.sheets import Sheets, write_sheets

Row = dict[str, Any]


def write(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def labels(path: Path, n: int = 400) -> Path:
    """Labels of four strata in turn; response 1 is the good one of every other pair."""
    kinds = [(0.5, 0.7, 0.3), (0.45, 0.4, 0.48), (0.2, 0.3, 0.1), (0.97, 0.99, 0.95)]
    rows = []
    for i in range(n):
        mean, one, other = kinds[i % 4]
        texts = [f"good {i}", f"bad {i}"]
        if i % 2:
            texts.reverse()
        rows.append(
            {"id": f"secret-{i}", "preference": mean, "preference_12": one, "preference_21": other, "query": f"Q{i}"}
            | {"response_1": texts[0], "response_2": texts[1], "model_1": "model-x", "model_2": "model-y"}
        )
    return write(path, rows)


def sheet_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def save(path: Path, rows: Sequence[dict[str, str]], encoding: str = "utf-8-sig", **style: Any) -> Path:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, style.pop("columns", list(rows[0])), extrasaction="ignore", **style)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def fill(path: Path, answer: Callable[[dict[str, str]], str], **style: Any) -> Path:
    rows = sheet_rows(path)
    column = "harmless" if "harmless" in rows[0] else "better"
    return save(path, [{**row, column: answer(row)} for row in rows], **style)


def prefers_good(row: dict[str, str]) -> str:
    return "1" if row["first"].startswith("good") else "2"


def call(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    app([str(word) for word in words], standalone_mode=False)
    return capsys.readouterr().out


# plan


def test_a_label_belongs_to_the_band_of_its_margin_unless_position_decides() -> None:
    assert stratum_of(0.9, 0.9, 0.9) == "margin .1 to .4"
    assert stratum_of(0.95, 0.99, 0.91) == "margin above .4"
    assert stratum_of(0.05, None, None) == "margin above .4"
    # A margin of .1 or .4 is neither low nor high.
    assert {stratum_of(mean, None, None) for mean in (0.6, 0.4, 0.9, 0.1)} == {"margin .1 to .4"}
    assert stratum_of(0.55, None, None) == stratum_of(0.45, 0.4, 0.48) == "margin below .1"
    # Shown first, response 1 is preferred; shown second, it is not: twice the first position.
    assert stratum_of(0.65, 0.95, 0.35) == "order flips"
    assert stratum_of(0.65, 0.35, 0.95) == "order flips"
    assert stratum_of(0.75, 1.0, 0.5) == "margin .1 to .4"
    assert stratum_of(0.65, 0.95, None) == "margin .1 to .4"


def test_a_plan_holds_each_stratum_with_its_weight(tmp_path: Path) -> None:
    plan = plan_audit(labels(tmp_path / "labels.jsonl"), tmp_path / "audit", within=0.08)
    rows = read(tmp_path / "audit" / "plan.jsonl")
    assert [stratum.name for stratum in plan.strata] == list(dict.fromkeys(row["stratum"] for row in rows))
    assert [stratum.pairs for stratum in plan.strata] == [100] * 4
    assert len(rows) == plan.to_label < plan.simple < 400
    assert sum(row["weight"] for row in rows) == pytest.approx(400)
    for stratum in plan.strata:
        weights = {row["weight"] for row in rows if row["stratum"] == stratum.name}
        assert weights == {stratum.pairs / stratum.to_label}
    # Mean of max(p, 1 - p), as the labels are made; planned with .5 to .95, and in all not with more than .8.
    assert [stratum.claimed for stratum in plan.strata] == pytest.approx([0.5, 0.55, 0.8, 0.97])
    assert [stratum.expected for stratum in plan.strata] == pytest.approx([0.5, 0.55, 0.8, 0.95])
    assert {"query", "response_1", "model_2", "preference_12"} <= rows[0].keys()
    assert plan.has_texts
    content = json.loads((tmp_path / "audit" / "plan.json").read_text())
    assert content["seed"] == 0
    assert content["strata"][0] == plan.strata[0]._asdict()
    sure = plan_audit(tmp_path / "labels.jsonl", tmp_path / "sure", within=0.08, expect=0.6)
    assert sure.expected == pytest.approx(0.6)
    assert sure.to_label > plan.to_label


def test_a_plan_hangs_on_the_seed_and_not_on_the_order_of_the_file(tmp_path: Path) -> None:
    path = labels(tmp_path / "labels.jsonl")
    turned = write(tmp_path / "turned.jsonl", read(path)[::-1])

    def ids(source: Path, seed: int) -> list[str]:
        return [row["id"] for row in read(plan_audit(source, tmp_path / "audit", within=0.1, seed=seed).path)]

    assert ids(path, 0) == ids(turned, 0)
    assert set(ids(path, 0)) != set(ids(path, 1))


def test_a_small_pool_is_labeled_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "plan", labels(tmp_path / "labels.jsonl", 12), "--out", tmp_path / "audit")
    assert "people label all 12" in out
    assert {row["weight"] for row in read(tmp_path / "audit" / "plan.jsonl")} == {1.0}


def test_a_run_folders_failures_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def script(request: Request) -> Mapping[str, float] | NoAnswer:
        refused = " q1\n" in request.messages[-1].content
        return NoAnswer("refused", "by script") if refused else {"1": 0.2, "2": 0.8}

    rows = [{"id": str(n), "query": f"q{n}", "response_1": "a", "response_2": "b" if n else ""} for n in range(30)]
    source = write(tmp_path / "data.jsonl", rows)
    labeler = PreferenceLabeler("helpfulness", ScriptedLLM(script, "scripted:x"))
    summary = judge_file(labeler, source, tmp_path / "run", progress=False)
    assert summary.failures == {"rejected": 1, "refused": 1}
    out = call(capsys, "plan", tmp_path / "run", "--within", ".2", "--out", tmp_path / "audit")
    assert "1 items have no label and are not in the plan" in out
    assert json.loads((tmp_path / "audit" / "plan.json").read_text())["pairs"] == 28
    assert {row["stratum"] for row in read(tmp_path / "audit" / "plan.jsonl")} == {"order flips"}
    assert write_sheets(tmp_path / "run", tmp_path / "of-run").items == 28
    # In a file, rows without a preference are those that failed; CSV is text.
    save(
        tmp_path / "labels.csv",
        [{"id": str(n), "preference": "0.75" if n else "", "preference_12": "", "failure": ""} for n in range(9)],
        encoding="utf-8",
    )
    out = call(capsys, "plan", tmp_path / "labels.csv", "--within", ".2", "--out", tmp_path / "csv")
    assert "1 items have no label and are not in the plan" in out
    assert "margin .1 to .4" in out
    with pytest.raises(InputError, match="query is missing\\); plan from labels that hold query, response_1"):
        write_sheets(tmp_path / "csv", tmp_path / "csv")


def test_what_a_plan_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = labels(tmp_path / "labels.jsonl")
    out = call(capsys, "plan", source, "--within", ".08", "--expect", ".65", "--out", tmp_path / "audit")
    for part in ("order flips", "0.650", "± 0.0", "(95 %)", "a simple random sample would need", "expects 0.705"):
        assert part in out
    assert "save nothing" not in out
    same = write(tmp_path / "same.jsonl", [{"id": str(n), "preference": 0.8} for n in range(300)])
    assert "strata save nothing here" in call(capsys, "plan", same, "--out", tmp_path / "same")


PLAN_FAULTS: list[tuple[list[Row], str]] = [
    ([{"id": "a"}, {"id": "b", "preference": None}], r"no row holds a preference \(2 rows without\)"),
    ([{"id": "a", "preference": 1.5}], r"labels.jsonl: row 1: preference is 1.5; it must be in \[0, 1\]"),
    ([{"id": "a", "preference": "x"}], "row 1: preference is 'x'; it must be a number"),
    ([{"id": "a", "preference": 0.5}, {"id": "a", "preference": 1}], "id a is there twice"),
]


@pytest.mark.parametrize(("rows", "message"), PLAN_FAULTS)
def test_labels_that_cannot_be_planned_are_named(tmp_path: Path, rows: list[Row], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_audit(write(tmp_path / "labels.jsonl", rows), tmp_path / "audit", within=0.05)
    assert not (tmp_path / "audit").exists()


def test_settings_of_a_plan_out_of_range_are_named(tmp_path: Path) -> None:
    source = labels(tmp_path / "labels.jsonl", 4)
    with pytest.raises(ConfigError, match="within is 5; half the width"):
        plan_audit(source, tmp_path, within=5)
    with pytest.raises(ConfigError, match=r"expect is 0.3; an agreement to count on is between .5"):
        plan_audit(source, tmp_path, within=0.05, expect=0.3)


# sheet


def planned(tmp_path: Path, annotators: int = 3, seed: int = 0) -> Sheets:
    audit = tmp_path / "audit"
    plan_audit(labels(tmp_path / "labels.jsonl"), audit, within=0.08)
    return write_sheets(audit, audit, annotators=annotators, seed=seed)


def test_a_sheet_is_blind(tmp_path: Path) -> None:
    done = planned(tmp_path)
    key = read(done.key)
    assert len({number for row in key for number in row["items"]}) == 3 * len(key)
    orders = []
    for place, path in enumerate(done.paths):
        raw = path.read_bytes()
        assert raw.startswith(b"\xef\xbb\xbfitem,query,first,second,better,note\r\n")
        for word in (b"secret", b"model", b"margin", b"flips", b"0.97", b"weight"):
            assert word not in raw
        rows = sheet_rows(path)
        assert {int(row["item"]) for row in rows} == {row["items"][place] for row in key}
        assert {(row["better"], row["note"]) for row in rows} == {("", "")}
        orders.append([row["query"] for row in rows])
        # Numbers rise neither with the ids nor down the sheet, and either response comes first.
        for numbers in ([row["items"][place] for row in key], [int(row["item"]) for row in rows]):
            rising = sum(one < other for one, other in pairwise(numbers)) / len(numbers)
            assert 0.3 < rising < 0.7
        assert 0.3 < sum(row["first"].startswith("good") for row in rows) / len(rows) < 0.7
        assert 0.3 < sum(row["shown_first"][place] == 1 for row in key) / len(key) < 0.7
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(row["shown_first"]) for row in key}) > 4
    assert len({tuple(sorted(order)) for order in orders}) == 1


def test_the_same_settings_give_the_same_sheets_and_others_other_numbers(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in planned(tmp_path).paths]
    assert [path.read_bytes() for path in planned(tmp_path).paths] == first
    numbers = {row["item"] for row in sheet_rows(tmp_path / "audit" / "sheet-1.csv")}
    of_seed = {row["item"] for row in sheet_rows(planned(tmp_path, seed=1).paths[0])}
    assert len(numbers & of_seed) < len(numbers) / 3
    other = planned(tmp_path, annotators=2)
    assert not (tmp_path / "audit" / "sheet-3.csv").exists()
    again = {row["item"] for path in other.paths for row in sheet_rows(path)}
    assert len(numbers & again) < len(numbers) / 3


def test_a_filled_sheet_is_never_overwritten(tmp_path: Path) -> None:
    done = planned(tmp_path)
    rows = sheet_rows(done.paths[2])
    save(done.paths[2], [*rows[:-1], {**rows[-1], "better": "tie"}], delimiter=";")
    before = [path.read_bytes() for path in (*done.paths, done.key)]
    with pytest.raises(RunFolderError, match=r"sheet-3.csv: 1 answers are filled in; move it away, or choose another"):
        planned(tmp_path, annotators=1)
    save(done.paths[2], rows[:2], encoding="utf-8")
    done.paths[2].write_bytes(done.paths[2].read_bytes() + b"\xe9")
    with pytest.raises(RunFolderError, match=r"not UTF-8 .*; it may hold answers: move it away"):
        planned(tmp_path)
    assert [path.read_bytes() for path in (*done.paths[:2], done.key)] == [*before[:2], before[3]]


FORMULAS = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", " =1+1", "＝1+1", "- a list\n- of two"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_is_no_formula(tmp_path: Path, text: str) -> None:
    source = write(tmp_path / "d.jsonl", [{"id": "1", "query": text, "response_1": text, "response_2": "=2"}])
    (row,) = sheet_rows(write_sheets(source, tmp_path / "out", annotators=1).paths[0])
    shown = "'" + text.replace("\r", "\n")
    assert row["query"] == shown
    assert {row["first"], row["second"]} == {shown, "'=2"}
    assert read(tmp_path / "out" / "key.jsonl")[0]["response_1"] == text


def test_a_dialogue_is_readable_and_a_note_is_kept(tmp_path: Path) -> None:
    turns = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello?"), ("user", 'Say "x",\r\nplease')]
    query = [{"role": role, "content": content} for role, content in turns]
    source = write(tmp_path / "d.jsonl", [{"id": "1", "query": query, "response_1": "a", "response_2": "é;b"}])
    (path,) = write_sheets(source, tmp_path, annotators=1).paths
    (row,) = sheet_rows(path)
    assert row["query"] == 'Instructions: Be kind.\n\nHuman: Hi\n\nAssistant: Hello?\n\nHuman: Say "x",\nplease'
    save(path, [{**row, "better": "tie", "note": "= hard,\nyes"}], delimiter=";")
    collect(tmp_path)
    (said,) = read(tmp_path / "people.jsonl")
    assert said["notes"] == {"sheet-1": "= hard,\nyes"}
    assert said["query"] == query


def test_two_policies_are_joined_by_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def samples(name: str, ids: Sequence[int], word: str, **more: str) -> Path:
        rows = [{"id": str(n), "query": f"q{n}", "responses": [f"{word}{n % 5}", "not this"], **more} for n in ids]
        return write(tmp_path / f"{name}.jsonl", rows)

    ours, theirs = samples("ours", range(20), "good "), samples("theirs", range(5, 32), "bad ")
    rows = read(theirs)
    rows[0]["query"] = "another"
    rows[1]["responses"] = ["good 1"]
    rows[2]["responses"] = []
    write(theirs, rows)
    out = call(capsys, "sheet", ours, theirs, "--kind", "win-rate", "--out", tmp_path / "w", "--annotators", "1")
    assert "sheet-1.csv: 12 items" in out
    assert "left out: 5 rows whose id only the first file has, 12 only the second" in out
    assert "rejected 1: the two files have different queries under one id" in out
    assert "rejected 1: responses is empty" in out
    assert "identical responses are not in the sheets: a win rate over all queries counts them as ties" in out
    assert b"not this" not in (tmp_path / "w" / "sheet-1.csv").read_bytes()
    fill(tmp_path / "w" / "sheet-1.csv", prefers_good)
    done = collect(tmp_path / "w")
    said = read(done.path)
    assert {(row["human_preference"], row["model_1"], row["model_2"]) for row in said} == {(1.0, "ours", "theirs")}
    assert [row["id"] for row in said] == sorted(str(n) for n in range(8, 20))
    assert done.labeler is None
    with pytest.raises(InputError, match=r"have no id in common \(20 and 2 rows\)"):
        write_sheets(ours, tmp_path / "x", "win-rate", other=samples("c", (40, 41), "x"))
    twice = write(tmp_path / "t.jsonl", [{"id": 1, "query": "q", "responses": [word]} for word in ("a", "b")])
    with pytest.raises(InputError, match=r"t.jsonl:2: id 1 is there twice; samples are joined by id"):
        write_sheets(ours, tmp_path / "x", "win-rate", other=twice)


def test_two_policies_of_one_model_are_called_by_their_files_as_a_win_rate_calls_them(tmp_path: Path) -> None:
    def samples(name: str, word: str) -> Path:
        return write(tmp_path / name, [{"id": "1", "query": "q", "responses": [word], "llm": "pocket:policy"}])

    write_sheets(samples("cold.jsonl", "a"), tmp_path / "w", "win-rate", other=samples("hot.jsonl", "b"))
    (item,) = read(tmp_path / "w" / "key.jsonl")
    assert (item["model_1"], item["model_2"]) == ("cold", "hot")
    with pytest.raises(InputError, match="policies have the same name; rename a file"):
        write_sheets(tmp_path / "hot.jsonl", tmp_path / "x", "win-rate", other=samples("x/hot.jsonl", "c"))


def test_a_harmless_sheets_key_says_whose_each_response_is(tmp_path: Path) -> None:
    text = {"query": "q", "response": "r"}
    rows = [
        {"id": "a", **text, "model": "m", "llm": "l"},
        {"id": "b", **text, "llm": "l", "llm_version": "1"},
        {"id": "c", **text},
        # Of a label, `llm` is who judged.
        {"id": "d", **text, "llm": "judge", "method": "exact"},
        {"id": "e", **text, "llm": "l", "model_1": "first"},
    ]
    write_sheets(write(tmp_path / "rl.jsonl", rows), tmp_path / "h", "harmless", annotators=1)
    models = {item["id"]: item["model"] for item in read(tmp_path / "h" / "key.jsonl")}
    assert models == {"a": "m", "b": "l", "c": "rl", "d": "rl", "e": "first"}


def test_single_responses_are_harmless_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": str(n), "query": f"q{n}", "responses": [f"mild {n}", f"rude {n}", ""]} for n in range(9)]
    source = write(tmp_path / "samples.jsonl", rows)
    out = call(capsys, "sheet", source, "--kind", "harmless", "--out", tmp_path / "h")
    assert "sheet-3.csv: 18 items" in out
    assert "rejected 9: response is empty" in out
    paths = [tmp_path / "h" / f"sheet-{n}.csv" for n in (1, 2, 3)]
    assert paths[0].read_bytes().startswith(b"\xef\xbb\xbfitem,query,response,harmless,note\r\n")
    fill(paths[0], lambda row: " Yes" if row["response"].startswith("mild") else "NO ", delimiter="\t")
    fill(paths[1], lambda row: "no" if row["query"] != "q3" else "")
    fill(paths[2], lambda row: "no" if row["query"] == "q5" else "")
    out = call(capsys, "collect", tmp_path / "h")
    said = {(row["id"], row["response_index"]): row for row in read(tmp_path / "h" / "people.jsonl")}
    assert len(said) == 18
    assert (said["0", 0]["harmless"], said["0", 0]["annotations"]) == (0.5, [1.0, 0.0])
    assert said["0", 0]["annotators"] == ["sheet-1", "sheet-2"]
    assert (said["0", 1]["harmless"], said["3", 1]["annotations"]) == (0.0, [0.0])
    assert said["3", 0]["harmless"] == 1.0
    assert said["5", 0]["harmless"] == pytest.approx(1 / 3)
    assert said["3", 0]["response"] == "mild 3"
    assert "human_preference" not in said["0", 0]
    assert "shown first" not in out
    assert "sheet-1 and sheet-2" in out
    assert "7 of 18 items are undecided" in out


def test_words_after_map_are_columns_and_not_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.csv").write_text("prompt,a,b\nq,x,y\n")
    words = ["sheet", tmp_path / "d.csv", "--map", "query=prompt", "response_1=a", "response_2=b"]
    assert "sheet-3.csv: 1 items" in call(capsys, *words, "--out", tmp_path / "out")
    with pytest.raises(ConfigError, match="--out is missing"):
        call(capsys, *words)
    with pytest.raises(ConfigError, match="a second file goes with --kind win-rate"):
        call(capsys, "sheet", tmp_path / "d.csv", tmp_path / "d.csv", "--out", tmp_path / "out")


def test_sheets_that_cannot_be_written_say_why(tmp_path: Path) -> None:
    pair = {"id": "1", "query": "q", "response_1": "a", "response_2": "b"}
    source = write(tmp_path / "d.jsonl", [pair])

    def refuses(kind_of: type[RlaifError], message: str, path: Path = source, **settings: Any) -> None:
        with pytest.raises(kind_of, match=message):
            write_sheets(path, tmp_path / "out", **settings)
        assert not (tmp_path / "out").exists()

    refuses(ConfigError, "--kind win-rate compares two policies; name the samples of both", kind="win-rate")
    refuses(ConfigError, "--kind harm: no such kind; did you mean harmless", kind="harm")
    refuses(ConfigError, "annotators is 0; at least one", annotators=0)
    write(tmp_path / "e.jsonl", [{**pair, "response_2": ""}])
    refuses(InputError, r"nothing that people can judge \(1 × response_2 is empty", tmp_path / "e.jsonl")
    write(tmp_path / "e.jsonl", [pair, pair, {**pair, "response_2": "c"}])
    refuses(InputError, "e.jsonl:3: id 1 was there before with other content", tmp_path / "e.jsonl")
    assert write_sheets(write(tmp_path / "e.jsonl", [pair, pair]), tmp_path / "two").duplicates == 1
    plan_audit(labels(tmp_path / "labels.jsonl", 20), tmp_path / "plan", within=0.1)
    refuses(ConfigError, "is a plan for --kind preference, not harmless", tmp_path / "plan", kind="harmless")
    (tmp_path / "plan" / "plan.json").write_text("{}")
    refuses(InputError, r"plan.json: does not say what plan.jsonl plans .*; plan again", tmp_path / "plan")


def test_odd_texts_of_real_data_are_rejected_and_counted(tmp_path: Path) -> None:
    done = write_sheets(real_data("pandalm_testset.json.gz"), tmp_path, annotators=2)
    empty = sum(count for reason, count in done.rejected.items() if "is empty" in reason)
    booleans = sum(count for reason, count in done.rejected.items() if "must be a string" in reason)
    assert (empty, booleans, done.items) == (54, 6, 939)
    fill(done.paths[1], lambda row: "1" if len(row["first"]) > len(row["second"]) else "2", delimiter=";")
    said = collect(tmp_path)
    assert said.items == 939
    for row in read(said.path):
        one, other = (row[name].replace("\r", "").lstrip("'") for name in ("response_1", "response_2"))
        if abs(len(one) - len(other)) > 2:
            assert row["human_preference"] == float(len(one) > len(other))


def test_what_is_too_long_for_a_cell_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = {"id": "1", "query": "q", "response_1": "a" * 200_000, "response_2": "b"}
    source = write(tmp_path / "d.jsonl", [long])
    out = call(capsys, "sheet", source, "--out", tmp_path / "out")
    assert "1 items have a text that is too long for a cell of Excel" in out
    fill(tmp_path / "out" / "sheet-1.csv", lambda _: "tie")
    assert collect(tmp_path / "out").items == 1


# collect

STYLES: list[dict[str, Any]] = [
    {},
    {"delimiter": ";", "columns": ["note", "better", "second", "item", "first", "query"]},
    {"delimiter": "\t", "encoding": "utf-16"},
    {"delimiter": ";", "lineterminator": "\n", "encoding": "utf-8", "quoting": csv.QUOTE_ALL},
]


@pytest.mark.parametrize("style", STYLES)
def test_filled_sheets_come_back_in_canonical_order(tmp_path: Path, style: dict[str, Any]) -> None:
    done = planned(tmp_path)
    for path in done.paths:
        fill(path, prefers_good, **style)
    said = collect(tmp_path / "audit")
    rows = read(said.path)
    assert len(rows) == done.items == said.items
    for row in rows:
        good = float(row["response_1"].startswith("good"))
        assert row["annotations"] == [good] * 3
        assert row["human_preference"] == good
        assert row["annotators"] == ["sheet-1", "sheet-2", "sheet-3"]
        assert row["model_1"] == "model-x"
        assert not {"items", "shown_first", "preference"} & row.keys()
    assert [found.same_side.value for *_, found in said.pairs] == [1, 1, 1]


def test_answers_are_read_as_spreadsheets_and_people_write_them(tmp_path: Path) -> None:
    (path,) = planned(tmp_path, annotators=1).paths
    rows = sheet_rows(path)
    words = ["1", " 1.0", "First ", "1,0", "1.", "2", "second", "2.00", " TIE ", "tie", ""]
    said = [1.0] * 5 + [2.0] * 3 + [0.5] * 2
    rows = [{**row, "better": word, "item": f" {row['item']}.0"} for row, word in zip(rows, words, strict=False)]
    text = "sep=;\r\n" + save(path, rows, delimiter=";", encoding="utf-8").read_text()
    path.write_text(text.replace("better", " Better ", 1) + ";;;;;\r\n\r\n", encoding="utf-8", newline="")
    collect(tmp_path / "audit")
    people = {row["query"][0]["content"]: row for row in read(tmp_path / "audit" / "people.jsonl")}
    assert len(people) == 10
    for row, choice in zip(rows, said, strict=False):
        chosen = {1.0: row["first"], 2.0: row["second"]}.get(choice)
        found = people[row["query"]]
        expected = 0.5 if chosen is None else float(chosen == found["response_1"])
        assert found["annotations"] == [expected]


def test_the_majority_is_what_more_than_half_prefer(tmp_path: Path) -> None:
    rows = [{"id": str(n), "query": f"q{n}", "response_1": "good", "response_2": "bad"} for n in range(6)]
    done = write_sheets(write(tmp_path / "d.jsonl", rows), tmp_path)
    votes = ["++-", "+--", "+t-", "+tt", "+- ", "++ "]
    for place, path in enumerate(done.paths):

        def answer(row: dict[str, str], place: int = place) -> str:
            vote = votes[int(row["query"][1])][place]
            good = prefers_good(row)
            return {"+": good, "-": str(3 - int(good)), "t": "tie", " ": ""}[vote]

        fill(path, answer)
    said = collect(tmp_path)
    assert [row["human_preference"] for row in read(said.path)] == [1, 0, 0.5, 0.5, 0.5, 1]
    assert [row["annotations"] for row in read(said.path)][3:5] == [[1, 0.5, 0.5], [1, 0]]
    assert said.undecided == 3
    assert said.ties == 3
    assert [one.answered for one in said.annotators] == [6, 6, 4]
    # The first two: same, other, tie, tie, other, same.
    assert said.pairs[0][2] == agreement([(1, 1), (1, 0), (1, 0.5), (1, 0.5), (1, 0), (1, 1)])


def test_peoples_bias_for_a_position_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = planned(tmp_path, annotators=2)
    fill(done.paths[0], lambda _: "1")
    fill(done.paths[1], lambda row: "2" if int(row["item"]) % 2 else "tie")
    odd = sum(int(row["item"]) % 2 for row in sheet_rows(done.paths[1]))
    said = collect(tmp_path / "audit")
    assert (said.first.value, said.first.n) == (done.items / (done.items + odd), done.items + odd)
    assert said.ties == done.items - odd
    out = call(capsys, "collect", tmp_path / "audit")
    assert f"what was shown first is chosen: {said.first}, n = {said.first.n}" in out
    assert "by strata; an item that people leave undecided counts half" in out


def test_the_labelers_agreement_is_weighted_by_stratum(tmp_path: Path) -> None:
    done = planned(tmp_path, annotators=1)
    key = {row["items"][0]: row for row in read(done.key)}

    def answer(row: dict[str, str]) -> str:
        # People prefer what is good; the labels do so in one stratum of four, in one they are ties.
        stratum = key[int(row["item"])]["stratum"]
        return "tie" if stratum == "margin .1 to .4" else "" if stratum == "margin above .4" else prefers_good(row)

    fill(done.paths[0], answer)
    said = collect(tmp_path / "audit")
    by_name = {one.name: one for one in said.strata}
    # Label .5: half, whatever people say. Label .45 prefers response 2, the good one there. People's tie: half.
    assert [one.agreement.value for one in said.strata] == [0.5, 1.0, 0.5, None]
    assert said.labeler is not None
    # Three strata of 100 each were answered.
    assert said.labeler.value == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert said.labeler.interval == "stratified"
    assert said.labeler.n == sum(one.planned for one in said.strata) - by_name["margin above .4"].planned
    assert sum(row["weight"] for row in read(said.path)) == pytest.approx(300)


def simulated(tmp_path: Path, seed: int, skip: float = 0.0) -> Collected:
    """An audit of 400 labels, of which people share a known part; some items are skipped at random."""
    audit = tmp_path / f"audit-{seed}"
    plan_audit(tmp_path / "labels.jsonl", audit, within=0.1, seed=seed)
    (path,) = write_sheets(audit, audit, annotators=1, seed=seed).paths
    agreed = {f"Q{i}": i % 40 < (20, 24, 28, 40)[i % 4] for i in range(400)}
    key = {row["items"][0]: row for row in read(audit / "key.jsonl")}

    def answer(row: dict[str, str]) -> str:
        if int(row["item"]) % 100 < 100 * skip:
            return ""
        item = key[int(row["item"])]
        side = "response_1" if (item["preference"] > 0.5) == agreed[row["query"]] else "response_2"
        return "1" if row["first"] == item[side] else "2"

    fill(path, answer)
    return collect(audit)


def test_collected_estimates_are_right_on_average(tmp_path: Path) -> None:
    rows = read(labels(tmp_path / "labels.jsonl"))
    for row in rows[::4]:
        row["preference"] = 0.52
    write(tmp_path / "labels.jsonl", rows)
    # i % 40 < 20, 24, 28, 40 for i % 4 of 0 to 3: 5, 6, 7 and 10 of each 10.
    truth = (0.5 + 0.6 + 0.7 + 1.0) / 4
    found = [simulated(tmp_path, seed, skip=0.2) for seed in range(60)]
    values = [one.labeler.value or 0 for one in found if one.labeler]
    mean = sum(values) / len(values)
    spread = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
    assert abs(mean - truth) < 3 * spread / len(values) ** 0.5
    plain = [sum((one.agreement.value or 0) * one.agreement.n for one in run.strata) / run.items for run in found]
    assert truth - sum(plain) / len(plain) > 3 * spread / len(plain) ** 0.5


def test_a_stratum_without_an_answer_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = planned(tmp_path, annotators=1)
    key = {row["items"][0]: row for row in read(done.key)}
    fill(done.paths[0], lambda row: "1" if key[int(row["item"])]["stratum"] == "order flips" else "")
    capsys.readouterr()
    app(["collect", str(tmp_path / "audit")], standalone_mode=False)
    printed = capsys.readouterr()
    assert "over 100 pairs by strata" in printed.out
    names = "margin below .1 (100 pairs), margin .1 to .4 (100 pairs), margin above .4 (100 pairs)"
    assert f"warning: without an answer, and so not in this estimate: {names}" in printed.err


def test_every_fault_of_a_sheet_is_named_with_its_line_up_to_five(tmp_path: Path) -> None:
    (path,) = planned(tmp_path, annotators=1).paths
    rows = sheet_rows(path)
    rows[0]["better"] = "left"
    rows[1] |= {"better": "1", "query": "two\nlines"}
    rows[2]["item"] = "7"
    rows[3]["item"] = rows[1]["item"]
    save(path, rows)
    with pytest.raises(InputError) as caught:
        collect(tmp_path / "audit")
    assert str(caught.value) == (
        f"{path}:2: better is 'left'; write 1, 2 or tie, or leave it empty; "
        f"{path}:5: item is '7'; the key knows no such item; "
        f"{path}:6: item {rows[1]['item']} was on line 3 already; keep one of them"
    )
    save(path, [{**row, "better": "0"} for row in rows])
    with pytest.raises(InputError) as caught:
        collect(tmp_path / "audit")
    assert str(caught.value).count("better is '0'") == 4
    assert f"{path}:5: item is '7'; the key knows no such item; {path}:5: better is '0'" in str(caught.value)
    assert str(caught.value).endswith("; …")
    assert not (tmp_path / "audit" / "people.jsonl").exists()


def test_a_harmless_sheet_takes_yes_and_no_only(tmp_path: Path) -> None:
    source = write(tmp_path / "d.jsonl", [{"id": "1", "query": "q", "response": "r"}])
    (path,) = write_sheets(source, tmp_path, "harmless", annotators=1).paths
    fill(path, lambda _: "1")
    with pytest.raises(InputError, match=r"sheet-1.csv:2: harmless is '1'; write yes or no, or leave it empty"):
        collect(tmp_path)


def test_files_that_are_no_sheets_are_named_with_a_remedy(tmp_path: Path) -> None:
    (path,) = planned(tmp_path, annotators=1).paths
    audit, rows = tmp_path / "audit", sheet_rows(path)

    def refuses(content: bytes, message: str) -> None:
        (tmp_path / "back.csv").write_bytes(content)
        with pytest.raises(InputError, match=message):
            collect(audit, [tmp_path / "back.csv"])

    rows[0] |= {"better": "1", "note": "é"}
    save(path, rows, encoding="cp1252", delimiter=";")
    refuses(path.read_bytes(), r"back.csv:2: not UTF-8 \(byte 0xe9\); save it again as CSV UTF-8")
    refuses(b"PK\x03\x04...", "back.csv: is a workbook, not CSV; save it again as CSV UTF-8")
    refuses(b"item,answer\n1,2\n", "back.csv:1: there is no column item or no column better; found item, answer")
    refuses(b"", "back.csv:1: there is no column item")
    refuses(b'item,better\n1,"2"x\n', "back.csv:2: is not CSV")
    refuses(b"item,better\n", "nobody has answered in back.csv")
    with pytest.raises(InputError, match=r"none.csv: no such file"):
        collect(audit, [tmp_path / "none.csv"])


def test_each_sheet_is_one_persons(tmp_path: Path) -> None:
    done = planned(tmp_path, annotators=2)
    one, other = (fill(path, prefers_good) for path in done.paths)
    anna, ben = tmp_path / "anna.csv", tmp_path / "ben" / "anna.csv"
    ben.parent.mkdir()
    anna.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match=r"sheet-2.csv and .*anna.csv: both hold answers of sheet-2; name the one"):
        collect(tmp_path / "audit", [one, other, anna])
    save(anna, [*sheet_rows(one), *sheet_rows(other)])
    with pytest.raises(InputError, match=r"anna.csv: holds items of sheet-1 and sheet-2; each person's"):
        collect(tmp_path / "audit", [anna])
    anna.write_bytes(other.read_bytes())
    ben.write_bytes(one.read_bytes())
    assert [found.name for found in collect(tmp_path / "audit", [anna]).annotators] == ["anna"]
    both = collect(tmp_path / "audit", [anna, ben])
    assert [found.name for found in both.annotators] == [str(tmp_path / "anna"), str(tmp_path / "ben" / "anna")]
    # Whose sheet it is, is known by its numbers and not by its name.
    assert all(row["human_preference"] == float(row["response_1"] > row["response_2"]) for row in read(both.path))


def test_a_folder_without_its_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no sheets.json; name the folder that rlaif audit sheet has written"):
        collect(tmp_path)
    planned(tmp_path)
    audit = tmp_path / "audit"
    with pytest.raises(InputError, match=r"nobody has answered in sheet-1.csv, sheet-2.csv, sheet-3.csv"):
        collect(audit)
    for path in audit.glob("sheet-*.csv"):
        path.unlink()
    with pytest.raises(InputError, match=r"holds no sheet-\*.csv; name the filled sheets"):
        collect(audit)
    (audit / "key.jsonl").write_text("{broken\n")
    with pytest.raises(InputError, match=r"key.jsonl:1: is not JSON .*; write the sheets again"):
        collect(audit)
    (audit / "sheets.json").write_text("{broken\n")
    with pytest.raises(InputError, match=r"sheets.json: is not JSON .*; write the sheets again"):
        collect(audit)


@pytest.mark.parametrize("command", ["plan", "sheet", "collect"])
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, command, "--help")
    assert f"rlaif audit {command}" in out.split("Example")[-1]
