"""A recipe's file: commands of `rlaif` one after another, with files between them.

    out: outputs/labels                     # the folder, where none is named for a run
    values: {n: 500}                        # texts for {…}; others can be given for a run
    stages:
      - name: data
        run: pocket data --task harmlessness --n {n} --out {out}/data
      - name: labels
        run: label {out}/data/comparisons.jsonl --task harmlessness --out {out}/labels

A command is cut into words first and filled then: a value is one word or a part of one, whatever it holds. `{{` and
`}}` are braces.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from rlaif.config import Config, ConfigT, build
from rlaif.errors import ConfigError, did_you_mean
from rlaif.stages.fingerprints import option_values

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Stage(Config):
    """One command of a recipe."""

    name: str = Field(min_length=1)
    run: str = Field(min_length=1)


class Recipe(Config):
    """What a recipe's file holds."""

    out: str = Field(min_length=1)
    values: dict[str, str] = Field(default_factory=dict)
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A stage's command as it is run.

    Attributes:
        stage: the stage's name.
        words: those behind `rlaif`.
    """

    stage: str
    words: tuple[str, ...]

    @property
    def typed(self) -> str:
        """The command as one would type it."""
        return shlex.join(["rlaif", *self.words])


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe with its values filled in.

    Attributes:
        out: the recipe's folder.
        values: what was filled in, without `out`.
        commands: the stages', in order.
    """

    out: Path
    values: dict[str, str]
    commands: list[Command]


def read_plan(path: Path, values: Mapping[str, str], out: Path | None) -> Plan:
    """Read a recipe and fill in its values.

    Args:
        path: the recipe.
        values: those that differ from the recipe's.
        out: the folder; the recipe's if None.

    Raises:
        ConfigError: the recipe cannot be read, or something in it is wrong; names the stage.
    """
    recipe = _read(path)
    for name in values:
        if name == "out":
            raise ConfigError(f"out={values[name]}: the folder is given by --out")
        if name not in recipe.values:
            raise ConfigError(f"{name} is not one of the values of {path}{did_you_mean(name, recipe.values)}")
    filled = {**recipe.values, **values}
    folder = Path(out or recipe.out)
    _check_values({"out": str(folder), **filled}, path)
    commands = []
    for stage in recipe.stages:
        try:
            commands.append(Command(stage.name, tuple(_words(stage, {"out": str(folder), **filled}))))
        except ConfigError as error:
            raise ConfigError(f"{path}: stage {stage.name}: {error}") from error
    return Plan(folder, filled, commands)


def _read(path: Path) -> Recipe:
    """Read the file; every value stays the text that is written there."""
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
    stages = settings.get("stages") if isinstance(settings, dict) else None
    if not isinstance(stages, list) or not stages:
        raise ConfigError(f"{path}: has no list of stages; write stages: and under it, for each, - name: and run:")
    parts = [_part(Stage, one, f"{path}: stage {place}") for place, one in enumerate(stages, 1)]
    recipe = _part(Recipe, {**settings, "stages": parts}, str(path))
    names = [stage.name for stage in recipe.stages]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: {names.count(name)} stages are named {name}; names must differ")
    return recipe


def _part(config: type[ConfigT], settings: Any, where: str) -> ConfigT:
    """A misspelt name is called that, before it is called missing."""
    if not isinstance(settings, dict):
        raise ConfigError(f"{where} is {settings!r}; write {' and '.join(config.model_fields)}, each with its text")
    for name in settings:
        if name not in config.model_fields:
            raise ConfigError(f"{where}: {name} is not a setting{did_you_mean(str(name), config.model_fields)}")
    return build(config, settings, where)


def _check_values(values: Mapping[str, str], path: Path) -> None:
    """A value is put in as it is, which somebody who writes one into another does not expect."""
    for name, value in values.items():
        for inner in values:
            if f"{{{inner}}}" in value:
                remedy = f"put {{{inner}}} into the stages' commands"
                raise ConfigError(f"{path}: {name} is {value!r}, and a value is not filled in; {remedy}")


def _words(stage: Stage, values: Mapping[str, str]) -> Iterator[str]:
    try:
        # A backslash at a line's end goes on, as in a shell.
        words = shlex.split(stage.run.replace("\\\n", " "))
    except ValueError as error:
        raise ConfigError(f"{stage.run!r} cannot be cut into words ({error})") from error
    if not words or words[0] == "rlaif":
        raise ConfigError(f"run is {stage.run!r}; write a command and its options, without the word rlaif")
    filled = [_fill(word, values) for word in words]
    for out in option_values(filled, "--out"):
        if Path(out).resolve() == Path(values["out"]).resolve():
            raise ConfigError(f"--out is the recipe's folder; give the stage one of its own: {{out}}/{stage.name}")
    yield from filled


def _fill(word: str, values: Mapping[str, str]) -> str:
    def one(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if found[1] is None:
            raise ConfigError(f"{word}: a single {found[0]}; write {found[0] * 2} for a brace")
        if found[1] not in values:
            raise ConfigError(f"{found[0]} is neither out nor one of the values{did_you_mean(found[1], values)}")
        return values[found[1]]

    return _BRACES.sub(one, word)
