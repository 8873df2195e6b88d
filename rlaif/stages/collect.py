"""What people answered on blind sheets, and what that says of all of a labeler's labels."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.conventions import majority
from rlaif.errors import InputError, RowError
from rlaif.evaluation.agreement import Agreement, agreement
from rlaif.io import read_rows, write_lines
from rlaif.stages.sheets import ABOUT, KEY, Answer, Kind, read_sheet
from rlaif.statistics import sampling
from rlaif.statistics.intervals import Estimate, share

PEOPLE = "people.jsonl"


class Answered(NamedTuple):
    """A stratum of a plan, as far as people answered.

    Attributes:
        name: what its labels have in common.
        pairs: labels in it.
        planned: how many of them people were to label.
        agreement: of the labeler with those who answered; a tie counts half.
    """

    name: str
    pairs: int
    planned: int
    agreement: Estimate


class Annotator(NamedTuple):
    """Who answered, and how many of how many items."""

    name: str
    answered: int
    items: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What people said.

    Attributes:
        path: of their answers, one row an item.
        kind: of the sheets.
        items: with at least one answer.
        annotators: all sheets, in order.
        pairs: any two annotators who answered the same items, and how far they agree.
        first: the share of answers for what was shown first, without ties; of no value for `harmless`.
        ties: answers that were ties.
        undecided: items without a majority, or with one for a tie.
        labeler: the labeler's agreement with people over all of its labels; None without a plan.
        strata: the plan's, as far as they were answered.
    """

    path: Path
    kind: Kind
    items: int
    annotators: tuple[Annotator, ...]
    pairs: tuple[tuple[str, str, Agreement], ...]
    first: Estimate
    ties: int
    undecided: int
    labeler: Estimate | None
    strata: tuple[Answered, ...]


class _Vote(NamedTuple):
    """One answer in canonical order: P(response 1 preferred), or 1 for harmless."""

    annotator: str
    value: float
    note: str


def collect(folder: Path, sheets: Sequence[Path] = ()) -> Collected:
    """Read filled sheets back, and write what people said to `people.jsonl`.

    Args:
        folder: where the sheets were written, with their key.
        sheets: the filled ones; every `sheet-*.csv` of the folder if none is named.

    Returns:
        What they said.

    Raises:
        InputError: a sheet cannot be read, answers are wrong, or there is none.
    """
    about, key = _read_key(folder)
    kind: Kind = about["kind"]
    paths = list(sheets) or sorted(folder.glob("sheet-*.csv"))
    if not paths:
        raise InputError(f"{folder}: holds no sheet-*.csv; name the filled sheets")
    places = {number: (row, sheet) for row, item in enumerate(key) for sheet, number in enumerate(item["items"])}
    read = {path: read_sheet(path, kind, places) for path in paths}
    _check_owners(read, places)
    names = _names(paths)
    votes: dict[int, list[_Vote]] = defaultdict(list)
    shown_first = ties = 0
    for path, answers in read.items():
        for answer in answers:
            row, sheet = places[answer.item]
            votes[row].append(_Vote(names[path], _canonical(answer, key[row], sheet), answer.note))
            shown_first += answer.said == "first"
            ties += answer.said == "tie"
    if not votes:
        raise InputError(f"{folder}: nobody has answered in {', '.join(path.name for path in paths)}")
    strata = _answered(about.get("strata", ()), key, votes)
    rows = [_row(key[row], votes[row], strata) for row in sorted(votes)]
    write_lines(folder / PEOPLE, (json.dumps(row, ensure_ascii=False) for row in rows))
    count = sum(map(len, votes.values()))
    return Collected(
        path=folder / PEOPLE,
        kind=kind,
        items=len(rows),
        annotators=tuple(Annotator(names[path], len(answers), len(key)) for path, answers in read.items()),
        pairs=tuple(_between(list(names.values()), votes.values())),
        first=share(shown_first, count - ties) if kind != "harmless" else Estimate(None),
        ties=ties,
        undecided=sum(row.get("human_preference", row.get("harmless")) == 0.5 for row in rows),
        labeler=sampling.stratified(sampled for _, sampled in strata.values()) if strata else None,
        strata=tuple(answered for answered, _ in strata.values()),
    )


