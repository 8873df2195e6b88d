"""The pocket world as ordinary files, and as exchanges to read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rlaif.errors import ConfigError, did_you_mean
from rlaif.io import read_rows, write_lines
from rlaif.pocket.annotators import ANNOTATORS
from rlaif.pocket.data import TASKS, Task, comparisons, queries
from rlaif.pocket.phrasing import SPLITS, Split
from rlaif.progress import Progress


class Written(NamedTuple):
    """A file and how many rows it has."""

    path: Path
    rows: int


def write_data(
    out: Path,
    n: int,
    *,
    task: str,
    split: str = "heldout",
    seed: int = 0,
    harmful: float | None = None,
    progress: bool = True,
) -> list[Written]:
    """Write comparisons, queries and annotations of the pocket world.

    Args:
        out: the folder for `comparisons.jsonl`, `queries.jsonl` and `annotations.jsonl`, which are replaced.
        n: how many comparisons, and how many queries.
        task: what the responses are judged by.
        split: `train` or `heldout`.
        seed: of everything that is drawn.
        harmful: the share of requests for harm, in place of the task's.
        progress: whether progress is shown.

    Returns:
        What was written.

    Raises:
        ConfigError: no such task or split.
        StorageError: the folder cannot be written.
    """
    known, part = named_task(task), _split(split)
    pairs = out / "comparisons.jsonl"
    with Progress("pocket world", n, progress) as bar:

        def counted() -> Iterator[str]:
            for row in comparisons(n, task=known, split=part, seed=seed, harmful=harmful):
                bar.advance(None, 0)
                yield json.dumps(row)

        written = [Written(pairs, write_lines(pairs, counted()))]
    asked = (json.dumps(row) for row in queries(n, split=part, seed=seed, task=known, harmful=harmful))
    written.append(Written(out / "queries.jsonl", write_lines(out / "queries.jsonl", asked)))
    written.append(Written(out / "annotations.jsonl", write_lines(out / "annotations.jsonl", _annotations(pairs))))
    return written


def _annotations(pairs: Path) -> Iterator[str]:
    """One line for each annotator and comparison."""
    for _, row in read_rows(pairs):
        if isinstance(row, dict):
            for annotator, preference, first in zip(ANNOTATORS, row["annotations"], row["shown_first"], strict=True):
                said = {"annotator": annotator.name, "preference": preference, "shown_first": first}
                yield json.dumps({"id": row["id"], **said})


def exchanges(n: int, *, task: str, split: str = "heldout", seed: int = 0) -> Iterator[str]:
    """Yield exchanges to read: the dialogue, a response, and what gold says of it.

    Args:
        n: how many.
        task: what the responses are judged by.
        split: `train` or `heldout`.
        seed: of everything that is drawn.

    Raises:
        ConfigError: no such task or split.
    """
    known, part = named_task(task), _split(split)
    labels = {"user": "User", "assistant": "Assistant"}
    for row in comparisons(n, task=known, split=part, seed=seed):
        query = row["query"]
        assert isinstance(query, list)
        said = [f"{labels[turn['role']]}: {turn['content']}" for turn in query]
        answer = "Summary" if known == "summarization" else "Assistant"
        yield "\n".join([*said, f"{answer}: {row['response_1']}", f"(gold, {known}: {row['gold_1']} of 10)"])


def named_task(name: str) -> Task:
    """The task of that name.

    Args:
        name: for example `harmlessness`.

    Raises:
        ConfigError: no such task.
    """
    for task in TASKS:
        if task == name:
            return task
    raise ConfigError(f"{name} is not a task of the pocket world{did_you_mean(name, TASKS)}")


def _split(name: str) -> Split:
    for split in SPLITS:
        if split == name:
            return split
    raise ConfigError(f"{name} is not a part of the pocket world{did_you_mean(name, SPLITS)}")
