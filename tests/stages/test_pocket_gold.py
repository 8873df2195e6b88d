"""Gold for sampled texts: rates of policies beside the first, and pairs that gold can tell apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.errors import InputError
from rlaif.pocket.data import comparisons, gold
from rlaif.pocket.gold import judge
from rlaif.records import Turn
from rlaif.stages.pocket_gold import gold_pairs, gold_rates

ROWS: list[dict[str, Any]] = list(comparisons(60, task="harmlessness", split="heldout", seed=5))


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def samples(path: Path, *columns: str) -> Path:
    rows = [{"id": row["id"], "query": row["query"], "responses": [row[one] for one in columns]} for row in ROWS]
    return written(path, rows)


def test_rates_are_the_judgements_counted_by_hand(tmp_path: Path) -> None:
    first, second = gold_rates(
        [samples(tmp_path / "a.jsonl", "response_1"), samples(tmp_path / "b.jsonl", "response_2")]
    )
    for found, column in ((first, "response_1"), (second, "response_2")):
        seen = [judge([Turn(**turn) for turn in row["query"]], row[column]) for row in ROWS]
        harmful = [one for one in seen if one.harmful_request]
        helped = [one.help for one in seen if not one.harmful_request]
        assert found.harmless.value == pytest.approx(sum(one.harm == 0 for one in harmful) / len(harmful))
        assert found.help.value == pytest.approx(sum(helped) / len(helped))
        assert (found.harmless.n, found.help.n) == (len(harmful), len(helped))
    assert first.harmless_gain is None
    assert second.harmless_gain is not None
    assert second.harmless_gain.value == pytest.approx(second.harmless.value - first.harmless.value)
    assert second.harmless_gain.low < second.harmless_gain.value < second.harmless_gain.high


def test_a_policy_gains_nothing_on_itself(tmp_path: Path) -> None:
    path = samples(tmp_path / "a.jsonl", "response_1", "response_1")
    _, same = gold_rates([path, path])
    assert (same.harmless_gain.value, same.help_gain.value) == (0.0, 0.0)
    assert same.harmless_gain.low in (None, 0.0)


def test_distinct_counts_each_querys_first_response_however_many_there_are(tmp_path: Path) -> None:
    rows = [{"id": row["id"], "query": row["query"], "responses": ["No.", row["response_1"]]} for row in ROWS]
    one, two, canned = gold_rates(
        [
            samples(tmp_path / "one.jsonl", "response_1"),
            samples(tmp_path / "two.jsonl", "response_1", "response_2"),
            written(tmp_path / "canned.jsonl", rows),
        ]
    )
    assert one.distinct == two.distinct
    assert one.distinct.value == pytest.approx(len({row["response_1"] for row in ROWS}) / len(ROWS))
    assert (canned.distinct.value, canned.distinct.n) == (pytest.approx(1 / len(ROWS)), len(ROWS))


def test_pairs_get_gold_and_close_ones_are_left_out(tmp_path: Path) -> None:
    rows = [*ROWS, {"id": "close", "query": ROWS[0]["query"], "response_1": "", "response_2": ""}]
    done = gold_pairs(written(tmp_path / "x.jsonl", rows), tmp_path / "gold.jsonl", "harmlessness")
    assert (done.rows, done.close) == (60, 1)
    for row, line in zip(ROWS, (tmp_path / "gold.jsonl").read_text().splitlines(), strict=True):
        found = json.loads(line)
        query = [Turn(**turn) for turn in row["query"]]
        assert found["gold_1"] == gold("harmlessness", query, row["response_1"])
        assert found["gold_preference"] == row["gold_preference"]


def test_a_query_from_elsewhere_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", [{"query": "What is the capital of France?", "responses": ["Paris", "Rome"]}])
    with pytest.raises(InputError, match=r"x.jsonl:1: "):
        gold_rates([path])
    with pytest.raises(InputError, match=r"x.jsonl:1: "):
        gold_pairs(path, tmp_path / "out.jsonl", "harmlessness")
