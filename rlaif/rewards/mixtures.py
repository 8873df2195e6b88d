"""Rewards made of several rewards."""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np

from rlaif.errors import ConfigError, RewardError
from rlaif.records import Failure
from rlaif.rewards.base import Candidate, Opening, Reward, RewardFn, added_usage, begin, check_state, name_of, together
from rlaif.rewards.shaping import PerItem, divisor


class _Several(Opening):
    """What mixtures share: usage and state of their parts."""

    def __init__(self, fns: Sequence[RewardFn]) -> None:
        super().__init__(fns)
        self._fns = tuple(fns)

    def begin(self, candidate: Candidate) -> None:
        """Let each part begin, where it can.

        Args:
            candidate: of a batch that will come.
        """
        for fn in self._fns:
            begin(fn, candidate)

    def usage(self) -> Mapping[str, float]:
        """What the parts took together; a part that is in several places counts once in each."""
        return added_usage(self._fns)

    def state_dict(self) -> dict[str, Any]:
        """The parts' states."""
        return {"parts": [fn.state_dict() for fn in self._fns]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Args:
            state: what `state_dict` gave.

        Raises:
            RewardError: it is the state of another reward.
        """
        check_state(self, state, ("parts",))
        if len(state["parts"]) != len(self._fns):
            raise RewardError(f"the stored state has {len(state['parts'])} parts; there are {len(self._fns)}")
        for fn, part in zip(self._fns, state["parts"], strict=True):
            fn.load_state_dict(part)


class WeightedSum(_Several):
    """Σ weight · reward; its parts are asked at the same time.

    Where a part failed there is no sum: the failure has the kind of the first part that failed, and keeps the rewards
    of the others in `partial`. That holds for a masked part too (TRL would leave it out, which is to count it as 0); a
    function that means 0 should say 0.
    """

    def __init__(self, parts: Sequence[tuple[RewardFn, float]]) -> None:
        """Take the parts.

        Args:
            parts: reward functions and their weights.

        Raises:
            ConfigError: there are no parts, or a weight is no finite number.
        """
        if not parts:
            raise ConfigError("a weighted sum has no parts; give it pairs of a reward function and its weight")
        super().__init__([fn for fn, _ in parts])
        self._weights = [weight for _, weight in parts]
        self._names = [f"part {number} ({name_of(fn)})" for number, (fn, _) in enumerate(parts, 1)]
        for name, weight in zip(self._names, self._weights, strict=True):
            if not math.isfinite(weight):
                raise ConfigError(f"{name} has the weight {weight}; it must be a finite number")

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        """Reward a batch: each candidate as soon as all its parts are there."""
        async with aclosing(together(self._fns, batch)) as stream:
            async for index, found in stream:
                yield index, self._sum(batch[index], [found[number] for number in range(len(self._fns))])

    def _sum(self, candidate: Candidate, found: Sequence[Reward]) -> Reward:
        named = list(zip(self._names, found, strict=True))
        failed = [(name, one) for name, one in named if isinstance(one, Failure)]
        numbers = {name: one for name, one in named if not isinstance(one, Failure)}
        if not failed:
            return sum(weight * one for weight, one in zip(self._weights, numbers.values(), strict=True))
        return Failure(
            id=candidate.id,
            failure=failed[0][1].failure,
            detail="; ".join(f"{name}: {one.detail}" for name, one in failed),
            partial=numbers or None,
            exchange=failed[0][1].exchange,
        )


class Logits(PerItem):
    """Turns a reward model's normalised scores back into the logits of its training: score · scale + shift.

    σ of that is what Llama 2 calls a score. A reward that is a logit already takes scale 1 and shift 0.
    """

    def __init__(self, fn: RewardFn, scale: float, shift: float) -> None:
        """Take a reward and its normalisation.

        Args:
            fn: gives (logit - shift) / scale.
            scale: the reward model's `score_scale`, above 0.
            shift: its `score_shift`.

        Raises:
            ConfigError: the scale is not above 0.
        """
        super().__init__(fn)
        if not scale > 0:
            raise ConfigError(f"score_scale is {scale}; it must be above 0")
        self._scale, self._shift = scale, shift

    def each(self, candidate: Candidate, reward: float) -> float:
        """The logit behind one score."""
        return reward * self._scale + self._shift


class Llama2Rule(_Several):
    """Safety where safety is at stake, helpfulness elsewhere; then whitened.

    R_c = R_s where the query is tagged unsafe or R_s < threshold, else R_h, with R_s and R_h in (0, 1); the reward is
    WHITEN(LOGIT(R_c)). Since R = σ(logit), LOGIT only takes back the σ, so that the rule works on logits throughout: it
    compares with LOGIT(threshold), and nothing is lost where σ is flat.

    The rewards of a batch come at its end, since each depends on all. Failures stay failures and are left out of the
    whitening. Without a safety score there is no reward; without a helpfulness score there is one where safety decides.

    Source: Touvron et al., arXiv:2307.09288, section 3.2.3 (threshold .15: precision .89, recall .55 on Meta's
    safety test set).
    """

    def __init__(
        self, helpfulness: Logits, safety: Logits, unsafe_column: str | None = None, threshold: float = 0.15
    ) -> None:
        """Take the two rewards.

        Args:
            helpfulness: logits of the helpfulness model.
            safety: logits of the safety model.
            unsafe_column: the column (true or false) that tags unsafe queries; None where there are no tags.
            threshold: the safety score, a probability in (0, 1), below which a response is judged by safety alone.

        Raises:
            ConfigError: the threshold is not in (0, 1), or a reward does not say how it is a logit.
        """
        super().__init__((helpfulness, safety))
        for fn in self._fns:
            if not isinstance(fn, Logits):
                raise ConfigError(f"{name_of(fn)} may be no logit; give Logits(fn, score_scale, score_shift)")
        if not 0 < threshold < 1:
            raise ConfigError(f"threshold is {threshold}; it is a probability in (0, 1)")
        self._unsafe_column = unsafe_column
        self._threshold = math.log(threshold / (1 - threshold))

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        """Reward a batch, at its end."""
        unsafe = [self._tagged(index, candidate) for index, candidate in enumerate(batch)]
        chosen: dict[int, Reward] = {}
        async with aclosing(together(self._fns, batch)) as stream:
            async for index, found in stream:
                chosen[index] = self._choose(batch[index], unsafe[index], found[0], found[1])
        for index, reward in enumerate(whiten([chosen[index] for index in range(len(batch))])):
            yield index, reward

    def _tagged(self, index: int, candidate: Candidate) -> bool:
        column = self._unsafe_column
        if column is None:
            return False
        found = candidate.columns.get(column)
        if not isinstance(found, bool | np.bool_):
            place = f"row {index} (id {candidate.id})"
            raise RewardError(f"Llama2Rule: {place}: column {column} is {found!r:.60}; it must be true or false")
        return bool(found)

    def _choose(self, candidate: Candidate, unsafe: bool, helpfulness: Reward, safety: Reward) -> Reward:
        if isinstance(safety, Failure):
            return _without(candidate, "safety", safety, {"helpfulness": helpfulness})
        if unsafe or safety < self._threshold:
            return safety
        if isinstance(helpfulness, Failure):
            return _without(candidate, "helpfulness", helpfulness, {"safety": safety})
        return helpfulness


def _without(candidate: Candidate, name: str, failed: Failure, other: Mapping[str, Reward]) -> Failure:
    partial = {name: one for name, one in other.items() if not isinstance(one, Failure)}
    own = {"id": candidate.id, "detail": f"{name}: {failed.detail}", "partial": partial or None}
    return failed.model_copy(update=own)


def whiten(rewards: Sequence[Reward]) -> list[Reward]:
    """Shift and scale the rewards of a batch to mean 0 and (population) variance 1.

    Args:
        rewards: of a batch; failures stay as they are and count for nothing.

    Returns:
        The whitened rewards. Where there is no spread (one reward, or all the same) the mean is taken away and
        nothing is divided: they are 0.
    """
    values = np.array([reward for reward in rewards if not isinstance(reward, Failure)], dtype=np.float64)
    if not values.size:
        return list(rewards)
    mean = float(values.mean())
    scale = divisor(mean, float(values.var()))
    return [reward if isinstance(reward, Failure) else (reward - mean) / scale for reward in rewards]
