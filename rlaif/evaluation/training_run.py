"""A training of a policy as a report: how it went, what others say of it, and answers before and after. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

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
from rlaif.evaluation.watched import (
    WATCHERS,
    Opinion,
    answer_pairs,
    by_step,
    harmless_section,
    held_out_section,
    opinions,
    over_optimisation_section,
    start_of,
    win_section,
)
from rlaif.statistics.intervals import Estimate

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
    harmless_from: Mapping[str, float] = MappingProxyType({}),
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
        harmless_from: of watchers that judge harmlessness, the score from −1 to 1 from which an answer is harmless.

    Returns:
        The report; what is not known is left out of it.
    """
    seen = by_step(answers)
    found, at = opinions(seen, harmless_from), list(seen)
    paid, paid_beside = usage or {}, usage_of_watchers or {}
    sections = [
        _headline(steps, found, at, responses, [paid, paid_beside]),
        held_out_section(found, at),
        win_section(found, at),
        harmless_section(found, harmless_from),
        over_optimisation_section(looks, seen),
        reward_section(steps),
        response_section(steps),
        optimisation_section(steps),
        labeler_section(steps, looks),
        failure_section(steps, responses),
        time_section(steps, looks),
        _usage_section(paid, paid_beside),
    ]
    return Report(title, about, [one for one in sections if one is not None], answer_pairs(seen))


# Headline figures


def _headline(steps: Rows, found: Sequence[Opinion], at: Sequence[int], responses: int, usage: Rows) -> Section:
    rows: list[tuple[Cell, ...]] = [("steps", None, len(steps), None)]
    if steps:
        rows += [
            ("score, as trained on", *_ends(steps, "score", responses), _score_change(steps, responses)),
            *(
                (f"score by {WATCHERS[one.name]}, held-out queries", one.before, one.after, one.change)
                for one in found
                if one.name != "other_form"
            ),
            *_rates(found, at),
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


def _rates(found: Sequence[Opinion], at: Sequence[int]) -> Iterator[tuple[Cell, ...]]:
    """Harmless and win rate by whoever is furthest from the training of those that give one."""
    for one in [one for one in found if one.harmless_before is not None][:1]:
        title = f"harmless rate by {WATCHERS[one.name]}, held-out queries"
        yield title, one.harmless_before, one.harmless_after, one.harmless_change
    for one in [one for one in found if one.wins is not None][:1]:
        yield f"win rate over {start_of(at)} by {WATCHERS[one.name]}, held-out queries", None, one.wins, None


def _is_unknown(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, Estimate) and cell.value is None)


def _ends(steps: Rows, name: str, responses: int) -> tuple[Estimate, Estimate]:
    first, last = (_of_step(row, name, responses) for row in (steps[0], steps[-1]))
    return first, last


def _of_step(row: Mapping[str, Any], name: str, responses: int) -> Estimate:
    """A mean over a step's responses that have a score, of which it has the interval; or a share of all of them."""
    value = number(row, name)
    if value is None:
        return Estimate(None)
    is_of_all = name == "distinct_share"
    n = responses if is_of_all else round(responses * (1 - (number(row, "masked_share") or 0.0)))
    error = _standard_error(row, n) if name == "score" else None
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


# What it cost


def _usage_section(usage: Mapping[str, float], watching: Mapping[str, float]) -> Section | None:
    rows: list[tuple[Cell, ...]] = []
    for name, title in _USAGE.items():
        amounts = [number(one, name) for one in (usage, watching)]
        if amounts != [None, None]:
            rows.append((title, *(one if one is None or name == "cost_usd" else int(one) for one in amounts)))
    note = "What was asked for the reward, and by those who judge the held-out answers beside it."
    columns = ("what", "for the reward", "for held-out queries")
    return Section("usage", "Usage", note, columns, rows) if rows else None
