"""The gate grows, shrinks, waits and gives up."""

import asyncio
import time

import pytest

import rlaif.llm.gate as gate_module
from rlaif.errors import ServiceError
from rlaif.llm.base import Answer, Choose, NoAnswer, Outcome, Request, Usage
from rlaif.llm.gate import FIRST_LIMIT, OUTAGE_FAULTS, POSSIBLY_BILLED, WINDOW, Fault, Gate
from rlaif.llm.remote import Limits, Persistent
from rlaif.records import Turn

REQUEST = Request((Turn(role="user", content="?"),), want=Choose(("1", "2")))
OVERLOADED = Fault("429", overloaded=True)


async def passing(gate: Gate, fault: Fault | None = None, seconds: float = 0.0) -> None:
    try:
        async with gate.passed():
            await asyncio.sleep(seconds)
            if fault:
                raise fault
    except Fault:
        pass


def test_it_grows_by_one_with_each_answer_and_never_beyond_its_most() -> None:
    async def run() -> tuple[float, float]:
        gate = Gate(most=40, patience_s=1)
        first = gate.limit
        for _ in range(10):
            await passing(gate)
        early = gate.limit
        await asyncio.gather(*(passing(gate) for _ in range(100)))
        return early - first, gate.limit

    assert asyncio.run(run()) == (10, 40)
    assert Gate(most=4, patience_s=1).limit == 4
    assert Gate(most=400, patience_s=1).limit == FIRST_LIMIT


def test_no_more_than_the_limit_are_under_way() -> None:
    async def run() -> int:
        gate, peak = Gate(most=5, patience_s=1), 0

        async def one() -> None:
            nonlocal peak
            async with gate.passed():
                peak = max(peak, gate.under_way)
                await asyncio.sleep(0.001)

        await asyncio.gather(*(one() for _ in range(50)))
        assert gate.under_way == 0
        return peak

    assert asyncio.run(run()) == 5


def test_isolated_faults_change_nothing_and_a_share_of_overloads_shrinks_it() -> None:
    async def run(every: int) -> Gate:
        gate = Gate(most=16, patience_s=9)
        for number in range(WINDOW + 1):
            await passing(gate, OVERLOADED if number % every == 0 else None)
        return gate

    # One of eight is .125, every second is .5; the share that counts is .3.
    assert asyncio.run(run(8)).limit == 16
    # Half of what was under way is what the server took; from here on it grows by one for each round of answers.
    shrunken = asyncio.run(run(2))
    assert shrunken.limit == 8
    asyncio.run(passing(shrunken))
    assert shrunken.limit == 8 + 1 / 8


def test_it_shrinks_by_the_share_that_was_turned_away() -> None:
    async def run() -> float:
        gate = Gate(most=16, patience_s=9)
        for number in range(WINDOW):
            # Three of four; the last one fills the window.
            await passing(gate, None if number % 4 == 0 else OVERLOADED)
        return gate.limit

    assert asyncio.run(run()) == 16 / 4


def test_tries_in_an_outage_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "OUTAGE_S", 0.05)
    monkeypatch.setattr(gate_module, "OUTAGE_FAULTS", 2)
    start, sent = time.monotonic(), 0

    async def send(_: Request) -> Outcome:
        nonlocal sent
        sent += 1
        if time.monotonic() - start < 1.5:
            raise Fault("gone")
        return Answer("v", Usage())

    outcome = asyncio.run(Persistent(send, Limits(retries=2, outage_patience_s=4)).answer(REQUEST))
    assert isinstance(outcome, Answer)
    assert sent > 3


def test_faults_that_are_no_overload_do_not_shrink_it() -> None:
    async def run() -> float:
        gate = Gate(most=16, patience_s=9)
        for number in range(2 * WINDOW):
            await passing(gate, Fault("reset") if number % 2 else None)
        return gate.limit

    assert asyncio.run(run()) == 16


