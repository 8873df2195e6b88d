"""Column maps: which of a table's columns holds which of our fields, and what its values mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rlaif.errors import InputError, RowError, did_you_mean
from rlaif.records import Comparison

JUDGED = (
    *("preference", "preference_12", "preference_21", "verdict", "verdict_12", "verdict_21"),
    *("completion", "completion_12", "completion_21", "labeler", "cluster", "harmless", "failure", "cost_usd"),
)
"""Fields of recorded judgements. What a value of `verdict` or `completion` means is theirs to say, who read it."""


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which of the input's columns holds each of our fields, and what their values mean.

    Attributes:
        columns: our field → the input's column, or several joined by `+` (their values are then joined by `/`).
        values: our field → {the input's value, as text: ours}, for example {"human_preference": {"A": 1}}.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def from_words(cls, words: Sequence[str]) -> "ColumnMap":
        """Read `query=prompt response_1=a`, or the name of one YAML file.

        Args:
            words: the command line's words.

        Raises:
            InputError: a word is no pair, the file is missing, or the field is not one of ours.
        """
        if len(words) == 1 and words[0].endswith((".yaml", ".yml")):
            return cls._from_yaml(Path(words[0]))
        pairs = [word.partition("=") for word in words]
        for word, (ours, _, theirs) in zip(words, pairs, strict=True):
            if not ours or not theirs:
                raise InputError(f"--map {word}: write field=column, for example query=prompt, or name a YAML file")
        return cls({ours: theirs for ours, _, theirs in pairs})._checked("--map")

    @classmethod
    def from_mapping(cls, columns: Mapping[str, str]) -> "ColumnMap":
        """Take our field → the data's column as a mapping.

        Args:
            columns: for example {"query": "prompt"}.

        Raises:
            InputError: a field is not one of ours.
        """
        return cls(dict(columns))._checked("columns")

    @classmethod
    def _from_yaml(cls, path: Path) -> "ColumnMap":
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: is not YAML ({error})") from error
        shape = "columns: {query: prompt, …}, and optionally values: {human_preference: {A: 1, B: 0}}"
        if not isinstance(content, dict) or not set(content) <= {"columns", "values"}:
            raise InputError(f"{path}: a column map is {shape}")
        columns, values = content.get("columns") or {}, content.get("values") or {}
        if not isinstance(columns, dict) or not isinstance(values, dict):
            raise InputError(f"{path}: a column map is {shape}")
        if not all(isinstance(value, dict) for value in values.values()):
            raise InputError(f"{path}: a column map is {shape}")
        meanings = {ours: {str(theirs): mine for theirs, mine in value.items()} for ours, value in values.items()}
        return cls(columns, meanings)._checked(str(path))

    def _checked(self, where: str) -> "ColumnMap":
        known = {*Comparison.model_fields, "response", "responses", *JUDGED}
        for ours in {**self.columns, **self.values}:
            if ours not in known:
                raise InputError(f"{where}: {ours} is not a field of ours{did_you_mean(ours, known)}")
        return self

    def apply(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Rename the mapped columns of one row and translate their values; others stay, and so do joined ones."""
        parts = {ours: _parts(theirs, fields) for ours, theirs in self.columns.items()}
        taken = {names[0] for names in parts.values() if len(names) == 1}
        row = {name: value for name, value in fields.items() if name not in taken}
        for ours, names in parts.items():
            if all(name in fields for name in names):
                row[ours] = fields[names[0]] if len(names) == 1 else "/".join(str(fields[name]) for name in names)
        for ours, meaning in self.values.items():
            if ours.startswith(("verdict", "completion")):
                continue
            if row.get(ours) is not None:
                if str(row[ours]) not in meaning:
                    known = ", ".join(meaning)
                    raise RowError(f"{ours} is {row[ours]!r}; the column map knows {known}")
                row[ours] = meaning[str(row[ours])]
        return row

    def missing(self, fields: Mapping[str, Any]) -> str | None:
        """The first mapped column that a row lacks; None where it has all.

        Args:
            fields: the row.
        """
        wanted = (name for theirs in self.columns.values() for name in _parts(theirs, fields))
        return next((name for name in wanted if name not in fields), None)


def _parts(theirs: str, fields: Mapping[str, Any]) -> list[str]:
    return [theirs] if theirs in fields else theirs.split("+")
