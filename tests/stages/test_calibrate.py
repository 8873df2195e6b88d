"""Calibration of a run's labels: what is written, what is said, and what bad input gets."""

import gzip
import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from rlaif.cli.calibration import app
from rlaif.errors import ConfigError, InputError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.base import Choose, NoAnswer, Request
from rlaif.llm.scripted import ScriptedLLM
from rlaif.stages.calibrate import calibrate
from rlaif.stages.judge import judge_file
from rlaif.statistics.calibrators import Isotonic, Platt

Rows = list[dict[str, Any]]


def write(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().splitlines()]


def labels(n: int, slope: float, people: int | None = None, seed: int = 0, a_query: int = 1) -> Rows:
    """Labels, and people (of the first items) who prefer with odds of theirs to the power of `slope`."""
    draw = random.Random(seed)
    rows: Rows = []
    for number in range(n):
        logit = draw.gauss(0, 2)
        row = {"id": f"i{number}", "query": f"Q{number // a_query}", "preference": 1 / (1 + math.exp(-logit))}
        prefers = draw.random() < 1 / (1 + math.exp(-slope * logit))
        if people is None or number < people:
            row["human_preference"] = float(prefers)
        rows.append(row)
    return rows


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    capsys.readouterr()
    typer.main.get_command(app).main(list(words), standalone_mode=False)
    printed = capsys.readouterr()
    return printed.out, printed.err


def test_every_label_is_calibrated_in_order_and_the_labels_stay_as_they_are(tmp_path: Path) -> None:
    rows = labels(500, 0.3, people=400)
    source = write(tmp_path / "run" / "preferences.jsonl", rows)
    before = source.read_bytes()
    found = calibrate(tmp_path / "run")
    assert source.read_bytes() == before
    assert sorted(path.name for path in source.parent.iterdir()) == [
        "calibrated.jsonl", "calibration.json", "preferences.jsonl",
    ]  # fmt: skip
    written = read(tmp_path / "run" / "calibrated.jsonl")
    assert [row["id"] for row in written] == [row["id"] for row in rows]
    calibrated = found.calibrator([row["preference"] for row in rows])
    assert [row["calibrated_preference"] for row in written] == calibrated.tolist()
    # Overconfident by 1 / .3, so the slope is about .3, and the held-out log loss falls for certain.
    assert (found.method, found.labels, found.n, found.clusters, found.folds) == ("platt", 500, 400, 400, 5)
    assert isinstance(found.calibrator, Platt)
    assert found.calibrator.slope == pytest.approx(0.3, abs=0.1)
    gain = found.after["platt"].gain
    assert gain is not None
    assert gain.low is not None
    assert gain.low > 0
    before_error, after_error = found.before.error, found.after["platt"].error
    assert before_error.low is not None
    assert before_error.low > 0.05
    assert after_error.low is not None
    assert after_error.high is not None
    assert after_error.low <= 0 <= after_error.high


def test_the_report_says_how_and_how_good_on_held_out_items(tmp_path: Path) -> None:
    source = write(tmp_path / "labels.jsonl", labels(300, 0.3, a_query=3))
    found = calibrate(source, method="isotonic", folds=4, seed=7)
    told = json.loads((tmp_path / "calibration.json").read_text())
    assert (told["asked"], told["method"], told["folds"], told["seed"]) == ("isotonic", "isotonic", 4, 7)
    assert (told["labels"], told["n"], told["clusters"], told["clipped"]) == (300, 300, 100, 0)
    assert (told["source"], told["people"]) == (str(source), None)
    assert Isotonic.from_dict(told["parameters"]) == found.calibrator
    assert list(told["held_out"]) == ["before", "platt", "isotonic"]
    for name, measured in told["held_out"].items():
        figures = ["log_loss", "brier", "debiased_calibration_error"] + ["log_loss_gain"] * (name != "before")
        assert list(measured) == figures
        for figure in measured.values():
            assert figure["low"] <= figure["value"] <= figure["high"]
            assert figure["n"] == 300
            assert figure["clusters"] == 100
    losses = {name: measured["log_loss"]["value"] for name, measured in told["held_out"].items()}
    for name in ("platt", "isotonic"):
        gain = told["held_out"][name]["log_loss_gain"]["value"]
        assert gain == pytest.approx(losses["before"] - losses[name])


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    source = write(tmp_path / "labels.jsonl", labels(100, 0.5))
    names = ("calibrated.jsonl", "calibration.json")
    calibrate(source)
    first = [(tmp_path / name).read_bytes() for name in names]
    calibrate(source)
    assert [(tmp_path / name).read_bytes() for name in names] == first
    calibrate(source, seed=1)
    assert [(tmp_path / name).read_bytes() for name in names] != first


