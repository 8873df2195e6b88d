"""What counts as agreement where somebody is undecided or a verdict could not be read. Pure.

A confusion matrix (..., 3, 4) counts comparisons by the side that people take (response 2, neither, response 1) and
the one that a labeler takes (the same, and unread). Every policy is a function of it, so that figures under all
policies cost no more than under one.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rlaif.errors import ConfigError, did_you_mean
from rlaif.evaluation.verdicts import FIRST, SECOND, TIE, UNREAD
from rlaif.statistics.agreement import agreement, kappa
from rlaif.statistics.intervals import Floats

Ties = Literal["drop", "half", "class"]
Unreadable = Literal["drop", "error", "tie"]

TIES: dict[Ties, str] = {
    "drop": "left out where people are undecided; a labeler's tie on the rest counts half",
    "half": "an item on which either is undecided counts half",
    "class": "a verdict of its own: only a tie agrees with a tie",
}
UNREADABLE: dict[Unreadable, str] = {
    "drop": "left out",
    "error": "counted as wrong",
    "tie": "counted as if the labeler had said tie",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done with ties and with verdicts that could not be read (or were refused, or too long)."""

    ties: Ties = "drop"
    unreadable: Unreadable = "drop"

    def __post_init__(self) -> None:
        for name, value, known in (("ties", self.ties, get_args(Ties)), ("unreadable", self.unreadable, _UNREADABLE)):
            if value not in known:
                raise ConfigError(f"{name} is {value!r}{did_you_mean(str(value), known)}")

    def __str__(self) -> str:
        return f"ties {self.ties}, unreadable {self.unreadable}"

    @property
    def cells(self) -> NDArray[np.bool_]:
        """(3, 4) which cells of a confusion matrix count at all."""
        cells = np.ones((3, 4), bool)
        if self.unreadable == "drop":
            cells[:, UNREAD] = False
        if self.ties == "drop":
            cells[TIE] = False
        return cells

    def counted(self, confusion: Floats) -> Floats:
        """What of a confusion matrix counts, and as what.

        Args:
            confusion: (..., 3, 4).

        Returns:
            The same shape.
        """
        counted: Floats = confusion * self.cells
        if self.unreadable == "tie":
            counted[..., TIE] += counted[..., UNREAD]
            counted[..., UNREAD] = 0
        return counted

    @property
    def credit(self) -> Floats:
        """(3, 4) how much each cell counts as agreement."""
        credit = np.eye(3, 4)
        if self.ties != "class":
            credit[TIE, :UNREAD] = credit[:, TIE] = 0.5
        return credit

    def agreement(self, confusion: Floats) -> Floats:
        """Agreement: (..., 3, 4) counts to (...)."""
        return agreement(self.counted(confusion), self.credit)

    def kappa(self, confusion: Floats) -> Floats:
        """Cohen's kappa with the policy's credit: (..., 3, 4) counts to (...)."""
        return kappa(self.counted(confusion), self.credit)

    def count(self, confusion: Floats) -> int:
        """Of how many items the agreement is."""
        return round(float(self.counted(confusion).sum()))

    def credits(self, people: np.ndarray, labeler: np.ndarray) -> tuple[Floats, Floats]:
        """Item by item what `agreement` counts in all.

        Args:
            people: (n,) sides.
            labeler: (n,) sides, none of them not asked for.

        Returns:
            (n,) credit, and (n,) 1 where the item counts, else 0.
        """
        counts = self.cells[people, labeler].astype(float)
        taken = np.where(labeler == UNREAD, TIE, labeler) if self.unreadable == "tie" else labeler
        return self.credit[people, taken] * counts, counts

    def others(self) -> list["Policy"]:
        """All policies but this one."""
        every = [Policy(ties, unreadable) for ties in get_args(Ties) for unreadable in _UNREADABLE]
        return [policy for policy in every if policy != self]


_UNREADABLE = get_args(Unreadable)
SIDES = {SECOND: "response 2", TIE: "tie", FIRST: "response 1"}
