"""Simulated annotators: people with noise, biases and disagreement, who see what gold sees and less.

An annotator prefers response 1 with probability

    lapse / 2 + (1 - lapse) * sigmoid((gold_1 - gold_2 + length * log2(words_1 / words_2) + first * s) / noise)

where gold is on the scale from 1 to 10, `length` and `first` are points on it, and s is +1 where response 1
was shown first and -1 where it was shown second, which a coin decides each time. Who says .5 found the two so
close that the margin inside the sigmoid is below `tie`, in points.
"""

import math
import random
from dataclasses import dataclass
from typing import Final, NamedTuple


class Opinion(NamedTuple):
    """What an annotator says.

    Attributes:
        preference: 1.0 for response 1, 0.0 for response 2, 0.5 for neither.
        shown_first: 1 or 2, the response that the annotator saw first.
    """

    preference: float
    shown_first: int


@dataclass(frozen=True, slots=True)
class Annotator:
    """One simulated person.

    Attributes:
        name: Who it is.
        noise: Scale of the logistic noise, in points of gold; what differs by so much is told apart .73 of the time.
        length: Points that a response of twice the length gains.
        first: Points that the response shown first gains.
        lapse: Share of judgements made without looking.
        tie: Margin in points below which the two are called equal.
    """

    name: str
    noise: float
    length: float = 0.0
    first: float = 0.0
    lapse: float = 0.0
    tie: float = 0.0

    def judge(self, rng: random.Random, gold_1: float, gold_2: float, response_1: str, response_2: str) -> Opinion:
        """Say which response is better.

        Args:
            rng: where chance comes from.
            gold_1: gold of response 1, from 1 to 10.
            gold_2: the same of response 2.
            response_1: its text, for its length.
            response_2: the same.
        """
        words = [max(1, len(response.split())) for response in (response_1, response_2)]
        shown_first = 1 if rng.random() < 0.5 else -1
        margin = gold_1 - gold_2 + self.length * math.log2(words[0] / words[1]) + self.first * shown_first
        chance = self.lapse / 2 + (1 - self.lapse) / (1 + math.exp(-margin / self.noise))
        drawn = rng.random() < chance
        return Opinion(0.5 if abs(margin) < self.tie else float(drawn), 1 if shown_first > 0 else 2)


ANNOTATORS: Final = (
    Annotator("careful", noise=1.0, tie=0.4),
    Annotator("hasty", noise=2.5, lapse=0.15),
    Annotator("likes_long", noise=1.6, length=2.5),
    Annotator("looks_first", noise=1.6, first=1.6),
    Annotator("undecided", noise=2.0, tie=1.5),
)
