"""Supervised fine-tuning on responses, on TRL's trainer.

Shapes: B examples or packed rows, T tokens of the longest row.
The loss counts response tokens only, unless asked otherwise. Packed examples do not see one another: each starts at
position 0 and has a mask of its own, on any kind of attention that takes one (TRL's packing needs FlashAttention).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from pydantic import Field
from transformers import PreTrainedModel, set_seed
from trl import SFTConfig as TRLSFTConfig
from trl import SFTTrainer, pack_dataset

from rlaif.config import Config
from rlaif.errors import ConfigError
from rlaif.training.batches import IGNORED, can_share_query, separate_mask
from rlaif.training.data import Examples, SFTSource
from rlaif.training.dpo import TrainedPolicy
from rlaif.training.fitting import Prepared, fit
from rlaif.training.models import find_folder, freeze_lower_layers, load_policy, save_folder
from rlaif.training.settings import Checkpoints, Lora, Optimisation, trainer_arguments
from rlaif.training.tokens import Tokenizer
from rlaif.training.watching import check_loss


class SFTConfig(Config):
    """How a policy is trained on responses.

    Attributes:
        model: what it starts from: a folder, or `pocket:base`.
        data: where queries and responses come from.
        learn: `response` counts the response's tokens, `all` the query's too.
        packing: put several examples into rows of `max_tokens`.
        max_tokens: of a query with its response; a longer query loses tokens from its left.
        frozen_layers: how many of the lowest layers keep their weights.
        lora: train adapters instead of all weights.
        optimisation: how it is trained.
        checkpoints: when it is saved.
    """

    model: str
    data: tuple[SFTSource, ...] = Field(min_length=1)
    learn: Literal["response", "all"] = "response"
    packing: bool = False
    max_tokens: int = Field(default=1024, ge=8)
    frozen_layers: int = Field(default=0, ge=0)
    lora: Lora = Lora()
    optimisation: Optimisation = Optimisation()
    checkpoints: Checkpoints = Checkpoints()


@dataclass(frozen=True, slots=True)
class _Collator:
    """Pads rows of `input_ids` and `labels` on the right; a mask keeps the examples of one row apart."""

    pad: int

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(example["input_ids"]) for example in examples)
        numbers, positions = [], []
        for example in examples:
            lengths = example.get("seq_lengths") or [len(example["input_ids"])]
            fill = longest - sum(lengths)
            numbers.append([index for index, length in enumerate(lengths) for _ in range(length)] + [-1] * fill)
            positions.append([place for length in lengths for place in range(length)] + [0] * fill)
        examples_of = torch.tensor(numbers)
        packed = any(len(example.get("seq_lengths") or [0]) > 1 for example in examples)
        return {
            "input_ids": self._padded(examples, "input_ids", longest, self.pad),
            "labels": self._padded(examples, "labels", longest, IGNORED),
            "position_ids": torch.tensor(positions),
            "attention_mask": separate_mask(examples_of) if packed else (examples_of >= 0).long(),
        }

    @staticmethod
    def _padded(examples: Sequence[Mapping[str, Any]], name: str, longest: int, value: int) -> torch.Tensor:
        return torch.tensor([[*example[name], *[value] * (longest - len(example[name]))] for example in examples])


class PreparedSFTTrainer(Prepared, SFTTrainer):  # type: ignore[misc]  # TRL has no types that say so
    """TRL's SFT trainer on tokens."""

    def __init__(self, model: PreTrainedModel, optimisation: Optimisation, **options: Any) -> None:
        """Prepare; everything else is TRL's.

        Args:
            model: the policy.
            optimisation: the section.
            **options: of `SFTTrainer`.
        """
        self.optimisation = optimisation
        super().__init__(model=model, **options)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """TRL's loss, looked at before anything is done with it.

        Args:
            model: as the trainer wrapped it.
            inputs: the batch.
            return_outputs: as TRL has it.
            num_items_in_batch: tokens that count in the whole step, in whose mean the loss is then a part.

        Raises:
            TrainingError: it is no number, or above `max_loss`.
        """
        found = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = found[0] if isinstance(found, tuple) else found
        parts = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
        # TRL counts tokens in a mask of two dimensions; ours may have four.
        self._metrics["train"].pop("num_tokens", None)
        check_loss(loss[None] * parts, self.optimisation.max_loss, self.state.global_step + 1, ["this batch"])
        return found


def train_sft(
    config: SFTConfig,
    examples: Examples,
    tokenizer: Tokenizer,
    out: Path,
    *,
    device: str,
    processes: int = 1,
    progress: bool = True,
) -> TrainedPolicy:
    """Train a policy and write its folder, `model/`.

    Args:
        config: how.
        examples: what it learns from.
        tokenizer: of `config.model`.
        out: the run folder; training goes on from a checkpoint there.
        device: `cpu` or `cuda`.
        processes: that train together.
        progress: show it on standard error.

    Raises:
        ConfigError: `packing` with a model that cannot keep packed examples apart.
        TrainingError: the loss is no number; the last checkpoint is kept.
        KeyboardInterrupt: after Ctrl-C, when a checkpoint is written.
    """
    set_seed(config.optimisation.seed)
    model = load_policy(find_folder(config.model), getattr(torch, config.optimisation.weights))
    if config.packing and not can_share_query(model):
        raise ConfigError(f"packing: {type(model).__name__} cannot keep packed examples apart; leave packing out")
    freeze_lower_layers(model, config.frozen_layers)
    arguments = trainer_arguments(out, config.optimisation, config.checkpoints, processes, device != "cpu")
    trainer = PreparedSFTTrainer(
        model,
        config.optimisation,
        args=TRLSFTConfig(**arguments, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}),
        data_collator=_Collator(tokenizer.pad),
        train_dataset=_dataset(config, examples),
        processing_class=tokenizer.tokenizer,
        peft_config=config.lora.peft_config("CAUSAL_LM", config.frozen_layers),
    )
    fit(trainer, out, "policy (SFT)", config.checkpoints, progress)
    trained = trainer.accelerator.unwrap_model(trainer.model).eval()
    if config.lora.rank and config.lora.merge:
        trained = trained.merge_and_unload()
    if trainer.is_world_process_zero():
        save_folder(trained, tokenizer.tokenizer, out / "model")
    return TrainedPolicy(out / "model", trainer.state.global_step)


def _dataset(config: SFTConfig, examples: Examples) -> Dataset:
    rows = Dataset.from_list(list(_rows(examples, config.learn)))
    if not config.packing:
        return rows
    # A bar of a second's work would stand between our own lines, in a pipe too.
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    packed = pack_dataset(rows.select_columns(["input_ids", "labels"]), config.max_tokens, "bfd")
    if shown:
        enable_progress_bars()
    return packed.add_column("length", [sum(lengths) for lengths in packed["seq_lengths"]])


def _rows(examples: Examples, learn: Literal["response", "all"]) -> Iterator[dict[str, Any]]:
    for row in examples.rows:
        for response in row["responses"]:
            query = row["query"]
            # A packed example's first token has nothing before it that could predict it.
            shown = [IGNORED, *query[1:]] if learn == "all" else [IGNORED] * len(query)
            ids = [*query, *response]
            yield {"input_ids": ids, "labels": [*shown, *response], "length": len(ids)}
