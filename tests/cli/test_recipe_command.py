"""`rlaif run`: what it prints, how it ends, and what it finds out before the first stage."""

from pathlib import Path

import pytest
import typer
import yaml

from rlaif.cli import app, main
from rlaif.cli.recipe import check_command
from rlaif.stages.recipe_file import read_plan

RECIPES = sorted((Path(__file__).parents[2] / "examples" / "recipes").glob("*.yaml"))


def run(tmp_path: Path, stages: list[str], *words: str) -> int:
    """Run a recipe of these commands, and say how that ended."""
    recipe = tmp_path / "recipe.yaml"
    parts = [{"name": f"stage-{place}", "run": one} for place, one in enumerate(stages, 1)]
    recipe.write_text(yaml.safe_dump({"out": str(tmp_path / "work"), "values": {"n": "2"}, "stages": parts}))
    try:
        main(["run", str(recipe), *words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


DATA = "pocket data --task helpfulness --n {n} --out {out}/data"


def test_stages_are_named_as_they_begin_and_listed_at_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, [DATA, "models"], "n=3") == 0
    out, err = capfd.readouterr()
    headings = [line for line in err.splitlines() if line.startswith("[")]
    typed = f"rlaif pocket data --task helpfulness --n 3 --out {tmp_path / 'work' / 'data'}"
    assert headings == [f"[1/2] stage-1: {typed}", "[2/2] stage-2: rlaif models"]
    assert f"{tmp_path / 'work' / 'data' / 'comparisons.jsonl'}: 3 rows" in out
    ends = [line.split() for line in out.splitlines() if line.strip().startswith("stage-")]
    assert [line[:2] for line in ends] == [["stage-1", "done"], ["stage-2", "done"]]
    assert all(float(line[2]) > 0 for line in ends)
    assert run(tmp_path, [DATA, "models"], "n=3") == 0
    out, err = capfd.readouterr()
    assert err.splitlines() == ["[1/2] stage-1: as before", "[2/2] stage-2: as before"]
    assert [line.split() for line in out.splitlines() if line.strip().startswith("stage-")] == [
        ["stage-1", "as", "before", "–"],
        ["stage-2", "as", "before", "–"],
    ]
    assert run(tmp_path, [DATA], "--out", str(tmp_path / "elsewhere")) == 0
    assert len((tmp_path / "elsewhere/data/queries.jsonl").read_text().splitlines()) == 2


def test_a_failing_stages_code_is_the_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"query": "q", "response_1": "", "response_2": "b"}\n')
    label = f"label {bad} --task helpfulness --llm scripted:hashed --out {{out}}/labels"
    assert run(tmp_path, [label, DATA]) == 1
    err = capfd.readouterr().err
    assert "error: stage stage-1 ended with exit code 1:\n  rlaif label " in err
    assert "Traceback" not in err
    assert run(tmp_path, [DATA.replace("helpfulness", "{n}"), label]) == 2
    assert "error: 2 is not a task of the pocket world" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("lable x", "stage stage-2: rlaif has no command lable; did you mean label?"),
        ("pocket", "stage stage-2: rlaif pocket needs a command; known are data, gold, show"),
        ("pocket --n 3", "stage stage-2: rlaif pocket needs a command; known are data, gold, show"),
        ("pocket dat", "stage stage-2: rlaif pocket has no command dat; did you mean data?"),
        ("pocket data --taks x", "stage stage-2: rlaif pocket data has no option --taks; did you mean --task?"),
        ("pocket data --task=helpfulness", "stage stage-2: rlaif pocket data needs --out"),
    ],
)
def test_a_slip_in_the_last_stage_shows_before_the_first_is_run(
    stage: str, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, [DATA, stage]) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "work").exists()


def test_a_value_is_a_name_and_a_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for word in ("n", "=3"):
        assert run(tmp_path, [DATA], word) == 2
        assert f"error: {word}: write name=value, for example n=100" in capfd.readouterr().err


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_example_recipes_name_commands_and_options_that_exist(path: Path) -> None:
    root = typer.main.get_command(app)
    for command in read_plan(path, {}, None).commands:
        assert check_command(command.words, root) >= 1
