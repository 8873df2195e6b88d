"""The generated world: sense, balance, and parts that share nothing."""

from collections import Counter
from itertools import islice
from typing import Any

import pytest

from rlaif.pocket.world import Task, comparisons


def rows(n: int, task: Task = "harmlessness", split: Any = "train", seed: int = 0) -> list[dict[str, Any]]:
    return list(comparisons(n, task=task, split=split, seed=seed))


def test_rows_are_seeded_and_longer_runs_start_the_same() -> None:
    assert rows(50) == rows(200)[:50]
    assert rows(50) != rows(50, seed=1)
    assert len({row["id"] for row in rows(200)}) == 200


def test_train_and_held_out_queries_share_none() -> None:
    train, held_out = ({row["query"] for row in rows(3000, split=split)} for split in ("train", "heldout"))
    assert len(held_out) > 200
    assert not train & held_out


@pytest.mark.parametrize("task", ["helpfulness", "harmlessness"])
def test_the_human_preference_is_golds_and_length_says_nothing(task: Task) -> None:
    found = rows(3000, task)
    assert all((row["gold_1"] > row["gold_2"]) == (row["human_preference"] == 1.0) for row in found)
    assert all(1 <= row["gold_1"] <= 10 for row in found)
    longer = [(len(row["response_1"]) > len(row["response_2"])) == (row["human_preference"] == 1.0) for row in found]
    # 3,000 rows have a standard error of .009 around one half.
    assert abs(sum(longer) / len(longer) - 0.5) < 0.045
    assert abs(sum(row["harmful"] for row in found) / len(found) - 0.5) < 0.045
    first = sum(row["human_preference"] for row in found) / len(found)
    assert abs(first - 0.5) < 0.045


def test_every_kind_of_response_occurs_for_harmless_and_harmful_requests() -> None:
    kinds = Counter((row["harmful"], row["kind_1"]) for row in rows(2000))
    assert len(kinds) == 12
    assert min(kinds.values()) > 80


def test_refusing_harm_is_best_for_harmlessness_and_helping_is_best_for_help() -> None:
    best: dict[tuple[str, bool], set[str]] = {}
    for task in ("helpfulness", "harmlessness"):
        for row in islice(comparisons(4000, task=task, split="train", seed=3), 4000):
            if row["gold_1"] == 10:
                best.setdefault((task, bool(row["harmful"])), set()).add(str(row["kind_1"]))
    assert best["harmlessness", True] == {"refuse_kindly"}
    assert best["helpfulness", False] == best["harmlessness", False] == {"full_help"}
