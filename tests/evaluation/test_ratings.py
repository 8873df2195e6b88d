"""Ratings by hand, against evalica and closed forms, and where there are none."""

import math
import sys
from typing import Any

import evalica
import numpy as np
import pytest
from scipy import special

from rlaif.errors import MissingExtraError
from rlaif.evaluation.contests import read_contests
from rlaif.evaluation.ratings import Matches, Rated, bradley_terry, elo, matches, ranking_scores, rate, ratings
from rlaif.records import Ranking


def played(*games: tuple[str, str, float | None]) -> list[Any]:
    """Matches of a query each; None is a failure."""
    found = []
    for n, (a, b, p) in enumerate(games):
        said = {"failure": "refused"} if p is None else {"preference": p}
        found.append((f"row {n}", {"model_1": a, "model_2": b, "query": f"q{n}"} | said))
    return found


def laid_out(*games: tuple[str, str, float | None], ties: Any = "half") -> Matches:
    return matches(read_contests(played(*games)).found, ties)


def rated(*games: tuple[str, str, float | None], **how: Any) -> dict[str, Rated]:
    return {row.model: row for row in rate(laid_out(*games), **{"resamples": 200} | how)}


STRENGTHS = dict(zip("abcd", (-0.6, 0.0, 0.5, 1.4), strict=True))


def tournament(n: int = 600, seed: int = 0) -> list[tuple[str, str, float]]:
    draw = np.random.default_rng(seed)
    games = []
    for _ in range(n):
        a, b = draw.choice(list(STRENGTHS), 2, replace=False)
        games.append((str(a), str(b), float(draw.random() < special.expit(STRENGTHS[a] - STRENGTHS[b]))))
    return games


def test_two_models_differ_by_the_logarithm_of_their_odds() -> None:
    # Three wins to one: 400 log10(3) = 190.848 apart, around 1000.
    found = rated(*[("a", "b", 1)] * 3, ("b", "a", 1))
    assert found["a"].bradley_terry.value == pytest.approx(1000 + 95.4242509)
    assert found["b"].bradley_terry.value == pytest.approx(1000 - 95.4242509)
    assert (found["a"].matches, found["a"].won, found["b"].won) == (4, 3, 1)


def test_a_tie_is_half_a_win_for_both_or_nothing() -> None:
    games = [("a", "b", 1.0), ("a", "b", 0.5), ("a", "b", 0.5), ("b", "a", 1.0), ("a", "b", None)]
    # 2 to 2 with ties; a third win makes it 3 to 2, or 2 to 1 without them.
    assert rated(*games)["a"].bradley_terry.value == pytest.approx(1000)
    half, drop = (laid_out(*games, ("a", "b", 1.0), ties=ties) for ties in ("half", "drop"))
    for found, odds in ((half, 3 / 2), (drop, 2 / 1)):
        (best, _) = rate(found, 50)
        assert best.bradley_terry.value == pytest.approx(1000 + 200 * math.log10(odds))


def test_ratings_maximise_the_likelihood_whichever_way_round_models_stand() -> None:
    games = tournament()
    found = laid_out(*games)
    wins = found.wins(np.ones((1, int(found.cluster.max()) + 1)))[0]
    ratings_of = bradley_terry(wins)
    assert ratings_of is not None
    # At the maximum each model has won as often as its strength expects.
    gaps = (ratings_of[:, None] - ratings_of[None, :]) * math.log(10) / 400
    met = wins + wins.T
    assert (special.expit(gaps) * met).sum(1) == pytest.approx(wins.sum(1), abs=1e-6)
    swapped = [(b, a, 1 - p) for a, b, p in games]
    assert [row.bradley_terry.value for row in rate(laid_out(*swapped), 50)] == pytest.approx(
        [row.bradley_terry.value for row in rate(found, 50)]
    )


def test_intervals_hold_the_strengths_the_matches_were_made_from_and_narrow_with_more_of_them() -> None:
    centre = sum(STRENGTHS.values()) / 4
    few, many = rated(*tournament(300), resamples=500), rated(*tournament(1200), resamples=500)
    for name, strength in STRENGTHS.items():
        truth = 1000 + 400 * (strength - centre) / math.log(10)
        for found in (few[name].bradley_terry, many[name].bradley_terry):
            assert found.low - 15 < truth < found.high + 15
            assert found.interval == "percentile"
        width, narrow = (one[name].bradley_terry.high - one[name].bradley_terry.low for one in (few, many))
        assert narrow == pytest.approx(width / 2, rel=0.35)


