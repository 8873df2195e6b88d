"""A training of a policy as a report: how it went, what others say of it, and answers before and after. Pure.

Others are who judged the same held-out queries again and again: the labeler, itself in another form, a second one, and
gold. Where they part from the score that is trained on, the reward is being hacked.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rlaif.evaluation.curves import Spot, along
from rlaif.evaluation.pairs import MOST
from rlaif.evaluation.report import Cell, Report, Section
from rlaif.evaluation.training_steps import (
    Rows,
    failure_section,
    labeler_section,
    masked_share,
    number,
    optimisation_section,
    response_section,
    reward_section,
    time_section,
)
from rlaif.statistics.intervals import Bootstrap, Estimate, ratio, share

WATCHERS = {
    "gold": "gold",
    "second_labeler": "second labeler",
    "labeler": "labeler",
    "reward_model": "reward model",
    "other_form": "labeler, in another form",
}
_USAGE = {
    "asked": "requests asked",
    "from_ledger": "requests answered from the ledger",
    "input_tokens": "tokens read",
    "cached_tokens": "of these from a cache",
    "output_tokens": "tokens written",
    "possibly_billed": "requests that may have been billed without an answer",
    "cost_usd": "cost, USD",
}

_Z95 = 1.959963984540054

Answers = Mapping[tuple[str, int], Mapping[str, Any]]


def training_report(
    steps: Rows,
    looks: Rows = (),
    answers: Rows = (),
    *,
    responses: int,
    title: str,
    about: Mapping[str, str],
    usage: Mapping[str, float] | None = None,
    usage_of_watchers: Mapping[str, float] | None = None,
) -> Report:
    """Say how a training went.

    Args:
        steps: metrics, a row for each step: `step` and any of those that `metrics.jsonl` holds.
        looks: what others said at a step on average: rows of `watch.jsonl`.
        answers: the held-out responses themselves: rows of `watched.jsonl`.
        responses: of a step.
        title: the page's heading.
        about: settings, by name.
        usage: what the reward function cost: tokens, requests, `cost_usd` where known.
        usage_of_watchers: the same of all others that judged the held-out responses.

    Returns:
        The report; what is not known is left out of it.
    """
    seen = _by_step(answers)
    paid, paid_beside = usage or {}, usage_of_watchers or {}
    sections = [
        _headline(steps, seen, responses, [paid, paid_beside]),
        _held_out_section(seen),
        _over_optimisation(looks, seen),
        reward_section(steps),
        response_section(steps),
        optimisation_section(steps),
        labeler_section(steps, looks),
        failure_section(steps, responses),
        time_section(steps),
        _usage_section(paid, paid_beside),
    ]
    return Report(title, about, [one for one in sections if one is not None], _pairs(seen))


# Headline figures


def _headline(steps: Rows, seen: Mapping[int, Answers], responses: int, usage: Rows) -> Section:
    rows: list[tuple[Cell, ...]] = [("steps", None, len(steps), None)]
    if steps:
        rows += [
            ("score, as trained on", *_ends(steps, "score", responses), _score_change(steps, responses)),
            *(
                (f"{WATCHERS[one.name]}, on held-out queries", one.before, one.after, one.change)
                for one in _held_out(seen)
                if one.name != "other_form"
            ),
            ("KL per sequence, nats", *_ends(steps, "kl_per_sequence", responses), None),
            ("distinct responses, share", *_ends(steps, "distinct_share", responses), None),
            ("masked responses, share of all steps", None, masked_share(steps, responses), None),
        ]
    if costs := [cost for one in usage if (cost := number(one, "cost_usd")) is not None]:
        rows.append(("cost, USD", None, sum(costs), None))
    note = (
        "The first and the last step; scores are on the scale from −1 to 1. Intervals are 95 %: of a step's mean score "
        "over its responses, of held-out queries over the queries, where a change compares answers to the same query."
    )
    kept = [row for row in rows if any(not _is_unknown(cell) for cell in row[1:])]
    return Section("training", "The training", note, ("figure", "at the start", "at the end", "change"), kept)


def _is_unknown(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, Estimate) and cell.value is None)


def _ends(steps: Rows, name: str, responses: int) -> tuple[Estimate, Estimate]:
    first, last = (_of_step(row, name, responses) for row in (steps[0], steps[-1]))
    return first, last


def _of_step(row: Mapping[str, Any], name: str, responses: int) -> Estimate:
    """A mean over a step's responses; of the score those that have one, with the interval of its standard error."""
    value = number(row, name)
    if value is None:
        return Estimate(None)
    if name != "score":
        return Estimate(value, n=responses, clusters=responses)
    n = round(responses * (1 - (number(row, "masked_share") or 0.0)))
    error = _standard_error(row, n)
    if error is None:
        return Estimate(value, n=n, clusters=n)
    return Estimate(value, value - _Z95 * error, value + _Z95 * error, n, n, "normal")


