"""The alignment report: every section about labelers and people, in the order in which one reads it."""

from collections.abc import Iterator, Sequence

import numpy as np

from rlaif.evaluation import bias, plots
from rlaif.evaluation.alignment import Alignment, Resampling, ceiling, krippendorff
from rlaif.evaluation.comparison import matrix, paired
from rlaif.evaluation.items import Items, Labeler
from rlaif.evaluation.pairs import pairs
from rlaif.evaluation.policy import TIES, UNREADABLE, Policy
from rlaif.evaluation.report import Cell, Report, Section
from rlaif.evaluation.slices import slices
from rlaif.evaluation.verdicts import ABSENT, TIE, UNREAD
from rlaif.statistics.intervals import Estimate

MOST_COMPARED = 10
"""Of more labelers, each two side by side would be a table that nobody reads."""


def alignment(
    items: Items,
    *,
    policy: Policy | None = None,
    by: Sequence[str] = (),
    resampling: Resampling | None = None,
    about: dict[str, str] | None = None,
    repeats: Sequence[tuple[str, Estimate, float]] = (),
) -> Report:
    """Say how good labelers are, where they fail, and how sure that is.

    Args:
        items: comparisons with what labelers, and perhaps people, said of them.
        policy: what is done with ties and unreadable verdicts.
        by: columns by whose values agreement is sliced.
        resampling: how intervals are drawn.
        about: where the items come from, for the report.
        repeats: labelers that were asked again: name, how often the same side came, mean change of the label.

    Returns:
        The report. Sections of which nothing is known are left out.
    """
    policy, resampling = policy or Policy(), resampling or Resampling()
    found = [Alignment(items, labeler, resampling) for labeler in items.labelers]
    sections = [_headline(items, found, policy, resampling)]
    sections += _with_people(items, [one for one in found if len(one)], policy, resampling, by)
    sections += _bias(items, policy, resampling)
    sections += _labelers(items, policy, resampling, repeats)
    return Report(
        "Labeler alignment",
        {
            **(about or {}),
            "Comparisons": f"{len(items.items):,}, of which people labeled {int(items.with_people.sum()):,}; "
            f"{len(np.unique(items.clusters)) if items.items else 0:,} different queries",
            "Ties": f"{policy.ties}: {TIES[policy.ties]}",
            "Unreadable": f"{policy.unreadable}: {UNREADABLE[policy.unreadable]}",
            "Intervals": f"95 %, by {resampling.samples:,} resamples of queries (seed {resampling.seed}), "
            "bias-corrected and accelerated; Wilson's where resamples do not vary",
            **_not_compared(len(items.labelers)),
        },
        sections,
        list(pairs(items)),
    )


def _not_compared(labelers: int) -> dict[str, str]:
    if labelers <= MOST_COMPARED:
        return {}
    return {"Labelers side by side": f"left out: there are {labelers}, and tables hold at most {MOST_COMPARED}"}


def _headline(items: Items, found: Sequence[Alignment], policy: Policy, resampling: Resampling) -> Section:
    soft = any(not one.is_hard for one in found)
    named = ["expected agreement"] if soft else []
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        expected: list[Cell] = [one.agreement(policy, "soft") if not one.is_hard else None] if soft else []
        same = bias.position(items, one.labeler, policy, resampling).same_position
        rows.append((one.labeler.name, one.agreement(policy), *expected, one.kappa(policy), same, *_counts(one)))
    return Section(
        "alignment",
        "Agreement with people",
        "Agreement is the share of comparisons in which the labeler prefers what people prefer; expected agreement "
        "gives soft labels credit for their probability; kappa is agreement beyond chance; same position is the share "
        "in which the labeler chose the same position in both orders. With 95 % intervals.",
        ("labeler", "agreement", *named, "kappa", "same position", "labels", "no label"),
        rows,
        plots.forest_of(rows, "Agreement with people", "share", 0.5),
    )


def _counts(one: Alignment) -> tuple[int, str]:
    labeler = one.labeler
    labels = int(((labeler.side != ABSENT) & (labeler.side != UNREAD)).sum())
    return labels, ", ".join(f"{count:,} {kind}" for kind, count in sorted(labeler.failures.items())) or "none"


