"""What trained models must come to, by closed form: score differences logit(p), and π* of exact preferences."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from tiny_policy import tiny_policy
from transformers import AutoTokenizer
from trl import DPOConfig as TRLDPOConfig
from trl import RewardConfig as TRLRewardConfig

from rlaif.training.batches import Collator
from rlaif.training.dpo import DPOConfig, SoftDPOTrainer
from rlaif.training.models import head_from_policy, load_policy
from rlaif.training.reward_model import SoftRewardTrainer
from rlaif.training.settings import Checkpoints, Optimisation, trainer_arguments

QUERY, ARMS = [0, 3, 700, 4], [[101, 1], [102, 1], [103, 1]]
STEPS = 150
PI_REF, REWARD = (0.5, 0.3, 0.2), (0.0, 1.0, 2.0)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"))


def arm_logprobs(model: torch.nn.Module) -> torch.Tensor:
    """log π of the three responses, over all texts."""
    rows = torch.tensor([QUERY + arm for arm in ARMS])
    logprobs = torch.log_softmax(model(rows).logits, -1)
    summed = logprobs[:, len(QUERY) - 1].gather(1, rows[:, len(QUERY), None])[:, 0]
    return summed + logprobs[:, len(QUERY)].gather(1, rows[:, len(QUERY) + 1, None])[:, 0]


def with_reference(model: torch.nn.Module) -> torch.nn.Module:
    """The model after it has been made to have π_ref on the arms."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    aim = torch.tensor(PI_REF).log()
    for _ in range(STEPS):
        optimizer.zero_grad()
        (torch.log_softmax(arm_logprobs(model), 0) - aim).square().sum().backward()
        optimizer.step()
        schedule.step()
    assert (torch.softmax(arm_logprobs(model), 0) - torch.tensor(PI_REF)).abs().max() < 1e-4
    return model


def pairs() -> list[tuple[int, int, float]]:
    """All pairs of arms with their exact Bradley–Terry preference."""
    return [(i, j, 1 / (1 + math.exp(REWARD[j] - REWARD[i]))) for i, j in itertools.combinations(range(3), 2)]


def arguments(tmp_path: Path, optimisation: Optimisation) -> dict[str, object]:
    return trainer_arguments(tmp_path, optimisation, Checkpoints(every_steps=10_000), 1, False)


@pytest.mark.parametrize(
    ("beta", "optimum"), [(0.5, (0.036667, 0.162559, 0.800774)), (1.0, (0.179000, 0.291944, 0.529056))]
)
def test_dpo_on_exact_preferences_reaches_the_optimum(
    beta: float, optimum: tuple[float, ...], policy: Path, tmp_path: Path
) -> None:
    model = with_reference(load_policy(policy, torch.float32))
    optimisation = Optimisation(
        batch=3, micro_batch=3, max_steps=STEPS, learning_rate=3e-3, schedule="linear", max_grad_norm=1e3
    )
    reference = arm_logprobs(model).tolist()
    rows = [
        {"query": QUERY, "responses": [ARMS[i], ARMS[j]], "preference": p, "weight": 1.0, "row": n, "length": 8}
        | {"reference_1": reference[i], "reference_2": reference[j]}
        for n, (i, j, p) in enumerate(pairs())
    ]
    trainer = SoftDPOTrainer(
        model,
        DPOConfig(model="x", data=[{"path": "x"}], beta=beta, optimisation=optimisation),
        ["a", "b", "c"],
        args=TRLDPOConfig(
            **arguments(tmp_path, optimisation), max_length=None, beta=beta, precompute_ref_log_probs=True
        ),
        data_collator=Collator(2, columns=("preference", "weight", "row", "reference_1", "reference_2")),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(policy),
    )
    trainer.train()
    with torch.no_grad():
        found = torch.softmax(arm_logprobs(trainer.model.eval()), 0)
    total_variation = (found - torch.tensor(optimum)).abs().sum().item() / 2
    assert total_variation < 1e-3


def test_a_reward_model_recovers_the_score_differences(policy: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    optimisation = Optimisation(batch=3, micro_batch=3, max_steps=STEPS, learning_rate=3e-3, max_grad_norm=1e3)
    rows = [
        {"query": QUERY, "responses": [ARMS[i], ARMS[j]], "preference": p, "weight": 1.0, "row": n, "length": 8}
        | {"ranked": 0.0, "margin": 0.0}
        for n, (i, j, p) in enumerate(pairs())
    ]
    trainer = SoftRewardTrainer(
        head_from_policy(policy, torch.float32, 2),
        optimisation,
        ["a", "b", "c"],
        args=TRLRewardConfig(**arguments(tmp_path, optimisation), max_length=None),
        data_collator=Collator(2, columns=("preference", "ranked", "weight", "margin", "row")),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(policy),
    )
    trainer.train()
    with torch.no_grad():
        scores = trainer.model.eval()(torch.tensor([QUERY + arm for arm in ARMS])).logits[:, 0].tolist()
    for i, j, p in pairs():
        assert scores[i] - scores[j] == pytest.approx(math.log(p / (1 - p)), abs=1e-2)
