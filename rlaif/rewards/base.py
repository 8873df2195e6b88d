"""What a reward function is: a batch of candidates in, a stream of rewards out.

Rewards may come in any order, so that training need not wait for the slowest answer of a labeler. A candidate without a
reward has a `Failure` in its place, never a number: failures say something about the text (a labeler refuses what is
harmful), and a zero would reward it.
"""

import asyncio
import functools
import inspect
import math
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

from rlaif.errors import RewardError
from rlaif.records import Failure, Turn

Reward: TypeAlias = float | Failure
"""A finite number, higher is better; or why there is none."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A response that waits for its reward.

    Attributes:
        id: names it in failures and messages.
        query: the dialogue that it answers.
        response: its text.
        token_ids: of the response as it was generated, with its end token where it has one; None where only the text
            is known.
        columns: the dataset's other columns of the query.
    """

    id: str
    query: tuple[Turn, ...]
    response: str
    token_ids: tuple[int, ...] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


class RewardFn(Protocol):
    """Rewards responses."""

    def __call__(self, batch: Sequence[Candidate]) -> AsyncIterator[tuple[int, Reward]]:
        """Reward a batch; usually an async generator.

        Args:
            batch: the candidates.

        Yields:
            A candidate's place in the batch with its reward: each place once, in any order.
        """
        ...

    def usage(self) -> Mapping[str, float]:
        """What all rewards so far took (tokens, cost); empty where nothing is paid."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold to go on exactly; can be written as JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Args:
            state: what `state_dict` gave.
        """
        ...


@runtime_checkable
class Early(Protocol):
    """A reward function that can begin with one candidate before the batch that will hold it is there.

    What it gives for the batch is the same as without; its state does not change before.
    """

    def begin(self, candidate: Candidate) -> None:
        """Begin to judge, in the running event loop.

        Args:
            candidate: of a batch that will come.
        """
        ...


def begin(fn: RewardFn, candidate: Candidate) -> None:
    """Let a reward function begin with one candidate, where it can.

    Args:
        fn: the reward function.
        candidate: of a batch that will come.
    """
    if isinstance(fn, Early):
        fn.begin(candidate)


class Opening:
    """What is made of other reward functions: they are opened and closed with it, where they can be."""

    def __init__(self, fns: Iterable[RewardFn]) -> None:
        self._inner = list({id(fn): fn for fn in fns}.values())
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for fn in self._inner:
            if isinstance(fn, AbstractAsyncContextManager):
                await self._stack.enter_async_context(fn)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()


async def in_order(fn: RewardFn, batch: Sequence[Candidate]) -> list[Reward]:
    """Await all rewards of a batch.

    Args:
        fn: the reward function.
        batch: the candidates.

    Returns:
        The rewards in the order of the batch.

    Raises:
        RewardError: a reward is missing, came twice, or is no finite number.
    """
    found = {index: reward async for index, reward in checked(fn, batch)}
    return [found[index] for index in range(len(batch))]


def rewards(fn: RewardFn, batch: Sequence[Candidate]) -> list[Reward]:
    """Reward a batch outside of an event loop; within one (in a notebook) use `await in_order(fn, batch)`.

    Args:
        fn: the reward function.
        batch: the candidates.

    Returns:
        The rewards in the order of the batch.

    Raises:
        RewardError: as `in_order`, or an event loop is running in this thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(in_order(fn, batch))
    raise RewardError("an event loop is running here; use: await in_order(fn, batch)")


async def checked(fn: RewardFn, batch: Sequence[Candidate]) -> AsyncGenerator[tuple[int, Reward], None]:
    """Pass on a reward function's stream, holding it to its word.

    Args:
        fn: the reward function.
        batch: the candidates.

    Yields:
        Places and rewards, as they come.

    Raises:
        RewardError: a reward is missing, came twice, or is no finite number.
    """
    waiting = set(range(len(batch)))
    stream = fn(batch)
    try:
        async for index, reward in stream:
            if index not in waiting:
                wrong = "a second reward" if index in range(len(batch)) else "a reward"
                raise RewardError(f"{name_of(fn)} gave {wrong} for place {index} of a batch of {len(batch)}")
            waiting.remove(index)
            yield index, reward if isinstance(reward, Failure) else finite(reward, fn, index, batch[index])
    finally:
        # Whoever stops listening early must not leave a labeler at work.
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    if waiting:
        raise RewardError(f"{name_of(fn)} gave no reward for places {sorted(waiting)} of a batch of {len(batch)}")


async def together(
    fns: Sequence[RewardFn], batch: Sequence[Candidate]
) -> AsyncGenerator[tuple[int, dict[int, Reward]], None]:
    """Ask several reward functions at the same time.

    Args:
        fns: the reward functions.
        batch: the candidates.

    Yields:
        Places, each as soon as all its rewards are there, with the rewards by the number of their function.

    Raises:
        RewardError: as `checked`. What a function raises comes out as it is, and the others are stopped.
    """
    found: list[dict[int, Reward]] = [{} for _ in batch]
    complete: asyncio.Queue[int | None] = asyncio.Queue()

    async def drain(number: int) -> None:
        async for index, reward in checked(fns[number], batch):
            found[index][number] = reward
            if len(found[index]) == len(fns):
                complete.put_nowait(index)

    tasks = [asyncio.create_task(drain(number)) for number in range(len(fns))]
    everything = asyncio.gather(*tasks)
    everything.add_done_callback(lambda _: complete.put_nowait(None))
    try:
        while (index := await complete.get()) is not None:
            yield index, found[index]
        await everything
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(everything, *tasks, return_exceptions=True)


def finite(value: Any, source: object, index: int, candidate: Candidate) -> float:
    """A reward as a float.

    Args:
        value: what was given as a reward.
        source: the function it comes from.
        index: the candidate's place in its batch.
        candidate: whom it is for.

    Raises:
        RewardError: it is no finite number.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        place = f"row {index} (id {candidate.id})"
        raise RewardError(f"{name_of(source)}: {place}: the reward is {value!r:.60}; it must be a finite number")
    return number


def name_of(source: object) -> str:
    """What messages call a reward function.

    Args:
        source: a function, or an object that may have a `name`.
    """
    if isinstance(source, functools.partial):
        source = source.func
    if inspect.ismethod(source):
        return f"{type(source.__self__).__name__}.{source.__name__}"
    name = getattr(source, "name", None) or getattr(source, "__name__", None)
    return str(name or type(source).__name__)


def check_state(owner: object, state: Mapping[str, Any], keys: Collection[str] = ()) -> None:
    """See that a stored state is that of this kind of reward function.

    Args:
        owner: the reward function that is to go on from it.
        state: what a checkpoint holds.
        keys: what it must hold.

    Raises:
        RewardError: it holds something else.
    """
    if set(state) != set(keys):
        found, wanted = (", ".join(sorted(one)) or "nothing" for one in (state, keys))
        raise RewardError(f"{name_of(owner)}: the stored state holds {found}, not {wanted}; it is of another reward")


def added_usage(fns: Iterable[RewardFn]) -> dict[str, float]:
    """What several reward functions took together.

    Args:
        fns: the reward functions.
    """
    total: dict[str, float] = {}
    for fn in fns:
        for name, amount in fn.usage().items():
            total[name] = total.get(name, 0) + amount
    return total
