"""Comparisons with what people and labelers said of them, side by side and the same way round. Pure.

Shape legend: n comparisons, A annotators. Sides are the codes of `verdicts`: 0 response 2, 1 neither, 2 response 1,
3 asked for but not read, 4 not asked for.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.conventions import majority
from rlaif.errors import InputError, RowError
from rlaif.evaluation.verdicts import ABSENT, Judgement, VerdictReading, is_judged, read_judgement, side
from rlaif.records import content_id
from rlaif.statistics.intervals import Floats

Codes = NDArray[np.int8]
Rows = Iterable[tuple[str, dict[str, Any] | RowError]]

_TEXTS = ("query", "response_1", "response_2", "model_1", "model_2")
_OF_LABELS = ("rationales_12", "rationales_21", "detail", "cost_usd", "completion", "completion_12", "completion_21")


@dataclass(slots=True)
class Item:
    """One comparison: its texts and other columns, and what people said."""

    id: str
    columns: dict[str, Any]
    human: float | None = None
    annotations: list[float | None] = field(default_factory=list)
    judgements: dict[str, tuple[Judgement, dict[str, Any]]] = field(default_factory=dict)


class Labeler(NamedTuple):
    """What one labeler said.

    Attributes:
        name: the labeler.
        side: (n,) codes.
        side_12: (n,) the same where response 1 was shown first.
        side_21: (n,) where it was shown second.
        preference: (n,) P(response 1 preferred); counts only where `side` is 0, 1 or 2.
        preference_12: (n,) the same where response 1 was shown first, if `side_12` says so.
        preference_21: (n,) where it was shown second.
        failures: how many, by kind.
        cost_usd: of all its labels; None where that is not known.
    """

    name: str
    side: Codes
    side_12: Codes
    side_21: Codes
    preference: Floats
    preference_12: Floats
    preference_21: Floats
    failures: Counter[str]
    cost_usd: float | None

    @property
    def asked(self) -> NDArray[np.bool_]:
        """(n,) which comparisons it was asked about."""
        asked: NDArray[np.bool_] = self.side != ABSENT
        return asked

    @property
    def both(self) -> NDArray[np.bool_]:
        """(n,) which it was asked about in both orders."""
        both: NDArray[np.bool_] = (self.side_12 != ABSENT) & (self.side_21 != ABSENT)
        return both


class Items:
    """Comparisons and judgements, by column."""

    def __init__(self, items: list[Item], cluster: str | None = None) -> None:
        """Lay out items by column.

        Args:
            items: all of them.
            cluster: the column that says which belong together; the query if None, else the id.
        """
        self.items = items
        self.clusters = np.array([_cluster(item, cluster) for item in items], dtype=object).astype(str)
        self.human: Codes = np.array([_side_of_people(item) for item in items], np.int8)
        self.human_preference = np.array([0.5 if item.human is None else item.human for item in items])
        most = max((len(item.annotations) for item in items), default=0)
        votes = ([*item.annotations, *[None] * (most - len(item.annotations))] for item in items)
        self.annotations: Codes = np.array(
            [[ABSENT if one is None else side(one) for one in each] for each in votes], np.int8
        ).reshape(len(items), most)
        names = dict.fromkeys(name for item in items for name in item.judgements)
        self.labelers = [self._labeler(name) for name in names]

    def _labeler(self, name: str) -> Labeler:
        said = [item.judgements.get(name) for item in self.items]
        known = [one for one in said if one is not None]
        costs = [extra["cost_usd"] for _, extra in known if extra.get("cost_usd") is not None]
        return Labeler(
            name,
            np.array([ABSENT if one is None else side(one[0].preference) for one in said], np.int8),
            np.array([_side_in("12", one) for one in said], np.int8),
            np.array([_side_in("21", one) for one in said], np.int8),
            np.array([_number(one and one[0].preference) for one in said]),
            np.array([_number(one and one[0].orders.get("12")) for one in said]),
            np.array([_number(one and one[0].orders.get("21")) for one in said]),
            Counter(judgement.failure for judgement, _ in known if judgement.failure is not None),
            float(sum(costs)) if costs else None,
        )

    @property
    def with_people(self) -> NDArray[np.bool_]:
        """(n,) which comparisons people labeled."""
        labeled: NDArray[np.bool_] = self.human != ABSENT
        return labeled

    def column(self, name: str) -> list[Any]:
        """One column of all items, None where one has it not.

        Args:
            name: of a column of the input.

        Raises:
            InputError: no item has it.
        """
        if not any(name in item.columns for item in self.items):
            known = sorted({key for item in self.items[:1000] for key in item.columns} - set(_TEXTS))
            raise InputError(f"there is no column {name}; the rows have {', '.join(known) or 'no further columns'}")
        return [item.columns.get(name) for item in self.items]


def _side_in(order: Any, said: tuple[Judgement, dict[str, Any]] | None) -> int:
    return ABSENT if said is None or order not in said[0].orders else side(said[0].orders[order])


def _number(preference: float | None) -> float:
    """Any number will do where the side says that there is none."""
    return 0.5 if preference is None else preference


def _side_of_people(item: Item) -> int:
    return ABSENT if item.human is None else side(item.human)


def _cluster(item: Item, column: str | None) -> str:
    if column is not None:
        return str(item.columns.get(column, item.id))
    query = item.columns.get("query")
    return item.id if query in (None, "", []) else query if isinstance(query, str) else json.dumps(query)


class Gathering:
    """Joins labels and people's judgements by id (or by content, where rows have none)."""

    def __init__(self, reading: VerdictReading | None = None, people_beside: bool = True) -> None:
        """Begin with nothing.

        Args:
            reading: how recorded verdicts are read.
            people_beside: whether people's labels count that stand in the rows of labels.
        """
        self._people_beside = people_beside
        self._reading = reading or VerdictReading()
        self._items: dict[str, Item] = {}
        self.unusable: Counter[str] = Counter()

    def add_labels(self, source: str, rows: Rows) -> None:
        """Take a labeler's rows.

        Args:
            source: the labeler's name, where rows have no column `labeler`.
            rows: places and fields, under our names.

        Raises:
            InputError: no row holds a judgement, an id is there twice, or its texts are others than elsewhere.
        """
        checked = False
        for where, fields in self._usable(source, rows):
            if not checked and not is_judged(fields):
                raise InputError(
                    f"{where}: holds no judgement; a row needs preference, verdict or completion (or verdict_12 and "
                    f"verdict_21, …); found {', '.join(fields)}; --map verdict=COLUMN says where it is"
                )
            checked = True
            name = str(fields.get("labeler") or source)
            item, swapped = self._item(where, fields)
            if name in item.judgements:
                raise InputError(f"{where}: id {item.id} has a judgement by {name} already; ids must differ")
            try:
                judgement = read_judgement(fields, self._reading)
            except RowError as error:
                raise InputError(f"{where}: {error}") from error
            extra = {key: fields[key] for key in _OF_LABELS if _given(fields.get(key))}
            if "cost_usd" in extra:
                extra["cost_usd"] = _dollars(where, extra["cost_usd"])
            item.judgements[name] = (judgement.swapped() if swapped else judgement, extra)
            if self._people_beside and (_given(fields.get("human_preference")) or fields.get("annotations")):
                self._hear(where, item, fields, swapped)

    def add_people(self, source: str, rows: Rows) -> None:
        """Take what people said, of comparisons that labelers judged.

        Args:
            source: the file, for messages.
            rows: places and fields, with `human_preference` or `annotations`.

        Raises:
            InputError: no row holds a label, no id is that of a label, or texts differ.
        """
        joined = heard = False
        first = ""
        for where, fields in self._usable(source, rows):
            first = first or str(fields.get("id"))
            said = _given(fields.get("human_preference")) or bool(fields.get("annotations"))
            heard = heard or said
            if self._key(fields) not in self._items:
                continue
            item, swapped = self._item(where, fields)
            joined = True
            if said:
                self._hear(where, item, fields, swapped)
        if not heard:
            raise InputError(f"{source}: holds no label by people; a row needs human_preference or annotations")
        if not joined:
            mine = next(iter(self._items), "none")
            raise InputError(f"{source}: no id is that of a label (ids there: {first}, …; of labels: {mine}, …)")

    def items(self, cluster: str | None = None) -> Items:
        """All that was gathered.

        Args:
            cluster: see `Items`.
        """
        return Items(list(self._items.values()), cluster)

    def _usable(self, source: str, rows: Rows) -> Iterable[tuple[str, dict[str, Any]]]:
        for where, fields in rows:
            if isinstance(fields, RowError):
                self.unusable[source] += 1
            else:
                yield where, fields

    @staticmethod
    def _key(fields: Mapping[str, Any]) -> str:
        identifier = fields.get("id")
        if identifier is None or identifier == "":
            return content_id([fields.get(name) for name in _TEXTS[:3]])
        return str(identifier)

    def _item(self, where: str, fields: dict[str, Any]) -> tuple[Item, bool]:
        """The row's item, and whether the row has its responses the other way round."""
        key = self._key(fields)
        columns = {name: value for name, value in fields.items() if name not in _NOT_COLUMNS}
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = Item(key, columns)
            return item, False
        mine = [item.columns.get(name) for name in _TEXTS[1:3]]
        theirs = [fields.get(name) for name in _TEXTS[1:3]]
        swapped = None not in mine and mine[0] != mine[1] and theirs == mine[::-1]
        if not swapped and None not in mine and None not in theirs and theirs != mine:
            raise InputError(f"{where}: id {key} has other responses than elsewhere; are these ids of the same data?")
        if swapped:
            columns = {name: columns.get(_SWAPPED.get(name, name)) for name in columns}
        item.columns = {**columns, **item.columns}
        return item, swapped

    @staticmethod
    def _hear(where: str, item: Item, fields: Mapping[str, Any], swapped: bool) -> None:
        given = fields.get("annotations") or []
        human = fields.get("human_preference")
        try:
            said = [float(one) if _given(one) else None for one in given]
            label = float(human) if _given(human) else None  # type: ignore[arg-type]
        except (TypeError, ValueError):
            found = f"human_preference is {human!r} and annotations are {given!r}"
            raise InputError(f"{where}: {found}; both hold numbers in [0, 1]") from None
        votes = [one for one in said if one is not None]
        if label is None and votes:
            label = majority(votes)
        for one in [label, *votes]:
            if one is not None and not 0 <= one <= 1:
                raise InputError(
                    f"{where}: people's label is {one:g}; it must be in [0, 1], P(response 1 preferred); "
                    "a column map's values translate others"
                )
        item.human = label if label is None or not swapped else 1 - label
        item.annotations = [one if one is None or not swapped else 1 - one for one in said]


def _dollars(where: str, value: Any) -> float:
    try:
        dollars = float(value)
    except (TypeError, ValueError):
        dollars = math.nan
    if not math.isfinite(dollars):
        raise InputError(f"{where}: cost_usd is {value!r}; it must be a number of dollars")
    return dollars


def _given(value: object) -> bool:
    """A cell that is empty holds nothing."""
    return value is not None and value != ""


_SWAPPED = {"response_1": "response_2", "response_2": "response_1", "model_1": "model_2", "model_2": "model_1"}
_NOT_COLUMNS = {
    *("id", "human_preference", "annotations", "labeler", "failure", *_OF_LABELS),
    *(f"{base}{order}" for base in ("preference", "verdict") for order in ("", "_12", "_21")),
    *("unread_mass_12", "unread_mass_21", "prompt_sha256_12", "prompt_sha256_21", "interval", "draws", "panel"),
    *("method", "llm", "llm_version", "input_tokens", "cached_tokens", "output_tokens", "one_order", "where"),
    *("exchange", "calibrated_preference", "dropped_turns", "dropped_tokens"),
}
