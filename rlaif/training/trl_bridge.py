"""Our reward functions in TRL's form, so that people can compare its RLOO and GRPO trainers with our PPO.

RLOO takes `beta` · Σ k1 off the reward of a response, as our PPO does: an ordinary β, and the same optimum. GRPO's
`beta` is 0 if nothing is said, and weighs k3 in the loss, and its advantages are over their spread: it ends elsewhere.

Source: TRL 1.16, `RLOOTrainer._generate_and_score_completions` and `_calculate_rewards`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from rlaif.errors import RewardError
from rlaif.records import FailureKind, Query, Turn
from rlaif.rewards.base import Candidate, RewardFn, name_of
from rlaif.training.judging import Failures, Judge, resolve

_LOG = logging.getLogger(__name__)
_QUERY: TypeAdapter[tuple[Turn, ...]] = TypeAdapter(Query)


@contextmanager
def as_trl_reward(reward: RewardFn, failures: Failures | None = None) -> Iterator["TRLReward"]:
    """Open a reward function for a trainer of TRL.

    >>> with as_trl_reward(reward) as reward_func:
    ...     RLOOTrainer(model, reward_func, RLOOConfig("outputs/rloo", beta=0.05), train_dataset=dataset).train()

    Within the block it stays in one event loop. TRL asks sync functions one after another and keeps no state of theirs
    in its checkpoints: mix several with `WeightedSum`, which asks all at once, and keep `reward.state_dict()` yourself.

    Args:
        reward: anything that our PPO takes.
        failures: what a failed judgement means, as in our PPO; if None, the same as there.

    Yields:
        What TRL takes among its `reward_funcs`.
    """
    settings = failures or Failures()
    with Judge(reward, settings, _say) as judge:
        yield TRLReward(judge, settings)


def _say(outage: str) -> None:
    if outage:
        _LOG.warning(outage)


class TRLReward:
    """Gives TRL a number for each response, or None, which it leaves out of the baseline and the loss; never a zero.

    Attributes:
        failures: how many judgements failed so far, by class, whatever became of them.
    """

    def __init__(self, judge: Judge, settings: Failures) -> None:
        """Take a judge at work; `as_trl_reward` opens one.

        Args:
            judge: asks the reward function, and waits through its outages.
            settings: what failures mean.
        """
        # The name of its metrics in TRL's logs.
        self.__name__ = name_of(judge.reward)
        self.failures: Counter[str] = Counter()
        self._judge, self._settings = judge, settings

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        trainer_state: Any,
        log_metric: Callable[[str, float], None],
        log_extra: Callable[[str, list[Any]], None],
        **columns: Sequence[Any],
    ) -> list[float | None]:
        """Reward a batch, with the keywords that TRL gives.

        Args:
            prompts: texts, or lists of `{"role", "content"}`.
            completions: texts, or lists of the assistant's one turn.
            completion_ids: their tokens, with the end token where there is one.
            trainer_state: the step names the candidates.
            log_metric: takes the share of each class of failures as `failed_<class>`.
            log_extra: not used.
            columns: the dataset's others, one entry a completion.

        Returns:
            A number for each completion in their order, or None where it is masked.

        Raises:
            RewardError: a prompt is no dialogue of texts, a completion no single one (tools were called, say), or the
                function did not keep its word. What it raises itself comes out as it is.
            TrainingError: a failure is to stop the training, or an outage lasted too long.
        """
        candidates = [
            Candidate(
                f"step-{trainer_state.global_step + 1}-{place}",
                _turns(prompts[place], place),
                _text(completions[place], place),
                tuple(completion_ids[place]),
                {name: values[place] for name, values in columns.items()},
            )
            for place in range(len(prompts))
        ]
        rewards, _ = self._judge.wait(self._judge.ask(candidates), candidates)
        scores, counts = resolve(rewards, self._settings)
        self.failures += counts
        # Zeros too, since TRL averages over the batches that logged something.
        for kind in (*get_args(FailureKind), "masked"):
            log_metric(f"failed_{kind}", counts[kind] / len(scores))
        return scores


def _turns(prompt: Any, place: int) -> tuple[Turn, ...]:
    if not isinstance(prompt, str):
        # A dataset gives every turn all fields that any has.
        prompt = [{name: turn.get(name) for name in ("role", "content")} for turn in prompt]
    try:
        return _QUERY.validate_python(prompt)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RewardError(f"row {place}: the prompt is no dialogue of texts: {where}: {first['msg']}") from None


def _text(completion: Any, place: int) -> str:
    turns: list[Mapping[str, Any]] = [{"content": completion}] if isinstance(completion, str) else completion
    if len(turns) != 1 or not isinstance(turns[0].get("content"), str):
        raise RewardError(f"row {place}: the completion is {completion!r:.200}; one turn of text is wanted")
    return str(turns[0]["content"])
