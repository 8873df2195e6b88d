"""Prompts side by side: the grid of arXiv:2309.00267, table 2, with intervals, and what each part of a prompt does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from rlaif.evaluation.alignment import Alignment, Resampling
from rlaif.evaluation.bias import position
from rlaif.evaluation.items import Items, Labeler
from rlaif.evaluation.policy import Policy
from rlaif.evaluation.report import Cell, Section
from rlaif.prompting import Preamble
from rlaif.statistics.intervals import Estimate, ratio


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """One way to ask: what the grid varies.

    Attributes:
        llm: `provider:model`.
        preamble: which preamble.
        exemplars: how many worked examples.
        rationale: whether the model thinks first.
        self_consistency: how many rationales are averaged.
    """

    llm: str
    preamble: Preamble
    exemplars: int
    rationale: bool
    self_consistency: int = 1

    def __str__(self) -> str:
        parts = [self.preamble, f"{self.exemplars}-shot"]
        if self.rationale:
            parts.append("rationale" if self.self_consistency == 1 else f"{self.self_consistency} rationales")
        return f"{self.llm} {' + '.join(parts)}"


def grid(items: Items, prompts: Mapping[str, PromptSettings], policy: Policy, resampling: Resampling) -> Section:
    """One row a prompt.

    Args:
        items: comparisons; each prompt is a labeler by its name.
        prompts: by the labelers' names.
        policy: what counts as agreement.
        resampling: how intervals are drawn.
    """
    is_paid = any(labeler.cost_usd for labeler in items.labelers)
    dollars = ["dollars"] if is_paid else []
    rows: list[tuple[Cell, ...]] = []
    for labeler in items.labelers:
        one = prompts[labeler.name]
        agreement = Alignment(items, labeler, resampling).agreement(policy)
        same = position(items, labeler, policy, resampling).same_position
        rationale: Cell = "no" if not one.rationale else one.self_consistency
        failed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(labeler.failures.items())) or "none"
        settings = one.llm, one.preamble, one.exemplars, rationale
        rows.append((*settings, agreement, same, failed, *([labeler.cost_usd] if is_paid else [])))
    return Section(
        "prompts",
        "Prompts compared",
        "Agreement with people by prompt, on the same sample. Of many rows the best one is partly luck: look at what "
        "the parts do below, and try the winner on other items.",
        ("model", "preamble", "exemplars", "rationales", "agreement", "same position", "no label", *dollars),
        rows,
    )


def effects(
    items: Items, prompts: Mapping[str, PromptSettings], policy: Policy, resampling: Resampling
) -> Section | None:
    """What each part of a prompt does to agreement, over all pairs of prompts that differ in nothing else.

    Args:
        items: as for `grid`.
        prompts: as there.
        policy: what counts as agreement.
        resampling: how intervals are drawn.

    Returns:
        The section; None where no two prompts differ in one part only.
    """
    labelers = {prompts[labeler.name]: labeler for labeler in items.labelers}
    rows: list[tuple[Cell, ...]] = []
    for (llm, name), found in groupby(sorted(_changes(labelers), key=lambda one: one[:2]), key=lambda one: one[:2]):
        pairs = [(before, after) for *_, before, after in found]
        rows.append((llm, name, len(pairs), _difference(items, pairs, policy, resampling)))
    if not rows:
        return None
    return Section(
        "effects",
        "What each part of the prompt does",
        "Agreement with it minus agreement without it, averaged over pairs of prompts that differ in nothing else, "
        "with the interval of paired resamples.",
        ("model", "change", "pairs of prompts", "difference"),
        rows,
    )


def _changes(labelers: Mapping[PromptSettings, Labeler]) -> Iterator[tuple[str, str, Labeler, Labeler]]:
    least = min((one.exemplars for one in labelers), default=0)
    for after, labeler in labelers.items():
        before: list[tuple[str, PromptSettings]] = []
        if after.preamble == "detailed":
            before.append(("detailed instead of base preamble", replace(after, preamble="base")))
        if after.exemplars > least:
            before.append((f"{after.exemplars} exemplars instead of {least}", replace(after, exemplars=least)))
        if after.rationale and after.self_consistency == 1:
            before.append(("a rationale first", replace(after, rationale=False)))
        if after.self_consistency > 1:
            name = f"{after.self_consistency} rationales instead of one"
            before.append((name, replace(after, self_consistency=1)))
        for name, other in before:
            if other in labelers:
                yield after.llm, name, labelers[other], labeler


def _difference(
    items: Items, pairs: Sequence[tuple[Labeler, Labeler]], policy: Policy, resampling: Resampling
) -> Estimate:
    gap, counts = np.zeros(len(items.items)), np.zeros(len(items.items))
    for before, after in pairs:
        chosen = before.asked & after.asked & items.with_people
        people = items.human[chosen]
        credit_before, counts_before = policy.credits(people, before.side[chosen])
        credit_after, counts_after = policy.credits(people, after.side[chosen])
        both = counts_before * counts_after
        gap[chosen] += (credit_after - credit_before) * both
        counts[chosen] += both
    sums = resampling.of(items.clusters).sums(np.stack([gap, counts], 1))
    return sums.estimate(lambda found: ratio(found[..., 0], found[..., 1]), int((counts > 0).sum()))
