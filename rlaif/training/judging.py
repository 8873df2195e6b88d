"""Rewards while training: asked for in the background, waited for through outages, and never made up.

A failed judgement is what the settings say for its class, and counted: masked, that is out of rewards, baseline,
whitening and loss; or the lowest reward there is; or the end of the training.
"""

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple

from pydantic import Field

from rlaif.config import Config
from rlaif.errors import TrainingError
from rlaif.records import Failure
from rlaif.rewards import Candidate, Reward, RewardFn, begin, in_order

OfTheText = Literal["mask", "lowest", "stop"]
OfTheService = Literal["mask", "stop"]
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 30.0


class Failures(Config):
    """What a failed judgement means, by its class.

    The first three come with the text: a labeler refuses what is harmful, so that masking would hide what must be
    learned from, and a zero would praise it. The others come with the labeler.

    Attributes:
        refused: the labeler would not judge it.
        rejected: it cannot be judged, such as an empty response.
        too_long: it does not fit the labeler.
        unreadable: the labeler gave no verdict.
        unavailable: no answer came.
        lowest_reward: what `lowest` gives; −1 is the bottom of a labeler's scale.
        max_failed_share: above this share of masked failures in a batch, training waits as in an outage.
        outage_patience_s: for so long; then it ends with a checkpoint.
    """

    refused: OfTheText = "lowest"
    rejected: OfTheText = "lowest"
    too_long: OfTheText = "lowest"
    unreadable: OfTheService = "mask"
    unavailable: OfTheService = "mask"
    lowest_reward: float = -1.0
    max_failed_share: float = Field(default=0.3, ge=0, le=1)
    outage_patience_s: float = Field(default=600.0, ge=0)


class Judged(NamedTuple):
    """What became of a batch.

    Attributes:
        scores: a number for each response, or None where it is masked.
        failures: how many failed, by class; `masked` are those to which a reward function does not apply.
        waited_s: how long an outage was waited for.
    """

    scores: list[float | None]
    failures: Counter[str]
    waited_s: float


def resolve(rewards: Sequence[Reward], settings: Failures) -> tuple[list[float | None], Counter[str]]:
    """Make of each failure what the settings say.

    Args:
        rewards: numbers and failures.
        settings: the section.

    Returns:
        A number for each, or None where it is masked; and failures by class.

    Raises:
        TrainingError: a class of failures is to stop the training.
    """
    scores: list[float | None] = []
    counts: Counter[str] = Counter()
    for reward in rewards:
        if not isinstance(reward, Failure):
            scores.append(reward)
            continue
        counts[reward.failure] += 1
        meaning = "mask" if reward.failure == "masked" else getattr(settings, reward.failure)
        if meaning == "stop":
            raise TrainingError(
                f"{reward.id}: judgement {reward.failure} ({reward.detail}), and such are to stop the training"
            )
        scores.append(settings.lowest_reward if meaning == "lowest" else None)
    return scores, counts


class Judge:
    """Asks a reward function in a thread of its own, whose event loop lasts as long as the training.

    >>> with Judge(reward, settings) as judge:
    ...     asked = judge.ask(candidates)
    ...     ...  # other work
    ...     judged = judge.wait(asked)
    """

    def __init__(self, reward: RewardFn, settings: Failures, say: Callable[[str], None] = lambda _: None) -> None:
        """Take a reward function.

        Args:
            reward: it is opened, if it is an async context manager, and closed at the end.
            settings: what failures mean.
            say: told of an outage, and with an empty text that it is over.
        """
        self.reward = reward
        self._settings, self._say = settings, say
        self._before: dict[str, Any] = {}
        self._under_way: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="judge", daemon=True)

    def __enter__(self) -> "Judge":
        self._thread.start()
        if isinstance(self.reward, AbstractAsyncContextManager):
            self._run(self.reward.__aenter__()).result()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._run(self._close()).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _close(self) -> None:
        """Close the reward function, when what it was asked and nobody waits for any more has let go of it."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if isinstance(self.reward, AbstractAsyncContextManager):
            await self.reward.__aexit__(None, None, None)

    async def _in_order(self, candidates: Sequence[Candidate]) -> list[Reward]:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            return await in_order(self.reward, candidates)
        finally:
            self._under_way.remove(task)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def begin(self, candidate: Candidate) -> None:
        """Let the reward function begin with one candidate of a batch that is to be asked for, where it can.

        Args:
            candidate: the response.
        """
        self._loop.call_soon_threadsafe(begin, self.reward, candidate)

    def ask(self, candidates: Sequence[Candidate]) -> Future[list[Reward]]:
        """Begin to judge a batch.

        Args:
            candidates: the responses.
        """
        self._before = self.reward.state_dict()
        return self._run(self._in_order(candidates))

    def wait(
        self,
        asked: Future[list[Reward]],
        candidates: Sequence[Candidate],
        heard: Callable[[], int] = lambda: 0,
    ) -> tuple[list[Reward], float]:
        """Wait for a batch, and through an outage.

        Args:
            asked: what `ask` gave.
            candidates: the same responses.
            heard: the number of a signal that asks for an end, which an outage must not hold up; 0 for none.

        Returns:
            Their rewards, and how many seconds an outage took.

        Raises:
            KeyboardInterrupt: after Ctrl-C during an outage.
            SystemExit: after SIGTERM, likewise.
            TrainingError: the labeler fails too often, and either did not recover or cannot.
        """
        rewards, before = asked.result(), self._before
        began, pause = time.monotonic(), _FIRST_WAIT_S
        while (share := self._failed_share(rewards)) > self._settings.max_failed_share:
            again = [
                place for place, one in enumerate(rewards) if isinstance(one, Failure) and one.failure == "unavailable"
            ]
            waited = time.monotonic() - began
            if not again or waited > self._settings.outage_patience_s:
                raise TrainingError(self._complaint(rewards, share, waited if again else None))
            if number := heard():
                raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
            self._say(f"{share:.0%} of the judgements failed; waiting for {waited:.0f} s")
            time.sleep(min(pause, max(0.0, self._settings.outage_patience_s - waited) + 0.01))
            pause = min(2 * pause, _LONGEST_WAIT_S)
            if self.reward.state_dict() != before:
                # A running mean, say, has moved by what did come; it must see the batch once, and whole.
                self.reward.load_state_dict(before)
                again = list(range(len(candidates)))
            found = self.ask([candidates[place] for place in again]).result()
            for place, reward in zip(again, found, strict=True):
                rewards[place] = reward
        self._say("")
        return rewards, time.monotonic() - began

    def _failed_share(self, rewards: Sequence[Reward]) -> float:
        failed = [one for one in rewards if isinstance(one, Failure) and one.failure != "masked"]
        masked = [one for one in failed if getattr(self._settings, one.failure) == "mask"]
        return len(masked) / len(rewards) if rewards else 0.0

    def _complaint(self, rewards: Sequence[Reward], share: float, waited_s: float | None) -> str:
        kinds = Counter(one.failure for one in rewards if isinstance(one, Failure))
        shown = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        first = next(one.detail for one in rewards if isinstance(one, Failure))
        why = "waiting would not help" if waited_s is None else f"for {waited_s:.0f} s (outage_patience_s)"
        limit = f"more than failures.max_failed_share {self._settings.max_failed_share:g}"
        return (
            f"{share:.0%} of {len(rewards)} judgements failed ({shown}), {limit}; {why}. The first: {first}. "
            "A checkpoint is kept: mend the labeler and run again"
        )
