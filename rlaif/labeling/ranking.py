"""Rankings of K responses from pairwise preferences: all pairs, or a sorted tournament."""

import asyncio
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar, Literal

from rlaif.columns import ColumnMap
from rlaif.conventions import read_samples
from rlaif.errors import ConfigError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.tables import judge_data
from rlaif.labeling.verdict import Fitted
from rlaif.llm.base import LLM, Usage
from rlaif.llm.run import Ask
from rlaif.prompting import Task
from rlaif.records import Comparison, Failure, Preference, Ranking, Sample, check_sample

Mode = Literal["all-pairs", "tournament"]


class Ranker:
    """Ranks the responses of one query with an LLM."""

    record: ClassVar[type[Ranking]] = Ranking
    item: ClassVar[type[Sample]] = Sample

    def __init__(
        self,
        task: str | Task,
        llm: str | LLM = "pocket:labeler-l",
        *,
        mode: Mode = "all-pairs",
        ledger: str | Path | None = None,
        **settings: Any,
    ) -> None:
        """Load the task and check the model; nothing is asked yet.

        Args:
            task: a task's name, a task folder's path, or a loaded task.
            llm: `provider:model`, or a model.
            mode: `all-pairs` asks K(K-1)/2 comparisons and gives scores; `tournament` sorts by insertion with
                about K log2 K and gives the order alone.
            ledger: a SQLite file in which answers are kept.
            **settings: the fields of `PreferenceConfig`.

        Raises:
            ConfigError: no such mode; otherwise as `PreferenceLabeler`.
        """
        if mode not in ("all-pairs", "tournament"):
            raise ConfigError(f"mode is {mode!r}; known are all-pairs and tournament")
        self._pairs = PreferenceLabeler(task, llm, ledger=ledger, **settings)
        self.mode, self.llm, self.ledger = mode, self._pairs.llm, self._pairs.ledger
        self.prompter, self.config = self._pairs.prompter, self._pairs.config

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that can change a ranking, apart from the item itself."""
        return {**self._pairs.identity, "mode": self.mode}

    def check(self, item: Sample) -> None:
        """Raise a `RowError` where responses cannot be ranked."""
        check_sample(item)

    async def judge(self, item: Sample, ask: Ask) -> Ranking | Failure:
        """Rank the responses of one query.

        Args:
            item: a checked sample with 2 to 9 responses.
            ask: asks one request, usually `Runner.ask`.

        Returns:
            The ranking, or the first comparison's failure, with the preferences that were read.
        """
        contest = _Contest(self._pairs, item, ask)
        try:
            order, scores = await (contest.all_pairs() if self.mode == "all-pairs" else contest.tournament())
        except _LostError as lost:
            return Failure(
                id=item.id,
                failure=lost.failure.failure,
                detail=lost.failure.detail,
                partial=contest.partial() or None,
            )
        read = list(contest.read.values())
        used = [Usage(one.input_tokens, one.cached_tokens, one.output_tokens) for one in read]
        dropped = Fitted(
            item.query,
            max(one.dropped_turns or 0 for one in read),
            sum(one.dropped_tokens or 0 for one in read),
        )
        own = {"order": order, "scores": scores, "comparisons": len(read)}
        own |= self._pairs.provenance(read[0].llm_version, sum(used, Usage()), dropped)
        fields = item.model_dump(include={"id", "query", "responses"} | set(item.model_extra or {}))
        return Ranking.model_validate({**fields, **own})

    def rank(self, data: Any, out: str | Path | None = None, *, columns: Mapping[str, str] | None = None) -> Any:
        """Rank the responses of every row in a file or table (fields `query`, `responses`).

        Args:
            data: as for `PreferenceLabeler.label`.
            out: as there.
            columns: our field → the data's column.

        Returns:
            As there, with `Ranking` records.
        """
        mapping = ColumnMap.from_mapping(columns) if columns else None
        return judge_data(self, data, read_samples(data, mapping), out)


class _LostError(Exception):
    """A comparison failed, and with it the ranking."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class _Contest:
    """The comparisons among the responses of one query."""

    def __init__(self, labeler: PreferenceLabeler, item: Sample, ask: Ask) -> None:
        self._labeler, self._item, self._ask = labeler, item, ask
        self.read: dict[tuple[int, int], Preference] = {}

    async def prefer(self, one: int, other: int) -> float:
        """P(response `one` preferred to response `other`)."""
        first, second = min(one, other), max(one, other)
        texts = self._item.responses
        pair = Comparison(
            id=f"{self._item.id}/{first}-{second}",
            query=self._item.query,
            response_1=texts[first],
            response_2=texts[second],
        )
        label = await self._labeler.judge(pair, self._ask)
        if isinstance(label, Failure):
            raise _LostError(label.model_copy(update={"detail": f"responses {first} and {second}: {label.detail}"}))
        self.read[first, second] = label
        return label.preference if one == first else 1 - label.preference

    async def all_pairs(self) -> tuple[list[int], list[float] | None]:
        """Every pair; a response's score is its mean probability of being preferred to the others."""
        count = len(self._item.responses)
        pairs = list(combinations(range(count), 2))
        outcomes = await asyncio.gather(*(self.prefer(*pair) for pair in pairs), return_exceptions=True)
        wins = [0.0] * count
        for (one, other), outcome in zip(pairs, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            wins[one] += outcome
            wins[other] += 1 - outcome
        scores = [won / (count - 1) for won in wins]
        return sorted(range(count), key=lambda index: -scores[index]), scores

    async def tournament(self) -> tuple[list[int], list[float] | None]:
        """Binary insertion: each response finds its place among those already sorted."""
        order: list[int] = []
        for newcomer in range(len(self._item.responses)):
            low, high = 0, len(order)
            while low < high:
                middle = (low + high) // 2
                if await self.prefer(newcomer, order[middle]) > 0.5:
                    high = middle
                else:
                    low = middle + 1
            order.insert(low, newcomer)
        return order, None

    def partial(self) -> dict[str, Any]:
        """The preferences that were read before one failed."""
        return {f"{first}-{second}": label.preference for (first, second), label in self.read.items()}
