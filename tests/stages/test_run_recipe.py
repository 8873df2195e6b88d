"""A recipe runs what changed, and only that; stops, resumes and ends as one would expect of a single command."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlaif.errors import ConfigError, RunFolderError, StageError, StorageError
from rlaif.stages.fingerprints import fingerprint, named
from rlaif.stages.recipe import Ran, run_recipe
from rlaif.stages.recipe_file import read_plan

ROWS = [{"id": str(n), "query": f"Q{n}?", "response_1": "Yes, sure.", "response_2": "No."} for n in range(10)]
CHAIN = """
out: work
values: {data: pairs.jsonl, n: 3, labeler: "pocket:labeler-xs"}
stages:
  - name: labels
    run: label {data} --task helpfulness --llm {labeler} --out {out}/labels
  - name: other
    run: pocket data --task helpfulness --n {n} --out {out}/other
  - name: table
    run: export {out}/labels {out}/table.csv
"""
LONG = """
out: work
values: {n: 300}
stages:
  - name: data
    run: pocket data --task harmlessness --n {n} --out {out}/data
  - name: labels
    run: label {out}/data/comparisons.jsonl --task harmlessness --llm pocket:labeler-xs --out {out}/labels
  - name: table
    run: export {out}/labels {out}/table.csv
"""


def write(text: str, path: str = "recipe.yaml") -> Path:
    Path(path).write_text(text, encoding="utf-8")
    return Path(path)


def write_rows(path: str, rows: list[dict[str, str]]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def stage(run: str, name: str = "one", values: str = "{}") -> str:
    return f"out: work\nvalues: {values}\nstages:\n  - name: {name}\n    run: {run}\n"


def done(ran: list[Ran]) -> list[str]:
    return [one.stage for one in ran if one.seconds is not None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for each test, which commands run in."""
    monkeypatch.chdir(tmp_path)
    write_rows("pairs.jsonl", ROWS)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which CHAIN was run."""
    place = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_rows("pairs.jsonl", ROWS)
        assert done(run_recipe(write(CHAIN))) == ["labels", "other", "table"]
    return place


@pytest.fixture
def chain(finished: Path, folder: Path) -> Path:
    """CHAIN, run here."""
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    return Path("recipe.yaml")


def contents(place: Path) -> dict[str, bytes]:
    """What a recipe's result is: all but times, locks and stores."""
    passing = ("manifest.json", "recipe.json", "work.sqlite", "ledger.sqlite", ".")
    files = (path for path in sorted(place.rglob("*")) if path.is_file() and not path.name.startswith(passing))
    return {str(path.relative_to(place)): path.read_bytes() for path in files}


