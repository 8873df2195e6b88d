"""Log-probabilities of given tokens, without logits of any other position.

Shapes: R rows, T tokens, n positions that count, V words of the vocabulary, d the hidden size.
TRL's fused head scores every position where there is no Triton, the query's too; most positions are the query's.
"""

import types
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from rlaif.training.batches import IGNORED

_MOST_LOGITS = 1 << 26
"""So many logits are kept for the backward pass (256 MB in float32); of more, tiles are computed twice."""


def add_response_head(model: PreTrainedModel) -> None:
    """Let `model(..., response_labels=labels)` return log-probabilities of the labels, (R, T − 1), instead of logits.

    Any other call is as before. It is the model's own forward that learns this, so that adapters and wrappers of
    several processes, which are put around it later, need not know.

    Args:
        model: a causal language model with plain logits (no scale, no soft cap).
    """
    original = model.forward

    def forward(self: PreTrainedModel, *args: Any, response_labels: torch.Tensor | None = None, **options: Any) -> Any:
        if response_labels is None:
            return original(*args, **options)
        hidden = self.base_model(*args, **options).last_hidden_state[:, :-1]
        labels = response_labels[:, 1:]
        found = token_logprobs(hidden[labels != IGNORED], labels[labels != IGNORED], self.get_output_embeddings())
        # Scattering keeps the graph whole even where no label counts, which several processes need.
        return found.new_zeros(labels.shape).masked_scatter(labels != IGNORED, found)

    model.forward = types.MethodType(forward, model)


def token_logprobs(hidden: torch.Tensor, labels: torch.Tensor, head: Any) -> torch.Tensor:
    """Log p of each label.

    Args:
        hidden: (n, d) what the model holds before each label.
        labels: (n,) ids.
        head: from (n, d) to logits (n, V).

    Returns:
        (n,) nats, float32 at least.
    """
    return token_statistics(hidden, labels, head)[0]


def token_statistics(
    hidden: torch.Tensor, labels: torch.Tensor, head: Any, temperature: float = 1.0, *, entropy: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log p of each label, and how unsure the model was, as it draws at a temperature.

    Args:
        hidden: (n, d) what the model holds before each label.
        labels: (n,) ids.
        head: from (n, d) to logits (n, V).
        temperature: the logits are divided by it.
        entropy: whether entropies are wanted, which cost as much again; they are 0 otherwise.

    Returns:
        Log-probabilities and entropies, both (n,) nats, float32 at least.
    """
    width = head.weight.shape[0]
    tile = max(1, _MOST_LOGITS // width)
    if len(labels) <= tile:
        return _tile(hidden, labels, head, temperature, entropy)
    tiles = zip(torch.split(hidden, tile), torch.split(labels, tile), strict=True)
    parts = [checkpoint(_tile, some, wanted, head, temperature, entropy, use_reentrant=False) for some, wanted in tiles]
    logprobs, entropies = zip(*parts, strict=True)
    return torch.cat(logprobs), torch.cat(entropies)


def _tile(
    hidden: torch.Tensor, labels: torch.Tensor, head: Any, temperature: float, entropy: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = head(hidden)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    every = torch.log_softmax(wide / temperature, -1)
    logprobs = every.gather(1, labels[:, None])[:, 0]
    return logprobs, -(every.exp() * every).sum(-1) if entropy else torch.zeros_like(logprobs)


def has_plain_logits(model: PreTrainedModel) -> bool:
    """Whether a model's logits are its head's output as it is.

    Args:
        model: a causal language model.
    """
    config = model.config.get_text_config()
    scales = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier")
    return all(getattr(config, name, None) is None for name in scales)
