"""Ratings of many models from matches between two of them: Bradley-Terry, and Elo. Pure.

Shape legend: m matches, K models, C clusters of matches (those of one query), R resamples.

Bradley-Terry ratings are 1000 + 400 log10 of the maximum-likelihood strengths (by evalica), with mean 1000: 400 points
are odds of ten to one. They exist for models that wins connect in both directions (a tie is half a win for both); one
that never lost, never won or met no other has none. Elo depends on the order of the matches, so it is the mean over
random orders. A resample gives each match the weight of its cluster; in Elo that makes a larger step, which is written
out here since evalica's weights scale what a match scores there, but not what was expected of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special
from scipy.sparse import csgraph

from rlaif.errors import MissingExtraError
from rlaif.evaluation import plots
from rlaif.evaluation.contests import Contest, Contests
from rlaif.evaluation.matchups import TIES, Counting, Ties
from rlaif.evaluation.report import Cell, Report, Section
from rlaif.records import Ranking
from rlaif.statistics.intervals import Estimate, Floats

MEAN, SCALE, STEP = 1000.0, 400.0, 4.0
ORDERS = 20
_LOST_RESAMPLES = 0.025
"""Where more resamples than this have no ratings, neither has the quantile that an interval ends at."""
_SUREST = 0.99


class Matches(NamedTuple):
    """Matches that were decided, by column.

    Attributes:
        models: (K,) names.
        one: (m,) the first model, as a place in `models`.
        other: (m,) the second.
        won: (m,) 1 where the first won, .5 for a tie, 0.
        cluster: (m,) codes from 0 to C - 1.
    """

    models: tuple[str, ...]
    one: NDArray[np.intp]
    other: NDArray[np.intp]
    won: Floats
    cluster: NDArray[np.intp]

    def wins(self, weights: Floats) -> Floats:
        """How often each model won against each other.

        Args:
            weights: (R, C) how much each cluster counts.

        Returns:
            (R, K, K), the winner by row; a tie is half a win for both.
        """
        count = len(self.models)
        cells = np.concatenate([self.one * count + self.other, self.other * count + self.one])
        shares, rows = np.concatenate([self.won, 1 - self.won]), np.concatenate([self.cluster, self.cluster])
        by_cluster = sparse.csr_array((shares, (rows, cells)), shape=(weights.shape[1], count * count))
        found: Floats = (weights @ by_cluster).reshape(len(weights), count, count)
        return found


def matches(contests: Sequence[Contest], ties: Ties = "half") -> Matches:
    """Lay contests out by column.

    Args:
        contests: by one judge; those without a verdict are left out.
        ties: half a win for both, or left out.
    """
    win = np.array([0.5 if one.win is None else one.win for one in contests])
    won, counts = Counting(ties).hard(win, np.array([one.win is None for one in contests], bool))
    kept = np.flatnonzero(counts)
    decided = [contests[int(place)] for place in kept]
    names = sorted({name for one in contests for name in one.models})
    places = {name: place for place, name in enumerate(names)}
    codes = np.unique(np.array([one.cluster for one in decided], dtype=object).astype(str), return_inverse=True)[1]
    pairs = np.array([[places[name] for name in one.models] for one in decided], np.intp).reshape(-1, 2)
    return Matches(tuple(names), pairs[:, 0], pairs[:, 1], won[kept], codes)


def bradley_terry(wins: Floats) -> Floats | None:
    """Maximum-likelihood strengths.

    Args:
        wins: (K, K) how often the row's model won against the column's.

    Returns:
        (K,) ratings with mean 1000; None where they do not exist: some models never lost to the others.

    Raises:
        MissingExtraError: evalica is not installed.

    Source: Bradley and Terry, Biometrika 39 (1952), 324-345; when they exist: Ford, The American Mathematical Monthly
    64 (1957), 28-33.
    """
    try:
        import evalica
    except ImportError as error:
        raise MissingExtraError("evalica", "report") from error
    if len(wins) < 2 or csgraph.connected_components(wins > 0, connection="strong", return_labels=False) > 1:
        return None
    one, other = np.nonzero(wins)
    found = evalica.bradley_terry(
        one.tolist(),
        other.tolist(),
        [evalica.Winner.X] * len(one),
        weights=wins[one, other].tolist(),
        tolerance=1e-10,
        limit=_LIMIT,
    )
    strengths = found.scores.sort_index().to_numpy()
    if found.iterations >= _LIMIT or not np.all(strengths > 0):
        return None
    logs = np.log10(strengths)
    ratings: Floats = MEAN + SCALE * (logs - logs.mean())
    return ratings


_LIMIT = 10_000


def elo(found: Matches, weights: Floats, seed: int = 0) -> Floats:
    """Elo ratings after all matches, as means over random orders.

    Args:
        found: the matches.
        weights: (m, R) how much each match counts in each resample; its step is as much larger.
        seed: of the orders.

    Returns:
        (K, R) ratings; models start at 1000, and a match moves them by at most 4 times its weight.

    Source: Elo, The Rating of Chessplayers (1978); the step and the scale are those of Chatbot Arena.
    """
    total = np.zeros((len(found.models), weights.shape[1]))
    generator = np.random.default_rng(seed)
    for _ in range(ORDERS):
        ratings = np.full_like(total, MEAN)
        for match in generator.permutation(len(found.won)):
            one, other = found.one[match], found.other[match]
            expected = special.expit((ratings[one] - ratings[other]) * np.log(10) / SCALE)
            moved = STEP * weights[match] * (found.won[match] - expected)
            ratings[one] += moved
            ratings[other] -= moved
        total += ratings
    return total / ORDERS


class Rated(NamedTuple):
    """One model's ratings, and why it has none."""

    model: str
    bradley_terry: Estimate
    elo: Estimate
    matches: int
    won: float
    note: str


