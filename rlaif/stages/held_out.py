"""Comparisons that a reward model is tried on, with every label that people, labelers and other columns give them."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import InputError, RowError, did_you_mean
from rlaif.evaluation.items import Gathering, Item
from rlaif.evaluation.reward_model import PEOPLE, Reference
from rlaif.evaluation.verdicts import is_judged
from rlaif.io import is_path
from rlaif.records import Comparison, parse
from rlaif.stages.evaluate import Table
from rlaif.stages.labels import is_run, read_labels

_TEXTS = ("id", "query", "response_1", "response_2")
_ALWAYS = ("human_preference", "preference")
_UNLABELED = "unlabeled"

Rows = list[tuple[str, dict[str, Any] | RowError]]


class HeldOut(NamedTuple):
    """What is read before anything is scored.

    Attributes:
        items: n comparisons with labels of people and labelers; each has a query of turns and two texts.
        comparisons: (n,) the same as records.
        references: what a reward model is compared with: people, each labeler, each column that was named.
        unusable: rows or comparisons that cannot be used, by what is wrong.
    """

    items: list[Item]
    comparisons: list[Comparison]
    references: list[Reference]
    unusable: Counter[str]


def read_held_out(sources: Sequence[Table], people: Table | None = None, against: Sequence[str] = ()) -> HeldOut:
    """Read comparisons and join their labels by id, whichever way round responses are.

    Args:
        sources: run folders of `rlaif label`, or files or tables of comparisons with or without `preference`.
        people: a file with `id` and `human_preference` or `annotations`; what stands in the sources if None.
        against: further columns of the sources, each with P(response 1 preferred).

    Raises:
        InputError: nothing has a label, a column is not there, or labels of one comparison contradict each other.
    """
    gathering = Gathering(people_beside=people is None)
    read = [(_name(source), _rows(source)) for source in sources]
    taken: set[str] = set()
    for name, rows in read:
        free = name if name not in taken else f"{name} ({len(taken) + 1})"
        taken.add(free)
        gathering.add_labels(free, map(_as_judged, rows))
    columns = [column for column in dict.fromkeys(against) if column not in _ALWAYS]
    for column in columns:
        gathering.add_labels(column, _in_column(column, [row for _, rows in read for row in rows]))
    if people is not None:
        gathering.add_people(people.name, people.rows())
    unusable = Counter({f"rows of {name}": count for name, count in gathering.unusable.items()})
    items, comparisons = [], []
    for item in gathering.items().items:
        try:
            texts = {name: item.columns[name] for name in _TEXTS if name in item.columns}
            comparisons.append(parse(Comparison, {**texts, "id": item.id}))
        except RowError as error:
            unusable[f"comparisons: {error}"] += 1
            continue
        item.columns["query"] = [turn.model_dump() for turn in comparisons[-1].query]
        items.append(item)
    references = list(_references(items))
    if not references:
        why = ", ".join(f"{count:,} {what}" for what, count in unusable.items())
        raise InputError(
            "nothing to compare with: no comparison has human_preference, annotations or preference"
            f"{why and f' (not usable: {why})'}; --against names another column"
        )
    for item in items:
        item.judgements = {name: one for name, one in item.judgements.items() if one[0].failure != _UNLABELED}
    return HeldOut(items, comparisons, references, unusable)


def _name(source: Table) -> str:
    """A labeler's name: that of the run's model, or the file's."""
    if not is_path(source.source) or not is_run(Path(source.source)):
        return source.name
    folder = Path(source.source)
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not JSON ({error})") from error
    named = manifest if isinstance(manifest, dict) else {}
    return "mean of the panel" if named.get("stage") == "panel" else str(named.get("llm", folder.name))


def _rows(source: Table) -> Rows:
    if is_path(source.source) and is_run(Path(source.source)):
        return [(str(source.source), row) for row in read_labels(Path(source.source))]
    return list(source.rows())


def _as_judged(row: tuple[str, dict[str, Any] | RowError]) -> tuple[str, dict[str, Any] | RowError]:
    """A comparison that no labeler was asked about is one to score all the same."""
    where, fields = row
    return row if isinstance(fields, RowError) or is_judged(fields) else (where, {**fields, "failure": _UNLABELED})


def _in_column(column: str, rows: Rows) -> Iterable[tuple[str, dict[str, Any]]]:
    """The rows as if the column's values were a labeler's."""
    usable = [(where, fields) for where, fields in rows if not isinstance(fields, RowError)]
    if not any(column in fields for _, fields in usable):
        known = dict.fromkeys(name for _, fields in usable for name in fields)
        raise InputError(f"there is no column {column}{did_you_mean(column, known)}")
    seen = set()
    for where, fields in usable:
        if fields.get(column) is not None and fields[column] != "":
            labeled = {name: fields[name] for name in _TEXTS if name in fields} | {"preference": fields[column]}
            # A run folder carries its input's columns, so a comparison may come with the same label again.
            if (key := json.dumps(labeled, sort_keys=True, default=str)) not in seen:
                seen.add(key)
                yield where, labeled


def _references(items: Sequence[Item]) -> Iterator[Reference]:
    if any(item.human is not None for item in items):
        yield Reference(PEOPLE, [item.human for item in items], Counter())
    for name in dict.fromkeys(name for item in items for name in item.judgements):
        said = [item.judgements[name][0] if name in item.judgements else None for item in items]
        labels = [None if one is None else one.preference for one in said]
        kinds = Counter(one.failure for one in said if one is not None and one.failure not in (None, _UNLABELED))
        if any(label is not None for label in labels):
            yield Reference(name, labels, Counter({str(kind): count for kind, count in kinds.items()}))
