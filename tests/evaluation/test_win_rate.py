"""Win rates by hand, under every policy, and at equal lengths."""

import json
from typing import Any

import numpy as np
import pytest
from conftest import real_data
from scipy import special

from rlaif.conventions import read_fields
from rlaif.errors import ConfigError
from rlaif.evaluation.contests import read_contests
from rlaif.evaluation.matchups import Counting, Matchup
from rlaif.evaluation.report import Report, Section
from rlaif.evaluation.win_rate import win_rate
from rlaif.statistics.intervals import Estimate

# P(A preferred) with A shown first and second: two wins of which one flips, a tie, a loss, and a refusal.
SAID = [(0.9, 0.7), (0.8, 0.4), (0.6, 0.4), (0.3, 0.1), None]


def rows(said: list[Any] = SAID, swap: tuple[int, ...] = (), words: tuple[int, int] | None = None) -> list[Any]:
    """Rows of A against B, some of them with A's response as response 2."""
    found = []
    for number, orders in enumerate(said):
        row: dict[str, Any] = {"id": str(number), "query": f"q{number}", "model_1": "A", "model_2": "B"}
        if words is not None:
            row |= {"response_1": "w " * words[0], "response_2": "w " * words[1]}
        if orders is None:
            row |= {"failure": "refused", "detail": "no"}
        else:
            first, second = orders
            row |= {"preference": (first + second) / 2, "preference_12": first, "preference_21": second, "llm": "m"}
        if number in swap:
            row |= {"model_1": "B", "model_2": "A"}
            if words is not None:
                row |= {"response_1": row["response_2"], "response_2": row["response_1"]}
            if orders is not None:
                row |= {"preference": 1 - row["preference"], "preference_12": 1 - second, "preference_21": 1 - first}
        found.append((f"row {number + 1}", row))
    return found


def matchup(said: list[Any] = SAID, **how: Any) -> Matchup:
    ((_, judges),) = read_contests(rows(said, **how)).matchups(policy="A").items()
    return Matchup(judges["labeler", "m"])


def section(report: Report, key: str) -> Section:
    return next(section for section in report.sections if section.key == key)


def values(estimates: Any) -> list[float | None]:
    return [one.value for one in estimates]


@pytest.mark.parametrize(
    ("ties", "failures", "hard", "consistent", "soft"),
    [
        # .8, .6, .5, .2: wins 1, 1, .5, 0; consistent 1, .5, .5, 0; the mean is 2.1 / 4.
        ("half", "drop", 2.5 / 4, 2 / 4, 2.1 / 4),
        ("half", "half", 3 / 5, 2.5 / 5, 2.6 / 5),
        ("half", "loss", 2.5 / 5, 2 / 5, 2.1 / 5),
        # Without the tie 1, 1, 0; consistent without what flips 1, 0. A mean has no ties.
        ("drop", "drop", 2 / 3, 1 / 2, 2.1 / 4),
        ("drop", "half", 2.5 / 4, 1.5 / 3, 2.6 / 5),
        ("drop", "loss", 2 / 4, 1 / 3, 2.1 / 5),
    ],
)
@pytest.mark.parametrize("swap", [(), (0, 3, 4), (0, 1, 2, 3, 4)])
def test_rates_under_every_policy(
    ties: Any, failures: Any, hard: float, consistent: float, soft: float, swap: tuple[int, ...]
) -> None:
    found = matchup(swap=swap).rates(Counting(ties, failures))
    assert values(found) == pytest.approx([hard, consistent, soft])


def test_the_other_models_rates_are_what_is_left() -> None:
    contests = read_contests(rows())
    for ties in ("half", "drop"):
        mine, theirs = (
            Matchup(contests.matchups(policy=name)[way]["labeler", "m"]).rates(Counting(ties))
            for name, way in (("A", ("A", "B")), ("B", ("B", "A")))
        )
        assert values(mine) == pytest.approx([1 - value for value in values(theirs)])