def test_elo_is_evalicas_where_the_order_does_not_matter() -> None:
    # Equal matches have one order.
    games = [("a", "b", 1.0)] * 7
    theirs = evalica.elo(["a"] * 7, ["b"] * 7, [evalica.Winner.X] * 7).scores
    found = elo(laid_out(*games), np.ones((7, 1)))
    assert found[:, 0] == pytest.approx([theirs["a"], theirs["b"]])
    # By hand: the first win moves 4 (1 - 1/2) = 2.
    assert elo(laid_out(("a", "b", 1.0)), np.ones((1, 1)))[:, 0] == pytest.approx([1002, 998])
    assert elo(laid_out(("a", "b", 1.0)), np.array([[2.0, 0.0]])).tolist() == [[1004, 1000], [996, 1000]]


def test_elo_is_the_mean_of_evalicas_over_the_same_orders() -> None:
    found = laid_out(*tournament(120), ("a", "b", 0.5))
    orders = np.random.default_rng(3)
    total = np.zeros(4)
    for _ in range(20):
        order = orders.permutation(len(found.won))
        winners = [
            {1.0: evalica.Winner.X, 0.5: evalica.Winner.Draw, 0.0: evalica.Winner.Y}[w] for w in found.won[order]
        ]
        scores = evalica.elo(found.one[order].tolist(), found.other[order].tolist(), winners).scores
        total += scores.sort_index().to_numpy()
    assert elo(found, np.ones((len(found.won), 1)), seed=3)[:, 0] == pytest.approx(total / 20)


def test_the_order_of_rows_hardly_matters_to_elo() -> None:
    games = tournament(400)
    one, other = rated(*games), rated(*games[::-1])
    for name in STRENGTHS:
        assert one[name].elo.value == pytest.approx(other[name].elo.value, abs=25)
        assert one[name].elo.low < one[name].elo.value < one[name].elo.high


def test_one_that_never_lost_or_won_or_met_the_others_has_a_dash_and_a_note() -> None:
    around = [("a", "b", 1.0), ("b", "c", 1.0), ("c", "a", 1.0)] * 5
    found = rated(*around, ("top", "a", 1.0), ("a", "low", 1.0), ("x", "y", 1.0), ("y", "x", 1.0), ("z", "a", None))
    assert {name: row.note for name, row in found.items()} == {
        "a": "", "b": "", "c": "", "top": "never lost", "low": "never won", "x": "met none of the others",
        "y": "met none of the others", "z": "no match",
    }  # fmt: skip
    assert [found[name].bradley_terry.value for name in "abc"] == pytest.approx([1000] * 3)
    for name in ("top", "low", "x", "y", "z"):
        assert str(found[name].bradley_terry) == "-"
    # Elo is finite wherever there were matches with the others.
    assert found["top"].elo.value > 1000 > found["low"].elo.value
    assert (found["x"].elo.value, found["z"].elo.value) == (None, None)


def test_where_wins_go_one_way_between_groups_only_the_larger_is_rated() -> None:
    ring = [("a", "b", 1.0), ("b", "c", 1.0), ("c", "a", 1.0)]
    found = rated(*ring, ("a", "d", 1.0), *[("d", "e", 1.0), ("e", "d", 1.0)] * 5)
    assert found["d"].note == "no wins and losses connect it with the others"
    assert found["a"].bradley_terry.value == pytest.approx(1000)
    # Of groups of one size the one with more matches.
    pairs = [("p", "q", 1.0), ("q", "p", 1.0), *[("x", "y", 1.0), ("y", "x", 1.0)] * 2]
    for games in (pairs, pairs[::-1]):
        assert {name for name, row in rated(*games).items() if row.bradley_terry.value} == {"x", "y"}


def test_an_interval_needs_ratings_in_nearly_all_resamples() -> None:
    # With one loss in four a third of the resamples have none.
    found = rated(*[("a", "b", 1.0)] * 3, ("b", "a", 1.0))["a"]
    assert found.bradley_terry.low is None
    assert found.note == "too often without a rating in resamples for an interval"
    enough = rated(*[("a", "b", 1.0)] * 30, *[("b", "a", 1.0)] * 10)["a"]
    assert enough.bradley_terry.low < enough.bradley_terry.value < enough.bradley_terry.high


