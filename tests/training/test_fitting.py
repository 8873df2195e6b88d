"""The order of the examples: new in each epoch, and known from seed and epoch alone."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from one_step import one_step, rows
from tiny_policy import tiny_policy

from rlaif.training.fitting import ByLength
from rlaif.training.settings import Optimisation

SEED, BATCH = 3, 4
LENGTHS = random.Random(7).choices(range(1, 91), k=463)


def order(epoch: int, *, seed: int = SEED, group: bool = True) -> list[int]:
    sampler = ByLength(LENGTHS, BATCH, seed, group)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("group", [True, False])
def test_each_epoch_has_an_order_of_its_own_and_every_example_once(group: bool) -> None:
    orders = [order(epoch, group=group) for epoch in range(6)]
    orders += [order(epoch, seed=SEED + 1, group=group) for epoch in range(6)]
    assert all(sorted(one) == list(range(463)) for one in orders)
    assert len({tuple(one) for one in orders}) == 12
    # Which examples share a step changes too, not the order of the steps alone.
    steps = [{frozenset(one[at : at + BATCH]) for at in range(0, 463, BATCH)} for one in orders]
    assert all(len(one & other) < 20 for n, one in enumerate(steps) for other in steps[:n])


@pytest.mark.parametrize("group", [True, False])
def test_an_epochs_order_depends_on_seed_and_epoch_alone(group: bool) -> None:
    alone = order(2, group=group)
    torch.manual_seed(1)
    random.seed(1)
    sampler = ByLength(LENGTHS, BATCH, SEED, group)
    for epoch in (0, 1, 2):
        sampler.set_epoch(epoch)
        passed = list(sampler)
    assert passed == alone
    assert list(sampler) == alone


def test_the_examples_of_a_step_have_like_lengths_and_only_the_last_step_is_small() -> None:
    """463 examples are two pools of 200 and one of 63: 115 whole steps, and one of three."""
    for epoch in range(4):
        found = order(epoch)
        whole = [[LENGTHS[index] for index in found[at : at + BATCH]] for at in range(0, 460, BATCH)]
        mean = sum(max(one) - min(one) for one in whole) / len(whole)
        # Of 50 sorted steps that cover 90 lengths each spans about two; at random it would be 90·3/5 = 54.
        assert mean < 5
        assert len(found[460:]) == 3
        longest = [max(one) for one in whole]
        assert longest != sorted(longest, reverse=True)


def test_a_training_takes_the_order_of_each_epoch(tmp_path: Path) -> None:
    policy = tiny_policy(tmp_path / "policy")
    trainer: Any
    trainer, _ = one_step("reward", policy, tmp_path / "out", micro_batch=8)
    trainer.optimisation = Optimisation(batch=8, micro_batch=8, seed=5, group_by_length=False)
    trainer.args.max_steps = 3
    collate, seen = trainer.data_collator, []

    def noting(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        seen.append([example["row"] for example in examples])
        return collate(examples)

    trainer.data_collator = noting
    trainer.train()
    expected = []
    for epoch in range(3):
        sampler = ByLength([row["length"] for row in rows(8)], 8, 5, False)
        sampler.set_epoch(epoch)
        expected.append(list(sampler))
    assert seen == expected
    assert len({tuple(one) for one in seen}) == 3
