"""A labeler as a reward function: direct RLAIF (arXiv:2309.00267, section 3.2.2)."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rlaif.errors import RewardError, RowError
from rlaif.labeling.score import Scorer
from rlaif.labeling.tables import warn_of_foreign_prompts
from rlaif.llm.ledger import Ledger
from rlaif.llm.run import Ask, Runner, Totals, in_parallel
from rlaif.records import Failure, Response, Score, content_id
from rlaif.rewards.base import Candidate, Reward, check_state


class LabelerReward:
    """A labeler's expected score, mapped to [-1, 1], as the reward.

    The reward is a function of query and response alone: whatever else a candidate is called, the same response to the
    same query is asked once in a batch, and once for ever where there is a ledger, with the same draws where answers
    are sampled.

    A training opens it once, and stays in one event loop:

    >>> async with LabelerReward(scorer, ledger) as reward:
    ...     await train(reward)

    Unopened it works as well; then each call opens the model and the ledger for itself.
    """

    def __init__(self, scorer: Scorer, ledger: Path | None = None) -> None:
        """Take a labeler; nothing is asked yet.

        Args:
            scorer: asks for scores.
            ledger: where answers are kept; the scorer's own if None, and nowhere if it has none.
        """
        self.name = f"labeler {scorer.llm.name}"
        self._scorer, self._ledger = scorer, ledger or scorer.ledger
        self._totals = Totals()
        self._judged: dict[str, Score] = {}
        self._contents: dict[str, str] = {}
        self._begun: dict[str, asyncio.Task[Score | Failure]] = {}
        self._open: tuple[Runner, asyncio.AbstractEventLoop] | None = None
        self._stack = AsyncExitStack()
        warn_of_foreign_prompts(scorer)

    async def __aenter__(self) -> "LabelerReward":
        runner = await self._stack.enter_async_context(self._runner())
        self._open = runner, asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = None
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)
        self._begun.clear()
        await self._stack.aclose()

    def begin(self, candidate: Candidate) -> None:
        """Ask for a candidate's score now, if it is open; the batch that holds it waits for the same answer.

        Args:
            candidate: of a batch that will come.
        """
        if self._open is not None and (identifier := _content(candidate)) not in self._begun:
            runner, _ = self._open
            self._begun[identifier] = asyncio.create_task(self._judge(identifier, candidate, runner.ask))

    async def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        """Reward a batch, each candidate as soon as its score is there.

        Raises:
            RewardError: it was opened in another event loop.
            RlaifError: the model or the ledger broke (no money, no key, no disk); what was answered is kept.
        """
        places: dict[str, list[int]] = {}
        for index, candidate in enumerate(batch):
            places.setdefault(_content(candidate), []).append(index)
        limit = max(1, self._scorer.llm.in_flight // self._scorer.config.answers)
        contents = {batch[index].id: content for content, indices in places.items() for index in indices}
        failed = {(name, content) for name, content in self._contents.items() if content not in self._judged}
        if not contents.items() <= failed:  # else what failed of the last batch is asked again, and belongs to it
            self._contents, self._judged = contents, {}
        async with self._runner() as runner:

            async def one(identifier: str) -> Score | Failure:
                begun = self._begun.pop(identifier, None)
                return await (begun or self._judge(identifier, batch[places[identifier][0]], runner.ask))

            async with aclosing(in_parallel(places, one, limit)) as stream:
                async for identifier, judged in stream:
                    if isinstance(judged, Score):
                        self._judged[identifier] = judged
                    for index in places[identifier]:
                        yield index, judged.scaled if isinstance(judged, Score) else _renamed(judged, batch[index].id)

    async def _judge(self, identifier: str, candidate: Candidate, ask: Ask) -> Score | Failure:
        item = Response(id=identifier, query=candidate.query, response=candidate.response)
        try:
            self._scorer.check(item)
        except RowError as error:
            return Failure(id=item.id, failure="rejected", detail=str(error))
        return await self._scorer.judge(item, ask)

    @property
    def metrics(self) -> Mapping[str, float]:
        """The labeler's health in the last batch: mean score, mass at both ends of the scale, unread mass."""
        if not self._judged:
            return {}
        judged, n = self._judged.values(), len(self._judged)
        return {
            "score_1_to_10": sum(one.score for one in judged) / n,
            "mass_at_1": sum(one.distribution[0] for one in judged) / n,
            "mass_at_10": sum(one.distribution[-1] for one in judged) / n,
            "unread_mass": sum(one.unread_mass for one in judged) / n,
        }

    @property
    def rationales(self) -> Mapping[str, Sequence[str]]:
        """The labeler's rationales in the last batch, by the candidate's id, where it wrote some."""
        said = {identifier: self._judged.get(content) for identifier, content in self._contents.items()}
        return {identifier: one.rationales for identifier, one in said.items() if one is not None and one.rationales}

    @asynccontextmanager
    async def _runner(self) -> AsyncIterator[Runner]:
        """The open runner, or one for as long as the block runs."""
        if self._open is not None:
            runner, loop = self._open
            if loop is not asyncio.get_running_loop():
                raise RewardError(f"{self.name} was opened in another event loop; a training stays in one")
            yield runner
            return
        ledger = Ledger(self._ledger) if self._ledger is not None else None
        try:
            async with Runner(self._scorer.llm, ledger) as runner:
                # One account, however often it is opened.
                runner.totals = self._totals
                yield runner
        finally:
            if ledger is not None:
                ledger.close()

    def usage(self) -> Mapping[str, float]:
        """Requests `asked` and found in the ledger, tokens, `possibly_billed`, and `cost_usd` where it is known."""
        usage = self._totals.usage
        amounts: dict[str, float] = {
            "asked": self._totals.asked,
            "from_ledger": self._totals.from_ledger,
            "input_tokens": usage.input_tokens,
            "cached_tokens": usage.cached_tokens,
            "output_tokens": usage.output_tokens,
            "possibly_billed": usage.possibly_billed,
        }
        return amounts if usage.cost_usd is None else amounts | {"cost_usd": usage.cost_usd}

    def state_dict(self) -> dict[str, Any]:
        """Nothing: what was answered is in the ledger."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See that nothing was stored.

        Args:
            state: what `state_dict` gave.

        Raises:
            RewardError: it is the state of another reward.
        """
        check_state(self, state)


def _content(candidate: Candidate) -> str:
    """Names query and response by what they say."""
    return content_id([[(turn.role, turn.content) for turn in candidate.query], candidate.response])


def _renamed(failed: Failure, identifier: str) -> Failure:
    """A failure under its candidate's id; the labeler knew only the content."""
    return failed.model_copy(update={"id": identifier, "response_index": None})
