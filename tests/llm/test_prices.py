"""Prices are what lists and files say, and a cap is never passed."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hostile
import pytest
from hostile import TRANSIENT, HostileServer

from rlaif.errors import BudgetError, ConfigError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.base import Choose, Generate, Request, Usage
from rlaif.llm.open import open_llm
from rlaif.llm.openai import open_openai
from rlaif.llm.prices import Budget, Price, price_of
from rlaif.llm.remote import Limits
from rlaif.records import Turn
from rlaif.stages.judge import judge_file

PRICES = "openai:judge: {input: 2, cached: 1, output: 8}\n"


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES)
    return path


def test_list_prices_are_per_token_and_the_users_come_first(prices: Path) -> None:
    # $.40, $.10 and $1.60 a million on the provider's list of April 2025.
    assert price_of("openai", "gpt-4.1-mini") == pytest.approx((0.4e-6, 0.1e-6, 1.6e-6))
    assert price_of("openai", "no-such-model") is None
    assert price_of("openai", "gpt-4.1-mini", listed=False) is None
    assert price_of("openai", "judge", prices) == pytest.approx((2e-6, 1e-6, 8e-6))
    assert price_of("openai", "gpt-4.1-mini", prices) == price_of("openai", "gpt-4.1-mini")


def test_cached_tokens_are_part_of_those_read() -> None:
    # 70 fresh at 2, 30 cached at 1, 10 written at 8.
    assert Price(2, 1, 8).cost(Usage(100, 30, 10)) == 70 * 2 + 30 * 1 + 10 * 8


def test_an_upper_bound_counts_bytes_and_everything_that_may_be_written() -> None:
    request = Request((Turn(role="user", content="Grüße"),), Generate(50), continuation="So")
    # 7 and 2 bytes and 100 for the protocol at 2; 50 and 4,000 to think at 8.
    assert Price(2, 1, 8).most(request, 4000) == 2 * (7 + 2 + 100) + 8 * 4050
    assert Price(2, 1, 8).most(Request(request.messages, Choose(("1", "2")))) == 2 * 107 + 8
    # A 10 may be cut, and then it takes two requests.
    assert Price(2, 1, 8).most(Request(request.messages, Choose(("1", "2", "10")))) == 2 * (2 * 107 + 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "must map provider:model to input, output and perhaps cached"),
        ("openai:judge: {input: 1}", "openai:judge: output is missing"),
        ("openai:judge: {input: -1, output: 1}", "input is -1: Input should be greater than or equal to 0"),
        ("openai:judge: {input: 1, output: 1, outptu: 2}", "outptu is not a setting; did you mean output"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_wrong_file_of_prices_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        price_of("openai", "judge", path)


def test_a_try_without_a_price_counts_as_all_that_was_held_back() -> None:
    async def run() -> tuple[float, float]:
        budget = Budget(1.0)
        async with budget.reserved(0.4) as cost:
            cost.append(0.1)
        known = budget.spent_usd
        with pytest.raises(ValueError, match="lost"):
            async with budget.reserved(0.4):
                raise ValueError("lost")
        with pytest.raises(BudgetError, match=r"the cap of \$1.00 is reached \(\$0.5000 spent or possibly billed\)"):
            async with budget.reserved(0.6):
                pass
        return known, budget.spent_usd

    assert asyncio.run(run()) == (0.1, 0.5)


def test_a_try_that_does_not_fit_waits_for_those_under_way() -> None:
    async def run() -> list[str]:
        budget, order = Budget(1.0), list[str]()

        async def one(name: str, most: float, seconds: float) -> None:
            async with budget.reserved(most) as cost:
                order.append(name)
                await asyncio.sleep(seconds)
                cost.append(0.01)

        await asyncio.gather(one("a", 0.9, 0.02), one("b", 0.9, 0), one("c", 0.9, 0))
        assert budget.spent_usd == pytest.approx(0.03)
        return order

    assert asyncio.run(run()) == ["a", "b", "c"]


def test_nothing_begins_any_more_when_one_did_not_fit() -> None:
    """Its error ends the run, and would break off what had just begun and is paid for."""
    begun = list[str]()

    async def one(budget: Budget, name: str, most: float) -> None:
        async with budget.reserved(most) as cost:
            begun.append(name)
            cost.append(0.5)

    async def held() -> list[Any]:
        budget = Budget(1.0)
        async with budget.reserved(0.9) as cost:
            tasks = [asyncio.create_task(one(budget, name, most)) for name, most in (("large", 0.9), ("small", 0.2))]
            await asyncio.sleep(0)
            cost.append(0.5)
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(one) for one in asyncio.run(held())] == [BudgetError, BudgetError]
    assert begun == []


@pytest.mark.parametrize("cap", [0, -1.0, float("nan")])
def test_a_cap_with_which_nothing_begins_is_an_error(cap: float) -> None:
    with pytest.raises(ConfigError, match=r"with which nothing begins; it must be above 0"):
        Budget(cap)


def test_a_budget_outlives_event_loops_and_is_shared_by_threads() -> None:
    budget, peak = Budget(1.0), 0.0

    async def one() -> None:
        nonlocal peak
        async with budget.reserved(0.3) as cost:
            peak = max(peak, 1.0 - budget.room_usd)
            await asyncio.sleep(0.001)
            cost.append(0.001)

    async def many() -> None:
        # More than fit at once: some wait, in each loop.
        await asyncio.gather(*(one() for _ in range(50)))

    asyncio.run(many())
    asyncio.run(many())
    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert budget.spent_usd == pytest.approx(5 * 50 * 0.001)
    assert 0.9 < peak <= 1.0


def test_who_waits_for_room_and_is_cancelled_takes_none() -> None:
    async def run() -> float:
        budget = Budget(1.0)
        async with budget.reserved(0.9) as cost:
            waiting = asyncio.create_task(anext(aiter(_held(budget))))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            cost.append(0.1)
        return budget.room_usd

    async def _held(budget: Budget) -> AsyncIterator[None]:
        async with budget.reserved(0.9):
            yield

    assert asyncio.run(run()) == pytest.approx(0.9)


def test_a_cap_is_that_of_the_model_or_of_the_budget_it_shares(prices: Path) -> None:
    with HostileServer() as server:

        def opened(**about: Any) -> Any:
            return open_llm("openai:judge", base_url=server.url, prices=prices, **about)

        one, other = opened(limits=Limits(max_cost_usd=1)), opened(limits=Limits(max_cost_usd=1))
        assert one.budget is not other.budget
        budget = Budget(2)
        one, other = opened(budget=budget), opened(budget=budget, limits=Limits(max_cost_usd=2))
        assert one.budget is other.budget is budget
        # What a run writes down is the cap that was kept.
        assert one.limits.max_cost_usd == 2
        with pytest.raises(ConfigError, match=r"two caps: limits.max_cost_usd is 1.0, that of the budget 2; leave"):
            opened(budget=budget, limits=Limits(max_cost_usd=1))


def test_a_cap_is_never_passed_and_a_higher_one_goes_on(
    tmp_path: Path, prices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile, "HANG_S", 0.6)
    rows = [{"id": str(n), "query": f"Q{n}", "response_1": f"a{n}", "response_2": f"b{n}"} for n in range(120)]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def label(server: HostileServer, cap: float) -> Any:
        limits = Limits(timeout_s=0.4, max_cost_usd=cap)
        llm = open_openai("judge", server.url, limits=limits, prices=prices)
        return judge_file(PreferenceLabeler("helpfulness", llm), data, tmp_path / "run", progress=False)

    with HostileServer(share=0.1, kinds=TRANSIENT) as server:
        cap = 0.05
        with pytest.raises(BudgetError, match=r"the cap of \$0.05 is reached"):
            label(server, cap)
        # Whatever the server may bill: what it delivered, and what it may have done without delivering.
        undelivered = sum(server.faults[kind] for kind in ("hang", "truncated", "cut", "reset", "html"))
        dear = 169e-6 * 2 + 8e-6
        billed = 2e-6 * server.input_tokens + 8e-6 * server.output_tokens
        assert 0.6 * cap < billed + undelivered * dear
        assert billed <= cap
        manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
        told = manifest["invocations"][0]
        assert told["status"] == "stopped"
        assert told["usage"]["cost_usd"] == pytest.approx(billed)
        delivered = sum(server.delivered.values())
        assert 0 < delivered < 240
        summary = label(server, 5.0)
        assert summary.count == 120
        assert set(server.delivered.values()) == {1}
        assert summary.totals.asked == 240 - delivered
        assert summary.totals.usage.cost_usd == pytest.approx(
            2e-6 * summary.totals.usage.input_tokens + 8e-6 * summary.totals.usage.output_tokens
        )
    lines = (tmp_path / "run" / "preferences.jsonl").read_text().splitlines()
    assert all(json.loads(line)["cost_usd"] > 0 for line in lines)


def test_a_cap_without_a_price_is_an_error_and_an_unknown_price_is_not_zero(tmp_path: Path) -> None:
    with HostileServer() as server:
        with pytest.raises(ConfigError, match="nobody knows what openai:judge costs, so no cap can be kept; name its"):
            open_llm("openai:judge", base_url=server.url, limits=Limits(max_cost_usd=1))
        llm = open_llm("openai:judge", base_url=server.url)
        (label,) = PreferenceLabeler("helpfulness", llm).label([{"query": "Q", "response_1": "a", "response_2": "b"}])
    assert label.cost_usd is None
    assert "cost_usd" not in json.loads(label.to_json())
