"""From what a model answered to a distribution over the offered answers. Pure; no model is called here.

Answer *a* happens when the model's text starts with *a* and not with a longer offered answer ("1" is not the
start of "10"). Whatever else the text could be is unread mass.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rlaif.llm.base import Chain

_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")


class Reading(NamedTuple):
    """A distribution over the offered answers.

    Attributes:
        probabilities: (A,) before renormalisation.
        unread_mass: the rest, in [0, 1]: together they sum to 1.
    """

    probabilities: tuple[float, ...]
    unread_mass: float

    def normalised(self) -> tuple[float, ...] | None:
        """The probabilities given that an offered answer was meant; None where nothing was read."""
        total = math.fsum(self.probabilities)
        return tuple(p / total for p in self.probabilities) if total > 0 else None


def read_exact(chains: Sequence[Chain]) -> Reading:
    """Read exact log-probabilities of whole answers.

    Args:
        chains: for each offered answer, its tokens and the log-probability that the text starts with them.

    Returns:
        The probability of each answer, that of every longer offered answer which starts like it taken off.
    """
    starts = [math.exp(chain.logprob) for chain in chains]
    probabilities = [
        max(0.0, start - math.fsum(starts[longer] for longer in _next_longer(chains, index)))
        for index, start in enumerate(starts)
    ]
    return Reading(tuple(probabilities), min(1.0, max(0.0, 1.0 - math.fsum(probabilities))))


def _next_longer(chains: Sequence[Chain], index: int) -> list[int]:
    """The offered answers that start with this one, without those that start with another of them."""
    longer = [other for other in range(len(chains)) if _is_start(chains[index].tokens, chains[other].tokens)]
    return [one for one in longer if not any(_is_start(chains[other].tokens, chains[one].tokens) for other in longer)]


def _is_start(start: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    return len(start) < len(whole) and whole[: len(start)] == start


def read_top(top: Sequence[tuple[str, float]], answers: Sequence[str]) -> Reading:
    """Read the likeliest next tokens, where each offered answer is one token.

    Args:
        top: tokens as text, with log-probabilities (nats).
        answers: those offered.

    Returns:
        For each answer the sum over its tokens, which may differ in case and in the space around them. What is not
        among the likeliest is unread.
    """
    found = dict.fromkeys((answer.casefold() for answer in answers), 0.0)
    for token, logprob in top:
        meant = token.strip().casefold()
        if meant in found:
            found[meant] += math.exp(logprob)
    probabilities = tuple(min(1.0, found[answer.casefold()]) for answer in answers)
    return Reading(probabilities, min(1.0, max(0.0, 1.0 - math.fsum(probabilities))))


def read_stated(text: str) -> Reading:
    """Read a probability in per cent of the first of two answers, as a model states it.

    Args:
        text: what it said; a whole number from 0 to 100 is wanted, and anything else is unread.

    Returns:
        The probabilities of both answers.
    """
    found = _NUMBER.search(text)
    if found is None or not found.group().isdigit() or int(found.group()) > 100:
        return Reading((0.0, 0.0), 1.0)
    first = int(found.group()) / 100
    return Reading((first, 1 - first), 0.0)


def read_draws(texts: Sequence[str], pattern: re.Pattern[str], answers: Sequence[str]) -> Reading:
    """Read answers that were drawn from a model.

    Args:
        texts: at least one; each is the prompt's ending and what the model wrote behind it.
        pattern: the task's verdict pattern, with one group.
        answers: those offered.

    Returns:
        The share of the texts that state each answer; the unread mass is the share that state none, or several.
    """
    stated = [set(pattern.findall(text)) for text in texts]
    given = Counter(found.pop() if len(found) == 1 else "" for found in stated)
    probabilities = tuple(given[answer] / len(texts) for answer in answers)
    return Reading(probabilities, max(0.0, 1 - math.fsum(probabilities)))


def mean_reading(readings: Sequence[Reading]) -> Reading:
    """The mean of several distributions before renormalisation (self-consistency).

    Args:
        readings: at least one, over the same answers.

    Returns:
        Their mean; its unread mass is the mean unread mass.
    """
    count = len(readings)
    columns = zip(*(reading.probabilities for reading in readings), strict=True)
    return Reading(
        tuple(math.fsum(column) / count for column in columns),
        math.fsum(reading.unread_mass for reading in readings) / count,
    )


def read_verdict(text: str, pattern: re.Pattern[str]) -> str | None:
    """The verdict that a text states.

    Args:
        text: what the model wrote.
        pattern: the task's verdict pattern, with one group.

    Returns:
        The group of the *last* match, since earlier ones may be quoted; None without a match.
    """
    matches = pattern.findall(text)
    return matches[-1] if matches else None
