"""The command line: what it prints, and what bad input gets."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import make_model

from rlaif.cli import main
from rlaif.llm.ledger import Ledger
from rlaif.prompting import packaged_folder

GOOD = {"query": "q", "response_1": "a", "response_2": "b"}


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        main(list(words))
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def label(capsys: pytest.CaptureFixture[str], tmp_path: Path, data: str, *words: str) -> tuple[int, str, str]:
    options = () if "--llm" in words else ("--llm", "scripted:hashed")
    task = () if "--task" in words else ("--task", "helpfulness")
    return call(capsys, "label", data, "--out", str(tmp_path / "o" / "run"), *task, *options, *words)


def one_line_error(result: tuple[int, str, str], *parts: str) -> None:
    code, _, err = result
    assert code == 2, err
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    for part in parts:
        assert part in err


def test_label_prints_what_it_did_and_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", GOOD, {**GOOD, "response_2": ""})
    code, out, _ = label(capsys, tmp_path, data)
    assert code == 0
    assert "preferences.jsonl: 1 of 2 rows (1 rejected)" in out
    assert "asked 2 now" in out
    _, out, _ = label(capsys, tmp_path, data)
    assert "asked 0 now" in out
    assert "1 rows were done before" in out


def test_columns_are_mapped_as_in_the_help(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.csv").write_text("prompt,a,b,label\nq,x,y,0.5\n")
    words = ["--map", "query=prompt", "response_1=a", "response_2=b", "human_preference=label"]
    code, _, err = label(capsys, tmp_path, str(tmp_path / "d.csv"), *words)
    assert code == 0, err
    record = json.loads((tmp_path / "o" / "run" / "preferences.jsonl").read_text())
    assert record["human_preference"] == 0.5
    one_line_error(label(capsys, tmp_path, str(tmp_path / "d.csv"), "query=prompt"), "pairs", "follow --map")


def test_a_run_without_a_single_label_is_not_a_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", {**GOOD, "response_2": ""})
    assert label(capsys, tmp_path, data)[0] == 1


def test_score_rank_export_prompt_and_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", GOOD)
    samples = write(tmp_path / "s.jsonl", {"query": "q", "responses": ["x", "y", "z"]})
    common = ("--task", "helpfulness", "--llm", "scripted:hashed", "--out")
    assert "2 of 2 rows" in call(capsys, "score", data, *common, str(tmp_path / "o/score"))[1]
    assert "1 of 1 rows" in call(capsys, "rank", samples, *common, str(tmp_path / "o/rank"))[1]
    label(capsys, tmp_path, data)
    trl = str(tmp_path / "trl.parquet")
    assert "1 rows; 0 ties dropped" in call(capsys, "export", str(tmp_path / "o/run"), trl, "--as", "trl")[1]
    one_line_error(call(capsys, "export", str(tmp_path / "o/run"), trl, "--as", "x"), "known are records and trl")
    shown = call(capsys, "prompt", "helpfulness", data, "--exemplars", "1", "--rationale")[1]
    assert shown.rstrip().endswith("Rationale: <rationale>\n\nPreferred response=")
    assert "### Example 1" in shown
    assert "Score from 1 to 10=" in call(capsys, "prompt", "helpfulness", data, "--score")[1]
    ledger = str(tmp_path / "o" / "ledger.sqlite")
    assert "scripted:hashed: 10 exchanges" in call(capsys, "ledger", "info", ledger)[1]
    assert "10 exchanges deleted" in call(capsys, "ledger", "purge", ledger, "--yes")[1]
    one_line_error(call(capsys, "ledger", "info", "none.sqlite"), "no such ledger")


FILE_FAULTS = [
    (b"", "is empty; there is nothing to read"),
    (b'{"query": "q", "response_1": "a"}\n', "d.jsonl:1: the columns query, response_1 are those of no known format"),
    (b'{"query": "\xe9"}\n', "d.jsonl:1: not UTF-8"),
    (
        b'{"id": 1, "query": "q", "response_1": "a", "response_2": "b"}\n'
        b'{"id": 1, "query": "q", "response_1": "a", "response_2": "c"}\n',
        "d.jsonl:2: id 1 was at",
    ),
]


@pytest.mark.parametrize(("content", "message"), FILE_FAULTS)
def test_a_fault_of_the_file_stops_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    (tmp_path / "d.jsonl").write_bytes(content)
    # These weights cannot be loaded; that the message is the file's shows that nobody tried.
    make_model(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"no weights")
    llm = ("--llm", f"transformers:{tmp_path / 'model'}")
    one_line_error(label(capsys, tmp_path, str(tmp_path / "d.jsonl"), *llm), message)
    good = write(tmp_path / "good.jsonl", GOOD)
    one_line_error(label(capsys, tmp_path, good, *llm), "model: cannot be loaded")


def test_wrong_words_are_named_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", GOOD)
    for words, message in [
        (("--task", "helpfullness"), "did you mean helpfulness?"),
        (("--llm", "pocket:labelerl"), "did you mean labeler-l?"),
        (("--llm", "gpt:4"), "gpt:4 names no model"),
        (("--preamble", "long"), "preamble is 'long'"),
        (("--exemplars", "9"), "has 4 exemplars; 9 were asked for"),
        (("--dtype", "float8"), "known are float32, bfloat16, float16"),
        (("--map", "query"), "write field=column"),
        (("--format", "trl"), "there is no column chosen, which trl has"),
        (("--limit", "1", "--sample", "1"), "exclude one another"),
    ]:
        one_line_error(label(capsys, tmp_path, data, *words), message)
    one_line_error(label(capsys, tmp_path, str(tmp_path / "none.jsonl")), "none.jsonl: no such file")
    assert not (tmp_path / "o" / "ledger.sqlite").exists()


def test_a_template_error_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(packaged_folder("prompts") / "helpfulness", tmp_path / "mine")
    (folder / "sample.j2").write_text("Query - {{ query }}\n{% if %}\n")
    data = write(tmp_path / "d.jsonl", GOOD)
    one_line_error(label(capsys, tmp_path, data, "--task", str(folder)), "sample.j2:2: ")


def test_a_model_without_a_tokenizer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_model(tmp_path / "model")
    for path in (tmp_path / "model").glob("tokenizer*"):
        path.unlink()
    data = write(tmp_path / "d.jsonl", GOOD)
    result = label(capsys, tmp_path, data, "--llm", f"transformers:{tmp_path / 'model'}")
    one_line_error(result, "holds no tokenizer (tokenizer.json)")


def test_another_runs_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", GOOD)
    label(capsys, tmp_path, data)
    one_line_error(label(capsys, tmp_path, data, "--seed", "5"), "settings.seed was 0 there and is 5 now")


def test_bad_rows_are_counted_by_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad: list[dict[str, Any]] = [
        {"response_1": ""}, {"response_1": 3}, {"response_1": "b"}, {"response_1": "a\0"}, {"human_preference": 2}
    ]  # fmt: skip
    data = write(tmp_path / "d.jsonl", GOOD, *({**GOOD, **change} for change in bad))
    with Path(data).open("a") as file:
        file.write("{broken\n")
    _, out, _ = label(capsys, tmp_path, data)
    assert "1 of 7 rows (6 rejected)" in out
    details = [json.loads(line)["detail"] for line in (tmp_path / "o/run/failures.jsonl").read_text().splitlines()]
    for detail, word in zip(details, ["empty", "string", "identical", "NUL", "[0, 1]", "not JSON"], strict=True):
        assert word in detail
    one_line_error(label(capsys, tmp_path, data, "--strict"), "d.jsonl:2: response_1 is empty")


@pytest.mark.parametrize("command", ["label", "score", "rank", "prompt", "export", "ledger"])
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, command, "--help")
    assert code == 0
    assert "Usage" in out
    if command != "ledger":
        assert "Example" in out
        assert f"rlaif {command}" in out.split("Example")[-1]


def test_broken_model_folders_devices_and_maps_get_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", GOOD)
    make_model(tmp_path / "model")
    llm = f"transformers:{tmp_path / 'model'}"
    one_line_error(label(capsys, tmp_path, data, "--llm", llm, "--device", "gpu"), "device is 'gpu'; write cpu")
    (tmp_path / "model" / "config.json").write_text("{broken")
    one_line_error(label(capsys, tmp_path, data, "--llm", llm), "config.json: is not JSON")
    (tmp_path / "map.yaml").write_text("a: [")
    one_line_error(label(capsys, tmp_path, data, "--map", str(tmp_path / "map.yaml")), "map.yaml: is not YAML")


def test_a_full_disk_gets_one_line_and_keeps_what_was_stored(tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", *({**GOOD, "id": str(n), "query": f"q{n}"} for n in range(3000)))
    words = ["label", data, "--task", "helpfulness", "--llm", "scripted:hashed", "--out", str(tmp_path / "o" / "run")]
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000));"
        "sys.argv[0] = 'rlaif'; runpy.run_module('rlaif', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", limited, *words], capture_output=True, text=True)
    one_line_error((done.returncode, done.stdout, done.stderr), "what was stored before is kept, run again to go on")
    ledger = Ledger(tmp_path / "o" / "ledger.sqlite")
    kept = sum(count for _, count, *_ in ledger.info())
    ledger.close()
    again = subprocess.run([sys.executable, "-m", "rlaif", *words], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert 0 < kept < 6000
    assert "3,000 of 3,000 rows (no failures)" in again.stdout
    asked = int(again.stdout.split("asked ")[1].split(" now")[0].replace(",", ""))
    assert asked <= 6000 - kept