def test_flips_and_the_rates_of_each_order() -> None:
    # Shown first A wins .9, .8, .6, not .3; shown second .7, not .4, .4, .1. The middle two flip.
    found = matchup(swap=(1, 3)).orders()
    assert values(found) == pytest.approx([2 / 4, 3 / 4, 1 / 4])
    # An even order is no flip, and half a win.
    assert values(matchup([(0.5, 0.9), (0.5, 0.2)]).orders()) == pytest.approx([0, 1 / 2, 1 / 2])


def test_queries_are_resampled_not_pairs() -> None:
    many = [(0.9, 0.9)] * 30 + [(0.1, 0.1)] * 30
    alone = Matchup(read_contests(rows(many)).matchups()["A", "B"]["labeler", "m"]).win_rate(Counting())
    same = [(where, row | {"query": f"q{number // 10}"}) for number, (where, row) in enumerate(rows(many))]
    grouped = Matchup(read_contests(same).matchups()["A", "B"]["labeler", "m"]).win_rate(Counting())
    assert (alone.value, alone.n, alone.clusters) == (0.5, 60, 60)
    assert (grouped.value, grouped.n, grouped.clusters) == (0.5, 60, 6)
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def with_lengths(gaps: np.ndarray, p: np.ndarray) -> list[Any]:
    """Pairs whose lengths differ by so many words, with these probabilities."""
    found = rows([(share, share) for share in p])
    for (_, row), gap in zip(found, gaps, strict=True):
        row |= {"response_1": "w " * (100 + int(gap)), "response_2": "w " * 100}
    return found


def test_the_rate_at_equal_lengths_is_that_which_the_data_were_made_with() -> None:
    # logit P = .4 + 2 tanh(gap / sd): at equal lengths .598688, while longer responses make it look larger.
    gaps = np.random.default_rng(0).integers(-20, 90, size=400)
    p = special.expit(0.4 + 2 * np.tanh(gaps / gaps.std()))
    contests = read_contests(with_lengths(gaps, p))
    lengths = Matchup(contests.matchups()["A", "B"]["labeler", "m"]).lengths(Counting())[1]
    assert lengths.equal.value == pytest.approx(special.expit(0.4))
    assert lengths.effect.value == pytest.approx(2)
    assert lengths.plain.value == pytest.approx(p.mean())
    assert lengths.plain.value > 0.75
    # Seen from the other side, with the lengths the other way round.
    other = Matchup(contests.matchups(policy="B")["B", "A"]["labeler", "m"]).lengths(Counting())[1]
    assert other.equal.value == pytest.approx(1 - special.expit(0.4))
    assert other.effect.value == pytest.approx(2)


def test_wins_at_equal_lengths_have_an_interval_around_the_truth() -> None:
    draw = np.random.default_rng(1)
    gaps = draw.integers(-30, 60, size=2000)
    wins = (draw.random(2000) < special.expit(0.3 + np.tanh(gaps / gaps.std()))).astype(float)
    found = Matchup(read_contests(with_lengths(gaps, wins)).matchups()["A", "B"]["labeler", "m"]).lengths(Counting())[0]
    assert found.equal.interval == "robust"
    assert found.equal.low < special.expit(0.3) < found.equal.high
    assert found.equal.high < found.plain.value


def test_lengths_that_do_not_differ_or_tell_all_have_no_rate_of_their_own() -> None:
    same = matchup([(0.9, 0.9), (0.1, 0.1), (0.8, 0.8)], words=(5, 5)).lengths(Counting())[0]
    assert (same.equal.value, same.plain.value) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert same.effect.value is None
    constant = matchup([(0.9, 0.9), (0.1, 0.1), (0.8, 0.8)], words=(7, 5)).lengths(Counting())[0]
    assert (constant.equal.value, constant.equal.n) == (None, 3)
    separated = read_contests(with_lengths(np.array([-2, -1, 1, 2]), np.array([0.0, 0, 1, 1])))
    found = Matchup(separated.matchups()["A", "B"]["labeler", "m"]).lengths(Counting())[0]
    assert (found.equal.value, found.effect.value, found.plain.value) == (None, None, 0.5)


