"""What a step's responses and judgements look like, as numbers to watch. Pure.

Shapes: B responses.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch


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
