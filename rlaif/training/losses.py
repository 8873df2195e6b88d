"""The losses of preference learning and of PPO: pure functions, one value for each example, or for each token.

Shapes: B examples, K responses of one query, T tokens of the longest segment. Log-probabilities are in nats.
A `preference` is P(response 1 preferred): 1 and 0 are hard labels, what is between them is soft.
Reduction is the caller's: mean over the batch of weight × loss.
"""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import logsigmoid


def bradley_terry_loss(score_1: torch.Tensor, score_2: torch.Tensor, preference: torch.Tensor) -> torch.Tensor:
    """Cross-entropy between a soft label and the Bradley–Terry probability σ(score_1 − score_2).

    Args:
        score_1: (B,) the reward model's score of the first response.
        score_2: (B,) that of the second.
        preference: (B,) in [0, 1].

    Returns:
        (B,) nats; −p·log σ(Δ) − (1−p)·log σ(−Δ), least at Δ = logit(p).

    Source: arXiv:2309.00267, section 2.2.1 (the softmax of two scores is the sigmoid of their difference).
    """
    return cross_entropy(score_1 - score_2, preference, reduction="none")


def margin_loss(chosen: torch.Tensor, rejected: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
    """The pair loss that wants the chosen response ahead by a margin. For hard labels only.

    Args:
        chosen: (B,) scores of the preferred responses.
        rejected: (B,) scores of the others.
        margin: (B,) at least 0; larger where people were surer.

    Returns:
        (B,) −log σ(chosen − rejected − margin), nats.

    Source: Llama 2, arXiv:2307.09288, equation 2.
    """
    return -logsigmoid(chosen - rejected - margin)


def k_wise_loss(scores: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The mean pair loss over all pairs of one query's ranked responses.

    Args:
        scores: (B, K) best response first; what is behind a row's count is ignored, and gets no gradient.
        counts: (B,) how many responses the row has, 2 to K.

    Returns:
        (B,) nats; the mean over count·(count−1)/2 pairs of −log σ(better − worse).

    Source: InstructGPT, arXiv:2203.02155, equation 1.
    """
    places = torch.arange(scores.shape[1], device=scores.device)
    counted = (places[:, None] < places) & (places < counts[:, None, None])
    ahead = (scores[:, :, None] - scores[:, None, :]).masked_fill(~counted, 0.0)
    losses = (-logsigmoid(ahead)).masked_fill(~counted, 0.0)
    return losses.sum((1, 2)) / counted.sum((1, 2))


def centring_loss(scores: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """What keeps the scores of a query around 0, where the pair loss leaves their level open.

    Args:
        scores: (B, K) scores of each query's responses.
        counted: (B, K) bool, True = counts.

    Returns:
        (B,) the squared sum of a row's scores.

    Source: arXiv:2312.09244, section 4 (for two responses; the same for K).
    """
    return scores.masked_fill(~counted, 0.0).sum(1).square()


def dpo_loss(
    log_ratio_1: torch.Tensor, log_ratio_2: torch.Tensor, preference: torch.Tensor, beta: float
) -> torch.Tensor:
    """Direct preference optimisation with a soft label for each example.

    A preference of 1 is the loss of the paper; the conservative variant is that of `smoothed` labels.

    Args:
        log_ratio_1: (B,) log π(response 1) − log π_ref(response 1), summed over the response's tokens.
        log_ratio_2: (B,) the same of the second response.
        preference: (B,) in [0, 1].
        beta: how much the policy is held to the reference; above 0.

    Returns:
        (B,) nats; least where β·(log_ratio_1 − log_ratio_2) = logit(p).

    Source: arXiv:2305.18290, equation 7; with a soft label, its expectation over the label.
    """
    return cross_entropy(beta * (log_ratio_1 - log_ratio_2), preference, reduction="none")


def smoothed(preference: torch.Tensor, share: float) -> torch.Tensor:
    """Labels of which a share is taken to be the wrong way round (conservative DPO).

    Args:
        preference: (B,) in [0, 1].
        share: of flipped labels, 0 to .5.

    Returns:
        (B,) (1 − share)·p + share·(1 − p).

    Source: E. Mitchell, "A note on DPO with noisy preferences & relationship to IPO" (2023), equation 5.
    """
    return (1 - share) * preference + share * (1 - preference)


def ipo_loss(
    log_ratio_1: torch.Tensor, log_ratio_2: torch.Tensor, preference: torch.Tensor, beta: float
) -> torch.Tensor:
    """Identity preference optimisation: the distance of the log-ratios is drawn to (2p − 1) / 2β.

    With the log-ratios *summed* over tokens, as in the paper. TRL averages them per token for this loss alone, so
    that the same β means something else there.

    Args:
        log_ratio_1: (B,) log π(response 1) − log π_ref(response 1), summed over the response's tokens.
        log_ratio_2: (B,) the same of the second response.
        preference: (B,) in [0, 1].
        beta: above 0 (τ of the paper).

    Returns:
        (B,) (Δ − (2p − 1)/2β)². For a soft label it differs from the label's expectation by a constant only.

    Source: arXiv:2310.12036, equation 17.
    """
    return (log_ratio_1 - log_ratio_2 - (2 * preference - 1) / (2 * beta)).square()


def discounted_advantage(logprobs: torch.Tensor, mask: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
    """The discounted sum of α·log π over a segment.

    Args:
        logprobs: (B, T) log π of each step.
        mask: (B, T) bool, True = counts; the discount counts from a row's first counted step.
        alpha: the temperature of the entropy term, above 0.
        gamma: the discount, in (0, 1].

    Returns:
        (B,) nats × α.

    Source: CPL, arXiv:2310.13639, section 3.2.
    """
    steps = (mask.long().cumsum(1) - 1).clamp(min=0)
    return (gamma ** steps.to(logprobs.dtype) * alpha * logprobs.masked_fill(~mask, 0.0)).sum(1)


def cpl_loss(
    advantage_1: torch.Tensor, advantage_2: torch.Tensor, preference: torch.Tensor, bias: float = 1.0
) -> torch.Tensor:
    """Contrastive preference learning: the preferred segment has the larger discounted advantage.

    With `bias` 1 and one step on log π − log π_ref this is DPO with β = α.

    Args:
        advantage_1: (B,) of the first segment (`discounted_advantage`).
        advantage_2: (B,) of the second.
        preference: (B,) in [0, 1].
        bias: λ in (0, 1], on the segment that was not preferred; below 1 it keeps the policy near the data.

    Returns:
        (B,) nats; the label's expectation of −log σ(preferred − λ·other).

    Source: arXiv:2310.13639, equation 5 and section 3.3 (the bias).
    """
    first = -logsigmoid(advantage_1 - bias * advantage_2)
    second = -logsigmoid(advantage_2 - bias * advantage_1)
    return preference * first + (1 - preference) * second


def clipped_policy_loss(
    logprobs: torch.Tensor, old_logprobs: torch.Tensor, advantages: torch.Tensor, clip: float
) -> torch.Tensor:
    """PPO's clipped surrogate, as a loss.

    Args:
        logprobs: (B, T) of the policy that is trained.
        old_logprobs: (B, T) of the policy as it was when the tokens were drawn.
        advantages: (B, T).
        clip: ε; the ratio gains nothing outside of [1 − ε, 1 + ε].

    Returns:
        (B, T) −min(r·A, clip(r)·A), r = π/π_old.

    Source: arXiv:1707.06347, equation 7.
    """
    ratio = (logprobs - old_logprobs).exp()
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))


def reinforce_loss(logprobs: torch.Tensor, old_logprobs: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """A loss with the policy gradient, corrected token by token where an earlier policy drew.

    Args:
        logprobs: (B, T) of the policy that is trained.
        old_logprobs: (B, T) of the policy that drew the tokens.
        advantages: (B, T).

    Returns:
        (B, T) −r·A, r = π/π_old, whose gradient is −r·A·∇log π.
    """
    return -advantages * (logprobs - old_logprobs).exp()


def clipped_value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, clip: float
) -> torch.Tensor:
    """The squared error of values, which gain nothing by moving further than a step allows.

    Args:
        values: (B, T) of the model that is trained.
        old_values: (B, T) as they were when the tokens were drawn.
        returns: (B, T) what they should be.
        clip: how far they may move from the old ones; infinite for a plain squared error.

    Returns:
        (B, T) half of the larger of the squared errors of the values and of the clipped values.

    Source: arXiv:1909.08593's code, as listed in arXiv:2403.17031 (detail on value clipping).
    """
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum((values - returns).square(), (near - returns).square()) / 2
