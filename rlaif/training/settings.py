"""The sections that all training configs share, and what they mean to the trainers' own arguments."""

import warnings
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from transformers import TrainingArguments

from rlaif.config import Config


class Optimisation(Config):
    """How a model is trained.

    Attributes:
        epochs: passes over the data.
        max_steps: stop after so many steps of the optimizer, whatever `epochs` says.
        batch: examples (queries) for one step, over all processes together.
        micro_batch: examples that go through the model at once, in each process; what memory depends on.
        learning_rate: the highest.
        schedule: of the learning rate behind the warm-up; `linear` and `cosine` fall to 0.
        warmup_share: of the steps, in which the rate rises from 0.
        weight_decay: of AdamW.
        max_grad_norm: to which gradients are clipped.
        max_loss: training stops where a batch's loss is above it, or no number; the last checkpoint stays.
        weights: the type in which weights are kept and trained.
        autocast: multiply matrices in bfloat16; on an accelerator if None.
        gradient_checkpointing: compute activations twice instead of keeping them.
        group_by_length: examples of like length go together, so that little is padded.
        seed: of the order of the data and of new weights.
    """

    epochs: float = Field(default=1.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=64, ge=1)
    micro_batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_share: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    max_loss: float = Field(default=20.0, gt=0)
    weights: Literal["float32", "bfloat16"] = "float32"
    autocast: bool | None = None
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _micro_batches_fill_a_batch(self) -> Self:
        if self.batch % self.micro_batch:
            raise ValueError(f"batch {self.batch} is not a multiple of micro_batch {self.micro_batch}")
        return self


class Lora(Config):
    """Low-rank adapters on all linear layers instead of training every weight.

    Attributes:
        rank: of the adapters; 0 trains the weights themselves.
        alpha: the adapters' output is scaled by alpha / rank.
        dropout: on the adapters' input.
        merge: add the trained adapters to the weights at the end; otherwise the model folder holds adapters only.

    Source: arXiv:2106.09685.
    """

    rank: int = Field(default=0, ge=0)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    merge: bool = True

    def peft_config(self, task: Literal["CAUSAL_LM", "SEQ_CLS"], frozen_layers: int = 0) -> Any:
        """The adapters as `peft` wants them; None where none are wanted.

        Args:
            task: what the model is for.
            frozen_layers: how many of the lowest layers get none.
        """
        if not self.rank:
            return None
        from peft import LoraConfig

        # Released adapters ask transformers by an older name, which works.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules="all-linear",
            exclude_modules=rf".*\.layers\.({'|'.join(map(str, range(frozen_layers)))})\..*" if frozen_layers else None,
            task_type=task,
            # The head is new: there is nothing that an adapter could adapt.
            modules_to_save=["score"] if task == "SEQ_CLS" else None,
        )


class Checkpoints(Config):
    """When training is saved, so that it can go on.

    Attributes:
        every_steps: steps between checkpoints.
        keep: how many of the last are kept.
        log_every_steps: steps between lines of `metrics.jsonl`.
    """

    every_steps: int = Field(default=100, ge=1)
    keep: int = Field(default=1, ge=1)
    log_every_steps: int = Field(default=10, ge=1)


def trainer_arguments(
    out: Path, optimisation: Optimisation, checkpoints: Checkpoints, processes: int, accelerated: bool
) -> dict[str, Any]:
    """What the shared sections say to a trainer of transformers or TRL.

    Args:
        out: the run folder, which takes the checkpoints.
        optimisation: the section.
        checkpoints: the section.
        processes: that train together.
        accelerated: whether they have an accelerator.

    Returns:
        Keyword arguments of `TrainingArguments`.

    Raises:
        ValueError: the processes' micro-batches do not fill a batch.
    """
    rows = optimisation.micro_batch * processes
    if optimisation.batch % rows:
        raise ValueError(
            f"optimisation.batch {optimisation.batch} is not a multiple of micro_batch {optimisation.micro_batch} × "
            f"{processes} processes"
        )
    newer = "activation_checkpointing" in TrainingArguments.__dataclass_fields__
    checkpointing = "activation_checkpointing" if newer else "gradient_checkpointing"
    autocast = optimisation.autocast if optimisation.autocast is not None else accelerated
    return {
        "output_dir": str(out),
        "num_train_epochs": optimisation.epochs,
        "max_steps": optimisation.max_steps or -1,
        "per_device_train_batch_size": optimisation.micro_batch,
        "per_device_eval_batch_size": optimisation.micro_batch,
        "gradient_accumulation_steps": optimisation.batch // rows,
        "learning_rate": optimisation.learning_rate,
        "lr_scheduler_type": optimisation.schedule if optimisation.schedule != "constant" else "constant_with_warmup",
        "warmup_steps": optimisation.warmup_share,
        "weight_decay": optimisation.weight_decay,
        "max_grad_norm": optimisation.max_grad_norm,
        "bf16": autocast,
        # The newer name, where transformers has it: the older one warns there.
        checkpointing: optimisation.gradient_checkpointing,
        "seed": optimisation.seed,
        "use_cpu": not accelerated,
        "save_strategy": "steps",
        "save_steps": checkpoints.every_steps,
        "save_total_limit": checkpoints.keep,
        "logging_steps": checkpoints.log_every_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "report_to": [],
        "disable_tqdm": True,
        "prediction_loss_only": True,
        # The collators take what they need; columns that they ignore cost nothing.
        "remove_unused_columns": False,
        "dataloader_pin_memory": accelerated,
        "ddp_find_unused_parameters": False,
    }
