"""Our subclasses of TRL's trainers: loss and gradient are the pure functions', however a batch is laid out or cut."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from one_step import one_step, rows
from tiny_policy import tiny_policy

from rlaif.training.models import head_from_policy, load_policy

HERE = Path(__file__).parent
KINDS = ("reward", "dpo")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"))


def soft_loss(ahead: torch.Tensor, p: float) -> torch.Tensor:
    return -p * torch.log(torch.sigmoid(ahead)) - (1 - p) * torch.log(torch.sigmoid(-ahead))


def logprob(model: torch.nn.Module, query: list[int], response: list[int]) -> torch.Tensor:
    logprobs = torch.log_softmax(model(torch.tensor([query + response])).logits[0], -1)
    return sum(logprobs[len(query) - 1 + place, token] for place, token in enumerate(response))


def slowly(kind: str, policy: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """Each response alone through the model: no padding, no batch, no trainer."""
    torch.manual_seed(0)
    examples, total = rows(8), torch.zeros(())
    model: Any = head_from_policy(policy, torch.float32, 2) if kind == "reward" else load_policy(policy, torch.float32)
    for row in examples:
        one, other = row["responses"]
        if kind == "reward":
            scores = [model(torch.tensor([row["query"] + response])).logits[0, 0] for response in (one, other)]
            ahead = scores[0] - scores[1]
        else:
            ratio_1 = logprob(model, row["query"], one) - row["reference_1"]
            ahead = 0.3 * (ratio_1 - logprob(model, row["query"], other) + row["reference_2"])
        total = total + row["weight"] * soft_loss(ahead, row["preference"])
    loss = total / len(examples)
    loss.backward()
    return loss.item(), {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


@pytest.fixture(scope="module", params=KINDS)
def expected(request: pytest.FixtureRequest, policy: Path) -> tuple[str, float, dict[str, torch.Tensor]]:
    return (request.param, *slowly(request.param, policy))


Expected = tuple[str, float, dict[str, torch.Tensor]]


def same(found: dict[str, torch.Tensor], gradients: dict[str, torch.Tensor]) -> None:
    assert found.keys() == gradients.keys()
    for name, one in gradients.items():
        torch.testing.assert_close(
            found[name], one, atol=1e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
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
