"""Reliability: a share of the items is asked again under other draws; how often does the label move?"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlaif.errors import ConfigError
from rlaif.evaluation.agreement import Agreement, agreement
from rlaif.io import read_rows, replacing
from rlaif.stages.judge import PairJudge, judge_file

SHARE = 0.1
LEAST = 100
"""Of so many labels, and of no fewer than so many, each is asked again."""


def ask_again(
    labeler: PairJudge, out: Path, times: int = 2, *, ledger: Path | None = None, progress: bool = True
) -> Agreement | None:
    """Ask a share of a run's items again, and compare the labels.

    The new labels are run folders inside the first, and the comparison goes into its manifest.

    Args:
        labeler: the one that labeled.
        out: its run folder.
        times: how often each of these items is asked in all, at least 2.
        ledger: where answers are kept; `ledger.sqlite` beside `out` if None.
        progress: show it on standard error.

    Returns:
        How far labels agree with their repetitions, over all repetitions; None where there is no label.

    Raises:
        ConfigError: `times` is less than 2.
    """
    if times < 2:
        raise ConfigError(f"repeat is {times}; an item is asked at least twice")
    records = out / "preferences.jsonl"
    first = _labels(records)
    if not first:
        return None
    sample = min(len(first), max(LEAST, math.ceil(SHARE * len(first))))

    def pairs() -> Iterator[tuple[float, float]]:
        for number in range(1, times):
            summary = judge_file(
                labeler.again(number),
                records,
                out / f"repeat-{number}",
                format="comparisons",
                sample=sample,
                ledger=ledger or out.parent / "ledger.sqlite",
                progress=progress,
            )
            for identifier, preference in _labels(summary.records).items():
                yield first[identifier], preference

    found = agreement(pairs())
    if found is not None:
        _note(out / "manifest.json", found, times)
    return found


def _labels(path: Path) -> dict[str, float]:
    if not path.stat().st_size:
        return {}
    return {row["id"]: row["preference"] for _, row in read_rows(path) if isinstance(row, dict)}


def _note(manifest: Path, found: Agreement, times: int) -> None:
    content: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    content["reliability"] = {"times": times, **found.same_side._asdict(), "difference": found.difference}
    with replacing(manifest) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
