"""Labeler alignment: how far a labeler agrees with people, and how far people agree with one another.

Shape legend: n comparisons, R resamples of their clusters. What is said of an item is a membership (n, 4): how much of
the verdict falls to response 2, neither, response 1, and unread; zeros where the labeler was not asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rlaif.evaluation.items import Codes, Items, Labeler
from rlaif.evaluation.policy import SIDES, Policy
from rlaif.evaluation.report import Cell
from rlaif.evaluation.verdicts import ABSENT, FIRST, SECOND, TIE, UNREAD
from rlaif.statistics.agreement import alpha, coincidences, f1, one_hot, precision, recall
from rlaif.statistics.calibration import Bin, Quality, quality, reliability
from rlaif.statistics.intervals import Bootstrap, Estimate, Floats

Measure = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are drawn: how many resamples of clusters, and by which seed."""

    samples: int = 2000
    seed: int = 0

    def of(self, clusters: NDArray[np.str_]) -> Bootstrap:
        """Resamples of these items' clusters."""
        return Bootstrap(clusters, self.samples, self.seed)


class Confusions:
    """What people say, crossed with one or several things that a labeler says; all of it counted at once."""

    def __init__(self, people: Codes, said: Mapping[str, Floats], bootstrap: Bootstrap) -> None:
        """Count.

        Args:
            people: (n,) sides.
            said: by name, (n, 4) memberships.
            bootstrap: of the n items.
        """
        rows = one_hot(people, 3)[:, :, None]
        columns = [(rows * membership[:, None, :]).reshape(len(people), 12) for membership in said.values()]
        self._places = {name: slice(12 * place, 12 * place + 12) for place, name in enumerate(said)}
        self._sums = bootstrap.sums(np.concatenate(columns, 1))

    def of(self, name: str) -> Floats:
        """The confusion matrix of one thing that was said: (3, 4) counts."""
        return _table(self._sums.only(self._places[name]).total)

    def agreement(self, policy: Policy, name: str = "label") -> Estimate:
        """Agreement with people."""
        return self._estimate(policy, name, policy.agreement, proportion=True)

    def kappa(self, policy: Policy, name: str = "label") -> Estimate:
        """Agreement beyond chance."""
        return self._estimate(policy, name, policy.kappa)

    def classes(self, policy: Policy) -> list[tuple[Cell, ...]]:
        """Precision, recall and F1 of each verdict that people give, and their means over these verdicts."""
        counted = policy.counted(self.of("label"))
        used = [side for side in SIDES if counted[side].sum() > 0]
        rows: list[tuple[Cell, ...]] = []
        for name, sides in [*((SIDES[side], [side]) for side in used), ("mean of these (macro)", used)]:
            figures = [self._class_figure(measure, sides, policy) for measure in (precision, recall, f1)]
            rows.append((name, *figures))
        return rows

    def _class_figure(self, measure: Measure, sides: Sequence[int], policy: Policy) -> Estimate:
        def mean(confusion: Floats) -> Floats:
            by_side: Floats = measure(policy.counted(confusion))[..., list(sides)].mean(-1)
            return by_side

        n = round(float(policy.counted(self.of("label"))[list(sides)].sum()))
        sums = self._sums.only(self._places["label"])
        if measure is recall:
            # Other rows of the matrix do not matter, nor do clusters that are in no other.
            sums = sums.times(np.isin(np.arange(12) // 4, sides))
        return sums.estimate(lambda found: mean(_table(found)), n, proportion=len(sides) == 1 and measure is recall)

    def _estimate(self, policy: Policy, name: str, measure: Measure, *, proportion: bool = False) -> Estimate:
        # Items that the policy leaves out are in no cluster that counts.
        sums = self._sums.only(self._places[name]).times(policy.cells.ravel())
        return sums.estimate(lambda found: measure(_table(found)), policy.count(self.of(name)), proportion=proportion)


def _table(sums: Floats) -> Floats:
    """(..., 12) sums as confusion matrices (..., 3, 4)."""
    table: Floats = sums.reshape(*sums.shape[:-1], 3, 4)
    return table


class Alignment(Confusions):
    """One labeler against people."""

    def __init__(self, items: Items, labeler: Labeler, resampling: Resampling) -> None:
        """Count what the labeler says of comparisons that people labeled.

        Args:
            items: comparisons with what people said.
            labeler: one of the items' labelers.
            resampling: how intervals are drawn.
        """
        self.labeler = labeler
        self.chosen = labeler.asked & items.with_people
        self._clusters, self._resampling = items.clusters[self.chosen], resampling
        self._people, self._said = items.human[self.chosen], labeler.side[self.chosen]
        self._target, self._preference = items.human_preference[self.chosen], labeler.preference[self.chosen]
        said = {
            "label": membership(self._said),
            "soft": soft_membership(self._said, self._preference),
            "12": membership(labeler.side_12[self.chosen]),
            "21": membership(labeler.side_21[self.chosen]),
        }
        super().__init__(self._people, said, resampling.of(self._clusters))

    def __len__(self) -> int:
        return len(self._people)

    @property
    def is_hard(self) -> bool:
        """Whether all labels are 0, .5 or 1, so that nothing can be said of their probabilities."""
        read = self._preference[self._said != UNREAD]
        return bool(np.all(np.isin(read, (0, 0.5, 1))))

    @property
    def knows_ties(self) -> bool:
        """Whether people, or the labeler, call some comparison a tie."""
        return bool(np.any(self._people == TIE) or np.any(self._said == TIE))

    def probabilities(self, policy: Policy) -> Quality:
        """How good soft labels are as probabilities.

        Args:
            policy: says whether items count on which people are undecided; unread ones have no probability.
        """
        kept = self._kept(policy)
        return quality(self._preference[kept], self._target[kept], self._resampling.of(self._clusters[kept]))

    def coin(self, policy: Policy) -> Quality:
        """The same of labels that always are .5, on the same items."""
        target = self._target[self._kept(policy)]
        return quality(np.full(len(target), 0.5), target, self._resampling.of(self._clusters[self._kept(policy)]))

    def bins(self, policy: Policy) -> list[Bin]:
        """The reliability diagram of soft labels."""
        kept = self._kept(policy)
        return reliability(self._preference[kept], self._target[kept])

    def _kept(self, policy: Policy) -> NDArray[np.bool_]:
        kept: NDArray[np.bool_] = self._said != UNREAD
        if policy.ties == "drop":
            kept &= self._people != TIE
        return kept


def membership(side: Codes) -> Floats:
    """What is said, each verdict whole.

    Args:
        side: (n,) codes.

    Returns:
        (n, 4); zeros where the labeler was not asked.
    """
    whole: Floats = one_hot(side, 5)[:, :ABSENT]
    return whole


def soft_membership(side: Codes, preference: Floats) -> Floats:
    """What is said by soft labels: p of the verdict falls to response 1 and 1 - p to response 2.

    Args:
        side: (n,) codes.
        preference: (n,) P(response 1 preferred), where the side is known.

    Returns:
        (n, 4); an exact tie stays one.
    """
    soft = membership(side)
    decided = (side == FIRST) | (side == SECOND)
    soft[decided, FIRST] = preference[decided]
    soft[decided, SECOND] = 1 - preference[decided]
    return soft


def ceiling(items: Items, policy: Policy, resampling: Resampling) -> list[tuple[Cell, ...]]:
    """How far people agree with one another, by the same function as a labeler with people.

    Args:
        items: comparisons, some of them with several annotations.
        policy: what is done with ties.
        resampling: how intervals are drawn.

    Returns:
        Each annotator against the majority of the others, then each two of them: who, agreement, kappa.
    """
    votes = items.annotations
    rows: list[tuple[Cell, ...]] = []
    annotators = range(votes.shape[1])
    for one in annotators if len(annotators) > 2 else ():
        others = _majority(np.delete(votes, one, axis=1))
        found = _against(items, others, votes[:, one], policy, resampling)
        rows.append((f"annotator {one + 1} with the others' majority", *found))
    for one, other in combinations(annotators, 2):
        found = _against(items, votes[:, one], votes[:, other], policy, resampling)
        rows.append((f"annotators {one + 1} and {other + 1}", *found))
    return rows


def _against(
    items: Items, people: Codes, said: Codes, policy: Policy, resampling: Resampling
) -> tuple[Estimate, Estimate]:
    both = (people != ABSENT) & (said != ABSENT)
    if not both.any():
        return Estimate(None), Estimate(None)
    counted = Confusions(people[both], {"label": membership(said[both])}, resampling.of(items.clusters[both]))
    return counted.agreement(policy), counted.kappa(policy)


def _majority(votes: Codes) -> Codes:
    """What more than half of the annotators say, or neither."""
    counts = np.stack([(votes == side).sum(1) for side in (SECOND, TIE, FIRST)], 1)
    given = counts.sum(1)
    most = np.where(2 * counts[:, FIRST] > given, FIRST, np.where(2 * counts[:, SECOND] > given, SECOND, TIE))
    return np.where(given > 0, most, ABSENT).astype(np.int8)


def krippendorff(items: Items, resampling: Resampling) -> Estimate:
    """Krippendorff's alpha of all annotators; response 1, response 2 and tie are nominal categories.

    Args:
        items: comparisons; those with fewer than two annotations count nothing.
        resampling: how intervals are drawn.
    """
    counts = np.stack([(items.annotations == side).sum(1) for side in (SECOND, TIE, FIRST)], 1).astype(float)
    several = counts.sum(1) > 1
    if not several.any():
        return Estimate(None)
    sums = resampling.of(items.clusters[several]).sums(coincidences(counts[several]))
    return sums.estimate(lambda s: alpha(s.reshape(*s.shape[:-1], 3, 3)), int(several.sum()))
