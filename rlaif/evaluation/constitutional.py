"""What Constitutional AI did: harmlessness and help by stage, by rounds of revision, and principle by principle. Pure.

Source of the figures: arXiv:2212.08073, figures 2 (stages), 5 (revisions), 6 (number of principles) and 7 (critiques).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from rlaif.evaluation.curves import Spot, along
from rlaif.evaluation.pairs import MOST
from rlaif.evaluation.plots import forest_of
from rlaif.evaluation.report import Cell, Report, Section
from rlaif.records import RevisionChain, RevisionStep
from rlaif.statistics.intervals import Estimate
from rlaif.statistics.means import gain, mean


class Judged(NamedTuple):
    """What somebody says of one response.

    Attributes:
        item: the query's id and the response's number, by which responses are paired.
        query: the query's id.
        harmful: whether the query asks for harm; None where nobody knows.
        harmless: 1.0 or 0.0; None where there is no judgement.
        helpful: how far it helps; None likewise.
        text: the response.
    """

    item: str
    query: str
    harmful: bool | None
    harmless: float | None
    helpful: float | None
    text: str


class Chains(NamedTuple):
    """The chains of one run.

    Attributes:
        name: of the run.
        critique: whether critiques came before revisions.
        principles: how many could be drawn.
        others: everything else that could change a chain; runs that differ in it are not compared.
        chains: the records.
        judged: of each chain its response after 0, 1, 2, … rounds.
    """

    name: str
    critique: bool
    principles: int
    others: str
    chains: Sequence[RevisionChain]
    judged: Sequence[Sequence[Judged]]

    def after(self, rounds: int) -> list[Judged]:
        """The responses after so many rounds; a chain that ended before stays at its last."""
        return [one[min(rounds, len(one) - 1)] for one in self.judged]

    @property
    def rounds(self) -> int:
        """Of the longest chain."""
        return max((len(one) - 1 for one in self.judged), default=0)


class _Point(NamedTuple):
    item: str
    query: str
    value: float


def constitutional_report(
    stages: Mapping[str, Sequence[Judged]], runs: Sequence[Chains], about: Mapping[str, str]
) -> Report:
    """Say what each stage and each round did.

    Args:
        stages: judged responses of each policy to the same queries, the first one first.
        runs: chains of revisions; the first run's are shown to read.
        about: sources and judges, by name.

    Returns:
        The report. Sections of which nothing is known are left out.
    """
    found = [
        _by_stage(stages),
        _by_step(stages),
        _by_rounds(runs),
        _by_critique(runs),
        _by_principles(runs),
        _firing(runs),
        _flags(runs),
    ]
    sections = [one for one in found if one is not None]
    return Report("Constitutional AI", dict(about), sections, list(_pairs(runs[0])) if runs else [])


_RATES = (
    "Harmless is the share of responses to requests for harm that do none, and help is how far responses to other "
    "requests help, as the judge counts it: gold of the pocket world from 0 to 1, a model from 1 to 10. Where nobody "
    "says which is which, both are of all. Gains are on the {first}, on the same queries. Without a judgement are "
    "responses of which harmlessness or help is not known; no figure counts what is missing."
)


def _harmless(judged: Sequence[Judged]) -> list[_Point]:
    return [
        _Point(one.item, one.query, one.harmless)
        for one in judged
        if one.harmless is not None and one.harmful is not False
    ]


def _helpful(judged: Sequence[Judged]) -> list[_Point]:
    counted = [one for one in judged if not one.harmful]
    return [_Point(one.item, one.query, one.helpful) for one in counted if one.helpful is not None]


def _gain(points: Sequence[_Point], first: Sequence[_Point]) -> Estimate:
    """On the items that both have: what failed in one of them would else pass for a gain or a loss."""
    both = {one.item for one in points} & {one.item for one in first}
    return gain(*([one for one in some if one.item in both] for some in (points, first)))


def _both(judged: Sequence[Judged], first: Sequence[Judged] | None) -> tuple[Estimate | None, ...]:
    """Harmless rate and help, each with its gain on the first; no gains of the first itself."""
    harmless, helpful = _harmless(judged), _helpful(judged)
    is_share = all(0 <= one.value <= 1 for one in helpful)
    return (
        mean(harmless, proportion=True),
        _gain(harmless, _harmless(first)) if first is not None else None,
        mean(helpful, proportion=is_share),
        _gain(helpful, _helpful(first)) if first is not None else None,
    )


def _distinct(judged: Sequence[Judged]) -> float | None:
    """Different texts over all; no proportion of anything drawn, so that it has no interval."""
    return len({one.text for one in judged}) / len(judged) if judged else None


def _by_stage(stages: Mapping[str, Sequence[Judged]]) -> Section | None:
    if not stages:
        return None
    first = next(iter(stages.values()))
    rows = [
        (name, len(judged), *_both(judged, None if judged is first else first), _distinct(judged), _unjudged(judged))
        for name, judged in stages.items()
    ]
    columns = ("stage", "n", "harmless", "harmless gain", "help", "help gain", "distinct", "without a judgement")
    plots = (
        *forest_of([(row[0], row[2]) for row in rows], "Harmless responses by stage", "share harmless"),
        *forest_of([(row[0], row[4]) for row in rows], "Help by stage", "help"),
    )
    return Section("stages", "By stage", _RATES.format(first="first stage"), columns, rows, plots)


def _by_step(stages: Mapping[str, Sequence[Judged]]) -> Section | None:
    """Each stage less the one before it; with two stages, the gains on the first say it."""
    if len(stages) < 3:
        return None
    rows = [
        (f"{after} less {before}", *_both(stages[after], stages[before])[1::2]) for before, after in pairwise(stages)
    ]
    note = "Each stage less the one before it, on the same queries."
    return Section("steps", "From stage to stage", note, ("stages", "harmless", "help"), rows)


def _unjudged(judged: Sequence[Judged]) -> int:
    return sum(one.harmless is None or one.helpful is None for one in judged)


def _spot(x: float, one: Any) -> Spot:
    return Spot(x, one.value, one.low, one.high) if isinstance(one, Estimate) else Spot(x, None)


def _by_rounds(runs: Sequence[Chains]) -> Section | None:
    if not runs:
        return None
    rows: list[tuple[Cell, ...]] = []
    harmless, helpful = dict[str, list[Spot]](), dict[str, list[Spot]]()
    for run in runs:
        first = run.after(0)
        for rounds in range(run.rounds + 1):
            judged = run.after(rounds)
            both = _both(judged, first if rounds else None)
            rows.append((run.name, rounds, len(judged), *both, _distinct(judged), _unjudged(judged)))
            harmless.setdefault(run.name, []).append(_spot(rounds, both[0]))
            helpful.setdefault(run.name, []).append(_spot(rounds, both[2]))
    columns = ("chains", "revisions", "n", "harmless", "harmless gain", "help", "help gain", "distinct",
               "without a judgement")  # fmt: skip
    plots = (
        *along(harmless, "Harmless responses by revisions", "revisions", "share harmless"),
        *along(helpful, "Help by revisions", "revisions", "help"),
    )
    return Section("revisions", "By number of revisions", _RATES.format(first="first response"), columns, rows, plots)


def _by_critique(runs: Sequence[Chains]) -> Section | None:
    """Runs that differ in critiques only, side by side, on the first responses that both have."""
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        for other in runs:
            alike = (run.principles, run.others) == (other.principles, other.others)
            if run.critique and not other.critique and alike:
                shared = _shared([run, other])
                for after in range(1, min(run.rounds, other.rounds) + 1):
                    mine, theirs = (_of(one.after(after), shared) for one in (run, other))
                    found = _gain(_harmless(mine), _harmless(theirs)), _gain(_helpful(mine), _helpful(theirs))
                    rows.append((f"{run.name} less {other.name}", after, len(mine), *found))
    if not rows:
        return None
    note = "Chains with critiques less chains without, of the first responses that both have."
    columns = ("chains", "revisions", "n", "harmless", "help")
    return Section("critiques", "With and without critiques", note, columns, rows)


def _shared(runs: Sequence[Chains]) -> set[str]:
    """Items with the same first response in all runs: chains of another policy's responses are no others' variants."""
    found = set.intersection(*({(one.item, one.text) for one in run.after(0)} for run in runs))
    return {item for item, _ in found}


def _of(judged: Sequence[Judged], items: Collection[str]) -> list[Judged]:
    return [one for one in judged if one.item in items]


def _by_principles(runs: Sequence[Chains]) -> Section | None:
    """Runs with critiques by how many principles they draw from, on the first responses that all have."""
    alike: dict[str, list[Chains]] = {}
    for run in runs:
        if run.critique:
            alike.setdefault(run.others, []).append(run)
    # The first that differ in that; what differs in more is of no use here.
    some = next((group for group in alike.values() if len({run.principles for run in group}) > 1), None)
    if some is None:
        return None
    compared = sorted(some, key=lambda run: run.principles)
    shared = _shared(compared)
    rows: list[tuple[Cell, ...]] = []
    for run in compared:
        judged = _of(run.after(run.rounds), shared)
        rows.append((run.principles, run.name, len(judged), *_both(judged, _of(run.after(0), shared))))
    note = (
        "After the last round, of the first responses that all runs have. The paper finds little difference in "
        "harmlessness."
    )
    columns = ("principles", "chains", "n", "harmless", "harmless gain", "help", "help gain")
    spots = [_spot(run.principles, row[3]) for run, row in zip(compared, rows, strict=True)]
    plots = along({"harmless": spots}, "Harmless responses by number of principles", "principles", "share harmless")
    return Section("principles", "By number of principles", note, columns, rows, plots)


def _firing(runs: Sequence[Chains]) -> Section | None:
    """What each principle changed in the first run."""
    if not runs:
        return None
    run = runs[0]
    drawn: dict[str, list[tuple[bool, Judged, Judged]]] = {}
    for chain, judged in zip(run.chains, run.judged, strict=True):
        for place, step in enumerate(chain.steps):
            # A chain can draw a principle twice; its rounds are apart.
            old, new = (one._replace(item=f"{one.item}/{place}") for one in judged[place : place + 2])
            drawn.setdefault(step.principle, []).append((step.kept, old, new))
    rows = []
    for name, rounds in sorted(drawn.items()):
        before, after = [one for _, one, _ in rounds], [one for _, _, one in rounds]
        fired = mean([_Point(one.item, one.query, float(kept)) for kept, one, _ in rounds], proportion=True)
        rows.append((name, len(rounds), fired, _gain(_harmless(after), _harmless(before)),
                     _gain(_helpful(after), _helpful(before))))  # fmt: skip
    note = (
        f"Rounds of the chains {run.name}: a principle fires where its revision changes the response. Gains are of the "
        "responses after the round on those before it."
    )
    columns = ("principle", "rounds", "fires", "harmless gain", "help gain")
    return Section("firing", "Which principles fire", note, columns, rows)


def _flags(runs: Sequence[Chains]) -> Section | None:
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        steps = [
            (f"{judged[0].item}/{place}", judged[0].query, step.flags)
            for chain, judged in zip(run.chains, run.judged, strict=True)
            for place, step in enumerate(chain.steps)
        ]
        counts = Counter(flag for _, _, flags in steps for flag in flags)
        for flag, count in counts.most_common():
            flagged = [_Point(item, query, float(flag in flags)) for item, query, flags in steps]
            rows.append((run.name, flag, mean(flagged, proportion=True), count))
    if not rows:
        return None
    note = "Rounds in which something went wrong, or nothing changed."
    return Section("flags", "Flags", note, ("chains", "flag", "share of rounds", "rounds"), rows)


def _pairs(run: Chains) -> Iterator[Mapping[str, Any]]:
    """Chains to read: the first response and every revision, with the critique that led to it above."""
    for chain in run.chains[:MOST]:
        yield {
            "id": chain.id,
            "query": [turn.model_dump() for turn in chain.query],
            "responses": [chain.initial, *(step.revision for step in chain.steps)],
            "models": ["before", *map(_title, chain.steps)],
            "notes": [None, *(step.critique for step in chain.steps)],
        }


def _title(step: RevisionStep) -> str:
    return f"{step.principle} [{', '.join(step.flags)}]" if step.flags else step.principle
