"""A policy with a value head, and the reference that it is held to.

Shapes: B responses, T tokens of the longest; rows as in `rollout`.
Log-probabilities are those of logits / temperature, as tokens are drawn. Of logits there are only those of response
tokens, and never more than a tile of them. Dropout is off, in generation as in training: a ratio must begin at 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from rlaif.training.logprobs import token_statistics
from rlaif.training.models import checkpoint_activations, load_policy
from rlaif.training.rollout import Rows
from rlaif.training.settings import Lora


class Scored(NamedTuple):
    """What a model says of responses: log-probabilities and entropies in nats, and values, each (B, T); 0 elsewhere."""

    logprobs: torch.Tensor
    entropies: torch.Tensor
    values: torch.Tensor


class PolicyAndValue(torch.nn.Module):
    """A policy, V of the state before each token, and the reference.

    V begins at 0. It reads the policy's own last hidden states, or those of a trunk of its own.
    """

    def __init__(
        self,
        policy: PreTrainedModel,
        reference: PreTrainedModel | None,
        value_trunk: PreTrainedModel | None,
        lora: Lora,
        *,
        autocast: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        """Take the models; with adapters the policy's own weights are the reference.

        Args:
            policy: the policy that is trained.
            reference: a frozen copy; not needed with adapters.
            value_trunk: a second copy whose hidden states V reads; the policy's if None.
            lora: adapters to train in place of the policy's weights.
            autocast: multiply matrices in bfloat16.
            gradient_checkpointing: compute activations twice instead of keeping them.
        """
        super().__init__()
        self.autocast = autocast
        self.policy = _without_dropout(policy)
        self.value_trunk = None if value_trunk is None else _without_dropout(value_trunk.base_model)
        hidden = policy.config.get_text_config().hidden_size
        self.value_head = torch.nn.Linear(hidden, 1, dtype=policy.dtype)
        torch.nn.init.zeros_(self.value_head.weight)
        torch.nn.init.zeros_(self.value_head.bias)
        adapters = lora.peft_config("CAUSAL_LM")
        # Lists hide them from torch: neither is part of what is trained and saved.
        self._adapted: list[Any] = []
        self._reference = [] if reference is None else [_without_dropout(reference).eval().requires_grad_(False)]
        if adapters is not None:
            from peft import get_peft_model

            self._adapted = [_without_dropout(get_peft_model(policy, adapters))]
        for one in (policy, value_trunk) if gradient_checkpointing else ():
            if one is not None:
                checkpoint_activations(one)

    def forward(
        self, rows: Rows, temperature: float, *, entropy: bool = False, value_head_alone: bool = False
    ) -> Scored:
        """Score responses.

        Args:
            rows: queries with responses.
            temperature: as they were drawn at.
            entropy: whether entropies are wanted.
            value_head_alone: whether the values' gradient stops at the head.
        """
        with self._precision():
            hidden = self._hidden(self.policy.base_model, rows)
            logprobs, entropies = self._statistics(self.policy, hidden, rows, temperature, entropy)
            states = hidden if self.value_trunk is None else self._hidden(self.value_trunk, rows)
            if value_head_alone:
                states = states.detach()
            values = self.value_head(states)[..., 0]
        wide = values if values.dtype == torch.float64 else values.float()
        return Scored(logprobs, entropies, wide.masked_fill(~rows.response_mask, 0.0))

    @torch.no_grad()
    def reference_logprobs(self, rows: Rows, temperature: float) -> torch.Tensor:
        """What the reference says of responses.

        Args:
            rows: queries with responses.
            temperature: as they were drawn at.

        Returns:
            (B, T) nats.
        """
        with self._as_reference() as model, self._precision():
            hidden = self._hidden(model.base_model, rows)
            return self._statistics(model, hidden, rows, temperature, False)[0]

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.value_head.weight.device.type, torch.bfloat16, enabled=self.autocast)

    @contextmanager
    def _as_reference(self) -> Iterator[PreTrainedModel]:
        with self._adapted[0].disable_adapter() if self._adapted else nullcontext():
            yield self._reference[0] if self._reference else self.policy

    def merged(self) -> PreTrainedModel:
        """The trained policy with its adapters, if it has some, added to the weights; it is not trained further."""
        return self._adapted[0].merge_and_unload() if self._adapted else self.policy

    @staticmethod
    def _hidden(trunk: torch.nn.Module, rows: Rows) -> torch.Tensor:
        """(B, T, d) the last hidden state before each response token."""
        mask = rows.mask.long()
        found = trunk(input_ids=rows.ids, attention_mask=mask, position_ids=rows.positions, use_cache=False)
        before: torch.Tensor = found.last_hidden_state[:, rows.query_tokens - 1 : -1]
        return before

    @staticmethod
    def _statistics(
        model: PreTrainedModel, hidden: torch.Tensor, rows: Rows, temperature: float, entropy: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        mask = rows.response_mask
        labels = rows.ids[:, rows.query_tokens :]
        found = token_statistics(
            hidden[mask], labels[mask], model.get_output_embeddings(), temperature, entropy=entropy
        )
        logprobs, entropies = (one.new_zeros(mask.shape).masked_scatter(mask, one) for one in found)
        return logprobs, entropies

    def move_to(self, device: torch.device) -> "PolicyAndValue":
        """Put everything on a device, the reference too.

        Args:
            device: where to.
        """
        for one in self._reference:
            one.to(device)
        return self.to(device)


def load_with_value(
    folder: Path,
    lora: Lora,
    separate_trunk: bool,
    seed: int,
    *,
    autocast: bool = False,
    gradient_checkpointing: bool = False,
) -> PolicyAndValue:
    """A policy with a new value head and its reference, on the CPU, with weights in float32.

    Args:
        folder: of the policy as it starts, which is the reference too.
        lora: adapters to train in place of the policy's weights.
        separate_trunk: whether V reads a second copy of the policy.
        seed: of new adapters.
        autocast: multiply matrices in bfloat16.
        gradient_checkpointing: compute activations twice instead of keeping them.

    Raises:
        ModelError: transformers cannot load it.
    """
    torch.manual_seed(seed)
    policy = load_policy(folder, torch.float32)
    reference = None if lora.rank else load_policy(folder, torch.float32)
    trunk = load_policy(folder, torch.float32) if separate_trunk else None
    return PolicyAndValue(
        policy, reference, trunk, lora, autocast=autocast, gradient_checkpointing=gradient_checkpointing
    )


def _without_dropout(model: torch.nn.Module) -> Any:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]
    return model
