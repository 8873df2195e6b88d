"""Exchanges are stored before they count, found again, and shared."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from doubles import scripted

from rlaif.errors import ModelError, StorageError
from rlaif.llm.base import Answer, Chain, Choose, Generate, NoAnswer, Outcome, Request, Usage
from rlaif.llm.ledger import Ledger, connect, transaction
from rlaif.llm.run import Runner, in_parallel
from rlaif.llm.scripted import ScriptedLLM
from rlaif.records import Turn


def question(text: str, draw: int = 0, **options: Any) -> Request:
    return Request((Turn(role="user", content=text),), Choose(("1", "2")), draw=draw, **options)


def test_outcomes_read_back_as_they_were(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    answer = Answer("v", Usage(3, 2, 1), "tëxt\u2028", "length", (Chain((1, 2), -0.1), Chain((3,), float("-inf"))))
    refusal = NoAnswer("refused", "no", "I can't", Usage(1, 0, 1))
    ledger.put("m", [("aa", answer), ("bb", refusal)])
    ledger.put("other", [("aa", refusal)])
    assert Ledger(tmp_path / "l.sqlite").get("aa") == answer
    assert ledger.get("bb") == refusal
    assert ledger.get("cc") is None


def test_info_and_purge(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.put("a", [(f"{n:02x}", NoAnswer("refused", "x")) for n in range(5)])
    ledger.put("b", [("ff", NoAnswer("refused", "x"))])
    assert [(name, count) for name, count, *_ in ledger.info()] == [("a", 5), ("b", 1)]
    assert ledger.purge("a", before=0) == 0
    assert ledger.purge("a") == 5
    assert ledger.purge() == 1


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "l.sqlite").write_text("not a database, but long enough to be looked at" * 9)
    with pytest.raises(StorageError, match=r"l\.sqlite: file is not a database"):
        Ledger(tmp_path / "l.sqlite")


def test_every_field_that_can_change_an_answer_is_in_the_key() -> None:
    base, identity = question("q"), {"provider": "p"}
    turn = base.messages[0]
    others = [
        question("q2"),
        question("q", 1),
        question("q", continuation="x"),
        Request((Turn(role="system", content="q"),), base.want),
        Request((turn,), Choose(("1", "3"))),
        Request((turn,), Generate(5)),
        Request((turn,), Generate(6)),
        Request((turn,), Generate(5, 0.7)),
        Request((turn,), Generate(5, 0.7, 1)),
        Request((turn,), Generate(5, stop=("x",))),
    ]
    keys = {request.key(identity) for request in (base, *others)} | {base.key({"provider": "p2"})}
    assert len(keys) == len(others) + 2
    # What only helps a cache is no part of the question.
    assert question("q", shared_characters=1).key(identity) == base.key(identity)


def ask_all(runner_of: Any, requests: list[Request]) -> list[Outcome]:
    async def run() -> list[Outcome]:
        async with runner_of() as runner:
            return list(await asyncio.gather(*(runner.ask(request) for request in requests)))

    return asyncio.run(run())


def test_answers_are_stored_and_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def script(request: Request) -> dict[str, float]:
        asked.append(request.messages[0].content)
        return {"1": 0.5, "2": 0.5}

    requests = [question("a"), question("b"), question("a")]
    ledger = Ledger(tmp_path / "l.sqlite")
    for _ in range(2):
        found = ask_all(lambda: Runner(scripted(script), ledger), requests)
        assert found[0] == found[2]
    assert sorted(asked) == ["a", "b"]


def test_what_is_transient_is_not_stored(tmp_path: Path) -> None:
    kinds = iter([NoAnswer("unavailable", "down"), NoAnswer("refused", "no"), NoAnswer("refused", "never asked")])
    ledger = Ledger(tmp_path / "l.sqlite")
    llm = scripted(lambda _: next(kinds))
    found = [ask_all(lambda: Runner(llm, ledger), [question("a")])[0] for _ in range(3)]
    assert [one.detail for one in found if isinstance(one, NoAnswer)] == ["down", "no", "no"]


def test_a_broken_model_leaves_nobody_waiting(tmp_path: Path) -> None:
    class Broken(ScriptedLLM):
        async def answer(self, requests: AsyncIterator[tuple[str, Request]]) -> AsyncIterator[tuple[str, Outcome]]:
            async for _ in requests:
                raise ModelError("it broke")
            yield "", NoAnswer("refused", "never")

    async def run() -> list[Any]:
        async with Runner(Broken(lambda _: "never"), None) as runner:
            asked = (runner.ask(question(str(n))) for n in range(3))
            first = await asyncio.gather(*asked, return_exceptions=True)
            return [*first, *await asyncio.gather(runner.ask(question("later")), return_exceptions=True)]

    assert [str(error) for error in asyncio.run(run())] == ["it broke"] * 4


def test_items_are_judged_in_parallel_within_a_limit_and_errors_come_through() -> None:
    running = most = 0

    async def judge(item: int) -> int:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await asyncio.sleep(0.001 * (item % 3))
        running -= 1
        if item == 99:
            raise KeyError("item 99")
        return item * item

    async def collect(count: int) -> dict[int, int]:
        return {item: result async for item, result in in_parallel(range(count), judge, 7)}

    assert asyncio.run(collect(50)) == {n: n * n for n in range(50)}
    assert most == 7
    with pytest.raises(KeyError, match="item 99"):
        asyncio.run(collect(200))


def test_stopping_early_leaves_nobody_waiting_for_room() -> None:
    async def judge(item: int) -> int:
        return item

    async def stop() -> None:
        results = in_parallel(range(100), judge, 3)
        await anext(results)
        # Now as many results wait as there is room for, and the workers wait behind them.
        await asyncio.sleep(0.05)
        await results.aclose()

    asyncio.run(asyncio.wait_for(stop(), 5))


def test_items_are_drawn_only_as_fast_as_they_are_used() -> None:
    drawn = 0

    def items() -> Any:
        nonlocal drawn
        for number in range(10_000):
            drawn = number
            yield number

    async def judge(item: int) -> int:
        return item

    async def take(count: int) -> None:
        stream = in_parallel(items(), judge, 8)
        async for item, _ in stream:
            if item >= count:
                break
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(take(100))
    assert drawn < 200


def test_two_processes_share_a_ledger(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rlaif.llm.ledger import Ledger; from rlaif.llm.base import *\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "for n in range(300): ledger.put(sys.argv[2], [(f'{n:04x}', NoAnswer('refused', sys.argv[2]))])"
    )
    path = str(tmp_path / "l.sqlite")
    both = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in ("a", "b")]
    assert [process.wait() for process in both] == [0, 0]
    assert sum(count for _, count, *_ in Ledger(tmp_path / "l.sqlite").info()) == 300


def test_a_full_disk_keeps_what_was_stored(tmp_path: Path) -> None:
    code = (
        "import sys, resource; from pathlib import Path; from rlaif.llm.ledger import Ledger\n"
        "from rlaif.errors import StorageError; from rlaif.llm.base import *\n"
        "ledger, stored = Ledger(Path(sys.argv[1])), 0\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "try:\n"
        "    for n in range(100_000):\n"
        "        ledger.put('m', [(f'{n:06x}', NoAnswer('refused', 'x' * 2000))]); stored = n + 1\n"
        "except StorageError as error:\n"
        "    print(stored, error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "l.sqlite")], capture_output=True, text=True)
    stored, message = done.stdout.split(" ", 1)
    assert int(stored) > 10
    assert "what was stored before is kept" in message
    ((_, count, *_),) = Ledger(tmp_path / "l.sqlite").info()
    assert count == int(stored)


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    connection = connect(tmp_path / "t.sqlite", "CREATE TABLE IF NOT EXISTS t (n INTEGER)")
    with transaction(connection):
        connection.execute("INSERT INTO t VALUES (1)")

    def fail() -> None:
        with transaction(connection):
            connection.execute("INSERT INTO t VALUES (2)")
            raise KeyError("in the block")

    with pytest.raises(KeyError):
        fail()
    assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]
    connection.close()