def _with_people(
    items: Items, found: Sequence[Alignment], policy: Policy, resampling: Resampling, by: Sequence[str]
) -> Iterator[Section]:
    if not found:
        return
    soft = [one for one in found if not one.is_hard]
    if soft:
        yield _probabilities(soft, policy)
    if any(_asked_in_orders(one) for one in found):
        rows = [
            (one.labeler.name, one.agreement(policy, "12"), one.agreement(policy, "21"))
            for one in found
            if _asked_in_orders(one)
        ]
        yield Section(
            "orders",
            "Agreement in each order",
            "Of the verdict alone that was given with response 1 shown first, and of the one with response 2 first.",
            ("labeler", "response 1 first", "response 2 first"),
            rows,
        )
    if any(one.knows_ties for one in found) or any(one.labeler.failures for one in found):
        yield _policies(found, policy)
    if bool(np.any(items.human == TIE)):
        yield _classes(found, policy)
    if items.annotations.shape[1] > 1:
        yield _people(items, policy, resampling)
    if by:
        yield _slices(items, found, list(by), policy, resampling)


def _asked_in_orders(one: Alignment) -> bool:
    return bool(np.any(one.labeler.side_12 != ABSENT) or np.any(one.labeler.side_21 != ABSENT))


def _probabilities(found: Sequence[Alignment], policy: Policy) -> Section:
    curves = {one.labeler.name: bins for one in found if (bins := one.bins(policy))}
    return Section(
        "probabilities",
        "Soft labels as probabilities",
        "Log loss in nats, and Brier score; the last row says what always saying .5 has. The calibration error is "
        "the root mean square gap between label and people, with what chance adds to it taken off: it scatters around "
        "0 for a calibrated labeler, and a negative value means less than chance would make. All of it is the same if "
        "responses 1 and 2 change names.",
        ("labeler", "log loss", "Brier score", "calibration error"),
        [
            *((one.labeler.name, *one.probabilities(policy)[:3]) for one in found),
            ("always .5", *found[0].coin(policy)[:2], None),
        ],
        (plots.reliability(curves, "Do people agree as often as labels say?"),) if curves else (),
    )


def _policies(found: Sequence[Alignment], policy: Policy) -> Section:
    """Only what makes a difference here: without ties, or without failures, policies for them are all the same."""
    ties = any(one.knows_ties for one in found)
    failures = any(one.labeler.failures for one in found)
    others = [
        each
        for each in policy.others()
        if (ties or each.ties == policy.ties) and (failures or each.unreadable == policy.unreadable)
    ]
    meanings = [f"ties {name}: {meaning}" for name, meaning in TIES.items() if ties]
    meanings += [f"unreadable {name}: {meaning}" for name, meaning in UNREADABLE.items() if failures]
    return Section(
        "policies",
        "The same under other policies",
        f"Chosen here: {policy}. {'; '.join(meanings).capitalize()}.",
        ("labeler", "ties", "unreadable", "agreement", "kappa"),
        [
            (one.labeler.name, each.ties, each.unreadable, one.agreement(each), one.kappa(each))
            for one in found
            for each in (policy, *others)
        ],
    )


def _classes(found: Sequence[Alignment], policy: Policy) -> Section:
    """Ties are verdicts here, whatever the policy says of agreement."""
    nominal = Policy("class", policy.unreadable)
    return Section(
        "classes",
        "By verdict",
        f"Ties are a verdict of their own here; unreadable ones are: {UNREADABLE[policy.unreadable]}.",
        ("labeler", "verdict", "precision", "recall", "F1"),
        [(one.labeler.name, *row) for one in found for row in one.classes(nominal)],
    )


def _people(items: Items, policy: Policy, resampling: Resampling) -> Section:
    rows = ceiling(items, policy, resampling)
    return Section(
        "people",
        "People with one another",
        "By the same function as labelers with people: what a labeler could reach that is as good as one more person. "
        "Krippendorff's alpha is of all annotators together, with ties as a category.",
        ("who", "agreement", "kappa"),
        [*rows, ("Krippendorff's alpha, all annotators", None, krippendorff(items, resampling))],
    )


def _slices(items: Items, found: Sequence[Alignment], by: list[str], policy: Policy, resampling: Resampling) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        for each in slices(items, one.labeler, by, policy, resampling):
            rows.append((one.labeler.name, each.column, each.value, each.agreement, each.difference, each.p))
    return Section(
        "slices",
        "Where it fails",
        "Agreement within each slice, and that minus agreement on all other items. p is of no difference, corrected "
        "for the number of slices of a labeler (Holm).",
        ("labeler", "column", "value", "agreement", "difference from the rest", "p"),
        rows,
        plots.forest_of(rows, "Agreement by slice", "share"),
    )


