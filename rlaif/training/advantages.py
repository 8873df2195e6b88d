"""From scores to advantages: pure functions of PPO and REINFORCE on tensors.

Shapes: B responses, T tokens of the longest. Masks are bool (B, T), True = counts; where a mask is False a result is 0.
KL and log-probabilities are in nats, per token; γ is the discount, λ of GAE.
"""

from collections.abc import Callable
from typing import Literal, assert_never

import torch

KLEstimator = Literal["k1", "k2", "k3"]
Reduce = Callable[[torch.Tensor], torch.Tensor]
"""Adds a tensor up over all processes."""


def alone(sums: torch.Tensor) -> torch.Tensor:
    """The sum over the processes where there is one.

    Args:
        sums: of this process.
    """
    return sums


def kl_estimate(logprobs: torch.Tensor, ref_logprobs: torch.Tensor, estimator: KLEstimator) -> torch.Tensor:
    """Estimates of the KL divergence from the reference, of tokens that were drawn from the policy.

    In the reward only k1 gives the right gradient; as a loss k2 does; k3 is never negative and varies little, so it is
    the one to watch.

    Args:
        logprobs: (B, T) log π.
        ref_logprobs: (B, T) log π_ref.
        estimator: k1 = log π − log π_ref; k2 = k1²/2; k3 = exp(−k1) − 1 + k1.

    Returns:
        (B, T) nats.

    Source: J. Schulman, "Approximating KL divergence" (2020).
    """
    ratio = logprobs - ref_logprobs
    match estimator:
        case "k1":
            return ratio
        case "k2":
            return ratio.square() / 2
        case "k3":
            return torch.expm1(-ratio) + ratio
        case _:
            assert_never(estimator)


def last_tokens(mask: torch.Tensor) -> torch.Tensor:
    """Where each response ends.

    Args:
        mask: (B, T) the response's tokens.

    Returns:
        (B,) the last place that counts; 0 where none does.
    """
    places = torch.arange(mask.shape[1], device=mask.device)
    return (places * mask).amax(1)


def token_rewards(scores: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, kl_coef: float) -> torch.Tensor:
    """The reward of each token: −β·KL, and the score at the response's last token.

    Args:
        scores: (B,) of the responses.
        kl: (B, T) k1 of the tokens.
        mask: (B, T) the responses' tokens.
        kl_coef: β.

    Returns:
        (B, T).

    Source: arXiv:1909.08593, equation 2; arXiv:2009.01325, section 3.4.
    """
    rewards = (-kl_coef * kl).masked_fill(~mask, 0.0)
    ends = torch.zeros_like(rewards).scatter(1, last_tokens(mask)[:, None], scores[:, None].to(rewards.dtype))
    return rewards + ends.masked_fill(~mask, 0.0)


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation.

    Args:
        rewards: (B, T).
        values: (B, T) V of the state before each token.
        mask: (B, T); behind the last token that counts there is no value.
        gamma: γ.
        lam: λ; 1 gives returns minus values, 0 one-step differences.

    Returns:
        Advantages and returns (advantages + values), both (B, T) and without a gradient.

    Source: arXiv:1506.02438, equations 11 and 16.
    """
    rewards, values = (one.detach().masked_fill(~mask, 0.0) for one in (rewards, values))
    found = torch.zeros_like(values)
    after = torch.zeros_like(values[:, 0])
    for place in reversed(range(values.shape[1])):
        following = values[:, place + 1] if place + 1 < values.shape[1] else torch.zeros_like(after)
        delta = rewards[:, place] + gamma * following - values[:, place]
        # What does not count passes nothing on: neither before the first token nor behind the last.
        after = torch.where(mask[:, place], delta + gamma * lam * after, torch.zeros_like(after))
        found[:, place] = after
    return found, (found + values).masked_fill(~mask, 0.0)


def masked_mean(values: torch.Tensor, mask: torch.Tensor, reduce: Reduce = alone) -> torch.Tensor:
    """The mean over what counts, in all processes together.

    Args:
        values: of any shape.
        mask: of the same.
        reduce: adds up over processes.

    Returns:
        A scalar; 0 where nothing counts.
    """
    kept = values.masked_fill(~mask, 0.0)
    total, count = reduce(torch.stack([kept.sum(dtype=torch.float64), mask.sum(dtype=torch.float64)]))
    mean: torch.Tensor = total / count.clamp(min=1)
    return mean.to(values.dtype)


def whiten(values: torch.Tensor, mask: torch.Tensor, reduce: Reduce = alone) -> torch.Tensor:
    """Shift and scale to mean 0 and (population) variance 1 over what counts, in all processes together.

    Args:
        values: (B, T).
        mask: (B, T).
        reduce: adds up over processes.

    Returns:
        (B, T); where there is no spread the mean is taken away and nothing is divided.
    """
    mean, variance = _mean_and_variance(values, mask, reduce)
    # The spread of equal numbers is rounding.
    scale = torch.where(variance.sqrt() > 1e-6 * mean.abs().clamp(min=1e-6), variance.sqrt(), torch.ones_like(mean))
    return ((values - mean) / scale).masked_fill(~mask, 0.0)


def explained_variance(
    values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, reduce: Reduce = alone
) -> float | None:
    """How much of the returns' variance the values explain, in all processes together.

    Args:
        values: (B, T).
        returns: (B, T).
        mask: (B, T).
        reduce: adds up over processes.

    Returns:
        1 − Var(returns − values) / Var(returns), at most 1; None where the returns do not vary.
    """
    returns, values = returns.double(), values.double()
    mean, wanted = _mean_and_variance(returns, mask, reduce)
    _, left = _mean_and_variance(returns - values, mask, reduce)
    # The spread of equal numbers is rounding.
    return None if wanted.sqrt() <= 1e-9 * mean.abs() else float(1 - left / wanted)


def _mean_and_variance(values: torch.Tensor, mask: torch.Tensor, reduce: Reduce) -> tuple[torch.Tensor, torch.Tensor]:
    mean = masked_mean(values, mask, reduce)
    return mean, masked_mean((values - mean).square(), mask, reduce)
