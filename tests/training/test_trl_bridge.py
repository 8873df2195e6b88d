"""Our reward functions in TRL's trainers: failures stay failures, and RLOO ends where the closed form says."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from arms import ARMS, OPTIMUM, QUERY, OfArms, arms_of, with_reference
from datasets import Dataset
from tiny_policy import tiny_policy
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from rlaif.errors import RewardError, TrainingError
from rlaif.records import Failure, Turn
from rlaif.rewards import Candidate, FromTRL, Reward
from rlaif.training.judging import Failures
from rlaif.training.models import load_policy
from rlaif.training.trl_bridge import TRLReward, as_trl_reward

# With the bundled chat template these are the tokens of `arms.QUERY`.
PROMPT = [{"role": "user", "content": "ct"}]


class Given:
    """The given rewards, last to first; a text is a failure of that class."""

    name = "given"

    def __init__(self, *values: Any) -> None:
        self.values = values
        self.seen: list[Candidate] = []
        self.loops: list[asyncio.AbstractEventLoop] = []

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        self.seen += batch
        self.loops.append(asyncio.get_running_loop())
        for place in reversed(range(len(batch))):
            value = self.values[place]
            yield place, Failure(id="x", failure=value, detail="no") if isinstance(value, str) else value

    def usage(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        assert not state


class Recovering(Given):
    """A labeler that answers nothing the first time."""

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        self.values = (1.0, 2.0) if self.loops else ("unavailable",) * 2
        async for place, reward in super().__call__(batch):
            yield place, reward


def call(
    function: TRLReward, n: int, prompts: Any = None, completions: Any = None, **columns: Any
) -> tuple[list[float | None], dict[str, float]]:
    """Call it as TRL does; what it returns, and what it logged."""
    logged: dict[str, float] = {}
    scores = function(
        prompts=prompts or [f"q{place}" for place in range(n)],
        completions=completions or [f"r{place}" for place in range(n)],
        completion_ids=[[place, 1] for place in range(n)],
        trainer_state=SimpleNamespace(global_step=4),
        log_metric=logged.__setitem__,
        log_extra=lambda column, values: None,
        **columns,
    )
    return scores, logged


def test_rewards_keep_their_order_and_failures_are_none_or_the_lowest_reward_never_zero() -> None:
    reward = Given(0.5, "refused", "unavailable", -0.25, "masked", 0.125, "too_long", 1.0)
    with as_trl_reward(reward) as function:
        scores, logged = call(function, 8)
        # A second batch adds up.
        call(function, 8)
    assert scores == [0.5, -1.0, None, -0.25, None, 0.125, -1.0, 1.0]
    assert function.failures == Counter(refused=2, unavailable=2, masked=2, too_long=2)
    assert logged == {f"failed_{kind}": 0.125 for kind in ("refused", "too_long", "unavailable", "masked")} | {
        f"failed_{kind}": 0.0 for kind in ("rejected", "unreadable")
    }


def test_what_failures_mean_can_be_said() -> None:
    reward = Given(0.5, "refused", "rejected", 1.0)
    with as_trl_reward(reward, Failures(refused="mask", lowest_reward=-3.0)) as function:
        assert call(function, 4)[0] == [0.5, None, -3.0, 1.0]
    with (
        as_trl_reward(reward, Failures(refused="stop")) as function,
        pytest.raises(TrainingError, match="judgement refused"),
    ):
        call(function, 4)


def test_dialogues_tokens_and_columns_arrive_as_they_are_and_a_text_is_a_turn_of_the_user() -> None:
    reward = Given(0.0, 1.0)
    dialogue = [{"role": "system", "content": "s"}, {"role": "user", "content": "q", "name": None}]
    written = [[{"role": "assistant", "content": "a"}], [{"role": "assistant", "content": "b"}]]
    with as_trl_reward(reward) as function:
        call(function, 2, prompts=[dialogue, "plain"], completions=written, topic=["eggs", "tea"], rank=[1, 2])
        call(function, 2)
    turns = (Turn(role="system", content="s"), Turn(role="user", content="q"))
    assert reward.seen[:3] == [
        Candidate("step-5-0", turns, "a", (0, 1), {"topic": "eggs", "rank": 1}),
        Candidate("step-5-1", (Turn(role="user", content="plain"),), "b", (1, 1), {"topic": "tea", "rank": 2}),
        Candidate("step-5-0", (Turn(role="user", content="q0"),), "r0", (0, 1), {}),
    ]
    assert len(reward.loops) == 2
    assert len(set(reward.loops)) == 1


def test_what_is_no_dialogue_of_texts_is_said_with_its_row() -> None:
    with as_trl_reward(Given(0.0)) as function:
        with pytest.raises(RewardError, match=r"row 0: the prompt is no dialogue of texts: 0\.role: Input should be"):
            call(function, 1, prompts=[[{"role": "tool", "content": "4"}]])
        called = [{"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "4"}]
        with pytest.raises(RewardError, match=r"row 0: the completion is .* one turn of text is wanted"):
            call(function, 1, completions=[called])


def test_a_reward_function_that_raises_ends_it_with_its_own_error() -> None:
    def broken(completions: list[Any], **columns: Any) -> list[float]:
        raise ZeroDivisionError("mine")

    with as_trl_reward(FromTRL(broken)) as function, pytest.raises(ZeroDivisionError, match="mine"):
        call(function, 2)


def test_a_function_of_trl_comes_back_as_it_went() -> None:
    def half(prompts: list[Any], completions: list[Any], rank: list[int], **columns: Any) -> list[float | None]:
        assert prompts[0] == [{"role": "user", "content": "q0"}]
        return [None if one == 0 else one / 2 for one in rank]

    with as_trl_reward(FromTRL(half)) as function:
        scores, logged = call(function, 3, rank=[3, 0, 1])
    assert scores == [1.5, None, 0.5]
    assert (function.__name__, logged["failed_masked"]) == ("half", pytest.approx(1 / 3))


def test_an_outage_is_waited_for_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), as_trl_reward(Recovering()) as function:
        scores, _ = call(function, 2)
    assert scores == [1.0, 2.0]
    assert caplog.messages == ["100% of the judgements failed; waiting for 0 s"]


def test_a_reward_function_is_open_for_as_long_as_the_block() -> None:
    class Opened(Given):
        async def __aenter__(self) -> None:
            self.loops.append(asyncio.get_running_loop())

        async def __aexit__(self, *error: object) -> None:
            self.loops.append(asyncio.get_running_loop())

    reward = Opened(1.0)
    with as_trl_reward(reward) as function:
        call(function, 1)
    assert len(reward.loops) == 3
    assert len(set(reward.loops)) == 1


@pytest.fixture(scope="module")
def arms_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that has π_ref on the arms."""
    folder = tiny_policy(tmp_path_factory.mktemp("policy"))
    with_reference(folder).save_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder).apply_chat_template(PROMPT, add_generation_prompt=True).input_ids == [
        *QUERY
    ]
    return folder


