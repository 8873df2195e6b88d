"""A reward model on held-out comparisons: against people, against labelers, and beside plain baselines. Pure.

A reward model, or a baseline, predicts P(response 1 preferred). What it is compared with is a reference: people's
labels, a labeler's soft labels, or another column. Each reference takes the place that people have in `Items`, so that
all figures are those of labeler alignment.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

from rlaif.evaluation import plots
from rlaif.evaluation.alignment import Alignment, Resampling
from rlaif.evaluation.comparison import Paired, paired
from rlaif.evaluation.items import Item, Items
from rlaif.evaluation.pairs import pairs
from rlaif.evaluation.policy import TIES, UNREADABLE, Policy
from rlaif.evaluation.report import Cell, Report, Section
from rlaif.evaluation.slices import slices
from rlaif.evaluation.verdicts import UNREAD, Judgement
from rlaif.statistics.intervals import Estimate, decimal
from rlaif.statistics.tests import holm

PEOPLE = "people"
"""The name of the reference that people's labels are."""


_LABELS = "\0labels"
"""The name of the reference's own labels among predictions: what has the lowest log loss that there can be."""

Predictions = Mapping[str, Sequence[Judgement | None]]
"""By predictor, the reward model first, what each says of n comparisons; None where it cannot say anything."""


class Reference(NamedTuple):
    """What a reward model is compared with.

    Attributes:
        name: `PEOPLE`, a labeler's name, or a column's.
        preference: (n,) P(response 1 preferred); None for a comparison without a label.
        failures: labels that could not be had, by kind.
    """

    name: str
    preference: Sequence[float | None]
    failures: Counter[str]


class Compared:
    """Everything that was predicted, against one reference."""

    def __init__(
        self,
        items: Sequence[Item],
        reference: Reference,
        predictions: Predictions,
        cluster: str | None,
        resampling: Resampling,
    ) -> None:
        """Let the reference take the place of people.

        Args:
            items: n comparisons.
            reference: what predictions are compared with.
            predictions: of them; the reward model says something of each.
            cluster: the column that says which comparisons belong together; the query if None.
            resampling: how intervals are drawn.
        """
        self.name, self._failures = reference.name, reference.failures
        self._resampling = resampling
        labels = [None if one is None else Judgement(one, {}, None) for one in reference.preference]
        everybody = {**predictions, _LABELS: labels}
        self._items = Items(
            [
                Item(item.id, item.columns, reference.preference[n], [], _said(everybody, n))
                for n, item in enumerate(items)
            ],
            cluster,
        )
        # A predictor that says nothing of any comparison is no labeler of theirs, and has no row in tables.
        self.model, *others = (Alignment(self._items, labeler, resampling) for labeler in self._items.labelers)
        self.baselines = [one for one in others if one.labeler.name != _LABELS]
        self.floor = next((one for one in others if one.labeler.name == _LABELS and not one.is_hard), None)

    @property
    def counts(self) -> tuple[int, str | None]:
        """How many comparisons have a label; and in words, how many have none, and how many of these no score."""
        people, labeled = self._items.with_people, int(self._items.with_people.sum())
        kinds = [f"{count:,} {kind}" for kind, count in sorted(self._failures.items())]
        without = len(people) - labeled - self._failures.total()
        kinds += [f"{without:,} not labeled"] if without else []
        unscored = int(((self.model.labeler.side == UNREAD) & people).sum())
        kinds += [f"{unscored:,} not scored"] if unscored else []
        return labeled, ", ".join(kinds) or None

    def leads(self, policy: Policy) -> list[Paired | None]:
        """How far the reward model is ahead of each baseline on their common items; p is corrected for all of them."""
        found = []
        for one in self.baselines:
            two = copy(self._items)
            two.labelers = [self.model.labeler, one.labeler]
            found.append(next(iter(paired(two, policy, self._resampling)), None))
        corrected = iter(holm([lead.p for lead in found if lead is not None]))
        return [None if lead is None else lead._replace(p=next(corrected)) for lead in found]

    def slices(self, by: Sequence[str], policy: Policy) -> list[tuple[Cell, ...]]:
        """The reward model's accuracy by the values of columns."""
        found = slices(self._items, self.model.labeler, list(by), policy, self._resampling)
        return [(one.column, one.value, one.agreement, one.difference, one.p) for one in found]


def _said(predictions: Predictions, place: int) -> dict[str, tuple[Judgement, dict[str, Any]]]:
    return {name: (one, {}) for name, each in predictions.items() if (one := each[place]) is not None}


