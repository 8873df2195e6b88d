"""Reward models on soft labels: distilled RLAIF (arXiv:2309.00267, section 2.2.1), on TRL's trainer.

Shapes: B queries, K responses of the query that has most.
Deviations from the paper: the scores of one query's K ranked responses may be learned together (InstructGPT's loss),
and queries are run once for all their responses (see `batches`), which changes no number but the time it takes.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import torch
from datasets import Dataset
from pydantic import Field, model_validator
from transformers import PreTrainedModel, set_seed
from trl import RewardConfig as TRLRewardConfig
from trl import RewardTrainer

from rlaif.config import Config
from rlaif.errors import did_you_mean
from rlaif.statistics.intervals import Estimate, share
from rlaif.training.batches import Collator, can_share_query
from rlaif.training.data import Examples, Labels, Margin, Source
from rlaif.training.fitting import Prepared, fit
from rlaif.training.losses import bradley_terry_loss, centring_loss, k_wise_loss, margin_loss
from rlaif.training.models import find_folder, freeze_lower_layers, head_from_policy, save_folder
from rlaif.training.scoring import keep_scale, normalise, score_rows
from rlaif.training.settings import Checkpoints, Lora, Optimisation, trainer_arguments
from rlaif.training.tokens import Tokenizer
from rlaif.training.watching import check_loss

_SCORED_TOKENS = 16_384


class RewardConfig(Config):
    """How a reward model is trained.

    Attributes:
        model: the policy whose weights it starts from: a folder, or `pocket:policy`.
        data: where labeled comparisons come from; or several such lists by name (helpfulness, safety), each of which
            becomes a reward model of its own in a folder of that name.
        held_out: labeled comparisons that it is measured on and never trained on, in the same form.
        labels: `soft` trains on the preferences as they are, `hard` on 0 and 1.
        margin: how far ahead the chosen response should be, by a column that says how sure people were.
        centring: weight of the squared sum of a query's scores in the loss.
        max_tokens: of a query with a response; a longer query loses tokens from its left.
        share_query: run each query once for all its responses.
        normalise_on: so many training examples give the scores mean 0 and variance 1; 0 leaves them as they are.
        frozen_layers: how many of the lowest layers keep their weights.
        lora: train adapters instead of all weights.
        optimisation: how it is trained.
        checkpoints: when it is saved.
    """

    model: str
    data: tuple[Source, ...] | dict[str, tuple[Source, ...]]
    held_out: tuple[Source, ...] | dict[str, tuple[Source, ...]] = ()
    labels: Labels = "soft"
    margin: Margin | None = None
    centring: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=1024, ge=8)
    share_query: bool = True
    normalise_on: int = Field(default=1000, ge=0)
    frozen_layers: int = Field(default=0, ge=0)
    lora: Lora = Lora()
    optimisation: Optimisation = Optimisation()
    checkpoints: Checkpoints = Checkpoints()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.data or (isinstance(self.data, dict) and not all(self.data.values())):
            raise ValueError("data names no file; list at least one, such as - path: outputs/labels/preferences.jsonl")
        if self.margin is not None and self.labels != "hard":
            raise ValueError("margin goes with labels: hard; a soft label says already how sure it is")
        if isinstance(self.data, dict) != isinstance(self.held_out, dict) and self.held_out:
            raise ValueError("held_out must have the form of data: one list, or a list for each name")
        if isinstance(self.data, dict) and isinstance(self.held_out, dict):
            for name in self.held_out:
                if name not in self.data:
                    raise ValueError(f"held_out names {name}, which data does not{did_you_mean(name, self.data)}")
        lists = self.data.values() if isinstance(self.data, dict) else [self.data]
        if self.margin is not None and any(source.label == "order" for sources in lists for source in sources):
            raise ValueError("margin goes with pairs; ranked responses (label: order) have none")
        if self.lora.rank and not self.lora.merge:
            raise ValueError(
                "lora.merge is false, but a reward model's scale and shift are kept beside whole weights; leave it true"
            )
        return self


class SoftRewardTrainer(Prepared, RewardTrainer):  # type: ignore[misc]  # TRL has no types that say so
    """TRL's reward trainer on tokens, soft labels, weights, margins and K ranked responses.

    The loss is the mean over the batch of weight × loss, with a part for centring; every part is in `losses`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        optimisation: Optimisation,
        ids: Sequence[str],
        *,
        margins: bool = False,
        centring: float = 0.0,
        **options: Any,
    ) -> None:
        """Prepare; everything else is TRL's.

        Args:
            model: a sequence classifier with one output.
            optimisation: the section.
            ids: of the training examples, for messages.
            margins: whether labels are hard and come with margins.
            centring: weight of that part of the loss.
            **options: of `RewardTrainer`.
        """
        self.optimisation, self._ids = optimisation, ids
        self._margins, self._centring = margins, centring
        self._all_scores = torch.empty(0)
        super().__init__(model=model, **options)
        # transformers' own pooling takes one token of a row, where a row may hold several responses.
        head = next(module for name, module in self.model.named_modules() if name.endswith("score"))
        head.register_forward_hook(self._keep)

    def _keep(self, _: torch.nn.Module, __: Any, scores: torch.Tensor) -> None:
        self._all_scores = scores

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], return_outputs: bool = False, **_: Any
    ) -> Any:
        """The mean loss of a batch.

        Args:
            model: as the trainer wrapped it.
            inputs: of a `Collator`.
            return_outputs: whether the scores (B, K) are wanted too.

        Raises:
            TrainingError: it is no number, or above `max_loss`.
        """
        model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            position_ids=inputs["position_ids"],
            use_cache=False,
        )
        scores = self._all_scores[..., 0].flatten()[inputs["ends"]].float()
        losses = example_losses(scores, inputs, self._margins)
        training = self.model.training
        if training:
            ids = [self._ids[int(row)] for row in inputs["row"].tolist()]
            check_loss(losses, self.optimisation.max_loss, self.state.global_step + 1, ids)
        loss = self.step_mean(inputs["weight"] * losses)
        if self._centring:
            counted = torch.arange(scores.shape[1], device=scores.device) < inputs["counts"][:, None]
            loss = loss + self._centring * self.step_mean(centring_loss(scores, counted))
        self._note("train" if training else "eval", scores.detach(), inputs)
        return (loss, {"scores": scores}) if return_outputs else loss

    def _note(self, mode: Literal["train", "eval"], scores: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> None:
        ahead, label = scores[:, 0] - scores[:, 1], inputs["preference"] - 0.5
        agrees = (ahead * label > 0).float()[label != 0]
        found = {"accuracy": agrees.mean() if len(agrees) else None, "margin": ahead.abs().mean()}
        for name, value in found.items():
            if value is not None:
                self._metrics[mode][name].append(value.item())


def example_losses(scores: torch.Tensor, inputs: Mapping[str, torch.Tensor], margins: bool) -> torch.Tensor:
    """The loss of each query: of its pair, or of its K ranked responses.

    Args:
        scores: (B, K).
        inputs: `preference`, `ranked`, `counts` and, where `margins`, `margin`, each (B,).
        margins: whether labels are hard and come with margins.

    Returns:
        (B,) nats.
    """
    first, second, preference = scores[:, 0], scores[:, 1], inputs["preference"]
    if margins:
        side = 2 * preference - 1
        # The chosen response is the first where the label is 1, the second where it is 0.
        pairs = margin_loss(side * first, side * second, inputs["margin"])
    else:
        pairs = bradley_terry_loss(first, second, preference)
    if scores.shape[1] == 2:
        return pairs
    return torch.where(inputs["ranked"] > 0, k_wise_loss(scores, inputs["counts"]), pairs)


class TrainedReward(NamedTuple):
    """A trained reward model.

    Attributes:
        folder: the model folder.
        steps: of the optimizer.
        score_scale: the spread of its scores before they were normalised.
        score_shift: their mean.
        accuracy: on held-out comparisons whose label has a side; None without any.
        log_loss: its mean on held-out comparisons in nats; None without any.
    """

    folder: Path
    steps: int
    score_scale: float
    score_shift: float
    accuracy: Estimate | None
    log_loss: float | None


def train_reward_model(
    config: RewardConfig,
    examples: Examples,
    held_out: Examples | None,
    tokenizer: Tokenizer,
    out: Path,
    *,
    device: str,
    processes: int = 1,
    progress: bool = True,
) -> TrainedReward:
    """Train one reward model and write its folder, `model/`.

    Args:
        config: how.
        examples: what it learns from.
        held_out: what it is measured on.
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
    model = head_from_policy(find_folder(config.model), getattr(torch, config.optimisation.weights), tokenizer.pad)
    freeze_lower_layers(model, config.frozen_layers)
    shared = config.share_query and can_share_query(model)
    columns = ("preference", "ranked", "weight", "margin", "row")
    arguments = trainer_arguments(out, config.optimisation, config.checkpoints, processes, device != "cpu")
    trainer = SoftRewardTrainer(
        model,
        config.optimisation,
        [row["id"] for row in examples.rows],
        margins=config.margin is not None,
        centring=config.centring,
        args=TRLRewardConfig(**arguments, max_length=None),
        data_collator=Collator(tokenizer.pad, shared, columns=columns),
        train_dataset=Dataset.from_list(examples.rows),
        processing_class=tokenizer.tokenizer,
        peft_config=config.lora.peft_config("SEQ_CLS", config.frozen_layers),
    )
    fit(trainer, out, "reward model", config.checkpoints, progress)
    trained = trainer.accelerator.unwrap_model(trainer.model).eval()
    if config.lora.rank and config.lora.merge:
        trained = trained.merge_and_unload()
    scale, shift = 1.0, 0.0
    keep_scale(trained, scale, shift, config.max_tokens)
    if config.normalise_on:
        reference = _scores(trained, examples.rows[: config.normalise_on], tokenizer.pad)
        scale, shift = normalise(trained, [one for row in reference for one in row], config.max_tokens)
    accuracy, log_loss = _measure(trained, held_out, tokenizer.pad, scale) if held_out else (None, None)
    folder = out / "model"
    if trainer.is_world_process_zero():
        save_folder(trained, tokenizer.tokenizer, folder)
    return TrainedReward(folder, trainer.state.global_step, scale, shift, accuracy, log_loss)


def _scores(model: PreTrainedModel, rows: Sequence[Mapping[str, Any]], pad: int) -> list[list[float]]:
    """What the head says of each example's responses."""
    flat = [[*row["query"], *response] for row in rows for response in row["responses"]]
    found = iter(score_rows(model, flat, pad, _SCORED_TOKENS))
    return [[next(found) for _ in row["responses"]] for row in rows]


def _measure(model: PreTrainedModel, held_out: Examples, pad: int, scale: float) -> tuple[Estimate, float]:
    """Accuracy and mean cross-entropy of held-out pairs; of ranked responses all pairs count."""
    right, sided, losses = 0.0, 0, list[float]()
    for row, scores in zip(held_out.rows, _scores(model, held_out.rows, pad), strict=True):
        for first, second in itertools.combinations(scores, 2):
            logit, label = (first - second) * scale, row["preference"]
            losses.append(max(logit, 0.0) - logit * label + math.log1p(math.exp(-abs(logit))))
            if label != 0.5:
                sided += 1
                right += 0.5 if logit == 0 else (logit > 0) == (label > 0.5)
    return share(right, sided), sum(losses) / len(losses)