def _standard_error(row: Mapping[str, Any], n: int) -> float | None:
    spread = number(row, "score_std")
    return None if spread is None or n < 2 else spread / math.sqrt(n - 1)


def _score_change(steps: Rows, responses: int) -> Estimate | None:
    """The last step's score less the first's, which answered other queries."""
    first, last = _ends(steps, "score", responses)
    if len(steps) < 2 or first.value is None or last.value is None:
        return None
    gain = last.value - first.value
    errors = _standard_error(steps[0], first.n), _standard_error(steps[-1], last.n)
    if errors[0] is None or errors[1] is None:
        return Estimate(gain, n=last.n, clusters=last.n)
    reach = _Z95 * math.hypot(errors[0], errors[1])
    return Estimate(gain, gain - reach, gain + reach, last.n, last.n, "normal")


# What others say of the held-out answers


class _Opinion(NamedTuple):
    """Of one watcher: means before and after, the paired change, and how often the later answer scores higher."""

    name: str
    before: Estimate
    after: Estimate | None
    change: Estimate | None
    wins: Estimate | None


def _by_step(answers: Rows) -> dict[int, Answers]:
    """Answers by step, and then by query; of queries with the same id the first is paired with the first."""
    found: dict[int, dict[tuple[str, int], Mapping[str, Any]]] = {}
    counts: Counter[tuple[int, str]] = Counter()
    for row in answers:
        at = row["step"], row["id"]
        found.setdefault(row["step"], {})[row["id"], counts[at]] = row
        counts[at] += 1
    return dict(sorted(found.items()))


def _scores(answers: Answers, name: str) -> dict[tuple[str, int], float]:
    return {key: one for key, row in answers.items() if (one := number(row.get("scores") or {}, name)) is not None}


def _held_out(seen: Mapping[int, Answers]) -> list[_Opinion]:
    if not seen:
        return []
    first, *later = seen.values()
    found = []
    for name in WATCHERS:
        before = _scores(first, name)
        after = _scores(later[-1], name) if later else {}
        both = {key: (before[key], after[key]) for key in before if key in after}
        if before or after:
            paired = (_mean_change(both), _wins(both)) if both else (None, None)
            found.append(_Opinion(name, _mean_of(before), _mean_of(after) if later else None, *paired))
    return found


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


def _wins(both: Mapping[tuple[str, int], tuple[float, float]]) -> Estimate:
    return share(sum((after > before) + (after == before) / 2 for before, after in both.values()), len(both))


def _held_out_section(seen: Mapping[int, Answers]) -> Section | None:
    opinions = _held_out(seen)
    if not opinions:
        return None
    rows = [(WATCHERS[one.name], one.before, one.after, one.change, one.wins) for one in opinions]
    steps = " and after step ".join(f"{step:,}" for step in sorted({min(seen), max(seen)}))
    note = (
        f"The same queries, which are not trained on, answered with the same seeds after step {steps}. The win rate is "
        "the share of queries whose later answer scores higher, a tie counting half."
    )
    columns = ("who judges", "before", "after", "change", "win rate over before")
    return Section("held_out", "Held-out queries, before and after", note, columns, rows)


def _over_optimisation(looks: Rows, seen: Mapping[int, Answers]) -> Section | None:
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


# What it cost, and the answers themselves


def _usage_section(usage: Mapping[str, float], watching: Mapping[str, float]) -> Section | None:
    rows: list[tuple[Cell, ...]] = []
    for name, title in _USAGE.items():
        amounts = [number(one, name) for one in (usage, watching)]
        if amounts != [None, None]:
            rows.append((title, *(one if one is None or name == "cost_usd" else int(one) for one in amounts)))
    note = "What was asked for the reward, and by those who judge the held-out answers beside it."
    columns = ("what", "for the reward", "for held-out queries")
    return Section("usage", "Usage", note, columns, rows) if rows else None


def _pairs(seen: Mapping[int, Answers]) -> Sequence[Mapping[str, Any]]:
    """The first answer and the last to each query, side by side."""
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
