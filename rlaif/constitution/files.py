"""Constitutions from files: by name, or a user's own by path. A fault is named with its line and its remedy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from rlaif.constitution.principles import (
    ComparisonExemplar,
    ComparisonPrinciple,
    Constitution,
    Principle,
    RevisionExemplar,
    inconsistencies,
)
from rlaif.errors import ConfigError, InputError, did_you_mean
from rlaif.prompting import packaged_folder
from rlaif.records import Turn

_SECTIONS: dict[str, type[BaseModel]] = {
    "principles": Principle,
    "comparison_principles": ComparisonPrinciple,
    "revision_exemplars": RevisionExemplar,
    "comparison_exemplars": ComparisonExemplar,
}
_IN_A_FOLDER = "constitution.yaml"


class _Document(NamedTuple):
    """A file's content, and the tree it came from, which knows the lines."""

    content: Any
    tree: yaml.Node


def packaged() -> dict[str, Path]:
    """The constitutions that come with the package: names and files."""
    return {path.stem: path for path in sorted(packaged_folder("constitutions").glob("*.yaml"))}


def constitution_file(name_or_path: str) -> Path:
    """The file of a constitution.

    Args:
        name_or_path: `harmless`, `helpful-honest`, a user's own YAML file, or a folder with a `constitution.yaml`.

    Raises:
        ConfigError: there is no such constitution.
    """
    known = packaged()
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path)
    if path.is_dir():
        path = path / _IN_A_FOLDER
        if not path.exists():
            raise ConfigError(f"{path}: is missing; a constitution's folder holds it, or give the file itself")
    if not path.exists():
        raise ConfigError(f"{name_or_path} is neither a constitution nor a file{did_you_mean(name_or_path, known)}")
    return path


def load_constitution(name_or_path: str) -> Constitution:
    """Load a constitution by name, or by the path of a user's own file or folder.

    Args:
        name_or_path: as in `constitution_file`.

    Raises:
        InputError: the file cannot be read, is not UTF-8 or not YAML.
        ConfigError: there is no such constitution, or the file says something wrong; names the line and the remedy.
    """
    found = read_constitution(constitution_file(name_or_path))
    if isinstance(found, Constitution):
        return found
    more = f" (and {len(found) - 1} more; rlaif constitution check lists all)" if len(found) > 1 else ""
    raise ConfigError(found[0] + more)


def read_constitution(path: Path) -> Constitution | list[str]:
    """Read a constitution's file, or say what is wrong in it.

    Args:
        path: a YAML file.

    Returns:
        The constitution, or all faults in the order of their lines, each with file, line, place and remedy.

    Raises:
        InputError: the file cannot be read, is not UTF-8 or not YAML.
    """
    document = _parse(path)
    faults = [(_line(document.tree, place), f"{_name(document, place)}: {what}") for place, what in _repeated(document)]
    constitution = None
    try:
        constitution = Constitution.model_validate(document.content)
    except ValidationError as error:
        errors = [dict(each) for each in error.errors(include_url=False) if each["type"] != "inconsistent"]
        found = [_explained(each) for each in errors]
        # pydantic looks for these only where nothing else is wrong, and stops at the first.
        found += [(place, what) for place, what in inconsistencies(_sections(document.content)) if place or not errors]
        faults += [(_line(document.tree, place), f"{_name(document, place)}: {what}") for place, what in found]
    if faults or constitution is None:
        return [f"{path}:{line}: {what}" for line, what in sorted(faults, key=_reading_order)]
    return constitution