def test_the_report_has_a_row_for_each_two_models_and_each_judge() -> None:
    more = [
        ("x", {"model_1": "C", "model_2": "B", "query": "q", "annotations": [1, 0, 1], "preference": 0.4, "llm": "m"})
    ]
    report = win_rate(read_contests(rows(words=(6, 3)), more), about={"Labels": "here"})
    headline = report.sections[0]
    assert [row[0] for row in headline.rows] == ["A over B, by m", "C over B, by m", "C over B, by people"]
    assert headline.rows[0][1] == Estimate(0.625, *headline.rows[0][1][1:])
    assert (headline.rows[0][1].n, headline.rows[0][-1]) == (4, "1 refused")
    assert report.about["Ties"] == "half: half a win"
    assert report.about["Failures"] == "drop: left out"
    assert len([row for row in section(report, "policies").rows if row[0] == "A over B, by m"]) == 6
    assert section(report, "lengths").rows[0][-2:] == (6.0, 3.0)
    assert [row[1].value for row in section(report, "annotators").rows] == [1, 0, 1]
    assert [row[0] for row in section(report, "orders").rows] == ["A over B, by m"]
    json.dumps([section.rows for section in report.sections], allow_nan=False)


@pytest.mark.parametrize(
    ("said", "expected", "n"),
    [([None], None, 0), ([None, None], None, 0), ([(0.9, 0.9)], 1.0, 1), ([(0.9, 0.8)] * 3, 1.0, 3)],
    ids=["one failure", "all failures", "one win", "only wins"],
)
def test_nothing_one_and_one_sided_samples_give_dashes_not_errors(said: list[Any], expected: Any, n: int) -> None:
    report = win_rate(read_contests(rows(said, words=(4, 2))))
    (row,) = report.sections[0].rows
    assert [row[1].value, row[2].value, row[1].n] == [expected, expected, n]
    assert row[4].value is None
    for each in report.sections:
        for cells in each.rows:
            assert all(not isinstance(cell, Estimate) or str(cell) == "-" or "nan" not in str(cell) for cell in cells)
    loss = win_rate(read_contests(rows(said)), failures="loss").sections[0].rows[0][1]
    assert loss.value == (0.0 if expected is None else 1.0)


def test_unknown_policies_are_named() -> None:
    with pytest.raises(ConfigError, match="ties is 'halve'; did you mean half"):
        win_rate(read_contests(rows()), ties="halve")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="failures is 'error'; known are drop, half, loss"):
        win_rate(read_contests(rows()), failures="error")  # type: ignore[arg-type]


def test_models_of_pandalm_by_its_three_annotators() -> None:
    path = real_data("pandalm_testset.json.gz")
    raw = [row for _, row in read_fields(path) if isinstance(row, dict)]
    report = win_rate(read_contests(read_fields(path)), resamples=200)
    for row in report.sections[0].rows:
        assert row[0].endswith("by people")
    # Ours for all pairs against counting by hand.
    wins = sum(sum(vote > 0.5 for vote in row["annotations"]) >= 2 for row in raw)
    losses = sum(sum(vote < 0.5 for vote in row["annotations"]) >= 2 for row in raw)
    total = sum(row[1].n for row in report.sections[0].rows)
    assert total == len(raw)
    by_hand = (wins + (len(raw) - wins - losses) / 2) / len(raw)
    merged = [("r", row | {"model_1": "one", "model_2": "two"}) for row in raw]
    assert win_rate(read_contests(merged), resamples=200).sections[0].rows[0][1].value == pytest.approx(by_hand)
