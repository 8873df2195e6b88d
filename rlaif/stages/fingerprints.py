"""Which files a command's words name, and what is in them, as SHA-256."""

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

from rlaif.errors import InputError

# What changes in a folder while its result stays the same: caches, logs, times; hidden files are locks and drafts.
_PASSING_FILES = (".*", "*.tmp", "work.sqlite*", "ledger.sqlite*", "manifest.json", "recipe.json", "metrics.jsonl")
_PASSING_FOLDERS = (".*", "*.tmp", "checkpoint-*", "tensorboard")


def fingerprint(path: Path, without: Collection[Path] = ()) -> str:
    """The SHA-256 of a file's bytes, or of the names and bytes of all files in a folder that belong to its result.

    Args:
        path: a file or folder.
        without: resolved paths within the folder that are left out.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: something in it cannot be read.
    """
    with _reading(path):
        if path.is_file():
            return _digest(path).hex()
        root, whole = path.resolve(), hashlib.sha256()
        for file in sorted(_files(root, without)):
            whole.update(os.fsencode(file.relative_to(root)) + b"\0" + _digest(file))
        return whole.hexdigest()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _files(root: Path, without: Collection[Path]) -> Iterator[Path]:
    def stop(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(root, onerror=stop):
        here = Path(place)
        # In place: os.walk then leaves the others out.
        folders[:] = [one for one in folders if not _is_passing(one, _PASSING_FOLDERS) and here / one not in without]
        for name in files:
            file = here / name
            if not _is_passing(name, _PASSING_FILES) and file.is_file() and file not in without:
                yield file


def _is_passing(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def named(words: Iterable[str], without: Collection[Path] = ()) -> list[str]:
    """The files and folders that are there under a name that words give.

    Args:
        words: of a command; a path may be a whole word, stand behind the `=` of `key=path` or the first `:` of
            `transformers:path`, or in YAML such as `key=[{path: here, …}]`.
        without: resolved paths that do not count, nor anything within them.

    Returns:
        The paths as they are written, each once.
    """
    found = [text for word in words for text in _parts(word) if os.path.isfile(text) or os.path.isdir(text)]
    return [text for text in dict.fromkeys(found) if not _is_within(Path(text).resolve(), without)]


def _parts(word: str) -> Iterator[str]:
    # In YAML a path stands between brackets, commas and quotes; elsewhere these, and spaces, may be part of its name.
    inner = re.split(r"[\s,\[\]{}\"']+", word) if "[" in word or "{" in word else []
    for text in (word, word.partition("=")[2], *inner):
        yield text
        yield text.partition(":")[2]


def _is_within(path: Path, folders: Collection[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def option_values(words: Sequence[str], name: str) -> list[str]:
    """What stands behind an option, as `--out value` or `--out=value`.

    Args:
        words: of a command.
        name: the option's, with its dashes.
    """
    apart = [value for word, value in pairwise(words) if word == name]
    return [*apart, *(word.removeprefix(f"{name}=") for word in words if word.startswith(f"{name}="))]
