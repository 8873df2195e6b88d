"""Our subclasses of TRL's trainers: loss and gradient are the pure functions', however a batch is laid out or cut."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from one_step import one_step, rows
from tiny_policy import tiny_policy

from rlaif.training.models import head_from_policy, load_policy

HERE = Path(__file__).parent
KINDS = ("reward", "dpo")
BETA = 0.3
Loss = Callable[[dict[str, Any], torch.Tensor, torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"))


def soft_loss(ahead: torch.Tensor, p: float) -> torch.Tensor:
    return -p * torch.log(torch.sigmoid(ahead)) - (1 - p) * torch.log(torch.sigmoid(-ahead))


def logprob(model: torch.nn.Module, query: list[int], response: list[int]) -> torch.Tensor:
    logprobs = torch.log_softmax(model(torch.tensor([query + response])).logits[0], -1)
    return sum(logprobs[len(query) - 1 + place, token] for place, token in enumerate(response))


def alone(kind: str, model: Any, row: dict[str, Any]) -> list[torch.Tensor]:
    """What the model says of each response: its score, or its log-probability."""
    if kind == "reward":
        return [model(torch.tensor([row["query"] + response])).logits[0, 0] for response in row["responses"]]
    return [logprob(model, row["query"], response) for response in row["responses"]]


def plain_loss(kind: str, row: dict[str, Any], one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    if kind == "reward":
        return soft_loss(one - other, row["preference"])
    return soft_loss(BETA * (one - row["reference_1"] - other + row["reference_2"]), row["preference"])


def slowly(
    kind: str, policy: Path, loss_of: Loss | None = None, *, hard: bool = False, centring: float = 0.0
) -> tuple[float, dict[str, torch.Tensor]]:
    """Each response alone through the model: no padding, no batch, no trainer."""
    torch.manual_seed(0)
    examples, total = rows(8, hard=hard), torch.zeros(())
    model: Any = head_from_policy(policy, torch.float32, 2) if kind == "reward" else load_policy(policy, torch.float32)
    for row in examples:
        one, other = alone(kind, model, row)
        pair = loss_of(row, one, other) if loss_of is not None else plain_loss(kind, row, one, other)
        total = total + row["weight"] * pair + centring * (one + other) ** 2
    loss = total / len(examples)
    loss.backward()
    return loss.item(), {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


@pytest.fixture(scope="module", params=KINDS)
def expected(request: pytest.FixtureRequest, policy: Path) -> tuple[str, float, dict[str, torch.Tensor]]:
    return (request.param, *slowly(request.param, policy))


Expected = tuple[str, float, dict[str, torch.Tensor]]


def same(found: dict[str, torch.Tensor], gradients: dict[str, torch.Tensor], *, large: bool = False) -> None:
    assert found.keys() == gradients.keys()
    for name, one in gradients.items():
        # Where they are large, small entries are what is left of large terms, and no more exact than those.
        atol = 1e-6 * (one.abs().max().item() if large else 1.0)
        torch.testing.assert_close(
            found[name], one, atol=atol, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("share_query", [True, False])
@pytest.mark.parametrize("side", ["right", "left"])
def test_loss_and_gradient_do_not_know_of_padding_and_shared_queries(
    expected: Expected, policy: Path, tmp_path: Path, share_query: bool, side: str
) -> None:
    kind, loss, gradients = expected
    trainer, _ = one_step(kind, policy, tmp_path, micro_batch=8, share_query=share_query, side=side)
    found = trainer.compute_loss(trainer.model.train(), trainer.data_collator(rows(8)))
    found.backward()
    assert found.item() == pytest.approx(loss, rel=1e-6, abs=1e-6)
    same({name: one.grad for name, one in trainer.model.named_parameters() if one.grad is not None}, gradients)


def test_accumulated_gradients_are_those_of_the_whole_batch(expected: Expected, policy: Path, tmp_path: Path) -> None:
    kind, _, gradients = expected
    trainer, gradient = one_step(kind, policy, tmp_path, micro_batch=2)
    trainer.train()
    same(gradient.found, gradients)


def test_two_processes_take_the_step_of_one(expected: Expected, policy: Path, tmp_path: Path) -> None:
    kind, _, gradients = expected
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "one_step.py"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, kind, str(policy), str(tmp_path / "out")], cwd=HERE, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    same(torch.load(tmp_path / "out" / "gradient.pt"), gradients)


def ahead_of_reference(row: dict[str, Any], one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one - row["reference_1"]) - (other - row["reference_2"])


def both_ways(row: dict[str, Any]) -> tuple[float, float]:
    return row["preference"], 1 - row["preference"]


def conservative(row: dict[str, Any], one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """DPO of labels of which a fifth is the wrong way round."""
    right, wrong = (soft_loss(BETA * ahead_of_reference(row, one, other), p) for p in both_ways(row))
    return 0.8 * right + 0.2 * wrong


def identity(row: dict[str, Any], one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """IPO of labels of which a tenth is the wrong way round: the aim is (2q − 1) / 2β."""
    right, wrong = both_ways(row)
    return (ahead_of_reference(row, one, other) - (2 * (0.9 * right + 0.1 * wrong) - 1) / (2 * BETA)) ** 2


def contrastive(row: dict[str, Any], one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """CPL with α = β and λ = .6, without a reference."""
    first, second = (-torch.log(torch.sigmoid(BETA * (a - 0.6 * b))) for a, b in ((one, other), (other, one)))
    p, q = both_ways(row)
    return p * first + q * second


def ahead_by_a_margin(row: dict[str, Any], one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    chosen, rejected = (one, other) if row["preference"] == 1 else (other, one)
    return -torch.log(torch.sigmoid(chosen - rejected - row["margin"]))


@pytest.mark.parametrize(
    ("kind", "options", "loss_of", "slow_options"),
    [
        pytest.param("dpo", {"settings": {"smoothing": 0.2}}, conservative, {}, id="smoothing"),
        pytest.param("dpo", {"settings": {"loss": "ipo", "smoothing": 0.1}}, identity, {}, id="ipo"),
        pytest.param("dpo", {"settings": {"loss": "cpl", "bias": 0.6}}, contrastive, {}, id="cpl"),
        pytest.param("reward", {"margins": True}, ahead_by_a_margin, {"hard": True}, id="margin"),
        pytest.param("reward", {"centring": 0.4}, None, {"centring": 0.4}, id="centring"),
    ],
)
def test_each_variant_takes_the_step_of_its_formula(
    kind: str,
    options: dict[str, Any],
    loss_of: Loss | None,
    slow_options: dict[str, Any],
    policy: Path,
    tmp_path: Path,
) -> None:
    loss, gradients = slowly(kind, policy, loss_of, **slow_options)
    trainer, gradient = one_step(kind, policy, tmp_path, micro_batch=4, **options)
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss, rel=1e-6)
    same(gradient.found, gradients, large=loss > 100)