def test_swapping_responses_swaps_calibrated_preferences(tmp_path: Path) -> None:
    rows = labels(200, 0.5)
    sides = ("preference", "human_preference")
    swapped = [
        row | {name: 1 - row[name] for name in sides} if number % 3 == 0 else row for number, row in enumerate(rows)
    ]
    one = calibrate(write(tmp_path / "one" / "labels.jsonl", rows))
    other = calibrate(write(tmp_path / "other" / "labels.jsonl", swapped))
    assert one.calibrator == other.calibrator
    for number, (first, second) in enumerate(zip(read(one.path), read(other.path), strict=True)):
        value = second["calibrated_preference"]
        assert first["calibrated_preference"] == pytest.approx(1 - value if number % 3 == 0 else value, abs=1e-12)


def test_people_may_be_a_file_of_their_own_with_votes(tmp_path: Path) -> None:
    rows = labels(60, 1.0)
    wanted = calibrate(write(tmp_path / "a" / "labels.jsonl", rows))
    bare = [{name: value for name, value in row.items() if name != "human_preference"} for row in rows]
    source = write(tmp_path / "b" / "labels.jsonl", [*bare, {"id": "unknown to people", "preference": 0.9}])
    votes = [{"id": row["id"], "annotations": [row["human_preference"]] * 2 + [0.5]} for row in reversed(rows)]
    # Two more that nobody asked about, one twice the same, and one on which nobody voted, which is no tie.
    more: Rows = [
        {"id": "other", "human_preference": 1},
        votes[0],
        {"id": "unknown to people", "annotations": [None] * 2},
    ]
    found = calibrate(source, write(tmp_path / "people.jsonl", votes + more))
    assert (found.labels, found.n, found.calibrator) == (61, 60, wanted.calibrator)
    assert read(found.path)[-1]["id"] == "unknown to people"

    csv = tmp_path / "people.csv"
    csv.write_text("id,human_preference\n" + "".join(f"{row['id']},{row['human_preference']}\n" for row in rows))
    csv.write_text(csv.read_text() + "unknown to people,\n")
    assert calibrate(source, csv).calibrator == wanted.calibrator


def test_what_people_say_in_their_own_file_counts_instead_of_what_the_rows_say(tmp_path: Path) -> None:
    rows = labels(50, 1.0)
    people = [{"id": row["id"], "human_preference": 1 - row["human_preference"]} for row in rows]
    found = calibrate(write(tmp_path / "labels.jsonl", rows), write(tmp_path / "p.jsonl", people), method="platt")
    plain = calibrate(tmp_path / "labels.jsonl", method="platt")
    assert isinstance(found.calibrator, Platt)
    assert isinstance(plain.calibrator, Platt)
    assert found.calibrator.slope == pytest.approx(-plain.calibrator.slope)


def test_auto_leaves_labels_as_they_are_where_nothing_does_better(tmp_path: Path) -> None:
    # Whether a label is .88, .9 or .92 is chance, and people agree with exactly 9 of 10: there is nothing to gain.
    draw = random.Random(1)
    rows = [
        {
            "id": str(number),
            "query": f"Q{number // 10}",
            "preference": draw.choice((0.88, 0.9, 0.92)),
            "human_preference": float(number % 10 > 0),
        }
        for number in range(100)
    ]
    source = write(tmp_path / "labels.jsonl", rows)
    found = calibrate(source)
    assert (found.method, found.calibrator) == ("identity", Platt(1.0))
    kept = [row["calibrated_preference"] for row in read(found.path)]
    assert kept == pytest.approx([row["preference"] for row in rows])
    assert calibrate(source, method="isotonic").method == "isotonic"


