"""Calibrated preferences: what people say of some items teaches how sure a labeler may be of all.

<labels>/
preferences.jsonl     what the labeler said; never touched
calibrated.jsonl      `id` and `calibrated_preference` of every label, in the same order
calibration.json      how: the method, its parameters, and how good it is on held-out items
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from rlaif.conventions import majority
from rlaif.errors import ConfigError, InputError, RowError, did_you_mean
from rlaif.io import read_rows, replacing, write_lines
from rlaif.records import content_id
from rlaif.stages.labels import read_labels, records_file
from rlaif.statistics.calibration import Quality, clipped, quality
from rlaif.statistics.calibrators import Calibrator, Isotonic, Platt, cross_validated
from rlaif.statistics.intervals import Bootstrap, Estimate, Floats

Method = Literal["auto", "platt", "isotonic"]
LEAST = 30
"""Of fewer items nothing is fitted."""
FEW = 200
"""Of fewer items what was fitted is shaky, and that is said."""


class Calibrated(NamedTuple):
    """A calibration, and what it is worth.

    Attributes:
        path: the file of calibrated preferences.
        report: the file that says how they were made.
        method: `platt`, `isotonic`, or `identity` where `auto` found nothing better than the labels as they are.
        calibrator: fitted on all items that people labeled.
        labels: how many were calibrated.
        n: how many of them people labeled too.
        clusters: queries among these.
        clipped: preferences among these that are surer than log loss counts.
        folds: the parts that items were held out in.
        before: the labels as they are.
        after: each method on held-out items; `gain` is over the labels as they are.
    """

    path: Path
    report: Path
    method: str
    calibrator: Calibrator
    labels: int
    n: int
    clusters: int
    clipped: int
    folds: int
    before: Quality
    after: dict[str, Quality]


class _Labels(NamedTuple):
    """All labels, and for those that people labeled too (`rows` into them) the target and the query."""

    ids: list[str]
    preferences: Floats
    rows: list[int]
    targets: Floats
    clusters: list[str]


def calibrate(
    source: Path,
    people: Path | None = None,
    *,
    method: Method = "auto",
    folds: int = 5,
    seed: int = 0,
    out: Path | None = None,
) -> Calibrated:
    """Fit a calibrator to the items that people labeled too, and calibrate all labels.

    How good it is, is measured on held-out items: a fold holds all items of a query or none of them. `auto` takes the
    method with the lower held-out log loss, and none if that is not below the labels' own.

    Args:
        source: a run folder of `rlaif label`, or a file of rows with `id` and `preference`.
        people: rows with `id` and `human_preference` or `annotations` (their majority counts); those of `source` if
            None.
        method: `platt` (one slope), `isotonic` (any rising line; wants more items), or `auto`.
        folds: parts that items are held out in, at least 2.
        seed: of dealing queries to folds, and of resamples.
        out: the file of calibrated preferences; `calibrated.jsonl` beside the labels, with `calibration.json`, if
            None, else with `<name>.calibration.json`.

    Returns:
        What was written, and how good it is.

    Raises:
        ConfigError: no such method, or fewer than 2 folds.
        InputError: a row cannot be used, fewer than 30 labels have a target, or all these are of one query.
    """
    if method not in get_args(Method):
        raise ConfigError(f"method {method}: no such method{did_you_mean(method, get_args(Method))}")
    if folds < 2:
        raise ConfigError(f"folds is {folds}; items are held out in at least 2")
    source = Path(source)
    path, report = _outputs(source, people, out)
    labels = _read(source, None if people is None else _targets(Path(people)))
    _check(labels, source, people)
    p, y, clusters = labels.preferences[labels.rows], labels.targets, labels.clusters
    bootstrap = Bootstrap(clusters, seed=seed)
    before, after = quality(p, y, bootstrap), {}
    for name, fit in (("platt", Platt.fit), ("isotonic", Isotonic.fit)):
        after[name] = quality(cross_validated(fit, p, y, clusters, folds, seed), y, bootstrap, before=p)
    chosen = _best(before, after) if method == "auto" else method
    found = Calibrated(
        path,
        report,
        chosen,
        _fit(chosen, p, y),
        labels=len(labels.ids),
        n=len(y),
        clusters=bootstrap.count,
        clipped=clipped(p),
        folds=min(folds, bootstrap.count),
        before=before,
        after=after,
    )
    calibrated = zip(labels.ids, found.calibrator(labels.preferences).tolist(), strict=True)
    lines = (json.dumps({"id": one, "calibrated_preference": it}, ensure_ascii=False) for one, it in calibrated)
    write_lines(path, lines)
    settings = {"asked": method, "seed": seed, "source": str(source), "people": None if people is None else str(people)}
    with replacing(report) as draft:
        draft.write_text(json.dumps(settings | _told(found), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def _fit(method: str, p: Floats, y: Floats) -> Calibrator:
    match method:
        case "platt":
            return Platt.fit(p, y)
        case "isotonic":
            return Isotonic.fit(p, y)
        case _:
            return Platt(1.0)


def _best(before: Quality, after: Mapping[str, Quality]) -> str:
    """The method of the lowest held-out log loss; the simpler one of equals."""
    losses = {"identity": _value(before.log_loss)} | {name: _value(one.log_loss) for name, one in after.items()}
    return min(losses, key=lambda name: losses[name])


def _value(estimate: Estimate) -> float:
    return float("inf") if estimate.value is None else estimate.value


def _outputs(source: Path, people: Path | None, out: Path | None) -> tuple[Path, Path]:
    """The two files to write, after it is seen that they replace nothing that is read."""
    labels = records_file(source)
    path = labels.with_name("calibrated.jsonl") if out is None else Path(out)
    plain = path.name.removesuffix(".gz")
    if not plain.endswith(".jsonl"):
        raise InputError(f"{path}: calibrated preferences are written as .jsonl (or .jsonl.gz); choose such a name")
    report = path.with_name("calibration.json" if out is None else f"{plain.removesuffix('.jsonl')}.calibration.json")
    read = {one.resolve() for one in (labels, people) if one is not None}
    for written in (path, report):
        if written.resolve() in read:
            raise InputError(f"{written}: is read here and would be replaced; choose another --out")
    return path, report


def _read(source: Path, people: Mapping[str, float] | None) -> _Labels:
    ids: list[str] = []
    preferences: list[float] = []
    rows: list[int] = []
    targets: list[float] = []
    clusters: list[str] = []
    name = records_file(source)
    for number, label in enumerate(read_labels(source), 1):
        if "failure" in label:
            continue
        where = f"{name}: row {number}"
        identifier = _id(label, where)
        preference = _share(label.get("preference"), "preference", where)
        if preference is None:
            raise InputError(f"{where}: preference is missing; labels are rows with id and preference")
        target = _target(label, where) if people is None else people.get(identifier)
        if target is not None:
            rows.append(len(ids))
            targets.append(target)
            clusters.append(content_id(label["query"]) if label.get("query") else f"id {identifier}")
        ids.append(identifier)
        preferences.append(preference)
    return _Labels(ids, np.array(preferences, float), rows, np.array(targets, float), clusters)


def _targets(people: Path) -> dict[str, float]:
    """What people say, by id."""
    found: dict[str, float] = {}
    for where, fields in read_rows(people):
        if isinstance(fields, RowError):
            raise InputError(f"{where}: {fields}")
        identifier, target = _id(fields, where), _target(fields, where)
        if target is not None and found.setdefault(identifier, target) != target:
            raise InputError(
                f"{where}: id {identifier} is there again with another human_preference; give one row for each item "
                "(several people's labels go into annotations)"
            )
    return found


def _id(fields: Mapping[str, Any], where: str) -> str:
    if fields.get("id") in (None, ""):
        raise InputError(f"{where}: id is missing; people's labels are matched to others by id")
    return str(fields["id"])


def _target(fields: Mapping[str, Any], where: str) -> float | None:
    """What people prefer: `human_preference`, or else the majority of `annotations`; None where there is neither."""
    stated = _share(fields.get("human_preference"), "human_preference", where)
    annotations = fields.get("annotations") or []
    if stated is not None or not annotations:
        return stated
    if not isinstance(annotations, list | tuple):
        raise InputError(f"{where}: annotations is {annotations!r}; it must be a list of numbers in [0, 1]")
    votes = [vote for one in annotations if (vote := _share(one, "annotations", where)) is not None]
    return majority(votes) if votes else None


def _share(value: object, name: str, where: str) -> float | None:
    """A number in [0, 1]; None where the cell is empty."""
    if value is None or value == "":
        return None
    try:
        number = float("nan") if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = float("nan")
    if not 0 <= number <= 1:
        raise InputError(f"{where}: {name} is {value!r}; it must be a number in [0, 1] (1 = response_1, 0.5 = a tie)")
    return number


def _check(labels: _Labels, source: Path, people: Path | None) -> None:
    n, count = len(labels.rows), len(labels.ids)
    if n < LEAST:
        remedy = (
            "give --people FILE, rows with id and human_preference (or annotations)"
            if people is None
            else f"ids in {people} must be those of the labels" + (f", such as {labels.ids[0]}" if count else "")
        )
        raise InputError(f"{source}: people labeled {n} of {count} labels, and calibration takes {LEAST}; {remedy}")
    if len(set(labels.clusters)) < 2:
        raise InputError(f"{source}: all {n} items that people labeled are of one query; none can be held out")


def _told(found: Calibrated) -> dict[str, Any]:
    """What `calibration.json` says, apart from what was asked for."""
    measured = {"before": found.before, **found.after}
    return {
        "method": found.method,
        "parameters": found.calibrator.to_dict(),
        "labels": found.labels,
        "n": found.n,
        "clusters": found.clusters,
        "clipped": found.clipped,
        "folds": found.folds,
        "held_out": {name: _estimates(one) for name, one in measured.items()},
    }


def _estimates(measured: Quality) -> dict[str, Any]:
    names = {"log_loss": "log_loss", "brier": "brier", "error": "debiased_calibration_error", "gain": "log_loss_gain"}
    found = measured._asdict()
    return {name: found[field]._asdict() for field, name in names.items() if found[field] is not None}
