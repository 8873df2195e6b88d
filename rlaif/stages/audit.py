"""People check a labeler: how many and which pairs they should label, so that all of its labels are known by them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rlaif.errors import ConfigError, InputError, RowError
from rlaif.io import replacing, write_lines
from rlaif.records import Probability, Record, parse
from rlaif.stages.labels import read_labels, records_file
from rlaif.stages.sheets import PLAN
from rlaif.statistics import sampling

StratumName = Literal["order flips", "margin below .1", "margin .1 to .4", "margin above .4"]
STRATA: tuple[StratumName, ...] = ("order flips", "margin below .1", "margin .1 to .4", "margin above .4")
_SHOWN = ("preference", "preference_12", "preference_21", "query", "response_1", "response_2", "model_1", "model_2")


class _Label(Record):
    preference: Probability
    preference_12: Probability | None = None
    preference_21: Probability | None = None


class Planned(NamedTuple):
    """A stratum of a plan.

    Attributes:
        name: what its labels have in common.
        pairs: labels in it.
        to_label: by people.
        claimed: the agreement that the labeler's own probabilities expect.
        expected: the agreement that is planned with.
    """

    name: StratumName
    pairs: int
    to_label: int
    claimed: float
    expected: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Which pairs people should label.

    Attributes:
        path: of the pairs.
        strata: those that are not empty.
        within: the half-width that was asked for.
        half_width: the one to be expected.
        claimed: the labeler's own expected agreement over all labels.
        expected: what is planned with.
        simple: how many pairs a simple random sample would need.
        failed: items without a label, which are not in the plan.
        has_texts: the labels come with texts, so that sheets can be written.
    """

    path: Path
    strata: tuple[Planned, ...]
    within: float
    half_width: float
    claimed: float
    expected: float
    simple: int
    failed: int
    has_texts: bool

    @property
    def pairs(self) -> int:
        """Labels in all."""
        return sum(stratum.pairs for stratum in self.strata)

    @property
    def to_label(self) -> int:
        """Pairs that people should label."""
        return sum(stratum.to_label for stratum in self.strata)


def stratum_of(preference: float, preference_12: float | None, preference_21: float | None) -> StratumName:
    """Where a label belongs.

    Args:
        preference: P(response 1 preferred), the mean over orders.
        preference_12: the same with response 1 shown first, if known.
        preference_21: and shown second.

    Returns:
        An order flip where the labeler prefers the same position in both orders; otherwise the band of its margin,
        |preference - .5|.
    """
    if preference_12 is not None and preference_21 is not None and (preference_12 - 0.5) * (preference_21 - 0.5) < 0:
        return "order flips"
    # A preference of .6 has a margin of .1, whatever floats make of it.
    margin = round(abs(preference - 0.5), 9)
    return "margin below .1" if margin < 0.1 else "margin .1 to .4" if margin <= 0.4 else "margin above .4"


