"""`rlaif sample`: what it prints, how it ends, and what bad input gets."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.cli import main
from rlaif.cli.sampling import _count_empty
from rlaif.pocket.data import queries
from rlaif.pocket.paths import model_folder


def call(capfd: pytest.CaptureFixture[str], *words: object, command: str = "sample") -> tuple[int, str, str]:
    """Call a command, and say how that ended and what it printed."""
    capfd.readouterr()
    try:
        main([command, *map(str, words)])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capfd.readouterr()
    return code, out, err


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def scripted(data: Path, out: Path, *words: object) -> tuple[object, ...]:
    return (data, "--llm", "scripted:hashed", "--out", out, *words)


def test_responses_of_a_policy_folder_are_drawn_and_then_labeled(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "queries.jsonl", list(queries(4, split="heldout", seed=4, task="harmlessness")))
    words = (data, "--llm", model_folder("policy"), "--n", 4, "--top-p", 0.9, "--max-tokens", 12)
    code, out, _ = call(capfd, *words, "--out", tmp_path / "run")
    assert (code, out.splitlines()[0]) == (0, f"{tmp_path}/run/samples.jsonl: 4 of 4 rows (no failures)")
    assert "asked 16 now" in out
    rows = read(tmp_path / "run" / "samples.jsonl")
    assert [len(set(row["responses"])) for row in rows] == [4] * 4
    assert {len(row["finish_reasons"]) for row in rows} == {4}
    assert all(isinstance(row["harmful"], bool) and row["output_tokens"] > 0 for row in rows)
    code, out, _ = call(capfd, *words, "--out", tmp_path / "run")
    assert (code, out.splitlines()[1].split(";")[0]) == (
        0,
        "asked 0 now (0 tokens), 0 from the ledger, 4 rows were done before",
    )
    drawn, labels = tmp_path / "run" / "samples.jsonl", tmp_path / "labels"
    assert call(capfd, drawn, "--task", "harmlessness", "--out", labels, command="label")[0] == 0
    pairs = read(labels / "preferences.jsonl")
    assert [pair["id"] for pair in pairs] == [f"{row['id']}/{half}" for row in rows for half in (1, 2)]
    assert [[pair["response_1"], pair["response_2"]] for pair in pairs] == [
        row["responses"][first : first + 2] for row in rows for first in (0, 2)
    ]


def test_more_responses_are_another_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "queries.jsonl", [{"query": "Why?"}])
    assert call(capfd, *scripted(data, tmp_path / "run", "--n", 2))[0] == 0
    code, _, err = call(capfd, *scripted(data, tmp_path / "run", "--n", 3))
    assert code == 2
    assert "holds another run (settings.n was 2 there and is 3 now); choose another --out" in err
    code, out, _ = call(capfd, *scripted(data, tmp_path / "more", "--n", 3))
    assert (code, "asked 1 now" in out, "2 from the ledger" in out) == (0, True, True)


def test_queries_are_taken_from_the_start_or_at_random(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "queries.jsonl", [{"id": str(n), "query": f"Question {n}?"} for n in range(30)])

    def ids(*words: object) -> list[str]:
        assert call(capfd, *scripted(data, tmp_path / "-".join(map(str, words)), *words))[0] == 0
        return [row["id"] for row in read(tmp_path / "-".join(map(str, words)) / "samples.jsonl")]

    assert ids("--limit", 3) == ["0", "1", "2"]
    few, more = ids("--sample", 3), ids("--sample", 8)
    assert (len(few), len(more)) == (3, 8)
    assert set(few) < set(more)


def test_bad_rows_are_counted_and_stop_only_a_strict_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "queries.jsonl", [{"query": "Why?"}, {"id": "b", "query": ""}])
    code, out, _ = call(capfd, *scripted(data, tmp_path / "run"))
    assert (code, "1 of 2 rows (1 rejected)" in out) == (0, True)
    code, _, err = call(capfd, *scripted(data, tmp_path / "strict", "--strict"))
    assert (code, f"error: {data}:2: query is empty; there is nothing to answer" in err) == (2, True)
    code, _, _ = call(capfd, *scripted(write(data, [{"query": ""}]), tmp_path / "all"))
    assert code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--n", 2, "--temperature", 0), "n is 2 at temperature 0, where all responses are the same"),
        (("--top-p", 0), "Sampler: top_p is 0"),
        (("--retry-failures", "refuse"), "--retry-failures refuse: no such kind; did you mean refused?"),
        (("--limit", 1, "--sample", 1), "limit and sample exclude one another"),
        (("--llm", "scripted:other"), "--llm is there more than once"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_asked(
    words: tuple[object, ...], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "queries.jsonl", [{"query": "Why?"}])
    code, _, err = call(capfd, *scripted(data, tmp_path / "run", *words))
    assert (code, message in err) == (2, True), err
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_model_and_an_empty_file_say_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "queries.jsonl", [])
    code, _, err = call(capfd, data, "--llm", tmp_path, "--out", tmp_path / "run")
    assert (code, f"error: {tmp_path}: holds no model (there is no config.json)" in err) == (2, True)
    code, _, err = call(capfd, *scripted(data, tmp_path / "run"))
    assert (code, f"error: {data}: is empty; there is nothing to read" in err) == (2, True)


def test_empty_responses_are_counted_line_by_line(tmp_path: Path) -> None:
    records = tmp_path / "samples.jsonl"
    rows = [{"responses": ["", " \n", "a"]}, {"responses": ["one\u2028two", "\x85"]}]
    records.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert _count_empty(records) == 3