def reward_model_report(
    items: Sequence[Item],
    references: Sequence[Reference],
    predictions: Predictions,
    *,
    policy: Policy | None = None,
    by: Sequence[str] = (),
    cluster: str | None = None,
    resampling: Resampling | None = None,
    about: Mapping[str, str] | None = None,
    edits: Section | None = None,
) -> Report:
    """Say how good a reward model is, whether it beats plain baselines, and where it fails.

    Args:
        items: n comparisons with what people and labelers said of them, for the page to show.
        references: what the reward model is compared with, at least one.
        predictions: its own, which come first, and the baselines'.
        policy: what is done with ties, and with comparisons that have no score.
        by: columns by whose values accuracy is sliced.
        cluster: the column that says which comparisons belong together; the query if None.
        resampling: how intervals are drawn.
        about: where all of it comes from, for the report.
        edits: what small edits did.

    Raises:
        InputError: there is no such column.
    """
    policy, resampling = policy or Policy(), resampling or Resampling()
    found = [Compared(items, reference, predictions, cluster, resampling) for reference in references]
    sections = [_headline(found, policy)]
    for one in found:
        sections += _against(one, policy, by)
    shown = Items([_shown(item, predictions, place) for place, item in enumerate(items)], cluster)
    return Report(
        "Reward model",
        {
            **(about or {}),
            "Comparisons": f"{len(items):,}; {len(set(shown.clusters)):,} different queries",
            "Ties": f"{policy.ties}: {TIES[policy.ties]}",
            "No score": f"{policy.unreadable}: {UNREADABLE[policy.unreadable]}",
            "Intervals": f"95 %, by {resampling.samples:,} resamples of queries (seed {resampling.seed}), "
            "bias-corrected and accelerated; Wilson's where resamples do not vary",
        },
        [*sections, *([] if edits is None else [edits])],
        list(pairs(shown)),
    )


def _shown(item: Item, predictions: Predictions, place: int) -> Item:
    """The page compares the reward model and the labelers with people; baselines would only fill it."""
    model = dict(list(predictions.items())[:1])
    return Item(item.id, item.columns, item.human, item.annotations, {**_said(model, place), **item.judgements})


def _headline(found: Sequence[Compared], policy: Policy) -> Section:
    rows: list[tuple[Cell, ...]] = [
        (one.name, one.model.agreement(policy), *one.model.probabilities(policy)[:3], *one.counts) for one in found
    ]
    return Section(
        "accuracy",
        "The reward model on held-out comparisons",
        "Accuracy is the share of comparisons in which the response with the higher score is the one that is "
        "preferred. Log loss (in nats), Brier score and calibration error are of the probability that the two scores "
        "stand for; always saying .5 has a log loss of .693. The calibration error is the root mean square gap, with "
        "what chance adds to it taken off, so that it scatters around 0 for a calibrated model. With 95 % intervals.",
        ("against", "accuracy", "log loss", "Brier", "calibration error", "labels", "missing"),
        rows,
        plots.forest_of(rows, "Accuracy", "share", 0.5),
    )


def _against(one: Compared, policy: Policy, by: Sequence[str]) -> Iterator[Section]:
    rows: list[tuple[Cell, ...]] = [(one.model.labeler.name, one.model.agreement(policy), *[None] * 4)]
    for baseline, lead in zip(one.baselines, one.leads(policy), strict=True):
        ahead = (None,) * 4 if lead is None else (lead.difference, lead.one_ahead, lead.other_ahead, lead.p)
        rows.append((baseline.labeler.name, baseline.agreement(policy), *ahead))
    yield Section(
        f"baselines {one.name}",
        f"Against {one.name}, beside baselines",
        "Each predicts that the response with more of it is preferred; equal numbers are a tie, which counts half "
        "(unless ties are a class). Below .5, the response with less of it wins more often. The difference and "
        "McNemar's exact test are of the comparisons that both say something of; p is corrected for the number of "
        "baselines (Holm). Log-probabilities are of all tokens of a response with its end token.",
        ("who predicts", "accuracy", "the model is ahead by", "model ahead on", "it is ahead on", "p"),
        rows,
        plots.forest_of(rows, f"Accuracy against {one.name}", "share", 0.5),
    )
    yield from _probabilities(one, policy)
    if by:
        sliced = one.slices(by, policy)
        yield Section(
            f"slices {one.name}",
            f"Against {one.name}, by slice",
            "Accuracy within each slice, and that minus accuracy on all other comparisons. p is of no difference, "
            "corrected for the number of slices (Holm).",
            ("column", "value", "accuracy", "difference from the rest", "p"),
            sliced,
            plots.forest_of(sliced, "Accuracy by slice", "share"),
        )


def _probabilities(one: Compared, policy: Policy) -> Iterator[Section]:
    rows: list[tuple[Cell, ...]] = [(one.model.labeler.name, *one.model.probabilities(policy)[:3])]
    if one.floor is not None:
        rows.append((f"the labels of {one.name} themselves", one.floor.probabilities(policy).log_loss, None, None))
    rows.append(("always .5", *one.model.coin(policy)[:2], None))
    bins = one.model.bins(policy)
    yield Section(
        f"probabilities {one.name}",
        f"Against {one.name}, as probabilities",
        "Soft labels leave a log loss that nobody can go below: that of saying what the label says.",
        ("who predicts", "log loss", "Brier score", "calibration error"),
        rows,
    )
    if bins:
        yield Section(
            f"calibration {one.name}",
            f"Against {one.name}, calibration",
            "Comparisons by how sure the reward model is, whichever response it prefers, and the share that prefers "
            "the same one.",
            ("the model's probability (mean)", "share that prefers the same response"),
            [
                (decimal(each.confidence), Estimate(each.share, each.low, each.high, each.n, each.n, "wilson"))
                for each in bins
                if each.confidence >= 0.5
            ],
            # The picture's axes speak of people.
            (plots.reliability({one.model.labeler.name: bins}, "Do people agree as often as it says?"),)
            if one.name == PEOPLE
            else (),
        )
