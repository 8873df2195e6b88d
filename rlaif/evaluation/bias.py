"""What sways a labeler other than quality: position, length, formatting, copied text, and its own kin.

Position needs both orders and no people. For everything else the labeler is set beside people on the same items, since
a longer response may be the better one: the bias is what the labeler adds to people's own preference for it.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif.evaluation.alignment import Resampling
from rlaif.evaluation.items import Items, Labeler
from rlaif.evaluation.policy import Policy
from rlaif.evaluation.verdicts import ABSENT, FIRST, SECOND, TIE, UNREAD
from rlaif.statistics.agreement import one_hot
from rlaif.statistics.calibration import Bin
from rlaif.statistics.intervals import Estimate, Floats, ratio, wilson
from rlaif.statistics.regression import logistic

_LISTED = re.compile(r"^[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
_FORMATTED = re.compile(r"^#{1,6} |\*\*\S|```|^\|.*\|[ \t]*$|`[^`\n]+`", re.MULTILINE)
_COPIED_WORDS = 8


@dataclass(frozen=True, slots=True)
class Position:
    """What the order of the two responses does to a labeler's verdicts.

    Attributes:
        same_winner: share of comparisons in which the same response wins in both orders.
        same_position: share in which the same position wins in both orders: position bias as in arXiv:2309.00267.
        both_first: share in which the response shown first wins twice.
        both_second: share in which the one shown second does.
        first_wins: share of single verdicts for the response shown first; a tie counts half.
        shift: mean of P(the response shown first preferred) minus .5.
    """

    same_winner: Estimate
    same_position: Estimate
    both_first: Estimate
    both_second: Estimate
    first_wins: Estimate
    shift: Estimate


def position(items: Items, labeler: Labeler, policy: Policy, resampling: Resampling) -> Position:
    """Measure position bias on all comparisons that were asked about in both orders, labeled by people or not.

    Args:
        items: comparisons.
        labeler: one of their labelers.
        policy: what is done with a verdict that could not be read: left out, wrong (for nobody), or a tie.
        resampling: how intervals are drawn.
    """
    both = labeler.both
    first, second = labeler.side_12[both], labeler.side_21[both]
    if policy.unreadable == "tie":
        first, second = (np.where(said == UNREAD, TIE, said) for said in (first, second))
    joint = one_hot(first * 4 + second, 16)
    read_twice = (first != UNREAD) & (second != UNREAD)
    shift = (labeler.preference_12[both] - labeler.preference_21[both]) * read_twice
    sums = resampling.of(items.clusters[both]).sums(np.column_stack([joint, shift, read_twice]))
    counted = np.ones((4, 4))
    if policy.unreadable == "drop":
        counted[UNREAD, :] = counted[:, UNREAD] = 0
    single_12 = np.array([0.0, 0.5, 1.0, 0.0])
    single_21 = single_12[[FIRST, TIE, SECOND, UNREAD]]
    read = np.array([1.0, 1.0, 1.0, 0.0 if policy.unreadable == "drop" else 1.0])
    verdicts = read[:, None] + read[None, :]

    def share(weights: Floats, of: Floats = counted) -> Estimate:
        def statistic(found: Floats) -> Floats:
            table = found[..., :16].reshape(*found.shape[:-1], 4, 4)
            return ratio((table * weights).sum((-2, -1)), (table * of).sum((-2, -1)))

        n = round(float((sums.total[:16].reshape(4, 4) * of).sum()))
        return sums.estimate(statistic, n, proportion=True)

    same_winner = np.diag([1.0, 1.0, 1.0, 0.0])
    return Position(
        share(same_winner),
        share(_cells((FIRST, SECOND), (SECOND, FIRST))),
        share(_cells((FIRST, SECOND))),
        share(_cells((SECOND, FIRST))),
        share(single_12[:, None] * read[:, None] + single_21[None, :] * read[None, :], verdicts),
        sums.estimate(lambda found: ratio(found[..., 16], 2 * found[..., 17]), round(float(sums.total[17]))),
    )


def _cells(*cells: tuple[int, int]) -> Floats:
    table = np.zeros((4, 4))
    for row, column in cells:
        table[row, column] = 1
    return table


@dataclass(frozen=True, slots=True)
class Leaning:
    """Whether a labeler leans towards responses that have more of something than people do.

    Attributes:
        labeler: share of the items in which it prefers the response with more of it; ties count half.
        people: the same of people, on the same items; without a value where people labeled none.
        difference: labeler minus people.
        odds: coefficient of a logistic fit: by how many logits a step (a doubling, or having it at all) moves the
            labeler, with what people prefer held fixed where it is known.
    """

    labeler: Estimate
    people: Estimate
    difference: Estimate
    odds: Estimate


def leaning(
    items: Items, labeler: Labeler, more: NDArray[np.float64], known: NDArray[np.bool_], resampling: Resampling
) -> Leaning:
    """Measure a labeler's leaning.

    Args:
        items: comparisons.
        labeler: one of their labelers.
        more: (n,) how much more of it response 1 has than response 2.
        known: (n,) where that can be told.
        resampling: how intervals are drawn.
    """
    read = labeler.asked & (labeler.side != UNREAD) & known
    differ = read & (more != 0)
    with_people = items.with_people if (differ & items.with_people).any() else np.ones(len(more), bool)
    chosen = differ & with_people
    has_people = bool((chosen & items.with_people).any())
    side, people = labeler.side[chosen], items.human[chosen]
    towards = (more[chosen] > 0).astype(float)
    ours, theirs = _for(side, towards), _for(np.where(people == ABSENT, TIE, people), towards)
    count = int(chosen.sum())
    sums = resampling.of(items.clusters[chosen]).sums(np.stack([ours, theirs, np.ones(count)], 1))
    with_labeler = sums.estimate(lambda found: ratio(found[..., 0], found[..., 2]), count, proportion=True)
    odds = _odds(items, labeler, more, read & items.with_people if has_people else read, has_people)
    if not has_people:
        return Leaning(with_labeler, Estimate(None), Estimate(None), odds)
    return Leaning(
        with_labeler,
        sums.estimate(lambda found: ratio(found[..., 1], found[..., 2]), count, proportion=True),
        sums.estimate(lambda found: ratio(found[..., 0] - found[..., 1], found[..., 2]), count),
        odds,
    )


def _for(side: NDArray[np.int8], towards: Floats) -> Floats:
    """(n,) 1 where the verdict falls to the response that has more, .5 for a tie, else 0."""
    return np.where(side == TIE, 0.5, np.where((side == FIRST) == (towards > 0), 1.0, 0.0))


def _odds(items: Items, labeler: Labeler, more: Floats, chosen: NDArray[np.bool_], has_people: bool) -> Estimate:
    if not chosen.any():
        return Estimate(None)
    # Without an intercept: which response is first is a coin.
    columns = [more[chosen]]
    if has_people:
        columns.append(2 * items.human_preference[chosen] - 1)
    fit = logistic(np.stack(columns, 1), labeler.side[chosen] / 2, items.clusters[chosen])
    return fit.estimate(np.eye(len(columns))[0])


def measures(items: Items, labeler: Labeler) -> dict[str, tuple[Floats, NDArray[np.bool_]]]:
    """What the texts of two responses may differ in, of every comparison.

    Args:
        items: comparisons.
        labeler: whose kin its own responses are.

    Returns:
        By name, (n,) how much more of it response 1 has, and (n,) where that can be told.
    """
    every: dict[str, Callable[[dict[str, Any]], float | None]] = {
        "longer (per doubling of words)": _longer,
        "has a list": _by_pattern(_LISTED),
        "has other formatting": _by_pattern(_FORMATTED),
        f"repeats {_COPIED_WORDS} words of the query": _copies,
        "written by the labeler's own model": lambda columns: _own(columns, labeler.name),
    }
    found = {}
    for name, measure in every.items():
        values = [measure(item.columns) for item in items.items]
        known = np.array([value is not None for value in values], bool)
        if known.any():
            found[name] = np.array([0.0 if value is None else value for value in values]), known
    return found


def _texts(columns: dict[str, Any]) -> tuple[str, str] | None:
    one, other = columns.get("response_1"), columns.get("response_2")
    return (one, other) if isinstance(one, str) and isinstance(other, str) else None


def _longer(columns: dict[str, Any]) -> float | None:
    texts = _texts(columns)
    if texts is None:
        return None
    one, other = (max(1, len(text.split())) for text in texts)
    return math.log2(one / other)


def _by_pattern(pattern: re.Pattern[str]) -> Callable[[dict[str, Any]], float | None]:
    def measure(columns: dict[str, Any]) -> float | None:
        texts = _texts(columns)
        return None if texts is None else float(bool(pattern.search(texts[0]))) - bool(pattern.search(texts[1]))

    return measure


def _copies(columns: dict[str, Any]) -> float | None:
    texts, query = _texts(columns), columns.get("query")
    if texts is None or not query:
        return None
    said = query if isinstance(query, str) else "\n".join(str(turn.get("content", "")) for turn in query)
    known = _runs(said)
    one, other = (float(not known.isdisjoint(_runs(text))) for text in texts)
    return one - other


def _runs(text: str) -> set[tuple[str, ...]]:
    words = text.casefold().split()
    return {tuple(words[start : start + _COPIED_WORDS]) for start in range(len(words) - _COPIED_WORDS + 1)}


def _own(columns: dict[str, Any], labeler: str) -> float | None:
    models = columns.get("model_1"), columns.get("model_2")
    if None in models:
        return None
    mine = _bare(labeler)
    one, other = (float(_bare(str(model)) == mine) for model in models)
    return one - other if one or other else None


def _bare(model: str) -> str:
    """A model's name without its provider and folder."""
    return re.split(r"[:/]", model)[-1].casefold()


def length_curve(items: Items, side: NDArray[np.int8], bins: int = 8) -> list[Bin]:
    """How often response 1 is preferred, by how much longer it is; symmetrised.

    Args:
        items: comparisons.
        side: (n,) whose preference.
        bins: how many on each side of equal lengths.

    Returns:
        For each bin the mean log2 ratio of words (as `confidence`) and the share, from the shortest on.
    """
    more = [_longer(item.columns) for item in items.items]
    chosen = [place for place, value in enumerate(more) if value and side[place] in (FIRST, TIE, SECOND)]
    if not chosen:
        return []
    ratios = np.array([more[place] for place in chosen], float)
    credit = _for(side[chosen], (ratios > 0).astype(float))
    order = np.argsort(np.abs(ratios), kind="stable")
    upper = []
    for part in np.array_split(order, min(bins, max(1, len(order) // 10))):
        value, count = float(credit[part].mean()), len(part)
        upper.append(Bin(float(np.abs(ratios[part]).mean()), value, count, *wilson(value, count)))
    lower = [Bin(-one.confidence, 1 - one.share, one.n, 1 - one.high, 1 - one.low) for one in reversed(upper)]
    return lower + upper
