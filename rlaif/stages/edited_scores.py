"""Scores by a reward model, each computed once, and what becomes of them under small edits of responses."""

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rlaif.errors import RowError
from rlaif.evaluation.alignment import Resampling
from rlaif.evaluation.edits import edits_of
from rlaif.evaluation.items import Items
from rlaif.evaluation.report import Section
from rlaif.evaluation.sensitivity import Change, sensitivity
from rlaif.progress import Progress
from rlaif.records import Comparison, Turn
from rlaif.stages.held_out import HeldOut

if TYPE_CHECKING:
    from rlaif.training.scoring import RewardModel

MOST_EDITED = 1_000
"""Of more comparisons, so many are drawn whose responses are edited; these are scored some ten times as often."""

_AT_ONCE = 500

Exchange = tuple[tuple[Turn, ...], str]


def exchanges_of(one: Comparison) -> tuple[Exchange, Exchange]:
    """The query with each of its responses.

    Args:
        one: a comparison.
    """
    return (one.query, one.response_1), (one.query, one.response_2)


class Scores:
    """What a reward model says of exchanges; equal ones have equal scores, whatever batch they were in.

    Attributes:
        model: the reward model.
        known: a score, or why there is none, of each exchange that was learnt.
    """

    def __init__(self, model: "RewardModel", progress: bool) -> None:
        """Begin with no score.

        Args:
            model: the reward model.
            progress: show on standard error how far scoring is.
        """
        self.model, self.known = model, dict[Exchange, float | RowError]()
        self._progress = progress

    def learn(self, title: str, exchanges: Sequence[Exchange]) -> None:
        """Score what is not known.

        Args:
            title: what is being scored.
            exchanges: queries with a response.
        """
        new = [one for one in dict.fromkeys(exchanges) if one not in self.known]
        with Progress(title, len(new), self._progress) as bar:
            for start in range(0, len(new), _AT_ONCE):
                some = new[start : start + _AT_ONCE]
                for exchange, score in zip(some, self.model.outcomes(some), strict=True):
                    self.known[exchange] = score
                    bar.advance("too_long" if isinstance(score, RowError) else None, 0)


class _Edited(NamedTuple):
    """A response under one kind of edit; without a text where it has no place for it."""

    place: int
    side: int
    kind: str
    text: str | None


def edited_scores(held_out: HeldOut, scores: Scores, cluster: str | None, seed: int, resampling: Resampling) -> Section:
    """Edit both responses of comparisons in every way, score that, and lay out what it changed.

    Args:
        held_out: comparisons; what the first of their references prefers counts as preferred.
        scores: those of all of them.
        cluster: the column that says which comparisons belong together; the query if None.
        seed: of what is drawn.
        resampling: how intervals are drawn.
    """
    drawn, chosen = "", list(range(len(held_out.comparisons)))
    if len(chosen) > MOST_EDITED:
        drawn = f"Responses are those of {MOST_EDITED:,} comparisons, drawn from {len(chosen):,}. "
        chosen = sorted(random.Random(seed).sample(chosen, MOST_EDITED))
    edited = [
        _Edited(place, side, kind, text)
        for place in chosen
        for side, (_, response) in enumerate(exchanges_of(held_out.comparisons[place]))
        for kind, text in edits_of(response, seed).items()
    ]
    asked = [(held_out.comparisons[one.place].query, one.text) for one in edited if one.text is not None]
    scores.learn("edited", asked)
    changes = list(_changes(edited, held_out, scores, Items(held_out.items, cluster).clusters.tolist()))
    return sensitivity(changes, held_out.references[0].name, resampling, drawn)


def _changes(edited: Sequence[_Edited], held_out: HeldOut, scores: Scores, clusters: Sequence[str]) -> Iterator[Change]:
    for place, side, kind, text in edited:
        one = held_out.comparisons[place]
        label = held_out.references[0].preference[place]
        preferred = None if label is None or label == 0.5 else (label > 0.5) == (side == 0)
        before, after = scores.known[exchanges_of(one)[side]], None if text is None else scores.known[one.query, text]
        failed = text is not None and (isinstance(before, RowError) or isinstance(after, RowError))
        change = (
            None if after is None or isinstance(before, RowError) or isinstance(after, RowError) else after - before
        )
        yield Change(kind, clusters[place], preferred, change, failed)
