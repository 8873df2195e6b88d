"""Direct preference optimisation on soft labels, on TRL's trainer.

Shapes: B queries, K = 2 responses each, R rows, T tokens.
The preference of each example goes through to the loss; the log-probabilities of the reference policy, which is the
policy as it was at the start, are computed once and stored. Deviations from arXiv:2305.18290: the label may be soft,
and a query is run once for both responses (see `batches`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, assert_never

import torch
from datasets import Dataset
from pydantic import Field, field_validator
from transformers import PreTrainedModel, set_seed
from trl import DPOConfig as TRLDPOConfig
from trl import DPOTrainer

from rlaif.config import Config
from rlaif.generation import by_length
from rlaif.io import write_lines
from rlaif.progress import Progress
from rlaif.training.batches import Collator, can_share_query, response_logprobs
from rlaif.training.data import Examples, Labels, Source
from rlaif.training.fitting import Prepared, fit
from rlaif.training.logprobs import add_response_head, has_plain_logits
from rlaif.training.losses import cpl_loss, dpo_loss, ipo_loss, smoothed
from rlaif.training.models import find_folder, freeze_lower_layers, load_policy, save_folder
from rlaif.training.settings import Checkpoints, Lora, Optimisation, trainer_arguments
from rlaif.training.tokens import Tokenizer
from rlaif.training.watching import check_loss


class DPOConfig(Config):
    """How a policy is optimised directly on preferences.

    Attributes:
        model: the policy it starts from, which is the reference too: a folder, or `pocket:policy`.
        data: where labeled comparisons come from.
        labels: `soft` trains on the preferences as they are, `hard` on 0 and 1.
        loss: `dpo`, `ipo`, or `cpl` (which has no reference policy).
        beta: how much the policy is held to the reference (τ of IPO, α of CPL).
        smoothing: this share of the labels is taken to be the wrong way round (conservative DPO).
        bias: λ of CPL, on the segment that was not preferred.
        max_tokens: of a query with a response; a longer query loses tokens from its left.
        share_query: run each query once for both responses.
        frozen_layers: how many of the lowest layers keep their weights.
        lora: train adapters instead of all weights.
        optimisation: how it is trained.
        checkpoints: when it is saved.
    """

    model: str
    data: tuple[Source, ...] = Field(min_length=1)
    labels: Labels = "soft"
    loss: Literal["dpo", "ipo", "cpl"] = "dpo"
    beta: float = Field(default=0.1, gt=0)
    smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    bias: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=1024, ge=8)
    share_query: bool = True
    frozen_layers: int = Field(default=0, ge=0)
    lora: Lora = Lora()
    optimisation: Optimisation = Optimisation(learning_rate=1e-6)
    checkpoints: Checkpoints = Checkpoints()

    @field_validator("data")
    @classmethod
    def _pairs_only(cls, data: tuple[Source, ...]) -> tuple[Source, ...]:
        if any(source.label == "order" for source in data):
            raise ValueError("DPO learns from pairs; a ranking of K responses can train a reward model")
        return data


class SoftDPOTrainer(Prepared, DPOTrainer):  # type: ignore[misc]  # TRL has no types that say so
    """TRL's DPO trainer on tokens, with a soft label for each example and the losses of `losses`."""

    def __init__(self, model: PreTrainedModel, config: DPOConfig, ids: Sequence[str], **options: Any) -> None:
        """Prepare; everything else is TRL's.

        Args:
            model: the policy.
            config: the loss, and the section on optimisation.
            ids: of the training examples, for messages.
            **options: of `DPOTrainer`.
        """
        self.optimisation, self._config, self._ids = config.optimisation, config, ids
        self._plain = has_plain_logits(model)
        if self._plain:
            add_response_head(model)
        super().__init__(model=model, **options)

    def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def response_logprobs(self, model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The policy's log-probability of each response of a batch.

        Args:
            model: as the trainer wrapped it.
            batch: of a `Collator`.

        Returns:
            (B, 2) nats, summed over a response's tokens, its end token included.
        """
        asked = {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids")}
        if self._plain:
            found = model(**asked, response_labels=batch["labels"], use_cache=False)
        else:
            found = model(**asked, labels=batch["labels"], use_cache=False, fused_lm_head=True).log_probs.float()
        return response_logprobs(found, batch)

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], return_outputs: bool = False, **_: Any
    ) -> Any:
        """The mean loss of a batch.

        Args:
            model: as the trainer wrapped it.
            inputs: of a `Collator`, with the reference's log-probabilities.
            return_outputs: whether the log-probabilities (B, 2) are wanted too.

        Raises:
            TrainingError: it is no number, or above `max_loss`.
        """
        logprobs = self.response_logprobs(model, inputs)
        reference = torch.stack([inputs["reference_1"], inputs["reference_2"]], 1)
        losses = example_losses(logprobs, reference, inputs["preference"], self._config)
        training = self.model.training
        if training:
            ids = [self._ids[int(row)] for row in inputs["row"].tolist()]
            check_loss(losses, self.optimisation.max_loss, self.state.global_step + 1, ids)
        self._note("train" if training else "eval", (logprobs - reference).detach(), inputs["preference"])
        loss = self.step_mean(inputs["weight"] * losses)
        return (loss, {"logprobs": logprobs}) if return_outputs else loss

    def _note(self, mode: Literal["train", "eval"], ratios: torch.Tensor, preference: torch.Tensor) -> None:
        ahead, label = ratios[:, 0] - ratios[:, 1], preference - 0.5
        agrees = (ahead * label > 0).float()[label != 0]
        if len(agrees):
            self._metrics[mode]["accuracy"].append(agrees.mean().item())
        self._metrics[mode]["log_ratio"].append(ratios.mean().item())
        self._metrics[mode]["margin"].append((self._config.beta * ahead.abs()).mean().item())


def example_losses(
    logprobs: torch.Tensor, reference: torch.Tensor, preference: torch.Tensor, config: DPOConfig
) -> torch.Tensor:
    """The loss of each pair.

    Args:
        logprobs: (B, 2) the policy's, in nats.
        reference: (B, 2) the reference policy's.
        preference: (B,) in [0, 1].
        config: which loss.

    Returns:
        (B,).
    """
    label = smoothed(preference, config.smoothing)
    ratio_1, ratio_2 = (logprobs - reference).unbind(1)
    match config.loss:
        case "dpo":
            return dpo_loss(ratio_1, ratio_2, label, config.beta)
        case "ipo":
            return ipo_loss(ratio_1, ratio_2, label, config.beta)
        case "cpl":
            # A response is one segment, undiscounted.
            return cpl_loss(config.beta * logprobs[:, 0], config.beta * logprobs[:, 1], label, config.bias)
        case _:
            assert_never(config.loss)


class TrainedPolicy(NamedTuple):
    """A trained policy: its model folder, and steps of the optimizer."""

    folder: Path
    steps: int


def train_dpo(
    config: DPOConfig,
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
        TrainingError: the loss is no number; the last checkpoint is kept.
        KeyboardInterrupt: after Ctrl-C, when a checkpoint is written.
    """
    set_seed(config.optimisation.seed)
    model = load_policy(find_folder(config.model), getattr(torch, config.optimisation.weights))
    freeze_lower_layers(model, config.frozen_layers)
    shared = config.share_query and can_share_query(model)
    columns = ("preference", "weight", "row", "reference_1", "reference_2")
    arguments = trainer_arguments(out, config.optimisation, config.checkpoints, processes, device != "cpu")
    trainer = SoftDPOTrainer(
        model,
        config,
        [row["id"] for row in examples.rows],
        args=TRLDPOConfig(**arguments, max_length=None, beta=config.beta, precompute_ref_log_probs=True),
        data_collator=Collator(tokenizer.pad, shared, columns=columns),
        train_dataset=Dataset.from_list(examples.rows),
        processing_class=tokenizer.tokenizer,
        peft_config=config.lora.peft_config("CAUSAL_LM", config.frozen_layers),
    )
    reference = _reference(trainer, examples.rows, Collator(tokenizer.pad, shared), out, progress)
    trainer.train_dataset = Dataset.from_list(
        [
            row | {"reference_1": one, "reference_2": two}
            for row, (one, two) in zip(examples.rows, reference, strict=True)
        ]
    )
    fit(trainer, out, "policy (DPO)", config.checkpoints, progress)
    trained = trainer.accelerator.unwrap_model(trainer.model).eval()
    if config.lora.rank and config.lora.merge:
        trained = trained.merge_and_unload()
    if trainer.is_world_process_zero():
        save_folder(trained, tokenizer.tokenizer, out / "model")
    return TrainedPolicy(out / "model", trainer.state.global_step)


_AT_ONCE_TOKENS = 16_384


def _reference(
    trainer: SoftDPOTrainer, rows: Sequence[Mapping[str, Any]], collator: Collator, out: Path, progress: bool
) -> list[list[float]]:
    """The log-probabilities of the policy as it starts, computed once and kept in `reference.jsonl`."""
    path = out / "reference.jsonl"
    if trainer.is_world_process_zero() and not path.exists():
        found = dict(_start_logprobs(trainer, rows, collator, progress))
        write_lines(path, (json.dumps({"id": rows[n]["id"], "logprobs": found[n]}) for n in range(len(rows))))
    trainer.accelerator.wait_for_everyone()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line["logprobs"] for line in lines]


@torch.no_grad()
def _start_logprobs(
    trainer: SoftDPOTrainer, rows: Sequence[Mapping[str, Any]], collator: Collator, progress: bool
) -> Iterator[tuple[int, list[float]]]:
    model = trainer.model.eval()
    with Progress("reference", len(rows), progress) as bar:
        for indices in by_length([row["length"] for row in rows], 0, _AT_ONCE_TOKENS):
            batch = collator([rows[index] for index in indices])
            on_device = {name: value.to(model.device) for name, value in batch.items()}
            for index, pair in zip(indices, trainer.response_logprobs(model, on_device).tolist(), strict=True):
                bar.advance(None, 0)
                yield index, pair
    model.train()
