"""A constitution looked over: its faults, or else remarks on it and how long it is."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rlaif.constitution.check import Size, remarks, sizes
from rlaif.constitution.files import constitution_file, read_constitution
from rlaif.constitution.principles import Constitution
from rlaif.errors import ModelError


class Checked(NamedTuple):
    """What was found.

    Attributes:
        path: the constitution's file.
        faults: what keeps it from being used, in the order of the file's lines.
        remarks: what is probably not meant; looked for only where there are no faults.
        sizes: of its parts, where there are no faults.
    """

    path: Path
    faults: list[str]
    remarks: list[str]
    sizes: list[Size]


def check_constitution(name_or_path: str, tokenizer: Path | None = None) -> Checked:
    """Look a constitution over.

    Args:
        name_or_path: a packaged one's name, or a user's own file or folder.
        tokenizer: a model folder, whose tokenizer counts tokens; none are counted without.

    Raises:
        ConfigError: there is no such constitution.
        InputError: its file cannot be read, is not UTF-8 or not YAML.
        ModelError: the folder holds no tokenizer that can be loaded.
    """
    path = constitution_file(name_or_path)
    found = read_constitution(path)
    if not isinstance(found, Constitution):
        return Checked(path, found, [], [])
    return Checked(path, [], [f"{path}: {remark}" for remark in remarks(found)], sizes(found, _counter(tokenizer)))


def _counter(folder: Path | None) -> Callable[[str], int] | None:
    if folder is None:
        return None
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; a tokenizer's folder holds tokenizer.json, as every model's does")
    from rlaif.encoding import Encoder, load_tokenizer

    encoder = Encoder(load_tokenizer(folder))
    return lambda text: len(encoder.text(text))
