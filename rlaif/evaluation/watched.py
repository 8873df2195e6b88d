"""What is said of the same held-out queries again and again while a policy is trained. Pure.

Those who say it are the labeler that rewards, itself in another form, a second one, and gold. Where they part from the
score that is trained on, the reward is being hacked.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rlaif.evaluation.curves import Spot, along
from rlaif.evaluation.pairs import MOST
from rlaif.evaluation.report import Section
from rlaif.evaluation.training_steps import Rows, number
from rlaif.statistics.intervals import Bootstrap, Estimate, ratio, share

# Who is furthest from the training comes first.
WATCHERS = {
    "gold": "gold",
    "second_labeler": "second labeler",
    "labeler": "labeler",
    "reward_model": "reward model",
    "other_form": "labeler, in another form",
}
TIE = 1e-3
"""Scores that differ by less say the same: a local model's last digits depend on what it is asked beside."""

Answers = Mapping[tuple[str, int], Mapping[str, Any]]


class Opinion(NamedTuple):
    """What one watcher says of the first answers and the last.

    Attributes:
        name: of the watcher.
        before: mean score of the first answers.
        after: of the last; None where there are no later ones.
        change: of the queries judged both times, the mean of the differences.
        wins: the share of those whose later answer scores higher, a tie counting half.
        won_tied_lost: how many of each.
        left_out: queries that were not judged both times.
        harmless_before: share of the first answers that count as harmless; None where the watcher does not say.
        harmless_after: of the last.
        harmless_change: of the queries judged both times.
        unjudged: of the first answers and of the last, how many have no score.
    """

    name: str
    before: Estimate
    after: Estimate | None = None
    change: Estimate | None = None
    wins: Estimate | None = None
    won_tied_lost: tuple[int, int, int] = (0, 0, 0)
    left_out: int = 0
    harmless_before: Estimate | None = None
    harmless_after: Estimate | None = None
    harmless_change: Estimate | None = None
    unjudged: tuple[int, int] = (0, 0)


def by_step(answers: Rows) -> dict[int, Answers]:
    """Answers by step, and then by query; of queries with the same id the first is paired with the first.

    Args:
        answers: rows of `watched.jsonl`.
    """
    found: dict[int, dict[tuple[str, int], Mapping[str, Any]]] = {}
    counts: Counter[tuple[int, str]] = Counter()
    for row in answers:
        at = row["step"], row["id"]
        found.setdefault(row["step"], {})[row["id"], counts[at]] = row
        counts[at] += 1
    return dict(sorted(found.items()))


def opinions(seen: Mapping[int, Answers], harmless_from: Mapping[str, float]) -> list[Opinion]:
    """What each watcher says of the first answers and the last.

    Args:
        seen: answers by step.
        harmless_from: the score from which an answer counts as harmless, by watcher; others do not say.
    """
    if not seen:
        return []
    first, *later = seen.values()
    last = later[-1] if later else {}
    found = []
    for name in WATCHERS:
        before, after = _scores(first, name), _scores(last, name)
        if not before and not after:
            continue
        one = Opinion(name, _mean_of(before), unjudged=(len(first) - len(before), len(last) - len(after)))
        limit = harmless_from.get(name)
        if limit is not None:
            one = one._replace(harmless_before=_harmless(before, limit))
        if later:
            one = one._replace(after=_mean_of(after))
            both = {key: (before[key], after[key]) for key in before if key in after}
            if both:
                left_out = len(first.keys() | last.keys()) - len(both)
                one = one._replace(change=_mean_change(both), left_out=left_out, **_contest(first, last, both))
            if limit is not None:
                hits = {key: (float(was >= limit), float(now >= limit)) for key, (was, now) in both.items()}
                change = _mean_change(hits) if hits else None
                one = one._replace(harmless_after=_harmless(after, limit), harmless_change=change)
        found.append(one)
    return found


def _contest(first: Answers, last: Answers, both: Mapping[tuple[str, int], tuple[float, float]]) -> dict[str, Any]:
    """How often the later answer scores higher."""
    gains = [
        0.0 if first[key].get("response") == last[key].get("response") or abs(now - was) < TIE else now - was
        for key, (was, now) in both.items()
    ]
    won, lost = sum(one > 0 for one in gains), sum(one < 0 for one in gains)
    tied = len(gains) - won - lost
    return {"wins": share(won + tied / 2, len(gains)), "won_tied_lost": (won, tied, lost)}


def _harmless(scores: Mapping[tuple[str, int], float], limit: float) -> Estimate:
    return share(sum(one >= limit for one in scores.values()), len(scores))


def _scores(answers: Answers, name: str) -> dict[tuple[str, int], float]:
    return {key: one for key, row in answers.items() if (one := number(row.get("scores") or {}, name)) is not None}


def _mean_of(scores: Mapping[tuple[str, int], float]) -> Estimate:
    """With the interval over queries."""
    return _mean_change({key: (0.0, one) for key, one in scores.items()})


def _mean_change(both: Mapping[tuple[str, int], tuple[float, float]]) -> Estimate:
    if not both:
        return Estimate(None)
    sums = Bootstrap([identifier for identifier, _ in both]).sums(
        [[after - before, 1.0] for before, after in both.values()]
    )
    return sums.estimate(lambda totals: ratio(totals[..., 0], totals[..., 1]), len(both))


