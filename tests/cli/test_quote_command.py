"""`rlaif quote --revisions`: what is counted, and which options of labels it does not take."""

import json
from pathlib import Path

import pytest

from rlaif.cli import main


def call(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capfd.readouterr()
    try:
        main(["quote", *map(str, words)])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capfd.readouterr()
    return code, out, err


@pytest.fixture
def revising(tmp_path: Path) -> tuple[object, ...]:
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps({"id": "a", "query": "Q?", "response": "R."}) + "\n")
    return (data, "--constitution", "harmless", "--revisions", 2, "--llm", "openai:gpt-4.1-mini")


def test_principles_are_the_first_ones_of_the_constitution(
    revising: tuple[object, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capfd, *revising, "--principles", 1)
    assert code == 0
    assert "1 response" in out
    code, _, err = call(capfd, *revising, "--principles", 99)
    assert code == 2
    assert "99" in err


def test_what_is_assumed_and_what_is_answered_first_is_said(
    revising: tuple[object, ...], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, out, _ = call(capfd, *revising)
    assert "Assumed: responses of 1/4 of --max-tokens or more, critiques of 60 tokens or more." in out
    assert "sampled first" not in out
    _, out, _ = call(capfd, *revising, "--no-critique")
    assert "Assumed: responses of 1/4 of --max-tokens or more." in out
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("stage: sample\n")
    (run / "samples.jsonl").write_text(json.dumps({"id": "a", "query": "Q?", "answer": "R."}) + "\n")
    code, out, _ = call(capfd, run, *revising[1:])
    assert code == 0
    assert "1 of them have no response: one is sampled first" in out


@pytest.mark.parametrize(
    "words",
    [
        ("--task", "helpfulness"),
        ("--score",),
        ("--one-order",),
        ("--preamble", "base"),
        ("--format", "trl"),
        ("--rationale",),
        ("--self-consistency", 4),
        ("--max-rationale-tokens", 3),
        ("--method", "sampled"),
        ("--draws", 3),
        ("--principles-per-label", 2),
        ("--clamp", 0.4),
    ],
)
def test_options_of_labels_are_not_ignored(
    words: tuple[object, ...], revising: tuple[object, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capfd, *revising, *words)
    assert code == 2
    assert f"{words[0]} is of labels" in " ".join(err.split())


@pytest.mark.parametrize("words", [("--no-critique",), ("--max-tokens", 9), ("--max-critique-tokens", 9)])
def test_options_of_chains_are_not_ignored(words: tuple[object, ...], capfd: pytest.CaptureFixture[str]) -> None:
    named = ("--constitution", "harmless", "--llm", "openai:gpt-4.1-mini")
    code, _, err = call(capfd, "quote", "pairs.jsonl", *named, *words)
    assert code == 2
    assert f"{words[0]} is of rlaif revise" in " ".join(err.split())