def assert_same(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    """The same files with the same texts; a local model's numbers move by its batches, by at most 1e-5."""
    assert list(one) == list(other)
    for name in one:
        parts, others = (re.split(r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)", each[name].decode()) for each in (one, other))
        assert parts[::2] == others[::2], name
        gaps = [abs(float(a) - float(b)) for a, b in zip(parts[1::2], others[1::2], strict=True)]
        assert max(gaps, default=0) < 1e-5, name


def test_a_second_run_does_nothing(chain: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path("work").rglob("*") if path.name != ".lock"}
    assert run_recipe(chain) == [Ran("labels", None), Ran("other", None), Ran("table", None)]
    assert {path: path.stat().st_mtime_ns for path in Path("work").rglob("*") if path.name != ".lock"} == before


def test_the_record_says_what_was_read_written_and_when(chain: Path) -> None:
    record = json.loads(Path("work/recipe.json").read_text())
    assert record["values"] == {"data": "pairs.jsonl", "n": "3", "labeler": "pocket:labeler-xs"}
    labels, _, table = record["stages"].values()
    assert labels["command"][:2] == ["label", "pairs.jsonl"]
    assert labels["inputs"] == {"pairs.jsonl": fingerprint(Path("pairs.jsonl"))}
    assert labels["outputs"] == {"work/labels": fingerprint(Path("work/labels"))}
    assert labels["seconds"] > 0
    assert labels["finished"].endswith("+00:00")
    assert table["inputs"] == labels["outputs"]
    # What a word names after the command and did not before, was written by it.
    assert table["outputs"] == {"work/table.csv": fingerprint(Path("work/table.csv"))}


def test_a_changed_file_runs_what_depends_on_it_and_nothing_else(chain: Path) -> None:
    write_rows("pairs.jsonl", [*ROWS[:9], {**ROWS[9], "response_1": "Perhaps."}])
    assert done(run_recipe(chain)) == ["labels", "table"]
    assert "Perhaps." in Path("work/table.csv").read_text()
    assert done(run_recipe(chain)) == []


def test_a_touched_file_with_the_same_content_runs_nothing(chain: Path) -> None:
    os.utime("pairs.jsonl", (1, 1))
    assert done(run_recipe(chain)) == []


def test_a_stage_whose_result_stays_the_same_stops_what_follows(chain: Path) -> None:
    Path("work/labels/preferences.jsonl").unlink()
    assert done(run_recipe(chain)) == ["labels"]


def test_a_changed_value_runs_the_stage_that_uses_it(chain: Path) -> None:
    assert done(run_recipe(chain, {"n": "4"})) == ["other"]
    assert len(Path("work/other/queries.jsonl").read_text().splitlines()) == 4
    assert done(run_recipe(chain)) == ["other"]


@pytest.mark.parametrize("lost", ["work/table.csv", "work/recipe.json"])
def test_what_was_removed_is_made_again(lost: str, chain: Path) -> None:
    before = contents(Path("work"))
    Path(lost).unlink()
    assert done(run_recipe(chain)) == (["table"] if "table" in lost else ["labels", "other", "table"])
    assert contents(Path("work")) == before


def test_another_folder_is_another_run() -> None:
    recipe = write(stage("pocket data --task helpfulness --n 1 --out {out}/data"))
    for place in ("work", "elsewhere"):
        assert done(run_recipe(recipe, out=Path(place))) == ["one"]
        assert sorted(path.name for path in Path(place).iterdir()) == [".lock", "data", "recipe.json"]


def test_a_stage_that_reads_a_model_by_its_provider_depends_on_it() -> None:
    Path("model").mkdir()
    Path("model/weights").write_text("1")
    recipe = write(stage("label pairs.jsonl --task x --llm transformers:model --out {out}/labels"))
    words = read_plan(recipe, {}, None).commands[0].words
    assert named(words) == ["pairs.jsonl", "model"]


def test_a_failing_stage_stops_the_run_with_its_code_and_the_next_run_goes_on() -> None:
    recipe, values = write(CHAIN), {"labeler": "scripted:hashed"}
    write_rows("pairs.jsonl", [{**ROWS[0], "response_1": ""}])
    with pytest.raises(StageError) as failed:
        run_recipe(recipe, values)
    assert failed.value.code == 1
    command = "rlaif label pairs.jsonl --task helpfulness --llm scripted:hashed --out work/labels"
    assert f"stage labels ended with exit code 1:\n  {command}\n" in str(failed.value)
    assert not Path("work/other").exists()
    write_rows("pairs.jsonl", ROWS[:5])
    assert done(run_recipe(recipe, values)) == ["labels", "other", "table"]
    write_rows("pairs.jsonl", [{**ROWS[0], "response_1": ""}])
    with pytest.raises(StageError):
        run_recipe(recipe, values)
    # What was done and does not depend on it is still known.
    write_rows("pairs.jsonl", ROWS)
    assert done(run_recipe(recipe, values)) == ["labels", "table"]


def test_a_folder_that_refuses_is_named_with_the_remedy(chain: Path) -> None:
    with pytest.raises(StageError, match="where work/labels is refused, remove it, or give the recipe another --out"):
        run_recipe(chain, {"labeler": "scripted:hashed"})
    shutil.rmtree("work/labels")
    assert done(run_recipe(chain, {"labeler": "scripted:hashed"})) == ["labels", "table"]


def start(*words: str) -> "subprocess.Popen[bytes]":
    # A session of its own: no terminal of whoever runs the tests.
    return subprocess.Popen([sys.executable, "-m", "rlaif", "run", *words], start_new_session=True)


def answered() -> bool:
    """Whether the ledger of LONG's labels holds some answers."""
    try:
        ledger = sqlite3.connect("file:work/ledger.sqlite?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return False
    try:
        return bool(ledger.execute("SELECT COUNT(*) FROM exchanges").fetchone()[0] > 20)
    except sqlite3.OperationalError:
        return False
    finally:
        ledger.close()


def wait_until(is_so: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    while not is_so():
        assert process.poll() is None
        time.sleep(0.01)


def run_when_free() -> list[Ran]:
    """Run LONG as soon as nobody works in its folder."""
    while True:
        try:
            return run_recipe("recipe.yaml")
        except RunFolderError:
            time.sleep(0.1)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What LONG comes to when nothing disturbs it."""
    place = tmp_path_factory.mktemp("clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run_recipe(write(LONG))
    return contents(place / "work")


def test_a_killed_run_ends_the_same_when_started_again(clean: dict[str, bytes]) -> None:
    write(LONG)
    process = start("recipe.yaml")
    wait_until(answered, process)
    process.kill()
    process.wait()
    # The stage lives on and keeps the folder for itself.
    with pytest.raises(RunFolderError, match="a stage that a killed one left behind"):
        run_recipe("recipe.yaml")
    assert done(run_when_free()) == ["labels", "table"]
    assert_same(contents(Path("work")), clean)


def test_a_run_killed_with_its_stage_ends_the_same_when_started_again(clean: dict[str, bytes]) -> None:
    write(LONG)
    process = start("recipe.yaml")
    wait_until(answered, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert done(run_when_free()) == ["labels", "table"]
    assert_same(contents(Path("work")), clean)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_passed_on_and_waited_for(number: int, code: int, clean: dict[str, bytes]) -> None:
    write(LONG)
    process = start("recipe.yaml")
    wait_until(answered, process)
    process.send_signal(number)
    assert process.wait(60) == code
    # Nobody holds the folder: the stage has ended. Ctrl-C lets it write what it has.
    if number == signal.SIGINT:
        assert json.loads(Path("work/labels/manifest.json").read_text())["status"] == "interrupted"
    assert done(run_recipe("recipe.yaml")) == ["labels", "table"]
    assert_same(contents(Path("work")), clean)


def test_ctrl_c_on_a_terminal_reaches_the_stage_once() -> None:
    write(LONG)
    program = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    words = [sys.executable, "-c", program, sys.executable, "-m", "rlaif", "run", "recipe.yaml"]
    terminal = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    wait_until(answered, terminal)
    shown = terminal.communicate(b"\x03", timeout=60)[0].decode()
    assert terminal.returncode == 130, shown
    assert shown.count("Interrupted; what was done is kept") == 2, "the stage's word and the run's"
    assert "Traceback" not in shown
    assert json.loads(Path("work/labels/manifest.json").read_text())["status"] == "interrupted"


def test_two_runs_of_one_folder_do_not_mix() -> None:
    write(LONG)
    process = start("recipe.yaml")
    wait_until(Path("work/data").exists, process)
    with pytest.raises(RunFolderError, match="work: another run"):
        run_recipe("recipe.yaml")
    assert done(run_recipe(write(stage("models"), "other.yaml"), out=Path("elsewhere"))) == ["one"]
    process.terminate()
    assert process.wait(60) == 143


def test_words_with_spaces_stay_whole() -> None:
    write_rows("my pairs.jsonl", ROWS[:2])
    text = stage('label "{data}" --task "{task}" --llm scripted:hashed --out "{out}/my labels"')
    recipe = write(text.replace("{}", '{data: my pairs.jsonl, task: "it is; rm -rf"}'))
    with pytest.raises(StageError, match=r"rlaif label 'my pairs.jsonl' --task 'it is; rm -rf'"):
        run_recipe(recipe, out=Path("my work"))
    values = {"task": "helpfulness"}
    assert done(run_recipe(recipe, values, out=Path("my work"))) == ["one"]
    assert Path("my work/my labels/preferences.jsonl").exists()
    assert list(json.loads(Path("my work/recipe.json").read_text())["stages"]["one"]["inputs"]) == ["my pairs.jsonl"]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("a {n} b{n}c", ("a", "7", "b7c")),
        ("{{n}} {{{n}}} x=}}", ("{n}", "{7}", "x=}")),
        ("'{text}' {text}", ("two words", "two words")),
        ("{empty} {out}/x", ("", "work/x")),
        (r"{quote} \{n}", ("it's", "7")),
    ],
)
def test_braces_are_filled_after_the_words_are_cut(written: str, words: tuple[str, ...]) -> None:
    values = """{n: 7, text: two words, empty: "", quote: it's}"""
    recipe = f"out: work\nvalues: {values}\nstages: [{{name: one, run: {json.dumps(written)}}}]\n"
    assert read_plan(write(recipe), {}, None).commands[0].words == words


def test_values_stay_the_text_that_was_written_and_lines_go_on() -> None:
    run = "|\n      label {a} \\\n        {b}\n      {c}"
    recipe = write(stage(run, values="{a: 1e-5, b: 007, c: yes}"))
    assert read_plan(recipe, {}, None).commands[0].words == ("label", "1e-5", "007", "yes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "recipe.yaml: has no list of stages"),
        ("out: work\nstages: []", "recipe.yaml: has no list of stages"),
        ("out: [", "recipe.yaml: is not YAML"),
        ("stages: [{name: a, run: models}]", "recipe.yaml: out is missing"),
        (stage("models") + "outt: x", "recipe.yaml: outt is not a setting; did you mean out?"),
        ("out: x\nstages: [label]", "recipe.yaml: stage 1 is 'label'; write name and run"),
        ("out: x\nstages: [{name: a, rum: b}]", "recipe.yaml: stage 1: rum is not a setting; did you mean run?"),
        ("out: x\nstages: [{name: a}]", "recipe.yaml: stage 1: run is missing"),
        (stage("models", name='""'), "recipe.yaml: stage 1: name is ''"),
        (stage("models") + "  - {name: one, run: models}", "2 stages are named one; names must differ"),
        (stage("label {nn}", values="{n: 1}"), "stage one: {nn} is neither out nor one of the values; did you mean n?"),
        (stage("label {n --x"), "stage one: {n: a single {; write {{ for a brace"),
        (stage("label x}"), "stage one: x}: a single }; write }} for a brace"),
        (stage("""label "x'"""), "cannot be cut into words (No closing quotation)"),
        (stage("rlaif label x"), "write a command and its options, without the word rlaif"),
        (stage('"  "'), "write a command and its options"),
        (stage("label x --out {out}/."), "--out is the recipe's folder; give the stage one of its own: {out}/one"),
        (stage("label x --out=./work"), "--out is the recipe's folder"),
        (stage("label x", values='{a: "{out}/x"}'), "a is '{out}/x', and a value is not filled in; put {out} into"),
        (stage("label x", values="{a: [1]}"), "values.a is ['1']: Input should be a valid string"),
    ],
)
def test_a_wrong_recipe_is_named_before_anything_runs(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        run_recipe(write(text))
    assert message in str(error.value)
    assert not Path("work").exists()


def test_wrong_values_and_folders_are_named(chain: Path) -> None:
    with pytest.raises(ConfigError, match=r"labeller is not one of the values of recipe.yaml; did you mean labeler\?"):
        run_recipe(chain, {"labeller": "x"})
    with pytest.raises(ConfigError, match="out=x: the folder is given by --out"):
        run_recipe(chain, {"out": "x"})
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read \(No such file"):
        run_recipe("none.yaml")
    with pytest.raises(StorageError, match=r"pairs.jsonl: cannot be written \(File exists\)"):
        run_recipe(chain, out=Path("pairs.jsonl"))
    for broken in ("{", "[]", '{"stages": {}}'):
        Path("work/recipe.json").write_text(broken)
        with pytest.raises(RunFolderError, match=r"work/recipe.json: is no record of rlaif run .*remove it"):
            run_recipe(chain)


def test_a_check_is_asked_about_every_stage_first() -> None:
    def check(words: tuple[str, ...]) -> int:
        if words[0] == "lable":
            raise ConfigError("no such command")
        return 2

    recipe = write(stage("pocket data --task helpfulness --n 1 --out {out}/a") + "  - {name: b, run: lable x}")
    with pytest.raises(ConfigError, match=r"recipe.yaml: stage b: no such command"):
        run_recipe(recipe, check=check)
    assert not Path("work").exists()


def test_a_path_within_a_list_of_yaml_is_a_file_that_is_read() -> None:
    write_rows("gold pairs.jsonl", ROWS[:1])
    write_rows("gold.jsonl", ROWS[:1])
    write_rows("more.jsonl", ROWS[:1])
    assert named(['held_out=[{path: gold.jsonl, label: gold}, {"path": "more.jsonl"}]']) == ["gold.jsonl", "more.jsonl"]
    assert named(["data={safety: [{path: gold.jsonl}]}"]) == ["gold.jsonl"]
    assert named(["gold pairs.jsonl"]) == ["gold pairs.jsonl"]


def test_a_commands_own_name_is_no_file_that_it_reads() -> None:
    Path("data").mkdir()
    Path("pocket").mkdir()
    recipe = write(stage("pocket data --task helpfulness --n 1 --out {out}/a"))
    run_recipe(recipe, check=lambda words: 2)
    assert json.loads(Path("work/recipe.json").read_text())["stages"]["one"]["inputs"] == {}


def test_words_name_files_behind_equals_signs_and_providers() -> None:
    for name in ("a", "b", "c", "d,e", "own"):
        Path(name).mkdir()
    Path("own/inside").touch()
    words = ["a", "--x=b", "reward=judge:c", "f:d,e", "a", "none", "", "own", "p=own/inside", "x" * 5000]
    assert named(words, {Path("own").resolve()}) == ["a", "b", "c", "d,e"]


def test_a_folders_fingerprint_is_names_and_bytes_of_what_belongs_to_the_result() -> None:
    place = Path("f")
    (place / "sub").mkdir(parents=True)
    (place / "sub/one").write_text("1")
    first = fingerprint(place)
    for name in (".lock", "work.sqlite-wal", "ledger.sqlite", "manifest.json", "metrics.jsonl", "x.tmp", "recipe.json"):
        (place / "sub" / name).write_text(name)
    for name in ("checkpoint-3", "tensorboard"):
        (place / name).mkdir()
        (place / name / "inside").write_text(name)
    assert fingerprint(place) == first
    # A file of such a name that is asked for itself does count.
    assert fingerprint(place / "sub/manifest.json") != fingerprint(place / "sub/metrics.jsonl")
    (place / "sub/two").write_text("")
    assert fingerprint(place) != first
    assert fingerprint(place, {(place / "sub/two").resolve()}) == first
    (place / "sub/one").rename(place / "sub/two")
    assert fingerprint(place) != first
    (place / "sub/two").rename(place / "sub/one")
    assert fingerprint(place) == first
    (place / "sub/one").write_text("2")
    assert fingerprint(place) != first


def test_a_ledger_is_neither_read_nor_written_as_far_as_a_recipe_goes() -> None:
    run = "label pairs.jsonl --task helpfulness --llm scripted:hashed --ledger answers.db --out {out}/a"
    text = stage(run) + "  - name: two\n    run: " + run.replace("{out}/a", "{out}/b --limit 5") + "\n"
    assert done(run_recipe(write(text))) == ["one", "two"]
    assert Path("answers.db").exists()
    assert done(run_recipe(write(text))) == []