def _sections(content: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Principles and exemplars as far as they are there; what is no mapping keeps its place."""
    lists = {name: content[name] for name in _SECTIONS if isinstance(content.get(name), list)}
    return {name: [one if isinstance(one, dict) else {} for one in some] for name, some in lists.items()}


def _reading_order(fault: tuple[int, str]) -> tuple[int, bool]:
    """By lines; that a field is misspelt comes before the remark that it is missing."""
    return fault[0], fault[1].endswith("is missing")


def _parse(path: Path) -> _Document:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}:{line}: not UTF-8 (byte 0x{byte:02x}); convert the file, for example with iconv"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        loader = yaml.SafeLoader(text)
        tree = loader.get_single_node()
        content = None if tree is None else loader.construct_document(tree)
    except yaml.MarkedYAMLError as error:
        where = f"{path}:{error.problem_mark.line + 1}" if error.problem_mark else str(path)
        remedy = f"a text with a colon stands in quotes, or below >-; {_example()}"
        raise InputError(f"{where}: is not YAML ({error.problem or error.context}); {remedy}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not YAML ({' '.join(str(error).split())}); {_example()}") from error
    if tree is None or not isinstance(content, dict):
        what = "is empty" if content is None else f"is {_kind(content)}, no mapping"
        raise InputError(f"{path}: {what}; a constitution has {', '.join(Constitution.model_fields)}; {_example()}")
    return _Document(content, tree)


def _example() -> str:
    return f"{packaged_folder('constitutions') / 'README.md'} has an example"


def _repeated(document: _Document) -> list[tuple[tuple[str | int, ...], str]]:
    """Keys that stand twice in one mapping: YAML would silently keep the last."""
    found = []
    waiting: list[tuple[tuple[str | int, ...], yaml.Node]] = [((), document.tree)]
    seen: set[int] = set()
    while waiting:
        place, node = waiting.pop()
        if id(node) in seen:  # an alias, perhaps of what holds it
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [((*place, number), item) for number, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            names = [str(key.value) for key, _ in node.value]
            for number, (name, (_, item)) in enumerate(zip(names, node.value, strict=True)):
                if name in names[:number]:
                    found.append(
                        ((*place, name), "stands here a second time; YAML keeps only the last, so take one out")
                    )
                waiting.append(((*place, name), item))
    return found


def _explained(error: dict[str, Any]) -> tuple[tuple[str | int, ...], str]:
    """Where a pydantic error is, and what it says in our words."""
    place, found = error["loc"], error["input"]
    match error["type"]:
        case "missing":
            return place, "is missing"
        case "extra_forbidden":
            return place, f"is not a field here{did_you_mean(str(place[-1]), _fields(place[:-1]))}"
        case "tuple_type":
            return place, f"is {_kind(found)}; write a list, each item behind a dash"
        case "string_type":
            quotes = " (in quotes, where YAML takes it for something else)"
            return place, f"is {_kind(found)}; write a text{quotes if isinstance(found, bool | int | float) else ''}"
        case "model_type":
            return place, f"is {_kind(found)}; it needs {', '.join(_fields(place))}"
        case "literal_error":
            return place, f"is {found!r}; write {error['ctx']['expected']}"
        case "too_short":
            return place, "is empty; it needs a turn at least"
        case _:
            return place, error["msg"]


def _kind(value: object) -> str:
    match value:
        case None:
            return "empty"
        case str():
            return "a text"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case int() | float() if not isinstance(value, bool):
            return f"the number {value}"
        case _:
            return f"{value}, a {type(value).__name__}"


def _fields(place: Sequence[str | int]) -> list[str]:
    """The fields that belong at a place."""
    if not place:
        return list(Constitution.model_fields)
    if len(place) == 2:
        return list(_SECTIONS[str(place[0])].model_fields)
    return list(Turn.model_fields)


def _line(tree: yaml.Node, place: Sequence[str | int]) -> int:
    """The line where a place begins, or the closest thing around it that the file has."""
    node = tree
    mark = tree.start_mark
    for part in place:
        if isinstance(node, yaml.MappingNode):
            # The last of those with this name: it is the one that YAML keeps.
            pairs = [(key, value) for key, value in node.value if key.value == str(part)]
            if not pairs:
                break
            key, node = pairs[-1]
            mark = key.start_mark
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return int(mark.line) + 1


def _name(document: _Document, place: Sequence[str | int]) -> str:
    """A place in words: `principles 3 (half-refusal): revision_request`."""
    words: list[str] = []
    value = document.content
    for part in place:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
        if isinstance(part, int):
            own = value.get("id", value.get("principle")) if isinstance(value, dict) else None
            words[-1] += f" {part + 1}" + (f" ({own})" if isinstance(own, str) else "")
        else:
            words.append(str(part))
    return ": ".join(words) or "the constitution"
