"""The pocket world on the command line: ordinary files, and exchanges to read."""

import json
from pathlib import Path

import pytest

from rlaif.cli import main
from rlaif.pocket.annotators import ANNOTATORS
from rlaif.pocket.data import TASKS
from rlaif.stages.pocket import write_data


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return int(end.value.code or 0)


@pytest.mark.parametrize("task", TASKS)
def test_data_writes_comparisons_queries_and_annotations(task: str, tmp_path: Path) -> None:
    assert run("pocket", "data", "--task", task, "--n", "7", "--out", str(tmp_path / "new" / "folder")) == 0
    read = {
        name: [json.loads(line) for line in (tmp_path / "new" / "folder" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("comparisons", "queries", "annotations")
    }
    assert len(read["comparisons"]) == len(read["queries"]) == 7
    assert [one["annotator"] for one in read["annotations"][:5]] == [one.name for one in ANNOTATORS]
    first = [one["preference"] for one in read["annotations"] if one["id"] == read["comparisons"][0]["id"]]
    assert first == read["comparisons"][0]["annotations"]
    assert not {one["id"] for one in read["comparisons"]} & {one["id"] for one in read["queries"]}


def test_the_same_words_write_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_data(tmp_path / name, 5, task="helpfulness", seed=3, progress=False)
    write_data(tmp_path / "train", 5, task="helpfulness", seed=3, split="train", progress=False)
    files = [(tmp_path / name / "comparisons.jsonl").read_bytes() for name in ("one", "two", "train")]
    assert files[0] == files[1] != files[2]


def test_what_was_written_can_be_labeled(tmp_path: Path) -> None:
    write_data(tmp_path, 3, task="summarization", progress=False)
    words = ["label", str(tmp_path / "comparisons.jsonl"), "--task", "summarization", "--out", str(tmp_path / "run")]
    assert run(*words) == 0
    assert len((tmp_path / "run" / "preferences.jsonl").read_text().splitlines()) == 3


def test_show_prints_dialogues_and_gold(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pocket", "show", "--n", "12") == 0
    shown = capsys.readouterr().out.strip().split("\n\n")
    assert len(shown) == 12
    assert all(one.startswith("User: ") and "\n(gold, helpfulness: " in one for one in shown)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "helpfullness"), "helpfullness is not a task of the pocket world; did you mean helpfulness?"),
        (("--split", "test"), "test is not a part of the pocket world"),
    ],
)
def test_wrong_words_are_named(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pocket", "show", *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("pocket", "data", "--task", "helpfulness", "--n", "1", "--out", str(tmp_path / "file")) == 2
    assert "file" in capsys.readouterr().err