def rate(found: Matches, resamples: int = 1000, seed: int = 0) -> list[Rated]:
    """Rate all models by both methods, with percentile intervals from resamples of clusters.

    Args:
        found: the matches.
        resamples: how many.
        seed: of resamples and orders.

    Returns:
        The models, best first; those without a rating last.
    """
    clusters = int(found.cluster.max(initial=-1)) + 1
    drawn = np.ones((1, clusters))
    if clusters > 1:
        even = np.full(clusters, 1 / clusters)
        draws = np.random.default_rng(seed).multinomial(clusters, even, size=resamples)
        drawn = np.concatenate([drawn, draws.astype(float)])
    wins = found.wins(drawn)
    whole = wins[0]
    rated, met = _connected(whole, "strong"), _connected(whole, "weak")
    strengths = [bradley_terry(one[np.ix_(rated, rated)]) for one in wins]
    points = elo(found, drawn[:, found.cluster].T, seed)
    played, won = whole.sum(0) + whole.sum(1), whole.sum(1)
    rows = []
    for model, name in enumerate(found.models):
        n, own = round(float(played[model])), (found.one == model) | (found.other == model)
        groups = len(np.unique(found.cluster[own]))
        values = [None if each is None else float(each[rated.index(model)]) for each in strengths if model in rated]
        rating = _percentile(values, n, groups)
        by_elo = _percentile([float(value) for value in points[model] if model in met], n, groups)
        rows.append(Rated(name, rating, by_elo, n, float(won[model]), _note(model, whole, rated, met, rating)))
    return sorted(rows, key=lambda row: (row.bradley_terry.value is None, -(row.bradley_terry.value or 0)))


def _connected(wins: Floats, connection: str) -> list[int]:
    """The most models that are connected by wins (strong) or matches (weak); none where each stands alone."""
    _, labels = csgraph.connected_components(wins > 0, connection=connection)
    sizes = np.bincount(labels, minlength=1)
    # Of groups of one size the one with more matches.
    inside = [wins[np.ix_(labels == group, labels == group)].sum() for group in range(len(sizes))]
    best = max(range(len(sizes)), key=lambda group: (sizes[group], inside[group]))
    return [int(model) for model in np.flatnonzero(labels == best)] if sizes[best] > 1 else []


def _percentile(values: Sequence[float | None], n: int, clusters: int) -> Estimate:
    """The first value, and the 2.5 and 97.5 % quantiles of the others."""
    if not values or values[0] is None:
        return Estimate(None, n=n, clusters=clusters)
    known = [value for value in values[1:] if value is not None]
    if not known or len(known) < (1 - _LOST_RESAMPLES) * (len(values) - 1):
        return Estimate(values[0], n=n, clusters=clusters)
    low, high = np.quantile(known, (0.025, 0.975))
    return Estimate(values[0], float(low), float(high), n, clusters, "percentile")


def _note(model: int, wins: Floats, rated: list[int], met: list[int], found: Estimate) -> str:
    if model in rated:
        return "too often without a rating in resamples for an interval" if found.interval == "none" else ""
    if not wins[model].sum() + wins[:, model].sum():
        return "no match"
    if not wins[:, model].sum():
        return "never lost"
    if not wins[model].sum():
        return "never won"
    if model not in met:
        return "met none of the others"
    return "no wins and losses connect it with the others"


