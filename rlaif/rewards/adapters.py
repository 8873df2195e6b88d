"""Functions of others as reward functions: those in TRL's form, and those that score texts."""

import inspect
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

from rlaif.errors import RewardError, RowError
from rlaif.records import Failure, Turn
from rlaif.rewards.base import Candidate, Reward, check_state, finite, name_of

_OURS = ("prompt", "completion", "completion_ids")
"""Columns that TRL keeps for itself."""


class _Stateless:
    """Nothing is paid, and nothing is remembered."""

    def usage(self) -> Mapping[str, float]:
        """Nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See that nothing was stored.

        Args:
            state: what `state_dict` gave.

        Raises:
            RewardError: it is the state of another reward.
        """
        check_state(self, state)


class FromTRL(_Stateless):
    """A reward function as TRL's GRPO and RLOO trainers take them, unchanged; sync or async.

    It is called once a batch with the keywords `prompts`, `completions`, `completion_ids` (where the tokens are known),
    `log_metric`, `log_extra`, `trainer_state` (where one is given) and every column, each a list with one entry a
    candidate, and returns a list of numbers. None, which in TRL says that the function is not applicable, becomes a
    failure of the kind `masked`. A sync function runs in the event loop's thread (as in TRL, whose functions may rely
    on signals): what is slow in it holds up the answers of others.

    Attributes:
        metrics: what the function logged with `log_metric(name, value)` during the last batch.
        extra: what it logged with `log_extra(column, values)` during the last batch.

    Source: TRL 1.16, `GRPOTrainer._calculate_rewards`.
    """

    def __init__(self, function: Callable[..., Any], *, conversational: bool = True, trainer_state: Any = None) -> None:
        """Take a function.

        Args:
            function: in TRL's form.
            conversational: whether it expects dialogues (lists of `{"role", "content"}`), or else plain strings, as
                in TRL a dataset of plain strings gives them; then a query is a single turn of the user.
            trainer_state: passed on as it is, for functions that look at `trainer_state.global_step`.
        """
        self.name = name_of(function)
        self.metrics: Mapping[str, list[float]] = {}
        self.extra: Mapping[str, list[Any]] = {}
        self._function, self._conversational, self._trainer_state = function, conversational, trainer_state

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        """Reward a batch.

        Raises:
            RewardError: the function does not take what there is, or returned something else than a number or None
                for each candidate. What it raises itself comes out as it is.
        """
        if not batch:
            return
        keywords = self._keywords(batch)
        self._check_signature(keywords)
        returned = self._function(**keywords)
        if inspect.isawaitable(returned):
            returned = await returned
        for index, value in enumerate(_one_each(self._function, returned, batch)):
            if value is None:
                yield index, Failure(id=batch[index].id, failure="masked", detail=f"{self.name} returned None")
            else:
                yield index, finite(value, self, index, batch[index])

    def _keywords(self, batch: Sequence[Candidate]) -> dict[str, Any]:
        keywords: dict[str, Any] = {
            column: [self._column(index, candidate, column) for index, candidate in enumerate(batch)]
            for column in batch[0].columns
            if column not in _OURS
        }
        keywords["prompts"] = [self._prompt(index, candidate) for index, candidate in enumerate(batch)]
        keywords["completions"] = [self._completion(candidate) for candidate in batch]
        tokens = [list(candidate.token_ids) for candidate in batch if candidate.token_ids is not None]
        if len(tokens) == len(batch):
            keywords["completion_ids"] = tokens
        if self._trainer_state is not None:
            keywords["trainer_state"] = self._trainer_state
        return keywords | self._logs()

    def _column(self, index: int, candidate: Candidate, column: str) -> Any:
        if column not in candidate.columns:
            place = f"row {index} (id {candidate.id})"
            raise RewardError(f"{self.name}: {place} lacks the column {column}, which the batch's first row has")
        return candidate.columns[column]

    def _prompt(self, index: int, candidate: Candidate) -> Any:
        if self._conversational:
            return [turn.model_dump() for turn in candidate.query]
        if [turn.role for turn in candidate.query] != ["user"]:
            place = f"row {index} (id {candidate.id})"
            raise RewardError(f"{self.name}: {place} is a dialogue, no single turn; use conversational=True")
        return candidate.query[0].content

    def _completion(self, candidate: Candidate) -> Any:
        if self._conversational:
            return [{"role": "assistant", "content": candidate.response}]
        return candidate.response

    def _logs(self) -> dict[str, Any]:
        metrics: defaultdict[str, list[float]] = defaultdict(list)
        extra: defaultdict[str, list[Any]] = defaultdict(list)
        self.metrics, self.extra = metrics, extra
        return {
            "log_metric": lambda name, value: metrics[name].append(value),
            "log_extra": lambda column, values: extra[column].extend(values),
        }

    def _check_signature(self, keywords: Mapping[str, Any]) -> None:
        try:
            signature = inspect.signature(self._function)
        except ValueError:
            # Some functions written in C do not tell.
            return
        try:
            signature.bind(**keywords)
        except TypeError as error:
            passed = ", ".join(sorted(keywords))
            raise RewardError(f"{self.name}: {error}; it is called with the keywords {passed}") from None


class FromScores(_Stateless):
    """A function that scores pairs of query and response, such as a reward model's.

    >>> fn = FromScores(RewardModel(folder).outcomes)
    """

    def __init__(
        self, function: Callable[[Sequence[tuple[tuple[Turn, ...], str]]], Sequence[float | RowError]]
    ) -> None:
        """Take a function.

        Args:
            function: gives one score for each pair; a `RowError` instead becomes a failure of the kind `rejected`.
        """
        self.name = name_of(function)
        self._function = function

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        """Reward a batch.

        Raises:
            RewardError: there is not one finite score for each. What the function raises comes out as it is.
        """
        if not batch:
            return
        returned = self._function([(candidate.query, candidate.response) for candidate in batch])
        for index, value in enumerate(_one_each(self._function, returned, batch)):
            if isinstance(value, RowError):
                yield index, Failure(id=batch[index].id, failure="rejected", detail=str(value))
            else:
                yield index, finite(value, self, index, batch[index])


def _one_each(function: Callable[..., Any], returned: Any, batch: Sequence[Candidate]) -> list[Any]:
    if not isinstance(returned, Iterable):
        raise RewardError(f"{name_of(function)} returned {returned!r:.60}; a list with one reward a row is wanted")
    values = list(returned)
    if len(values) != len(batch):
        raise RewardError(f"{name_of(function)} returned {len(values)} rewards for {len(batch)} rows")
    return values
