"""The wheel works elsewhere, and the README says what is true."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hostile import HostileServer

from rlaif.pocket.data import comparisons
from rlaif.pocket.paths import model_folder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the build backend that pyproject.toml names."""
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert [name for name in archive.getnames() if "/outputs/" in name and not name.endswith(".gitkeep")] == []
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_labels_in_another_folder(wheel: Path, tmp_path: Path) -> None:
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    assert (site / "rlaif" / "constitutions").is_dir()
    rows = comparisons(5, task="harmlessness", split="heldout", seed=0)
    (work / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # The installed package shadows the checkout's; -P keeps the current folder off the path.
    environment = {**os.environ, "PYTHONPATH": str(site)}
    words = [sys.executable, "-P", "-m", "rlaif", "label", "pairs.jsonl", "--task", "harmlessness", "--out", "run"]
    done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len((work / "run" / "preferences.jsonl").read_text().splitlines()) == 5
    words = [sys.executable, "-P", "-m", "rlaif", "constitution", "check", "harmless"]
    done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{site / 'rlaif' / 'constitutions' / 'harmless.yaml'}: no faults, no remarks" in done.stdout
    where = [sys.executable, "-P", "-c", "import rlaif; print(rlaif.__file__)"]
    assert str(site) in subprocess.run(where, cwd=work, env=environment, capture_output=True, text=True).stdout


def test_the_wheel_holds_what_it_should_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "rlaif/prompts/helpfulness/sample.j2",
        "rlaif/constitutions/harmless.yaml",
        "rlaif/constitutions/helpful-honest.yaml",
        "rlaif/pocket/models/labeler-l/model.safetensors",
        "rlaif/py.typed",
    ):
        assert part in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "outputs", "examples"))]
    assert wheel.stat().st_size < 25e6


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_the_readmes_python_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


ONE_AFTER_ANOTHER = """
import json, sys
from rlaif.cli import main
for words in json.loads(sys.argv[1]):
    print("$ rlaif", *words, flush=True)
    try:
        main(words)
    except SystemExit as end:
        if end.code:
            raise
"""
"""Commands in one process, which loads torch once."""


def test_the_readmes_commands_run(tmp_path: Path) -> None:
    texts = {"response_1": "Eight minutes.", "response_2": "Go away."}
    asked = [f"How do I boil an egg of {size} g?" for size in range(30, 64)]
    rows = [{"query": query, **texts, "human_preference": 1, "topic": "eggs"} for query in asked]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for policy in ("rl", "sft"):
        samples = [{"id": str(n), "query": "Q?", "responses": [f"{policy} {n}"]} for n in range(3)]
        (tmp_path / f"{policy}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    (tmp_path / "samples.jsonl").write_text(json.dumps({"query": "Q?", "responses": ["a", "b", "c"]}) + "\n")
    (tmp_path / "data.csv").write_text("prompt,a,b,label\nQ?,x,y,0.5\n")
    (tmp_path / "letters.csv").write_text("prompt,a,b,label\nQ?,x,y,A\nQ?,x,z,tie\n")
    (tmp_path / "mapping.yaml").write_text(blocks("yaml")[0])
    (tmp_path / "mine.yaml").write_text(next(block for block in blocks("yaml") if "critique_request" in block))
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    lines = [line.split("#")[0].split() for block in blocks("sh") for line in block.splitlines()]
    commands = [words for words in lines if words[:1] == ["rlaif"]]
    assert len(commands) == 52
    model = f"transformers:{model_folder('labeler-l')}"
    with HostileServer(models=("gpt-4.1-mini", "gpt-4o", "my-model")) as server:
        # A service of our own answers under the names that the README uses.
        environment = {**os.environ, "OPENAI_BASE_URL": server.url, "ANTHROPIC_BASE_URL": server.url}
        people = commands.index(["rlaif", "audit", "collect", "outputs/audit"])
        for some in (commands[:people], commands[people:]):
            given = []
            for words in some:
                words = [model if word.startswith("transformers:") else word for word in words[1:]]
                if words[:2] in (["train", "ppo"], ["train", "reinforce"]):
                    words = [*words, "steps=2", "rollout.batch=8", "watch.limit=4"]
                given.append([server.url if word == "http://127.0.0.1:8000/v1" else word for word in words])
            done = subprocess.run(
                [sys.executable, "-c", ONE_AFTER_ANOTHER, json.dumps(given)],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
            if some == commands[:people]:
                fill(tmp_path / "outputs" / "audit")
        assert {body["model"] for body in server.bodies} == {"gpt-4.1-mini", "gpt-4o", "my-model", "claude-haiku-4-5"}
    labels = [json.loads(line) for line in (tmp_path / "outputs/letters/preferences.jsonl").read_text().splitlines()]
    assert [one["human_preference"] for one in labels] == [1.0, 0.5]


def fill(folder: Path) -> None:
    """Three people answer that they like what stands first."""
    for sheet in sorted(folder.glob("sheet-*.csv")):
        with sheet.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        with sheet.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows({**row, "better": "1"} for row in rows)


def test_the_demo_shows_agreement_and_three_labels_and_trains_a_policy() -> None:
    # What is quick: steps that move nothing, and few queries.
    shutil.rmtree(ROOT / "outputs" / "demo" / "direct", ignore_errors=True)
    words = [str(ROOT / "examples" / "demo.py"), "steps=2", "batch=8", "n=16", "held_out=12"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = re.search(r"agreement with gold +(\d\.\d+) \(n = (\d+);", done.stdout)
    assert found is not None
    # The card says .90; four standard errors of 500 rows are .054.
    assert float(found[1]) > 0.84
    # What has no label is said.
    unlabeled = re.search(r"^(\d+) of 500 comparisons have no label", done.stdout, re.MULTILINE)
    assert int(found[2]) + (int(unlabeled[1]) if unlabeled else 0) == 500
    assert int(found[2]) > 480
    for line in ("agreement with the annotators", "position bias", "calibration"):
        assert re.search(rf"^{line} .*\d\.\d\d\d", done.stdout, re.MULTILINE)
    assert len(re.findall(r"^--- (?:sure|unsure|wrong)", done.stdout, re.MULTILINE)) == 3


def test_no_path_of_one_machine_is_in_tracked_files() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(listed) > 50
    for name in listed:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".yaml", ".json", ".txt", ".j2", ""):
            assert str(ROOT.parent) + "/" not in path.read_text(encoding="utf-8", errors="replace"), name