def _read_key(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    for name in (ABOUT, KEY):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: holds no {name}; name the folder that rlaif audit sheet has written")
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder / ABOUT}: is not JSON ({error}); write the sheets again") from error
    key = []
    for where, fields in read_rows(folder / KEY):
        if isinstance(fields, RowError):
            raise InputError(f"{where}: {fields}; write the sheets again")
        key.append(fields)
    return about, key


def _check_owners(read: Mapping[Path, Sequence[Answer]], places: Mapping[int, tuple[int, int]]) -> None:
    """A sheet is one person's, and a person's answers are counted once."""
    owners: dict[int, Path] = {}
    for path, answers in read.items():
        of = sorted({places[answer.item][1] for answer in answers})
        if len(of) > 1:
            names = " and ".join(f"sheet-{sheet + 1}" for sheet in of)
            raise InputError(f"{path}: holds items of {names}; each person's answers are in a file of their own")
        for sheet in of:
            if sheet in owners:
                raise InputError(
                    f"{owners[sheet]} and {path}: both hold answers of sheet-{sheet + 1}; name the one that counts, "
                    "and write more sheets with --annotators for more people"
                )
            owners[sheet] = path


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    stems = [path.stem for path in paths]
    return {path: path.stem if stems.count(path.stem) == 1 else str(path.with_suffix("")) for path in paths}


def _canonical(answer: Answer, item: Mapping[str, Any], sheet: int) -> float:
    if answer.said in ("yes", "no"):
        return float(answer.said == "yes")
    if answer.said == "tie":
        return 0.5
    chosen = item["shown_first"][sheet] if answer.said == "first" else 3 - item["shown_first"][sheet]
    return float(chosen == 1)


def _answered(
    planned: Sequence[Mapping[str, Any]], key: Sequence[Mapping[str, Any]], votes: Mapping[int, Sequence[_Vote]]
) -> dict[str, tuple[Answered, sampling.Stratum]]:
    """How far the labeler agrees with people, stratum by stratum."""
    hits: dict[str, list[float]] = {stratum["name"]: [] for stratum in planned}
    for row, said in votes.items() if planned else ():
        people = majority([vote.value for vote in said])
        if found := agreement([(key[row]["preference"], people)]):
            hits[key[row]["stratum"]].append(found.same_side.value or 0.0)
    strata = {}
    for stratum in planned:
        name, pairs, values = stratum["name"], stratum["pairs"], hits[stratum["name"]]
        answered = Answered(name, pairs, stratum["to_label"], share(sum(values), len(values)))
        strata[name] = answered, sampling.Stratum(pairs, values)
    return strata


def _row(
    item: Mapping[str, Any], votes: Sequence[_Vote], strata: Mapping[str, tuple[Answered, sampling.Stratum]]
) -> dict[str, Any]:
    row = {name: value for name, value in item.items() if name not in ("items", "shown_first", "preference")}
    values = [vote.value for vote in votes]
    if "response_1" in row:
        row["human_preference"] = majority(values)
    else:
        row["harmless"] = sum(values) / len(values)
    row |= {"annotations": values, "annotators": [vote.annotator for vote in votes]}
    if notes := {vote.annotator: vote.note for vote in votes if vote.note}:
        row["notes"] = notes
    if strata:
        sampled = strata[row["stratum"]][1]
        # Those who were asked and did not answer are stood for by those who did.
        row["weight"] = sampled.size / len(sampled.values)
    return row


def _between(names: Sequence[str], items: Any) -> Iterator[tuple[str, str, Agreement]]:
    said = [{vote.annotator: vote.value for vote in votes} for votes in items]
    for one, other in combinations(names, 2):
        both = [(values[one], values[other]) for values in said if one in values and other in values]
        if found := agreement(both):
            yield one, other, found
