"""Every kind of file and table gives the same rows, streamed, and bad ones are named by place."""

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from rlaif.errors import InputError, RowError, StorageError
from rlaif.io import read_rows, write_lines, write_rows

QUERY = [{"role": "user", "content": 'Wie geht\'s?\n"quoted", and a comma'}]
ROWS: list[dict[str, Any]] = [
    {"id": str(n), "query": QUERY, "response_1": f"a{n}", "response_2": "b", "human_preference": n / 4}
    for n in range(5)
]


def fields(source: Any) -> list[Any]:
    return [row.fields for row in read_rows(source)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet", "folder"])
def test_what_is_written_reads_back(tmp_path: Path, name: str) -> None:
    assert write_rows(tmp_path / name, lambda: iter(ROWS)) == 5
    assert fields(tmp_path / name) == ROWS


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv_reads_back_with_numbers_as_text(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / name, lambda: iter(ROWS))
    assert fields(tmp_path / name) == [{**row, "human_preference": str(row["human_preference"])} for row in ROWS]


def test_tables_and_iterables_give_the_same_rows() -> None:
    assert fields(pd.DataFrame(ROWS)) == ROWS
    assert fields(datasets.Dataset.from_list(ROWS)) == ROWS
    assert fields(iter(ROWS)) == ROWS
    missing = pd.DataFrame([{"id": "1", "human_preference": 0.5}, {"id": "2"}])
    assert fields(missing)[1] == {"id": "2", "human_preference": None}


def test_a_json_array_is_read_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    many = [{"n": n, "text": "x" * 1000} for n in range(500)]
    path.write_text(json.dumps(many, indent=1))
    assert fields(path) == many
    path.write_text('[{"n": 1}, 3, {"n": 2}]')
    assert [type(row) for row in fields(path)] == [dict, RowError, dict]
    path.write_text('[{"n": 1}, {"n": ')
    with pytest.raises(InputError, match="item 2 is not JSON"):
        fields(path)
    path.write_text('{"n": 1}\n{"n": 2}\n')
    assert fields(path) == [{"n": 1}, {"n": 2}]


def test_columns_that_only_later_rows_have_are_written(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": 1}] * 1500 + [{"a": 2, "responses": ["x"]}]
    for name in ("a.parquet", "a.csv"):
        write_rows(tmp_path / name, lambda: iter(rows))
        assert list(fields(tmp_path / name))[-1]["responses"] == ["x"]


def test_a_column_of_two_types_is_an_error_that_names_a_way_out(tmp_path: Path) -> None:
    rows = [{"query": "text"}, {"query": [{"role": "user"}]}]
    with pytest.raises(InputError, match=r"several types .* write JSONL"):
        write_rows(tmp_path / "a.parquet", lambda: iter(rows))
    assert list(tmp_path.iterdir()) == []


def test_bad_lines_are_rows_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\ufeff{"n": 1}\n\n{"n": \n[1]\n{"n": 2}\n', encoding="utf-8")
    rows = list(read_rows(path))
    assert [row.where for row in rows] == [f"{path}:1", f"{path}:3", f"{path}:4", f"{path}:5"]
    assert isinstance(rows[1].fields, RowError)
    assert str(rows[2].fields) == "is list; a row is an object"


def test_a_csv_row_of_other_length_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n1\n1,2,3\n")
    assert [isinstance(row, RowError) for row in fields(path)] == [False, True, True]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.csv", b"a,b\n", "is empty"),
        ("a.jsonl", b'{"n": 1}\n{"n": "\xe9"}\n', r"a\.jsonl:2: not UTF-8 \(byte 0xe9\)"),
        ("a.csv", b"a\n1\n\xe9\n", "not UTF-8"),
        ("a.txt", b"x", "unknown kind of file"),
        ("a.jsonl.gz", gzip.compress(b'{"n": 1}\n' * 9999, mtime=0)[:60], "not a whole gzip file"),
        ("a.jsonl.gz", b"plain", "not a whole gzip file"),
        ("a.parquet", b"plain", "is not Parquet"),
        ("a.json", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        fields(tmp_path / name)


def test_other_sources_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        fields(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        fields(tmp_path)
    with pytest.raises(InputError, match="cannot read rows from int"):
        fields(3)
    assert isinstance(fields([3])[0], RowError)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("old\n")

    def broken() -> Any:
        yield "new"
        raise KeyError("x")

    with pytest.raises(KeyError):
        write_lines(path, broken())
    assert path.read_text() == "old\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl"]
    with pytest.raises(StorageError, match="cannot be written"):
        write_lines(Path("/proc/none/a.jsonl"), ["x"])
    with pytest.raises(InputError, match="cannot write this kind"):
        write_rows(tmp_path / "a.txt", lambda: iter(ROWS))


def test_a_csv_text_that_looks_like_a_list_stays_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('query,response_1,response_2,annotations\nq,"[1, 2, 3]","[""x""]","[1, 0]"\n')
    assert fields(tmp_path / "a.csv") == [
        {"query": "q", "response_1": "[1, 2, 3]", "response_2": '["x"]', "annotations": [1, 0]}
    ]
