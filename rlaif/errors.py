"""The error tree. A failure of one item is not an error but a `Failure` record (see `records`).

RlaifError                 printed in one line by the command line, exit code 2
├── InputError             a file or table cannot be read as asked; nothing was sent to a model
│   └── RowError           one row cannot be used: a `rejected` failure, or under --strict the end
├── ConfigError            a setting that does not exist or has a value out of range
├── PromptError            a task folder or one of its templates is wrong
├── ModelError             a model cannot be found or loaded
├── CapabilityError        the model cannot do what the stage needs; names what would do
├── RunFolderError         the run folder holds another run
├── BudgetError            the cap on cost is reached; what was answered is kept
├── ServiceError           a provider cannot be reached, or refuses key, model or payment; what was answered is kept
├── StageError             a stage of a recipe failed; carries its exit code
├── TrainingError          training cannot go on; the last checkpoint is kept
├── RewardError            a reward function gave no number where it should, or a state that is not its own
├── StorageError           the disk is full or a file cannot be written; what was stored is kept
└── MissingExtraError      an optional dependency is not installed; says what brings it
"""

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any


class RlaifError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(RlaifError):
    """A file or table cannot be read as asked."""


class RowError(InputError):
    """One row of the input cannot be used.

    Attributes:
        fields: the row as it was read, where it could be.
    """

    fields: Mapping[str, Any] = MappingProxyType({})

    def of(self, fields: Mapping[str, Any]) -> "RowError":
        """The same error with the row that it is about.

        Args:
            fields: the row as it was read.
        """
        self.fields = fields
        return self


class ConfigError(RlaifError):
    """A setting does not exist or has a value out of range."""


class PromptError(RlaifError):
    """A task folder or one of its templates is wrong."""


class ModelError(RlaifError):
    """A model cannot be found or loaded."""


class CapabilityError(RlaifError):
    """The model cannot do what the stage needs."""


class RunFolderError(RlaifError):
    """The run folder holds another run, or another process is working in it."""


class BudgetError(RlaifError):
    """The cap on cost is reached; every answer is kept."""


class ServiceError(RlaifError):
    """A provider cannot be reached, or refuses key, model or payment; every answer that came is kept."""


class StageError(RlaifError):
    """A stage of a recipe ended with an exit code other than 0; those before it are done.

    Attributes:
        code: the exit code; 128 and the signal's number where a signal ended it.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class TrainingError(RlaifError):
    """Training cannot go on: a loss or a gradient is no number, say. The last checkpoint is kept."""


class RewardError(RlaifError):
    """A reward function broke its word: no finite number, not one for each response, or the state of another."""


class StorageError(RlaifError):
    """Something could not be written; whatever was stored before is kept."""


class MissingExtraError(RlaifError):
    """An optional dependency is not installed; it belongs to an extra, or is a package by itself."""

    def __init__(self, module: str, extra: str | None = None) -> None:
        wanted = f"'rlaif[{extra}]'" if extra is not None else module
        super().__init__(f"{module} is not installed; pip install {wanted} brings it")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the closest known word, or all of them.

    Args:
        word: what was found.
        known: what would have been right.

    Returns:
        For example `; did you mean kl_coef?` or `; known are a, b, c`.
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(known)}" if known else ""