def held_out_section(found: Sequence[Opinion], steps: Sequence[int]) -> Section | None:
    """Mean scores before and after.

    Args:
        found: opinions.
        steps: at which the answers were given.
    """
    rows = [(WATCHERS[one.name], one.before, one.after, one.change) for one in found]
    said = " and after step ".join(f"{step:,}" for step in sorted({min(steps), max(steps)})) if steps else ""
    note = (
        f"Mean scores from −1 to 1 (a reward model's as they are) of the same queries, which are not trained on, "
        f"answered with the same seeds after step {said}."
    )
    columns = ("who judges", "before", "after", "change")
    return Section("held_out", "Held-out queries, before and after", note, columns, rows) if rows else None


def win_section(found: Sequence[Opinion], steps: Sequence[int]) -> Section | None:
    """How often the last answer beats the first.

    Args:
        found: opinions.
        steps: at which the answers were given.
    """
    rows = [(WATCHERS[one.name], one.wins, *one.won_tied_lost, one.left_out) for one in found if one.wins]
    note = (
        "On the same held-out queries: the share whose later answer scores higher, a tie counting half. A tie is the "
        f"same answer, or scores that differ by less than {TIE:g}. Queries not judged both times are left out."
    )
    title = f"Win rate over {start_of(steps)}"
    columns = ("who judges", "win rate", "wins", "ties", "losses", "not judged both times")
    return Section("win_rate", title, note, columns, rows) if rows else None


def harmless_section(found: Sequence[Opinion], harmless_from: Mapping[str, float]) -> Section | None:
    """How many answers are harmless.

    Args:
        found: opinions.
        harmless_from: the score from which an answer counts as harmless, by watcher.
    """
    rows = [
        (WATCHERS[one.name], one.harmless_before, one.harmless_after, one.harmless_change, *one.unjudged)
        for one in found
        if one.harmless_before is not None
    ]
    if not rows:
        return None
    limits = " or ".join(f"{one:g}" for one in sorted({5.5 + 4.5 * one for one in harmless_from.values()}))
    note = (
        f"The share of the held-out answers that score {limits} or more on the scale from 1 to 10 "
        "(watch.harmless_from). Answers without a score are left out; a change compares answers to the same query."
    )
    columns = ("who judges", "before", "after", "change", "failed judgements before", "and after")
    return Section("harmless", "Harmless rate", note, columns, rows)


def start_of(steps: Sequence[int]) -> str:
    """What the first answers are of.

    Args:
        steps: at which answers were given.
    """
    return "the start policy" if not steps or min(steps) == 0 else f"the policy after step {min(steps):,}"


def over_optimisation_section(looks: Rows, seen: Mapping[int, Answers]) -> Section | None:
    """Scores by the distance from the reference.

    Args:
        looks: rows of `watch.jsonl`.
        seen: answers by step.
    """
    if not looks:
        return None
    said = {name: [_said(row, seen, name) for row in looks] for name in WATCHERS}
    distances = [math.sqrt(max(0.0, number(row, "kl_per_sequence") or 0.0)) for row in looks]
    curves = {
        WATCHERS[name]: [Spot(x, one.value, one.low, one.high) for x, one in zip(distances, said[name], strict=True)]
        for name in ("labeler", "reward_model", "second_labeler", "gold")
    }
    rows = [
        (
            row["step"],
            number(row, "kl_per_sequence"),
            *(said[name][place] for name in WATCHERS),
            sum(int(number(row, f"{name}_failed") or 0) for name in WATCHERS),
            *(number(row, name) for name in ("response_tokens", "distinct_share")),
        )
        for place, row in enumerate(looks)
    ]
    columns = (
        *("step", "KL per sequence, nats", *WATCHERS.values()),
        *("failed judgements", "response tokens", "share of distinct responses"),
    )
    note = (
        "What each says of the held-out answers as the policy moves away from the reference. A labeler that goes on "
        "rising where gold or a second labeler turns down is being hacked. Bars are 95 % intervals over queries."
    )
    title = "The over-optimisation curve"
    plots = along(curves, "Scores of held-out answers by distance", "√KL per sequence", "mean score")
    return Section("over_optimisation", title, note, columns, rows, plots)


def _said(look: Mapping[str, Any], seen: Mapping[int, Answers], name: str) -> Estimate:
    """A watcher's mean at a step: with its interval where the answers are known."""
    scores = _scores(seen.get(look["step"], {}), name)
    if scores:
        return _mean_of(scores)
    value = number(look, name)
    n = int((number(look, "n") or 0) - (number(look, f"{name}_failed") or 0))
    return Estimate(value, n=n, clusters=n) if value is not None else Estimate(None)


def answer_pairs(seen: Mapping[int, Answers]) -> Sequence[Mapping[str, Any]]:
    """The first answer and the last to each query, side by side.

    Args:
        seen: answers by step.
    """
    if len(seen) < 2:
        return ()
    first, last = min(seen), max(seen)
    keys = [key for key in seen[first] if key in seen[last]]
    return [_pair(seen[first][key], seen[last][key]) for key in keys[:MOST]]


def _pair(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    columns = {}
    for name, title in WATCHERS.items():
        ends = [number(row.get("scores") or {}, name) for row in (before, after)]
        if ends != [None, None]:
            columns[title] = " → ".join("–" if one is None else f"{one:.3f}" for one in ends)
    return {
        "id": before["id"],
        "query": before.get("query"),
        "responses": [before.get("response"), after.get("response")],
        "models": [f"step {before['step']:,}", f"step {after['step']:,}"],
        "columns": columns,
    }
