"""Run a recipe: its commands one after another, each only where something changed.

What a stage reads is found by its words: every file or folder that one of them names when the stage starts, but for
what the stage writes and its ledger. A stage is as before, and not run, where its command, the content of all that it
reads and the content of what it wrote are what `recipe.json` in the recipe's folder says. Otherwise it is run, and
resumes by itself.
"""

import fcntl
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

from rich.console import Console

from rlaif.config import Config, build
from rlaif.errors import ConfigError, RunFolderError, StageError
from rlaif.io import replacing, writing
from rlaif.stages.fingerprints import fingerprint, named, option_values
from rlaif.stages.folder import versions
from rlaif.stages.recipe_file import Command, Plan, read_plan
from rlaif.stages.subcommand import Ended, run_subcommand


class Done(Config):
    """A stage that was run to its end, in `recipe.json`."""

    command: tuple[str, ...]
    inputs: dict[str, str]
    outputs: dict[str, str]
    seconds: float
    finished: str
    rlaif: str


class Record(Config):
    """What `recipe.json` holds."""

    recipe: str
    values: dict[str, str]
    stages: dict[str, Done]


class Ran(NamedTuple):
    """What became of a stage.

    Attributes:
        stage: its name.
        seconds: how long it ran; None where it was as before.
    """

    stage: str
    seconds: float | None


def _first_word(words: tuple[str, ...]) -> int:
    return min(len(words), 1)


def run_recipe(
    recipe: Path | str,
    values: Mapping[str, object] | None = None,
    *,
    out: Path | None = None,
    check: Callable[[tuple[str, ...]], int] = _first_word,
    progress: bool = True,
) -> list[Ran]:
    """Run the stages of a recipe that are not as before, each as a process of its own in the current folder.

    Args:
        recipe: the YAML file; `rlaif.stages.recipe_file` shows what it holds.
        values: those that differ from the recipe's.
        out: the recipe's folder; the one that the recipe names if None.
        check: sees before the first stage that words are a command, and says how many of them are its name, which
            names no file; the first alone by default.
        progress: name each stage on standard error as it begins.

    Returns:
        What became of each stage.

    Raises:
        ConfigError: the recipe is wrong; nothing was run.
        RunFolderError: another process works in the folder, or its `recipe.json` is none.
        StageError: a stage failed; those behind it were not run.
        KeyboardInterrupt: after Ctrl-C, when the stage under way has ended.
        SystemExit: after SIGTERM (143), likewise.
    """
    path = Path(recipe)
    plan = read_plan(path, {name: str(value) for name, value in (values or {}).items()}, out)
    heads = [_checked(command, check, path) for command in plan.commands]
    with _held(plan.out) as lock:
        return _run_all(plan, heads, _read_record(plan, path), lock, progress)


def _checked(command: Command, check: Callable[[tuple[str, ...]], int], path: Path) -> int:
    try:
        return check(command.words)
    except ConfigError as error:
        raise ConfigError(f"{path}: stage {command.stage}: {error}") from error


@contextmanager
def _held(folder: Path) -> Iterator[IO[str]]:
    """Hold the folder; a stage inherits the lock, so that one which outlives a killed run still holds it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(
                f"{folder}: another run, or a stage that a killed one left behind, is working in this folder; "
                "wait until it ends, or choose another --out"
            ) from None
        yield lock


def _read_record(plan: Plan, recipe: Path) -> Record:
    """What earlier runs did of the stages that the recipe still has."""
    path = plan.out / "recipe.json"
    stages: dict[str, Done] = {}
    if path.exists():
        try:
            stages = build(Record, json.loads(path.read_text(encoding="utf-8")), str(path)).stages
        except (OSError, ValueError, TypeError, ConfigError) as error:
            raise RunFolderError(
                f"{path}: is no record of rlaif run ({error}); remove it: every stage then runs again, and resumes"
            ) from error
    names = {command.stage for command in plan.commands}
    kept = {name: done for name, done in stages.items() if name in names}
    return Record(recipe=str(recipe), values=plan.values, stages=kept)


def _run_all(plan: Plan, heads: list[int], record: Record, lock: IO[str], progress: bool) -> list[Ran]:
    console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False, quiet=not progress)
    found = []
    for place, (command, head) in enumerate(zip(plan.commands, heads, strict=True), 1):
        before = record.stages.get(command.stage)
        if before is not None and before.command != command.words:
            before = None  # Another command's files say nothing about this one's.
        inputs = _inputs(command, head, before)
        is_as_before = before is not None and before.inputs == inputs and _are_there(before.outputs)
        what = "as before" if is_as_before else command.typed
        console.print(f"[{place}/{len(heads)}] {command.stage}: {what}", style="bold", markup=False)
        if is_as_before:
            found.append(Ran(command.stage, None))
            continue
        full = [name for name in option_values(command.words, "--out") if Path(name).exists()]
        started = time.monotonic()
        ended = run_subcommand(command.words, lock)
        if ended.code == 0:
            done = Done(
                command=command.words,
                inputs=inputs,
                outputs=_outputs(command, head, inputs),
                seconds=round(time.monotonic() - started, 3),
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
                rlaif=versions().get("rlaif", "unknown"),
            )
            record = record.model_copy(update={"stages": {**record.stages, command.stage: done}})
            _write(record, plan)
            found.append(Ran(command.stage, done.seconds))
        _stop_where_due(command, ended, full)
    return found


def _inputs(command: Command, head: int, before: Done | None) -> dict[str, str]:
    own = [*option_values(command.words, "--out"), *option_values(command.words, "--ledger")]
    places = {Path(name).resolve() for name in (*own, *(before.outputs if before else ()))}
    return {name: fingerprint(Path(name), places) for name in named(command.words[head:], places)}


def _outputs(command: Command, head: int, inputs: Mapping[str, str]) -> dict[str, str]:
    """What is behind `--out`, and what else a word names now and was no input."""
    ledgers = [Path(name).resolve() for name in option_values(command.words, "--ledger")]
    places = [name for name in option_values(command.words, "--out") if Path(name).exists()]
    places += [name for name in named(command.words[head:], ledgers) if name not in inputs]
    return {name: fingerprint(Path(name)) for name in dict.fromkeys(places)}


def _are_there(outputs: Mapping[str, str]) -> bool:
    return all(Path(name).exists() and fingerprint(Path(name)) == content for name, content in outputs.items())


def _write(record: Record, plan: Plan) -> None:
    names = [command.stage for command in plan.commands if command.stage in record.stages]
    in_order = record.model_copy(update={"stages": {name: record.stages[name] for name in names}})
    with replacing(plan.out / "recipe.json") as draft:
        draft.write_text(in_order.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _stop_where_due(command: Command, ended: Ended, full: list[str]) -> None:
    if ended.heard == signal.SIGINT:
        raise KeyboardInterrupt
    if ended.heard is not None:
        raise SystemExit(128 + ended.heard)
    if ended.code:
        how = " (killed; did memory run out?)" if ended.code == 128 + signal.SIGKILL else ""
        remedy = "what is wrong is said above"
        if ended.code == 2 and full:
            remedy += f"; where {full[0]} is refused, remove it, or give the recipe another --out"
        raise StageError(
            f"stage {command.stage} ended with exit code {ended.code}{how}:\n  {command.typed}\n"
            f"{remedy}. The next run goes on here",
            ended.code,
        )
