"""One step of reward or DPO training on known tokens; run by torchrun it saves the gradient that the step took.

torchrun --nproc-per-node 2 one_step.py reward POLICY OUT
"""

import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import DPOConfig as TRLDPOConfig
from trl import RewardConfig as TRLRewardConfig

from rlaif.training.batches import Collator
from rlaif.training.dpo import DPOConfig, SoftDPOTrainer
from rlaif.training.fitting import processes
from rlaif.training.models import head_from_policy, load_policy
from rlaif.training.reward_model import SoftRewardTrainer
from rlaif.training.settings import Checkpoints, Optimisation, trainer_arguments

LABELS = (0.0, 0.3, 0.6, 1.0)
COLUMNS = ("preference", "ranked", "weight", "margin", "row")


def rows(count: int, seed: int = 0, *, hard: bool = False) -> list[dict[str, Any]]:
    """Examples of random tokens, with every kind of label, different weights, and margins that hard labels have."""
    rng = random.Random(seed)

    def ids(most: int) -> list[int]:
        return [rng.randrange(5, 2000) for _ in range(rng.randint(2, most))]

    made = [
        {
            "id": f"pair-{n}",
            "query": ids(12),
            "responses": [[*ids(9), 1], [*ids(9), 1]],
            "preference": float(LABELS[n % len(LABELS)] > 0.5) if hard else LABELS[n % len(LABELS)],
            "ranked": 0.0,
            "weight": 2.5 if n == 3 else 1.0,
            "margin": n / 4,
            "row": n,
            "reference_1": -20.0 - n,
            "reference_2": -25.0 + n,
        }
        for n in range(count)
    ]
    return [row | {"length": len(row["query"]) + sum(map(len, row["responses"]))} for row in made]


class Gradient(TrainerCallback):
    """Keeps the gradient of the step, clipped to nothing less."""

    def __init__(self) -> None:
        self.found: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, *_: Any, model: torch.nn.Module, **__: Any) -> None:
        named = model.named_parameters()
        self.found = {name.removeprefix("module."): one.grad.clone() for name, one in named if one.grad is not None}


def one_step(
    kind: str,
    policy: Path,
    out: Path,
    *,
    micro_batch: int,
    processes: int = 1,
    margins: bool = False,
    centring: float = 0.0,
    settings: Mapping[str, Any] | None = None,
    **layout: Any,
) -> tuple[Any, Gradient]:
    """A trainer for one step on eight examples, and what will keep its gradient; `settings` are of DPO's config."""
    examples = rows(8, hard=margins)
    optimisation = Optimisation(batch=8, micro_batch=micro_batch, max_steps=1, max_grad_norm=1e9, max_loss=1e9)
    arguments = trainer_arguments(out, optimisation, Checkpoints(), processes, False)
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "train_dataset": Dataset.from_list(examples),
        "processing_class": AutoTokenizer.from_pretrained(policy),
    }
    ids = [row["id"] for row in examples]
    if kind == "reward":
        found: Any = SoftRewardTrainer(
            head_from_policy(policy, torch.float32, 2),
            optimisation,
            ids,
            margins=margins,
            centring=centring,
            args=TRLRewardConfig(**arguments, max_length=None),
            data_collator=Collator(2, columns=COLUMNS, **layout),
            **options,
        )
    else:
        config = DPOConfig(
            model=str(policy), data=[{"path": "x"}], beta=0.3, optimisation=optimisation, **settings or {}
        )
        found = SoftDPOTrainer(
            load_policy(policy, torch.float32),
            config,
            ids,
            args=TRLDPOConfig(**arguments, max_length=None, beta=0.3, precompute_ref_log_probs=True),
            data_collator=Collator(2, columns=("preference", "weight", "row", "reference_1", "reference_2"), **layout),
            **options,
        )
    gradient = Gradient()
    found.add_callback(gradient)
    return found, gradient


if __name__ == "__main__":
    kind, policy, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    trainer, gradient = one_step(kind, policy, out, micro_batch=2, processes=processes().num_processes)
    trainer.train()
    if trainer.is_world_process_zero():
        torch.save(gradient.found, out / "gradient.pt")
