"""Several labelers on the same items: each one's own run folder, and the mean of what they say.

outputs/<panel>/
<labeler>/            a run folder of its own, resumable like any other
preferences.jsonl     items that every labeler labeled: the mean, and under `panel` each one's own
failures.jsonl        items that one of them could not label, and which and why
manifest.json         who took part, and how far they agree
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import ConfigError, RunFolderError
from rlaif.evaluation.agreement import Agreement, agreement
from rlaif.io import read_rows, replacing, write_lines
from rlaif.records import Failure, Preference
from rlaif.stages.judge import PairJudge, Summary, judge_file
from rlaif.statistics.intervals import wilson

_MEANS = ("preference", "preference_12", "preference_21", "unread_mass_12", "unread_mass_21")
_SUMS = ("input_tokens", "cached_tokens", "output_tokens", "cost_usd", "draws")
_OWN = ("rationales_12", "rationales_21", "dropped_turns", "dropped_tokens")


class Pair(NamedTuple):
    """Two labelers and how far they agree."""

    one: str
    other: str
    found: Agreement


@dataclass(frozen=True, slots=True)
class Panel:
    """What a panel came to.

    Attributes:
        records: the file of mean labels.
        count: labels in it.
        failures: by kind.
        members: each labeler's run.
        pairs: how far each two of them agree, on the items that all labeled.
    """

    records: Path
    count: int
    failures: Counter[str]
    members: dict[str, Summary]
    pairs: list[Pair]


def label_each(
    labelers: Sequence[PairJudge], data: Any, out: Path, *, ledger: Path | None = None, **options: Any
) -> dict[str, Summary]:
    """Let each labeler label the same items, into a run folder of its own.

    Args:
        labelers: with different models.
        data: a path or table; read once for each.
        out: the folder that holds their run folders.
        ledger: where answers are kept; `ledger.sqlite` beside `out` if None.
        **options: see `judge_file`.

    Returns:
        Each model's run, in order.

    Raises:
        ConfigError: a model is there twice.
        RunFolderError: `out` is the run folder of one labeler.
    """
    names = [labeler.llm.name for labeler in labelers]
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError(f"{name} is there twice; a panel's labelers differ (--repeat asks one of them again)")
    if (out / "config.yaml").exists():
        raise RunFolderError(f"{out}: is the run folder of one labeler; choose another --out")
    ledger = ledger or out.parent / "ledger.sqlite"
    return {
        labeler.llm.name: judge_file(labeler, data, out / folder_name(labeler.llm.name), ledger=ledger, **options)
        for labeler in labelers
    }


def folder_name(llm: str) -> str:
    """A labeler's folder, from `provider:model`."""
    return re.sub(r"[^\w.-]+", "-", llm).strip("-.")


def label_by_panel(labelers: Sequence[PairJudge], data: Any, out: Path, **options: Any) -> Panel:
    """Label by several models, and take the mean of what they say.

    Args:
        labelers: with different models.
        data: a path or table; read once for each.
        out: the panel's folder.
        **options: see `judge_file`.

    Returns:
        What it came to.

    Raises:
        ConfigError: a model is there twice.
        RunFolderError: `out` is the run folder of one labeler.
    """
    members = label_each(labelers, data, out, **options)
    names = list(members)
    said: dict[str, list[float]] = {name: [] for name in names}
    failures = _failures(members)
    others = [{row["id"]: row for row in _rows(members[name].records)} for name in names[1:]]

    def mean() -> Iterator[str]:
        for first in _rows(members[names[0]].records):
            rows = [first, *(rows[first["id"]] for rows in others if first["id"] in rows)]
            if len(rows) == len(names):
                for name, row in zip(names, rows, strict=True):
                    said[name].append(row["preference"])
                yield _mean(dict(zip(names, rows, strict=True))).to_json()

    records = out / "preferences.jsonl"
    count = write_lines(records, mean())
    write_lines(out / "failures.jsonl", (failure.to_json() for failure in failures.values()))
    kinds = Counter(str(failure.failure) for failure in failures.values())
    pairs = []
    for one, other in combinations(names, 2):
        if found := agreement(zip(said[one], said[other], strict=True)):
            pairs.append(Pair(one, other, found))
    manifest = {
        "stage": "panel",
        "llm": names,
        "records": count,
        "failures": dict(sorted(kinds.items())),
        "agreement": [
            {"one": one, "other": other, **found.same_side._asdict(), "difference": found.difference}
            for one, other, found in pairs
        ],
        "members": {name: folder_name(name) for name in names},
    }
    with replacing(out / "manifest.json") as draft:
        draft.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Panel(records, count, kinds, members, pairs)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    return (row for _, row in read_rows(path) if isinstance(row, dict)) if path.stat().st_size else iter(())


def _failures(members: Mapping[str, Summary]) -> dict[str, Failure]:
    """The first failure of each item: who could not label it, and why."""
    found: dict[str, Failure] = {}
    for name, summary in members.items():
        for row in _rows(summary.out / "failures.jsonl"):
            failure = Failure.model_validate(row)
            if failure.failure != "rejected":
                failure = failure.model_copy(update={"detail": f"{name}: {failure.detail}"})
            found.setdefault(failure.where or failure.id, failure)
    return found


def _mean(rows: Mapping[str, Mapping[str, Any]]) -> Preference:
    """One item's label by all: means of probabilities, sums of what it took."""
    first, *_ = labels = list(rows.values())
    merged = {name: value for name, value in first.items() if name not in _OWN}
    for name in _MEANS:
        if all(name in label for label in labels):
            merged[name] = sum(label[name] for label in labels) / len(labels)
        else:
            merged.pop(name, None)
    for name in _SUMS:
        known = [label[name] for label in labels if name in label]
        merged[name] = sum(known) if known else None
    methods = {label["method"] for label in labels}
    sampled = methods == {"sampled"}
    merged |= {
        "method": methods.pop() if len(methods) == 1 else "mixed",
        "llm": " + ".join(rows),
        "llm_version": " + ".join(str(label["llm_version"]) for label in labels),
        "draws": merged["draws"] if sampled else None,
        "interval": wilson(merged["preference"], merged["draws"]) if sampled else None,
        "one_order": any(label.get("one_order") for label in labels) or None,
        "panel": {name: label["preference"] for name, label in rows.items()},
    }
    return Preference.model_validate(merged)