def _bias(items: Items, policy: Policy, resampling: Resampling) -> Iterator[Section]:
    in_both = [labeler for labeler in items.labelers if labeler.both.any()]
    if in_both:
        yield _position(items, in_both, policy, resampling)
    rows: list[tuple[Cell, ...]] = []
    for labeler in items.labelers:
        for name, (more, known) in bias.measures(items, labeler).items():
            one = bias.leaning(items, labeler, more, known, resampling)
            if one.labeler.n:
                rows.append((labeler.name, name, one.labeler, one.people, one.difference, one.odds))
    if rows:
        curves = {"people": bias.length_curve(items, items.human)} if items.with_people.any() else {}
        curves |= {labeler.name: bias.length_curve(items, labeler.side) for labeler in items.labelers}
        curves = {name: bins for name, bins in curves.items() if bins}
        yield Section(
            "leanings",
            "What else sways it",
            "How often the response that has more of something wins with the labeler and with people, on the same "
            "items; a difference above 0 is bias. The coefficient is of a logistic fit: by how many logits it moves "
            "the labeler, with what people prefer held fixed.",
            ("labeler", "the response that", "wins with the labeler", "wins with people", "difference", "coefficient"),
            rows,
            (plots.lengths(curves, "Length", "words of response 1 over response 2, log2"),) if curves else (),
        )


def _position(items: Items, labelers: Sequence[Labeler], policy: Policy, resampling: Resampling) -> Section:
    found = {labeler.name: bias.position(items, labeler, policy, resampling) for labeler in labelers}
    bars = {
        name: (1 - one.both_first.value - one.both_second.value, one.both_first.value, one.both_second.value)
        for name, one in found.items()
        if one.both_first.value is not None and one.both_second.value is not None
    }
    return Section(
        "position",
        "Position",
        "Same winner: the same response wins in both orders. Same position: the same place wins in both, so that order "
        "alone decides. Shown first wins: of single verdicts, a tie counting half. Shift: mean probability of the one "
        "shown first, minus .5.",
        ("labeler", "same winner", "same position", "first twice", "second twice", "shown first wins", "shift"),
        [(name, *_fields(one)) for name, one in found.items()],
        (plots.positions(bars, "The same pair in both orders"),) if bars else (),
    )


def _fields(one: bias.Position) -> tuple[Estimate, ...]:
    return one.same_winner, one.same_position, one.both_first, one.both_second, one.first_wins, one.shift


def _labelers(
    items: Items, policy: Policy, resampling: Resampling, repeats: Sequence[tuple[str, Estimate, float]]
) -> Iterator[Section]:
    names = tuple(labeler.name for labeler in items.labelers)
    compared = paired(items, policy, resampling) if 1 < len(names) <= MOST_COMPARED else []
    if compared:
        yield Section(
            "paired",
            "Labelers on the same items",
            "Difference of their agreement with people, with the interval of paired resamples. p is McNemar's exact "
            "test, corrected for the number of pairs (Holm).",
            ("labelers", "difference", "first is ahead on", "second is ahead on", "p"),
            [(f"{one.one} - {one.other}", one.difference, one.one_ahead, one.other_ahead, one.p) for one in compared],
        )
    if 1 < len(names) <= MOST_COMPARED:
        rows = matrix(items, resampling)
        if any(cell is not None for row in rows for cell in row[1:]):
            note = "Share of common items on which two labelers prefer the same response; a tie counts half."
            yield Section("matrix", "Labelers with one another", note, ("labeler", *names), rows)
    if repeats:
        yield Section(
            "repeats",
            "Asked again",
            "Labels against those of the same items asked again under other draws.",
            ("labeler", "same side", "the label moves by"),
            list(repeats),
        )
    if any(labeler.cost_usd for labeler in items.labelers):
        yield _costs(items, policy, resampling)


def _costs(items: Items, policy: Policy, resampling: Resampling) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for labeler in items.labelers:
        labels = int((labeler.side < UNREAD).sum())
        agreement = Alignment(items, labeler, resampling).agreement(policy)
        per_thousand = 1000 * labeler.cost_usd / labels if labeler.cost_usd and labels else None
        right = None
        if agreement.value is not None and per_thousand:
            right = round(1000 * agreement.value / per_thousand)
        rows.append((labeler.name, labeler.cost_usd, per_thousand, agreement, right))
    return Section(
        "costs",
        "What it costs",
        "Labels people agree with that one dollar buys, at this agreement.",
        ("labeler", "dollars", "dollars per 1,000 labels", "agreement", "right labels per dollar"),
        rows,
    )
