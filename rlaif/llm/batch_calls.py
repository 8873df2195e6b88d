"""Calls to a batch API, each repeated until the provider replies, and what a person is told meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rlaif.errors import ServiceError
from rlaif.llm.batch_apis import NotYetKnownError
from rlaif.llm.gate import Fault
from rlaif.llm.service import Service, detail

ResultT = TypeVar("ResultT")


class FailedError(Exception):
    """A whole job that brought nothing."""


class NotThereError(FailedError):
    """The provider knows nothing of what was asked for (404)."""


class Progress:
    """What can be said of jobs that are under way.

    Attributes:
        states: by job, how many of its requests are answered, and how many it has.
    """

    def __init__(self) -> None:
        """Start with nothing to say."""
        self.states: dict[str, tuple[int, int]] = {}
        self._told: dict[object, str] = {}

    @property
    def text(self) -> str:
        """What holds the work up, and how far the jobs are."""
        texts = list(dict.fromkeys(self._told.values()))
        if self.states:
            answered, size = (sum(counts) for counts in zip(*self.states.values(), strict=True))
            jobs = f"{len(self.states)} batch job{'s'[: len(self.states) != 1]}"
            so_far = f"{answered:,} of {size:,} requests answered"
            texts.append(f"{jobs}, {so_far}; stop at will, the same command collects later")
        return "; ".join(texts)

    @contextmanager
    def telling(self) -> Iterator[Callable[[str], None]]:
        """Give a way to say one thing, until it says another; at the block's end nothing."""
        key = object()
        try:
            yield lambda text: self._told.__setitem__(key, text)
        finally:
            self._told.pop(key, None)


async def until_replied(
    call: Callable[[], Awaitable[ResultT]], service: Service, pause_s: float, progress: Progress
) -> ResultT:
    """Call the provider until it replies.

    Args:
        call: with the SDK.
        service: whose SDK, and whose patience.
        pause_s: between two calls.
        progress: is told why there is no reply.

    Returns:
        What the call does.

    Raises:
        ServiceError: the provider says no, or is gone for longer than the patience.
        NotThereError: it knows nothing of what is asked for.
    """
    patience_s, since = service.limits.outage_patience_s, time.monotonic()
    with progress.telling() as tell:
        while True:
            try:
                with service.translated():
                    return await call()
            except NotYetKnownError as unknown:
                since = time.monotonic()
                tell(str(unknown))
            except Fault as fault:
                if time.monotonic() - since > patience_s:
                    raise ServiceError(
                        f"no reply for {patience_s:.0f} s ({fault}); every answer that came is kept"
                    ) from fault
                tell(f"no reply ({fault})")
            except service.sdk.APIStatusError as error:
                if error.status_code == 404:
                    raise NotThereError(detail(error)) from error
                raise ServiceError(f"{service.name}: {detail(error)}") from error
            await asyncio.sleep(pause_s)