def ratings(
    contests: Contests,
    *,
    ties: Ties = "half",
    resamples: int = 1000,
    seed: int = 0,
    about: Mapping[str, str] | None = None,
) -> Report:
    """Report ratings of all models that were compared.

    Args:
        contests: what was said of pairs of responses (see `contests.read_contests`).
        ties: what a tie counts: half a win for both, or nothing. What was not judged is left out.
        resamples: how many resamples of queries intervals are drawn from.
        seed: of resamples and of the orders of matches.
        about: sources, for the report.

    Returns:
        The report, with a section for each judge.

    Raises:
        ConfigError: no such policy for ties.
        MissingExtraError: evalica is not installed.
    """
    sections: list[Section] = []
    for (kind, judge), of_judge in contests.by_judge().items():
        if kind == "annotator":
            continue
        found = matches(of_judge, ties)
        rows: list[tuple[Cell, ...]] = [tuple(_cells(row)) for row in rate(found, resamples, seed)]
        left = len(of_judge) - len(found.won)
        sections.append(
            Section(
                "ratings" if not sections else f"ratings by {judge}",
                f"Ratings by {judge}",
                f"{len(found.won):,} matches; {left:,} ties left out or not judged. 400 points are odds of ten to one; "
                "Bradley-Terry ratings have mean 1000, and a model that never lost or never won has none. Elo "
                "starts at 1000 and moves by at most 4 a match, so that after few matches all are near it.",
                ("model", "Bradley-Terry", "Elo", "matches", "won", "note"),
                rows,
                plots.forest_of(rows, "Bradley-Terry ratings", "points", 1000),
            )
        )
    return Report(
        "Ratings",
        {
            **(about or {}),
            **contests.about,
            "Ties": f"{ties}: {TIES[ties]}",
            "Elo": f"mean over {ORDERS} random orders of the matches, K = {STEP:g}",
            "Intervals": f"95 %, percentiles of {resamples:,} resamples of queries, seed {seed}",
        },
        sections,
        contests.pairs,
    )


def _cells(row: Rated) -> list[Any]:
    return [row.model, row.bradley_terry, row.elo, row.matches, row.won, row.note or None]


def ranking_scores(ranking: Ranking) -> tuple[float, ...]:
    """The K responses of one query as a training signal: better ones higher, mean 0, variance 1.

    Where every pair was compared, the strengths of a Bradley-Terry model: `Ranking.scores` are the mean probabilities
    of beating the others, and in a complete round robin these are all that its likelihood needs. The strengths t solve
    sum over j of logistic(t_i - t_j) = (K - 1) s_i. No mean is taken to be surer than .99 (each s becomes
    .01 + .98 s), or a response that always wins would be infinitely strong. Where there is an order alone, the ranks.

    Args:
        ranking: of K responses.

    Returns:
        (K,) in the order of `responses`, divided by their (population) standard deviation; zeros where all are equal.
    """
    count = len(ranking.responses)
    if ranking.scores is not None:
        values = _round_robin(np.array(ranking.scores, float))
    else:
        values = np.zeros(count)
        values[list(ranking.order)] = np.arange(count, 0, -1)
    values = values - values.mean() if count else values
    spread = float(np.sqrt((values**2).mean())) if count else 0.0
    return tuple(float(value) for value in values / spread) if spread > 1e-9 else (0.0,) * count


def _round_robin(means: Floats) -> Floats:
    """Strengths with mean 0 of which a complete round robin has these mean probabilities; by Newton's method."""
    count = len(means)
    wanted = (count - 1) * ((1 - _SUREST) + (2 * _SUREST - 1) * means)
    # What is read is rounded; the sum of all is known.
    wanted += (count - 1) / 2 - wanted.mean() if count else 0
    strengths = np.zeros(count)
    for _ in range(50):
        p = special.expit(strengths[:, None] - strengths[None, :])
        np.fill_diagonal(p, 0)
        slope = p * p.T
        hessian = np.diag(slope.sum(1)) - slope + 1 / count
        step = np.linalg.solve(hessian, wanted - p.sum(1))
        strengths = strengths + step / max(1.0, float(np.abs(step).max(initial=0)))
        if np.abs(step).max(initial=0) < 1e-12:
            break
    return strengths