def test_a_run_folder_with_failures_is_calibrated_without_them(tmp_path: Path) -> None:
    rows = [
        {"query": f"Q{number}", "response_1": "good", "response_2": "bad", "human_preference": number % 4 > 0}
        for number in range(40)
    ]
    data = write(tmp_path / "d.jsonl", [row | {"human_preference": float(row["human_preference"])} for row in rows])

    def script(request: Request) -> dict[str, float] | NoAnswer:
        assert isinstance(request.want, Choose)
        text = request.messages[-1].content
        if "Q7\n" in text:
            return NoAnswer("refused", "by script")
        return {"1": 0.9, "2": 0.1} if text.index("good") < text.index("bad") else {"1": 0.1, "2": 0.9}

    labeler = PreferenceLabeler("helpfulness", ScriptedLLM(script, "scripted:sure"))
    summary = judge_file(labeler, data, tmp_path / "run", progress=False)
    assert summary.failures["refused"] == 1
    found = calibrate(tmp_path / "run", method="platt")
    assert (found.labels, found.n) == (39, 39)
    ids = [row["id"] for row in read(tmp_path / "run" / "preferences.jsonl")]
    assert [row["id"] for row in read(found.path)] == ids


def test_another_name_takes_its_report_along(tmp_path: Path) -> None:
    source = write(tmp_path / "labels.jsonl", labels(40, 0.5))
    out = tmp_path / "new" / "flat.jsonl.gz"
    found = calibrate(source, out=out)
    assert (found.path, found.report) == (out, tmp_path / "new" / "flat.calibration.json")
    assert len(gzip.decompress(out.read_bytes()).splitlines()) == 40
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["labels.jsonl"]


def test_the_command_prints_before_and_after_with_n(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "labels.jsonl", labels(1000, 0.3))
    out, err = call(capsys, str(source))
    estimate = r"-?\d\.\d{3} \(-?\d\.\d{3}(?:-| to )-?\d\.\d{3}\)"
    for name in ("as labeled", r"platt \(written\)", "isotonic"):
        assert re.search(rf"^ *{name} +{estimate} +{estimate} +{estimate} +1,000 *$", out, re.MULTILINE), name
    assert f"{tmp_path / 'calibrated.jsonl'}: 1,000 calibrated preferences (platt)" in out
    assert "1,000 items of 1,000 queries, 5 folds" in out
    assert err == ""


def test_the_command_round_trips_its_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = labels(60, 0.3)
    source = write(tmp_path / "labels.jsonl", [{"id": row["id"], "preference": row["preference"]} for row in rows])
    people = write(tmp_path / "people.jsonl", rows)
    words = ("--people", str(people), "--method", "isotonic", "--folds", "3", "--seed", "4")
    call(capsys, str(source), *words, "--out", str(tmp_path / "new.jsonl"))
    told = json.loads((tmp_path / "new.calibration.json").read_text())
    assert (told["asked"], told["method"], told["folds"], told["seed"]) == ("isotonic", "isotonic", 3, 4)
    assert (told["people"], told["n"]) == (str(people), 60)
    found = calibrate(source, people, method="isotonic", folds=3, seed=4)
    assert found.path.read_bytes() == (tmp_path / "new.jsonl").read_bytes()


def alike(preference: float, right: Callable[[int], bool], n: int = 40) -> Rows:
    """Labels of one preference, and whether people agree."""
    return [{"id": str(one), "preference": preference, "human_preference": float(right(one))} for one in range(n)]