def settings(out: Path, n: int, steps: int, beta: float) -> dict[str, Any]:
    """Of both trainers: on-policy steps of `n` responses to the one query, the learning rate going to 0."""
    return {
        "output_dir": str(out),
        "max_steps": steps,
        "per_device_train_batch_size": n,
        "num_generations": n,
        "max_completion_length": 1,
        "beta": beta,
        "learning_rate": 7e-4,
        "lr_scheduler_type": "linear",
        "max_grad_norm": 1e3,
        "logging_steps": 1,
        "save_strategy": "no",
        "bf16": False,
        "activation_checkpointing": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "report_to": [],
        "disable_tqdm": True,
    }


# What TRL's trainers ask of the newest transformers.
of_trl = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@of_trl
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_rloo_reaches_the_optimum(beta: float, arms_folder: Path, tmp_path: Path) -> None:
    model = load_policy(arms_folder, torch.float32)
    with as_trl_reward(OfArms()) as function:
        trainer = RLOOTrainer(
            model,
            function,
            RLOOConfig(**settings(tmp_path, 128, 80, beta)),
            Dataset.from_list([{"prompt": PROMPT}]),
            processing_class=AutoTokenizer.from_pretrained(arms_folder),
        )
        trainer.train()
    found = arms_of(trainer.model)
    # All that is on no arm is wrong as well.
    assert (found - torch.tensor(OPTIMUM[beta])).abs().sum() / 2 + (1 - found.sum()) / 2 < 2e-2


class Unavailable(OfArms):
    """No answer comes for the best arm."""

    async def __call__(self, batch: Sequence[Candidate]) -> Any:
        async for place, value in super().__call__(batch):
            best = batch[place].token_ids[0] == ARMS[2]
            yield place, Failure(id="x", failure="unavailable", detail="no") if best else value


@of_trl
def test_what_was_not_judged_moves_nothing_in_grpo(arms_folder: Path, tmp_path: Path) -> None:
    model = load_policy(arms_folder, torch.float32)
    before = arms_of(model)
    # All that is judged is worth 1: only a number for what is not could make an advantage.
    with as_trl_reward(Unavailable((1.0, 1.0, 1.0)), Failures(max_failed_share=1.0)) as function:
        trainer = GRPOTrainer(
            model,
            function,
            GRPOConfig(**settings(tmp_path, 32, 2, 0.0)),
            Dataset.from_list([{"prompt": PROMPT}]),
            processing_class=AutoTokenizer.from_pretrained(arms_folder),
        )
        trainer.train()
    steps = [row for row in trainer.state.log_history if "reward" in row]
    assert len(steps) == 2
    assert [row["rewards/arms/mean"] for row in steps] == [1.0, 1.0]
    assert sum(row["failed_unavailable"] for row in steps) * 32 == function.failures["unavailable"] > 0
    assert torch.equal(arms_of(trainer.model), before)