def plan_audit(source: Path, out: Path, *, within: float, expect: float = 0.8, seed: int = 0) -> Plan:
    """Choose pairs for people to label, so that the labeler's agreement with them is known to ± `within`.

    Args:
        source: a run folder of `rlaif label`, or a file of labels: `id`, `preference`, and optionally
            `preference_12`, `preference_21` and texts.
        out: the folder for `plan.jsonl` and `plan.json`.
        within: half the width of the 95 % interval.
        expect: the agreement over all labels to count on at most, where the labeler is surer of itself.
        seed: of what is drawn; the order of the labels does not matter.

    Returns:
        The plan.

    Raises:
        ConfigError: a setting is out of range.
        InputError: the labels cannot be read, or there are none.
    """
    if not 0 < within < 0.5:
        raise ConfigError(f"within is {within}; half the width of an interval is above 0 and below .5, such as .05")
    if not 0.5 <= expect <= 1:
        raise ConfigError(f"expect is {expect}; an agreement to count on is between .5 (chance) and 1")
    strata, failed = _stratify(source)
    names = [name for name in STRATA if strata[name]]
    sizes = [len(strata[name]) for name in names]
    claimed = [sum(strata[name].values()) / len(strata[name]) for name in names]
    expected = sampling.temper(sizes, claimed, expect)
    overall = sampling.overall(sizes, expected)
    counts = sampling.allocate(sizes, expected, within)
    chosen = {
        identifier: (name, size / count)
        for name, size, count in zip(names, sizes, counts, strict=True)
        for identifier in sampling.draw(strata[name], count, seed)
    }
    rows = list(_chosen(source, chosen))
    write_lines(out / PLAN, (json.dumps(row, ensure_ascii=False) for row in rows))
    plan = Plan(
        path=out / PLAN,
        strata=tuple(map(Planned, names, sizes, counts, claimed, expected)),
        within=within,
        half_width=sampling.half_width(sizes, expected, counts),
        claimed=sampling.overall(sizes, claimed),
        expected=overall,
        simple=sampling.allocate([sum(sizes)], [overall], within)[0],
        failed=failed,
        has_texts=all({"query", "response_1", "response_2"} <= row.keys() for row in rows),
    )
    content = {"source": str(source), "seed": seed, "expect": expect, "pairs": plan.pairs, "to_label": plan.to_label}
    content |= {name: value for name, value in asdict(plan).items() if name not in ("path", "strata", "has_texts")}
    content["strata"] = [stratum._asdict() for stratum in plan.strata]
    _write_json(out / "plan.json", content)
    return plan


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _labels(source: Path) -> Iterator[tuple[_Label | None, dict[str, Any]]]:
    """Each row with its label; None where the labeler failed."""
    for number, fields in enumerate(read_labels(source), 1):
        if fields.get("failure") or fields.get("preference") in (None, ""):
            yield None, fields
            continue
        try:
            yield parse(_Label, _numbers(fields)), fields
        except RowError as error:
            raise InputError(f"{records_file(source)}: row {number}: {error}") from error


def _numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """CSV knows only text."""
    row = dict(fields)
    for name in ("preference", "preference_12", "preference_21"):
        if isinstance(cell := row.get(name), str):
            try:
                row[name] = float(cell) if cell else None
            except ValueError:
                raise RowError(f"{name} is {cell!r}; it must be a number") from None
    return row


def _stratify(source: Path) -> tuple[dict[StratumName, dict[str, float]], int]:
    """What the labeler itself expects of each label, by stratum and id, and how many items have no label."""
    strata: dict[StratumName, dict[str, float]] = {name: {} for name in STRATA}
    seen: set[str] = set()
    failed = 0
    for label, _ in _labels(source):
        if label is None:
            failed += 1
            continue
        if label.id in seen:
            raise InputError(f"{records_file(source)}: id {label.id} is there twice; each label has an id of its own")
        seen.add(label.id)
        name = stratum_of(label.preference, label.preference_12, label.preference_21)
        strata[name][label.id] = max(label.preference, 1 - label.preference)
    if not seen:
        raise InputError(
            f"{records_file(source)}: no row holds a preference ({failed:,} rows without); a plan is made of labels "
            "with id and preference"
        )
    return strata, failed


def _chosen(source: Path, chosen: Mapping[str, tuple[StratumName, float]]) -> Iterator[dict[str, Any]]:
    """The rows of a plan, in the order in which they were drawn."""
    found: dict[str, dict[str, Any]] = {}
    for label, fields in _labels(source):
        if label is not None and label.id in chosen:
            numbers = label.model_dump(include={"preference", "preference_12", "preference_21"})
            found[label.id] = {**fields, **numbers}
    for identifier, (name, weight) in chosen.items():
        row = found[identifier]
        known = {column: row[column] for column in _SHOWN if row.get(column) is not None}
        yield {"id": identifier, "stratum": name, "weight": weight, **known}