@pytest.mark.parametrize(
    ("rows", "words", "remark"),
    [
        (labels(40, 0.3), (), "40 items that people labeled are few"),
        (labels(300, -1.0), ("--method", "platt"), "people prefer what this labeler rejects, and it is turned around"),
        (alike(1.0, lambda one: one % 2 == 0), (), "40 labels are surer than log loss counts"),
        (alike(0.9, lambda _: True), ("--method", "platt"), "the slope is at its bound"),
        (labels(60, 1.0, seed=2), ("--method", "isotonic"), "isotonic does no better on held-out items"),
        (labels(60, 1.0, seed=2), (), "they are written as they are"),
        (labels(300, 0.8), ("--method", "platt"), "it is not certain that platt helps"),
    ],
    ids=["few", "negative slope", "clipped", "bound", "no gain", "identity", "unclear gain"],
)
def test_the_command_says_what_must_not_be_overlooked(
    rows: Rows, words: tuple[str, ...], remark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = call(capsys, str(write(tmp_path / "labels.jsonl", rows)), *words)
    assert remark in err
    if "as they are" in remark:
        assert "as labeled (written)" in out


GOOD = labels(40, 0.5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (GOOD[:29], r"labels.jsonl: people labeled 29 of 29 labels, and calibration takes 30; give --people FILE"),
        (labels(90, 1, people=3), r"people labeled 3 of 90 labels"),
        ([{"id": "a", "preference": 0.5, "query": "q", "human_preference": 1}] * 30, r"all 30 .* are of one query"),
        ([*GOOD, {"id": "a", "preference": 1.5}], r"labels.jsonl: row 41: preference is 1.5; it must be a number in"),
        ([*GOOD, {"id": "a", "preference": True}], r"row 41: preference is True; it must be a number"),
        ([*GOOD, {"id": "a", "preference": "high"}], r"row 41: preference is 'high'; it must be a number"),
        ([*GOOD, {"id": "a", "score": 3}], r"row 41: preference is missing; labels are rows with id and preference"),
        ([*GOOD, {"preference": 0.5}], r"row 41: id is missing; people's labels are matched to others by id"),
        ([*GOOD, {"id": "a", "preference": 0.5, "human_preference": 2}], r"row 41: human_preference is 2; it must be"),
        ([*GOOD, {"id": "a", "preference": 0.5, "annotations": [1, "x"]}], r"row 41: annotations is 'x'; it must be"),
        ([*GOOD, {"id": "a", "preference": 0.5, "annotations": "x"}], r"annotations is 'x'; it must be a list"),
    ],
)
def test_bad_labels_are_named(rows: Rows, message: str, tmp_path: Path) -> None:
    source = write(tmp_path / "labels.jsonl", rows)
    with pytest.raises(InputError, match=message):
        calibrate(source)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.jsonl"]


def test_bad_people_are_named(tmp_path: Path) -> None:
    source = write(tmp_path / "labels.jsonl", GOOD)

    def error_of(rows: Rows) -> str:
        with pytest.raises(InputError) as caught:
            calibrate(source, write(tmp_path / "people.jsonl", rows))
        return str(caught.value)

    strangers = [row | {"id": f"x{row['id']}"} for row in GOOD]
    assert re.search(
        r"labeled 0 of 40 .* ids in .*people.jsonl must be those of the labels, such as i0", error_of(strangers)
    )
    again = [{"id": "a", "human_preference": 1}, {"id": "a", "human_preference": 0}]
    assert re.search(
        r"people.jsonl:2: id a is there again with another human_preference; give one row", error_of(again)
    )
    assert "people.jsonl:1: id is missing" in error_of([{"human_preference": 1}])
    assert "people.jsonl:1: human_preference is -1" in error_of([{"id": "a", "human_preference": -1}])
    (tmp_path / "people.jsonl").write_text("{\n")
    with pytest.raises(InputError, match=r"people.jsonl:1: is not JSON"):
        calibrate(source, tmp_path / "people.jsonl")
    with pytest.raises(InputError, match="no such file"):
        calibrate(source, tmp_path / "nobody.jsonl")


def test_bad_settings_are_named_before_anything_is_read(tmp_path: Path) -> None:
    source = write(tmp_path / "labels.jsonl", GOOD)
    with pytest.raises(ConfigError, match=r"method isotonik: no such method; did you mean isotonic\?"):
        calibrate(source, method="isotonik")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="folds is 1; items are held out in at least 2"):
        calibrate(source, folds=1)
    with pytest.raises(InputError, match=r"is read here and would be replaced; choose another --out"):
        calibrate(source, out=source)
    with pytest.raises(InputError, match=r"is read here and would be replaced"):
        calibrate(source, tmp_path / "people.jsonl", out=tmp_path / "x" / ".." / "people.jsonl")
    with pytest.raises(InputError, match=r"flat.parquet: calibrated preferences are written as .jsonl"):
        calibrate(source, out=tmp_path / "flat.parquet")
    with pytest.raises(InputError, match="holds no records"):
        calibrate(write(tmp_path / "run" / "other.jsonl", GOOD).parent)
    assert source.read_text() == "".join(json.dumps(row) + "\n" for row in GOOD)