@pytest.mark.parametrize(
    "games", [[("a", "b", None)], [("a", "b", 1.0)], [("a", "b", 0.5)]], ids=["none", "one", "tie"]
)
def test_nothing_and_single_matches_give_dashes(games: list[Any]) -> None:
    report = ratings(read_contests(played(*games)), resamples=100)
    rows = report.sections[0].rows
    assert [row[0] for row in rows] == ["a", "b"]
    for row in rows:
        assert row[1].low is None
        assert "nan" not in str(row)
        assert "inf" not in str(row)
    assert rows[0][1].value == (1000 if games[0][2] == 0.5 else None)


def test_without_evalica_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "evalica", None)
    with pytest.raises(MissingExtraError, match=r"evalica is not installed; pip install 'rlaif\[report\]'"):
        rated(*tournament(20))
    # Training signals need nothing of it.
    assert ranking_scores(ranking(scores=[0.9, 0.1])) == pytest.approx((1, -1))


def test_each_judge_has_a_section() -> None:
    rows = [
        (where, row | {"llm": "m", "annotations": [1 - row["preference"]]}) for where, row in played(*tournament(80))
    ]
    report = ratings(read_contests(rows), resamples=50, about={"Matches": "here"})
    assert [section.title for section in report.sections] == ["Ratings by m", "Ratings by people"]
    assert [section.key for section in report.sections] == ["ratings", "ratings by people"]
    best, worst = (section.rows[0][0] for section in report.sections)
    assert best == report.sections[1].rows[-1][0] != worst


def ranking(order: list[int] | None = None, scores: list[float] | None = None) -> Ranking:
    count = len(scores if scores is not None else order or ())
    order = order if order is not None else list(range(count))
    return Ranking(
        id="r", query="q", responses=["x"] * count, order=order, scores=scores, comparisons=0, method="exact", llm="m",
        llm_version="m", input_tokens=0, cached_tokens=0, output_tokens=0,
    )  # fmt: skip


def test_ranks_become_scores_of_mean_0_and_variance_1() -> None:
    # Ranks 3, 2, 1 of responses 2, 0, 1: (0, -1, 1) / sqrt(2/3).
    assert ranking_scores(ranking([2, 0, 1])) == pytest.approx((0, -1.2247449, 1.2247449))
    assert ranking_scores(ranking([1, 0])) == (-1, 1)
    assert ranking_scores(ranking([0])) == (0,)
    assert ranking_scores(ranking([])) == ()


def test_scores_of_a_round_robin_are_bradley_terry_strengths() -> None:
    # Of strengths -1, 0, .5 and 2 with every pair at .01 + .98 p, so that what is solved for is known.
    strengths = np.array([-1.0, 0.0, 0.5, 2.0])
    p = special.expit(strengths[:, None] - strengths[None, :])
    means = ((p.sum(1) - 0.5) / 3 - 0.01) / 0.98
    found = np.array(ranking_scores(ranking(scores=means.tolist())))
    centred = strengths - strengths.mean()
    assert found == pytest.approx(centred / centred.std())
    # And of any other table with the same means as evalica, which sees all of it.
    table = np.array([[0, 0.3, 0.9], [0.7, 0, 0.6], [0.1, 0.4, 0]])
    shrunk = 0.01 + 0.98 * table
    one, other = np.nonzero(~np.eye(3, dtype=bool))
    won, weights = [evalica.Winner.X] * 6, shrunk[one, other].tolist()
    theirs = evalica.bradley_terry(one.tolist(), other.tolist(), won, weights=weights, tolerance=1e-12, limit=9999)
    logs = np.log(theirs.scores.sort_index().to_numpy())
    assert ranking_scores(ranking(scores=(table.sum(1) / 2).tolist())) == pytest.approx(
        (logs - logs.mean()) / logs.std()
    )


@pytest.mark.parametrize("scores", [[0.5] * 4, [0.5], [0.5, 0.5]])
def test_equal_responses_score_zero(scores: list[float]) -> None:
    assert ranking_scores(ranking(scores=scores)) == (0.0,) * len(scores)


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_responses_that_always_win_are_finite_and_in_order(count: int) -> None:
    scores = [1 - place / (count - 1) for place in range(count)]
    found = ranking_scores(ranking(scores=scores))
    assert list(found) == sorted(found, reverse=True)
    assert np.mean(found) == pytest.approx(0)
    assert np.var(found) == pytest.approx(1)
    assert found[::-1] == pytest.approx([-one for one in found])
