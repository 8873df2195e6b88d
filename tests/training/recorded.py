"""Recorded rollouts with recorded scores, in float64; run by torchrun it does what tests compare with one process.

torchrun --nproc-per-node 2 recorded.py POLICY OUT
"""

import copy
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from rlaif.errors import ConfigError, TrainingError
from rlaif.generation import Continuation
from rlaif.records import Failure, Turn
from rlaif.rewards import Candidate, RunningNormalised
from rlaif.stages.online import Labeler, PPOConfig, _budget, run_online
from rlaif.training.fitting import processes
from rlaif.training.judging import Failures, Judge
from rlaif.training.kl_control import KL
from rlaif.training.models import load_policy
from rlaif.training.online import Online
from rlaif.training.online_settings import Drawing, Saving, Stepping
from rlaif.training.policy_value import PolicyAndValue
from rlaif.training.ppo import Clipping, train_ppo
from rlaif.training.rollout import Query
from rlaif.training.settings import Lora

_RANDOM = random.Random(0)


def _ids(most: int) -> list[int]:
    return [_RANDOM.randrange(5, 2000) for _ in range(_RANDOM.randint(1, most))]


class Recorded:
    """A rollout and a reward: each query has its response and its score, of different lengths, ended all."""

    name = "recorded"
    QUERIES = tuple((0, *_ids(9), place + 5) for place in range(8))
    RESPONSES = tuple([*_ids(6), 1] for _ in range(8))

    @staticmethod
    def score(place: int) -> float:
        """Different numbers of both signs."""
        return (place * 5 % 8 - 3) / 2

    def generate(
        self, queries: Sequence[Sequence[int]], seeds: Sequence[int], finished: Any = None
    ) -> list[Continuation]:
        found = [self.RESPONSES[self.QUERIES.index(tuple(query))] for query in queries]
        return [Continuation(one[:-1], True, 1, [-1.0] * len(one)) for one in found]

    def load_weights(self, policy: Any) -> None:
        pass

    async def __call__(self, batch: Sequence[Candidate]) -> Any:
        for place, one in enumerate(batch):
            known = one.query[0].content
            if known.isdigit():
                yield place, self.score(int(known))
            else:
                yield place, (sum(one.token_ids or ()) % 7 - 3) / 3

    def usage(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        assert not state


class WithFailures(Recorded):
    """The same, of which one judgement does not apply."""

    async def __call__(self, batch: Sequence[Candidate]) -> Any:
        async for place, score in super().__call__(batch):
            if batch[place].query[0].content == "2":
                yield place, Failure(id=batch[place].id, failure="masked", detail="no")
            else:
                yield place, score


class OtherWords(Recorded):
    """The same, but for what the response says whose judgement does not apply."""

    RESPONSES = (*Recorded.RESPONSES[:2], [9, 8, 7, 6, 5, 4, 3, 1], *Recorded.RESPONSES[3:])


def recorded_step(
    policy: Path,
    out: Path,
    stepping: dict[str, Any],
    *,
    steps: int = 1,
    reward: Any = None,
    rollout: Any = None,
    rank: int = 0,
) -> tuple[Online, Any]:
    """A training on the recorded responses, and its policy as it is before."""
    out.mkdir(exist_ok=True, parents=True)
    section = Stepping(**{"learning_rate": 1e-2, "micro_batch": 3, "max_grad_norm": 1e9} | stepping)
    start = load_policy(policy, torch.float64)
    trunk = copy.deepcopy(start) if section.value_trunk == "separate" else None
    before = copy.deepcopy(start)
    torch.manual_seed(0)
    model = PolicyAndValue(start, None if rank else copy.deepcopy(start), trunk, Lora(rank=rank))
    queries = [
        Query(f"q{place}", (Turn(role="user", content=str(place)),), ids, {})
        for place, ids in enumerate(Recorded.QUERIES)
    ]
    failures = Failures()
    run = Online(
        model,
        rollout or Recorded(),
        Judge(reward or Recorded(), failures),
        queries,
        AutoTokenizer.from_pretrained(policy),
        2,
        Drawing(batch=8, max_tokens=8, temperature=0.7),
        section,
        Saving(every_steps=10_000),
        failures,
        steps,
        out,
    )
    return run, before


def refused(policy: Path, out: Path) -> None:
    """A step with fewer responses than processes."""
    config = {
        "model": str(policy / "is not looked for"),
        "queries": str(policy / "config.json"),
        "rollout": {"batch": 1},
    }
    try:
        run_online(PPOConfig.model_validate(config), out, Recorded(), progress=False)
    except ConfigError as error:
        (out.parent / f"refused-{processes().process_index}").write_text(str(error))


def alike(policy: Path, out: Path, rank: int) -> None:
    """Two steps, of whose responses one is masked; kept are the weights behind them."""
    run, _ = recorded_step(policy, out, {}, steps=2, reward=WithFailures(), rank=rank)
    with run.judge:
        train_ppo(run, Clipping(epochs=2, minibatch=4), KL(kl_coef=0.1))
    if processes().is_main_process:
        torch.save({name: one.data for name, one in run.model.named_parameters()}, out / "weights.pt")


def gone_on(policy: Path, out: Path, *ends: int | None, memory: bool = True) -> None:
    """Four steps by a reward with or without a memory, each time gone on with to an end that is asked for."""
    for end in ends:
        reward = RunningNormalised(Recorded()) if memory else Recorded()
        run, _ = recorded_step(policy, out, {}, steps=4, reward=reward)
        # A new start of all of them would find the checkpoint whole.
        processes().wait_for_everyone()
        run.go_on()
        run.watch = partial(_end_at, run, end)
        with run.judge, suppress(SystemExit):
            train_ppo(run, Clipping(epochs=1), KL())
        assert run.step == (end or 4)
    if processes().is_main_process:
        torch.save(dict(run.model.named_parameters()), out / "weights.pt")


def _end_at(run: Online, end: int | None, step: int, _: Any) -> None:
    if step == end:
        run.keeper.signal = signal.SIGTERM


def watched(policy: Path, out: Path) -> None:
    """A training that the main process's watcher ends after its first step."""
    run, _ = recorded_step(policy, out, {}, steps=4)
    if processes().is_main_process:
        run.watch = lambda step, _: f"step {step} is wrong"
    try:
        with run.judge:
            train_ppo(run, Clipping(epochs=1), KL())
    except TrainingError as error:
        (out / f"ended-{processes().process_index}").write_text(str(error))


if __name__ == "__main__":
    assert processes().num_processes == 2
    policy, out = Path(sys.argv[1]), Path(sys.argv[2])
    alike(policy, out / "whole", 0)
    alike(policy, out / "lora", 4)
    gone_on(policy, out / "uninterrupted", None)
    gone_on(policy, out / "interrupted", 2, None)
    gone_on(policy, out / "by one at first", None, memory=False)
    watched(policy, out / "watched")
    (out / f"cap-{processes().process_index}").write_text(str(_budget(Labeler(max_cost_usd=3.0)).cap_usd))
    refused(policy, out / "refused")
