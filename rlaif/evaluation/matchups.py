"""A policy against a baseline, by one judge: how often it wins, and what of that is due to order and length. Pure.

Shape legend: n pairs of a policy A and a baseline B. Every rate is a credit (n,) in [0, 1] and a count (n,) of 0 or 1:
what is left out under a policy for ties and failures has a count of 0.

Deviations of the length-controlled win rate from arXiv:2404.04475: no difficulty of each query (that needs the same
queries answered by many policies), no regularisation, lengths in words, and the same outcome as the plain rate (wins,
ties counted as the policy says) beside the soft one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray

from rlaif.errors import ConfigError, did_you_mean
from rlaif.evaluation.contests import Contest
from rlaif.statistics.intervals import Bootstrap, Estimate, Floats, ratio
from rlaif.statistics.regression import logistic

Ties = Literal["half", "drop"]
Failures = Literal["drop", "half", "loss"]
Rate = tuple[Floats, Floats]

TIES: dict[Ties, str] = {"half": "half a win", "drop": "left out"}
FAILURES: dict[Failures, str] = {"drop": "left out", "half": "half a win", "loss": "a loss for the policy"}


@dataclass(frozen=True, slots=True)
class Counting:
    """What is done with ties and with pairs that could not be judged."""

    ties: Ties = "half"
    failures: Failures = "drop"

    def __post_init__(self) -> None:
        for name, value, known in (("ties", self.ties, TIES), ("failures", self.failures, FAILURES)):
            if value not in known:
                raise ConfigError(f"{name} is {value!r}{did_you_mean(str(value), known)}")

    def hard(self, win: Floats, failed: NDArray[np.bool_]) -> Rate:
        """Credit and count of verdicts that are 1, .5 or 0.

        Args:
            win: (n,) verdicts; anything where they failed.
            failed: (n,) where there is none.
        """
        counts = np.ones(len(win))
        if self.ties == "drop":
            counts[win == 0.5] = 0
        return self._with_failures(win, counts, failed)

    def soft(self, preference: Floats, failed: NDArray[np.bool_]) -> Rate:
        """Credit and count of probabilities, among which a tie is like any other.

        Args:
            preference: (n,) P(A preferred); anything where it failed.
            failed: (n,) where there is none.
        """
        return self._with_failures(preference, np.ones(len(preference)), failed)

    def _with_failures(self, credit: Floats, counts: Floats, failed: NDArray[np.bool_]) -> Rate:
        match self.failures:
            case "drop":
                return np.where(failed, 0.0, credit), np.where(failed, 0.0, counts)
            case "half":
                return np.where(failed, 0.5, credit), np.where(failed, 1.0, counts)
            case "loss":
                return np.where(failed, 0.0, credit), np.where(failed, 1.0, counts)
            case _:
                assert_never(self.failures)


class Lengths(NamedTuple):
    """A win rate with the difference of lengths taken out.

    Attributes:
        plain: the rate as it is, on the pairs whose lengths are known.
        equal: the rate at equal lengths; without a value where wins and lengths do not tell it.
        effect: how many logits it moves the outcome when A is longer by much (tanh goes from 0 to 1).
    """

    plain: Estimate
    equal: Estimate
    effect: Estimate


class Matchup:
    """What one judge said of all pairs of a policy and a baseline."""

    def __init__(self, contests: Sequence[Contest], resamples: int = 2000, seed: int = 0) -> None:
        """Lay contests out by column.

        Args:
            contests: by one judge, all as seen from the policy.
            resamples: behind each interval.
            seed: of what is drawn.
        """
        self.failures = Counter(one.failure for one in contests if one.failure is not None)
        self.failed = np.array([one.win is None for one in contests], bool)
        self.win = _column(one.win for one in contests)
        self.preference = _column(one.preference for one in contests)
        self.both = np.array([None not in (one.first, one.second) for one in contests], bool) & ~self.failed
        self.first, self.second = (
            _column(values) for values in zip(*((c.first, c.second) for c in contests), strict=True)
        )
        self.measured = np.array([one.words is not None for one in contests], bool)
        self.words = np.array([one.words or (0, 0) for one in contests], float)
        self._clusters = np.array([one.cluster for one in contests], dtype=object).astype(str)
        self._resamples, self._seed = resamples, seed

    def __len__(self) -> int:
        return len(self.win)

    def win_rate(self, counting: Counting) -> Estimate:
        """The share of pairs that A wins."""
        return self.estimates([counting.hard(self.win, self.failed)])[0]

    def rates(self, counting: Counting) -> tuple[Estimate, Estimate, Estimate]:
        """The win rate, the rate of wins in both orders, and the mean of P(A preferred).

        Args:
            counting: what is done with ties and failures.
        """
        return self.estimates(  # type: ignore[return-value]
            [
                counting.hard(self.win, self.failed),
                self._consistent(counting),
                counting.soft(self.preference, self.failed),
            ]
        )

    def _consistent(self, counting: Counting) -> Rate:
        """Wins that do not hang on the order; where the two orders disagree, or either is even, it is a tie."""
        wins, losses = (self.first > 0.5) & (self.second > 0.5), (self.first < 0.5) & (self.second < 0.5)
        credit, counts = counting.hard(np.where(wins, 1.0, np.where(losses, 0.0, 0.5)), self.failed)
        return credit, counts * (self.both | (self.failed & self.both.any()))

    def lengths(self, counting: Counting) -> tuple[Lengths, Lengths]:
        """Win rates at equal lengths: of wins, and of P(A preferred).

        Args:
            counting: what is done with ties and failures.
        """
        rates = counting.hard(self.win, self.failed), counting.soft(self.preference, self.failed)
        return self._lengths(*rates[0]), self._lengths(*rates[1])

    def _lengths(self, credit: Floats, counts: Floats) -> Lengths:
        """Fit logit P(A wins) = a + b tanh(difference / its standard deviation), and read it off at no difference.

        Source: Dubois et al., arXiv:2404.04475, section 3, without the term of the instruction's difficulty.
        """
        chosen = (counts > 0) & self.measured
        gap = (self.words[:, 0] - self.words[:, 1])[chosen]
        n, clusters = len(gap), len(np.unique(self._clusters[chosen]))
        plain = self.estimates([(credit, counts * self.measured)])[0]
        nothing = Estimate(None, n=n, clusters=clusters)
        if not n or (not np.ptp(gap) and gap[0]):
            return Lengths(plain, nothing, nothing)
        longer = [np.tanh(gap / gap.std())] if gap.any() else []
        fit = logistic(np.stack([np.ones(n), *longer], 1), credit[chosen], self._clusters[chosen])
        effect = fit.estimate([0, 1]) if longer else nothing
        return Lengths(plain, fit.probability([1, 0][: 1 + len(longer)]), effect)

    def orders(self) -> tuple[Estimate, Estimate, Estimate]:
        """Of pairs judged in both orders: how many verdicts flip, and A's win rate shown first and shown second."""
        first, second = (np.where(p == 0.5, 0.5, p > 0.5).astype(float) for p in (self.first, self.second))
        counts = self.both.astype(float)
        return self.estimates(  # type: ignore[return-value]
            [((np.abs(first - second) == 1).astype(float), counts), (first, counts), (second, counts)]
        )

    def longer(self) -> Estimate:
        """The share of pairs in which A's response has more words."""
        return self.estimates([((self.words[:, 0] > self.words[:, 1]).astype(float), self.measured.astype(float))])[0]

    def mean_words(self) -> tuple[float | None, float | None]:
        """Mean lengths of A's and B's responses in words."""
        if not self.measured.any():
            return None, None
        one, other = self.words[self.measured].mean(0)
        return float(one), float(other)

    def estimates(self, rates: Sequence[Rate]) -> tuple[Estimate, ...]:
        """Means of credits over what counts, with intervals from resamples of queries.

        Args:
            rates: credit and count of each.
        """
        columns = [column for credit, counts in rates for column in (credit * counts, counts)]
        sums = Bootstrap(self._clusters, self._resamples, self._seed).sums(np.stack(columns, 1))
        return tuple(
            sums.only([start, start + 1]).estimate(_quotient, float(sums.total[start + 1]), proportion=True)
            for start in range(0, len(columns), 2)
        )


def _quotient(sums: Floats) -> Floats:
    return ratio(sums[..., 0], sums[..., 1])


def _column(values: Iterable[float | None]) -> Floats:
    """(n,) with .5 where there is no value; a mask says where."""
    return np.array([0.5 if value is None else value for value in values], float)
