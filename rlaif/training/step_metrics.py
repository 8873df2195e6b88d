"""What a step's responses and judgements look like, as numbers to watch. Pure.

Shapes: B responses, T tokens of the longest.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rlaif.training.advantages import Reduce, kl_estimate, masked_mean
from rlaif.training.drawing import Drawn


def response_metrics(
    responses: Sequence[tuple[str, int, bool, float | None]], failures: Counter[str]
) -> dict[str, float | None]:
    """Of the responses of a step.

    Args:
        responses: (B,) of each the text, how many tokens it has, whether it came to an end by itself, and its score;
            None where it is masked.
        failures: how many judgements failed, by class.

    Returns:
        `score` and `score_std` over those that have one, `response_tokens`, and the shares that ended, differ from one
        another, are masked, and failed by class; where both vary, the correlation of score and length.
    """
    texts, tokens, ended, scores = zip(*responses, strict=True)
    known = torch.tensor([one for one in scores if one is not None], dtype=torch.float64)
    pairs = zip(tokens, scores, strict=True)
    lengths = torch.tensor([float(count) for count, score in pairs if score is not None], dtype=torch.float64)
    found: dict[str, float | None] = {
        "score": known.mean().item() if len(known) else None,
        "score_std": known.std(correction=0).item() if len(known) else None,
        "response_tokens": sum(tokens) / len(tokens),
        "ended_share": sum(ended) / len(ended),
        "distinct_share": len(set(texts)) / len(texts),
        "masked_share": sum(one is None for one in scores) / len(scores),
    }
    if len(known) > 1 and known.std() > 0 and lengths.std() > 0:
        found["score_length_correlation"] = torch.corrcoef(torch.stack([known, lengths]))[0, 1].item()
    return found | {f"failed_{kind}": count / len(scores) for kind, count in failures.items()}


def labeler_metrics(reward: Any) -> dict[str, float | None]:
    """What a reward function says of its last batch: its `metrics`, numbers or lists of them, if it has any.

    Args:
        reward: the reward function.
    """
    found: dict[str, float | None] = {}
    metrics = getattr(reward, "metrics", None)
    for name, value in metrics.items() if isinstance(metrics, Mapping) else ():
        values = [value] if isinstance(value, int | float) else list(value)
        mean = sum(values) / len(values) if values else math.nan
        found[f"labeler_{name}"] = mean if math.isfinite(mean) else None
    return found


def kl_metrics(drawn: Drawn, reduce: Reduce) -> dict[str, float]:
    """How far the policy is from the reference, how sure it is, and how far the sampler is from the policy.

    Args:
        drawn: the step's responses.
        reduce: adds up over all processes.

    Returns:
        Of all processes together: `kl_per_sequence` (k1 summed over a response, nats) and per token `kl_k3`, `entropy`
        and `sampler_mismatch` (mean distance of log-probabilities, nats).
    """
    k1, k3 = (kl_estimate(drawn.logprobs, drawn.ref_logprobs, name) for name in ("k1", "k3"))
    mismatch = (drawn.logprobs - drawn.sampled_logprobs).abs()
    counted = drawn.mask.any(1)
    return {
        "kl_per_sequence": float(masked_mean(k1.masked_fill(~drawn.mask, 0.0).sum(1), counted, reduce)),
        "kl_k3": float(masked_mean(k3, drawn.mask, reduce)),
        "entropy": float(masked_mean(drawn.entropies, drawn.mask, reduce)),
        "sampler_mismatch": float(masked_mean(mismatch, drawn.mask, reduce)),
    }
