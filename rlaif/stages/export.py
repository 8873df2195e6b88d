"""Records in the form that others eat: TRL preference sets, Parquet, CSV, a `datasets` folder."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlaif.errors import InputError, RowError
from rlaif.io import read_rows, write_rows
from rlaif.records import Preference, parse
from rlaif.stages.labels import records_file

Shape = Literal["records", "trl"]
_LARGEST = 1 - 2**-53


@dataclass(slots=True)
class Exported:
    """What was written."""

    path: Path
    rows: int = 0
    ties: int = 0


def export(source: Path, out: Path, shape: Shape = "records", margin: str | None = None) -> Exported:
    """Write a run's records in another form.

    Args:
        source: a run folder or a file of records.
        out: `.jsonl`, `.csv` (each also with .gz), `.parquet`, or a name without suffix for a folder of `datasets`.
        shape: `records` as they are, or `trl`: prompt, chosen, rejected, preference = P(chosen) and its logit
            (at most 36.7, where float64 ends); ties are dropped and counted.
        margin: a column to copy to `margin`, which TRL's trainers use; without it there is none.

    Returns:
        How many rows were written, and how many ties were dropped.

    Raises:
        InputError: there are no records, or a row is no preference.
    """
    source, out = Path(source), Path(out)
    if margin is not None and shape != "trl":
        raise InputError("margin goes with the shape trl")
    path = records_file(source)
    done = Exported(out)
    if shape == "records":
        done.rows = write_rows(out, lambda: _rows(path))
        return done

    def pairs() -> Iterator[dict[str, Any]]:
        done.ties = 0
        for number, row in enumerate(_rows(path), 1):
            try:
                pair = _trl(parse(Preference, row), margin)
            except RowError as error:
                raise InputError(f"{path}:{number}: {error}; only preferences become a TRL set") from error
            if pair is None:
                done.ties += 1
            else:
                yield pair

    done.rows = write_rows(out, pairs)
    return done


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for where, fields in read_rows(path):
        if isinstance(fields, RowError):
            raise InputError(f"{where}: {fields}")
        yield fields


def _trl(label: Preference, margin: str | None) -> dict[str, Any] | None:
    """One row of a TRL preference set, in its conversational form; None for a tie."""
    if label.preference == 0.5:
        return None
    first = label.preference > 0.5
    chosen, rejected = (label.response_1, label.response_2) if first else (label.response_2, label.response_1)
    preference = label.preference if first else 1 - label.preference
    capped = min(preference, _LARGEST)
    row = {
        "id": label.id,
        "prompt": [turn.model_dump() for turn in label.query],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "preference": preference,
        "preference_logit": math.log(capped) - math.log1p(-capped),
    }
    if margin is not None:
        value = json.loads(label.to_json()).get(margin)
        if not isinstance(value, int | float):
            raise RowError(f"{margin} is {value!r}; a margin is a number")
        row["margin"] = float(value)
    return row
