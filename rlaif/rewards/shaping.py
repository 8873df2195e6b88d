"""Rewards made of one reward: penalised by length, clipped, normalised."""

import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np

from rlaif.errors import ConfigError, RewardError
from rlaif.records import Failure
from rlaif.rewards.base import Candidate, Opening, Reward, RewardFn, begin, check_state, checked, in_order

_ROUNDING = 1e-12
"""A spread that is a smaller part of the mean is rounding of equal numbers, not spread."""


class _Around(Opening):
    """What rewards around another share: its usage, and its state beside their own."""

    def __init__(self, fn: RewardFn) -> None:
        super().__init__([fn])
        self._fn = fn

    def begin(self, candidate: Candidate) -> None:
        """Let the inner reward begin, where it can.

        Args:
            candidate: of a batch that will come.
        """
        begin(self._fn, candidate)

    def usage(self) -> Mapping[str, float]:
        """What the inner reward took."""
        return self._fn.usage()

    def state_dict(self) -> dict[str, Any]:
        """The inner reward's state."""
        return {"fn": self._fn.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Args:
            state: what `state_dict` gave.

        Raises:
            RewardError: it is the state of another reward.
        """
        check_state(self, state, ("fn",))
        self._fn.load_state_dict(state["fn"])


class PerItem(_Around):
    """Base of rewards that change each number by itself, and pass failures on."""

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        """Reward a batch, each candidate as soon as its inner reward is there."""
        async with aclosing(checked(self._fn, batch)) as stream:
            async for index, reward in stream:
                yield index, reward if isinstance(reward, Failure) else self.each(batch[index], reward)

    def each(self, candidate: Candidate, reward: float) -> float:
        """The reward that one inner reward becomes.

        Args:
            candidate: whom it is for.
            reward: the inner one.
        """
        raise NotImplementedError


def token_count(candidate: Candidate) -> int:
    """How many tokens a response has, its end token included.

    Args:
        candidate: the response.

    Raises:
        RewardError: its tokens are not known.
    """
    if candidate.token_ids is None:
        raise RewardError(f"id {candidate.id} comes without token_ids; give a length of its text, or its tokens")
    return len(candidate.token_ids)


class LengthPenalty(PerItem):
    """Takes away `per_token` for every token of the response beyond `free_tokens`."""

    def __init__(
        self,
        fn: RewardFn,
        per_token: float,
        free_tokens: int = 0,
        length: Callable[[Candidate], int] = token_count,
    ) -> None:
        """Take a reward.

        Args:
            fn: the reward without the penalty.
            per_token: reward lost per token, above 0.
            free_tokens: tokens that cost nothing, at least 0.
            length: how long a response is; another measure than tokens makes `per_token` and `free_tokens` count that.

        Raises:
            ConfigError: a number is out of range.
        """
        super().__init__(fn)
        if not 0 < per_token < math.inf:
            raise ConfigError(f"per_token is {per_token}; it is what a token costs, a finite number above 0")
        if free_tokens < 0:
            raise ConfigError(f"free_tokens is {free_tokens}; it must be at least 0")
        self._per_token, self._free_tokens, self._length = per_token, free_tokens, length

    def each(self, candidate: Candidate, reward: float) -> float:
        """One reward less what its length costs."""
        return reward - self._per_token * max(0, self._length(candidate) - self._free_tokens)


class Clipped(PerItem):
    """Keeps rewards within bounds."""

    def __init__(self, fn: RewardFn, low: float, high: float) -> None:
        """Take a reward.

        Args:
            fn: the reward without bounds.
            low: what smaller rewards become.
            high: what larger ones become; infinite where there is to be no bound.

        Raises:
            ConfigError: the bounds are no interval.
        """
        super().__init__(fn)
        if not low < high:
            raise ConfigError(f"the bounds are {low} and {high}; the lower one must be below the higher")
        self._low, self._high = low, high

    def each(self, candidate: Candidate, reward: float) -> float:
        """One reward within the bounds."""
        return min(max(reward, self._low), self._high)


class RunningNormalised(_Around):
    """(reward - mean) / standard deviation, over all rewards so far, those of the present batch included.

    Mean and (population) variance are updated once a batch, in the batch's order, so that the order in which a labeler
    answers changes nothing; the rewards of a batch therefore come at its end, and batches go one after another.
    Failures count for nothing. Before there is any spread the mean is taken away and nothing is divided.

    Source: Chan, Golub and LeVeque (1979), "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", for joining the moments of two sets.
    """

    def __init__(self, fn: RewardFn) -> None:
        """Take a reward.

        Args:
            fn: the reward as it comes.
        """
        super().__init__(fn)
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        """Reward a batch, at its end."""
        found = await in_order(self._fn, batch)
        self._update(np.array([reward for reward in found if not isinstance(reward, Failure)], dtype=np.float64))
        mean, scale = self._mean, divisor(self._mean, self.variance)
        for index, reward in enumerate(found):
            yield index, reward if isinstance(reward, Failure) else (reward - mean) / scale

    @property
    def mean(self) -> float:
        """Of all rewards so far; 0 before the first."""
        return self._mean

    @property
    def variance(self) -> float:
        """Of all rewards so far (divided by their number); 0 before the first."""
        return self._squares / self._count if self._count else 0.0

    def _update(self, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        if not values.size:
            return
        mean, squares = float(values.mean()), float(values.var()) * values.size
        count = self._count + values.size
        gap = mean - self._mean
        self._squares += squares + gap * gap * self._count * values.size / count
        self._mean += gap * values.size / count
        self._count = count

    def state_dict(self) -> dict[str, Any]:
        """Count, mean and sum of squared distances from it, and the inner reward's state."""
        own = {"count": self._count, "mean": self._mean, "squares": self._squares}
        return own | super().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, exactly.

        Args:
            state: what `state_dict` gave.

        Raises:
            RewardError: it is the state of another reward.
        """
        check_state(self, state, ("count", "mean", "squares", "fn"))
        super().load_state_dict({"fn": state["fn"]})
        self._count, self._mean, self._squares = state["count"], state["mean"], state["squares"]


def divisor(mean: float, variance: float) -> float:
    """What centred rewards are divided by: their standard deviation, or 1 where they have no spread.

    Args:
        mean: of the rewards.
        variance: of the rewards.
    """
    spread = math.sqrt(variance)
    return spread if spread > _ROUNDING * abs(mean) else 1.0