def test_retry_after_of_an_overloaded_server_holds_everybody() -> None:
    async def run() -> float:
        gate = Gate(most=16, patience_s=9)
        for number in range(WINDOW - 1):
            await passing(gate, OVERLOADED if number % 2 else None)
        start = time.monotonic()
        await passing(gate, Fault("429", overloaded=True, retry_after_s=0.2))
        await asyncio.gather(*(passing(gate) for _ in range(20)))
        return time.monotonic() - start

    assert asyncio.run(run()) >= 0.2


def test_in_an_outage_one_request_at_a_time_knocks_and_after_it_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "OUTAGE_S", 0.05)

    async def run() -> tuple[int, bool, bool]:
        gate, most = Gate(most=64, patience_s=1.0), 0
        for _ in range(OUTAGE_FAULTS):
            await passing(gate, Fault("gone"), seconds=0.01)
        was = gate.is_outage
        assert "gone" in gate.trouble
        assert "giving up in 0:0" in gate.trouble

        async def one() -> None:
            nonlocal most
            async with gate.passed():
                most = max(most, gate.under_way if gate.is_outage else 0)
                await asyncio.sleep(0.001)

        await asyncio.gather(*(one() for _ in range(30)))
        assert gate.trouble == ""
        return most, was, gate.is_outage

    assert asyncio.run(run()) == (1, True, False)


def test_an_outage_longer_than_the_patience_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "OUTAGE_S", 0.05)

    async def send(_: Request) -> Outcome:
        raise Fault("connection refused")

    async def run() -> None:
        persistent = Persistent(send, Limits(outage_patience_s=0.4, retries=100))
        await asyncio.gather(*(persistent.answer(REQUEST) for _ in range(20)))

    start = time.monotonic()
    with pytest.raises(ServiceError, match=r"no answer for 0 s \(connection refused\); every answer that came is kept"):
        asyncio.run(run())
    assert time.monotonic() - start >= 0.4


def test_tries_are_bounded_and_what_may_have_been_billed_is_counted() -> None:
    sent = 0

    async def send(_: Request) -> Outcome:
        nonlocal sent
        sent += 1
        raise Fault("cut off", lost=POSSIBLY_BILLED)

    outcome = asyncio.run(Persistent(send, Limits(retries=3)).answer(REQUEST))
    assert sent == 4
    assert outcome == NoAnswer("unavailable", "cut off; tried 4 times", usage=Usage(possibly_billed=4))


def test_an_answer_after_faults_says_what_was_lost_before_it() -> None:
    faults = [Fault("429", overloaded=True), Fault("cut off", lost=POSSIBLY_BILLED)]

    async def send(_: Request) -> Outcome:
        if faults:
            raise faults.pop()
        return Answer("v", Usage(5, 0, 1), "yes")

    outcome = asyncio.run(Persistent(send, Limits()).answer(REQUEST))
    assert outcome == Answer("v", Usage(5, 0, 1, possibly_billed=1), "yes")


def test_a_try_waits_at_least_as_long_as_the_server_asks() -> None:
    times: list[float] = []

    async def send(_: Request) -> Outcome:
        times.append(time.monotonic())
        if len(times) == 1:
            raise Fault("429", overloaded=True, retry_after_s=0.25)
        return Answer("v", Usage())

    asyncio.run(Persistent(send, Limits()).answer(REQUEST))
    assert times[1] - times[0] >= 0.25


def test_requests_a_minute_are_spread_over_the_minute() -> None:
    async def run() -> float:
        # 600 a minute: ten at once, then ten a second.
        gate = Gate(most=64, patience_s=1, per_minute=600)
        start = time.monotonic()
        await asyncio.gather(*(passing(gate) for _ in range(15)))
        return time.monotonic() - start

    assert asyncio.run(run()) >= 0.45


def test_a_cancelled_waiter_leaves_its_place() -> None:
    async def run() -> int:
        gate = Gate(most=1, patience_s=1)
        first = asyncio.create_task(passing(gate, seconds=0.05))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(passing(gate)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.gather(first, *waiting, return_exceptions=True)
        return gate.under_way

    assert asyncio.run(run()) == 0
