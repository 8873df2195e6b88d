"""Labelers side by side on the same items: who agrees more with people, and how far they agree with one another."""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from rlaif.evaluation.alignment import Confusions, Resampling, membership
from rlaif.evaluation.items import Items
from rlaif.evaluation.policy import Policy
from rlaif.evaluation.verdicts import UNREAD
from rlaif.statistics.intervals import Estimate, ratio
from rlaif.statistics.tests import holm, mcnemar


class Paired(NamedTuple):
    """Two labelers on the items that both were asked about and people labeled.

    Attributes:
        one: the first labeler.
        other: the second.
        difference: agreement of the first with people minus that of the second.
        one_ahead: items on which the first has more credit: where no tie counts half, those that it alone got right.
        other_ahead: the same of the second.
        p: of McNemar's exact test on these, after Holm's correction for all pairs; it takes items as independent.
    """

    one: str
    other: str
    difference: Estimate
    one_ahead: int
    other_ahead: int
    p: float


def paired(items: Items, policy: Policy, resampling: Resampling) -> list[Paired]:
    """Compare each two labelers on their common items.

    Args:
        items: comparisons, labeled by several.
        policy: what counts as agreement.
        resampling: how intervals are drawn.

    Returns:
        One for each two that have an item in common.
    """
    found = []
    for one, other in combinations(items.labelers, 2):
        chosen = one.asked & other.asked & items.with_people
        if not chosen.any():
            continue
        people = items.human[chosen]
        credit_one, counts_one = policy.credits(people, one.side[chosen])
        credit_other, counts_other = policy.credits(people, other.side[chosen])
        counts = counts_one * counts_other
        gap = (credit_one - credit_other) * counts
        sums = resampling.of(items.clusters[chosen]).sums(np.stack([gap, counts], 1))
        difference = sums.estimate(lambda s: ratio(s[..., 0], s[..., 1]), float(counts.sum()))
        ahead = int((gap > 0).sum()), int((gap < 0).sum())
        found.append(Paired(one.name, other.name, difference, *ahead, mcnemar(*ahead)))
    corrected = holm([pair.p for pair in found])
    return [pair._replace(p=p) for pair, p in zip(found, corrected, strict=True)]


def matrix(items: Items, resampling: Resampling) -> list[tuple[str | Estimate | None, ...]]:
    """Agreement of each two labelers with one another; a tie of either counts half, what was not read is left out.

    Args:
        items: comparisons, labeled by several.
        resampling: how intervals are drawn.

    Returns:
        A row for each labeler: its name, and its agreement with each of them, None with itself.
    """
    policy = Policy("half", "drop")
    known: dict[tuple[str, str], Estimate] = {}
    for one, other in combinations(items.labelers, 2):
        chosen = one.asked & other.asked & (one.side != UNREAD)
        if chosen.any():
            said = {"label": membership(other.side[chosen])}
            counted = Confusions(one.side[chosen], said, resampling.of(items.clusters[chosen]))
            known[one.name, other.name] = counted.agreement(policy)
    names = [labeler.name for labeler in items.labelers]
    return [(one, *(known.get((one, other), known.get((other, one))) for other in names)) for one in names]
