"""Data in, the same kind of data out: what `label`, `score` and `rank` share in Python."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rlaif.errors import InputError, RowError
from rlaif.io import is_path, read_rows, replacing, table_kind, write_rows
from rlaif.llm.base import LLM
from rlaif.llm.ledger import Ledger
from rlaif.llm.run import Ask, Runner, in_parallel
from rlaif.progress import Progress
from rlaif.records import Failure, Record

ResultT = TypeVar("ResultT")


class Labeler(Protocol):
    """What judges items one by one; items in order, resume and files are others' work."""

    llm: LLM
    ledger: Path | None

    @property
    def item(self) -> type[Record]:
        """The kind of record it judges."""
        ...

    @property
    def record(self) -> type[Record]:
        """The kind of record it makes."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that can change a result, apart from the item itself."""
        ...

    def check(self, item: Any) -> None:
        """Raise a `RowError` where an item cannot be judged."""
        ...

    async def judge(self, item: Any, ask: Ask) -> Record:
        """Judge one item."""
        ...


def rejected(where: str, error: RowError, item: Record | None = None) -> Failure:
    """The failure record of a row that cannot be used.

    Args:
        where: where the row stands; also its id, where it has none.
        error: what is wrong with it.
        item: the row, where it could be read.
    """
    index = getattr(item, "response_index", None)
    return Failure(
        id=item.id if item else where,
        failure="rejected",
        detail=str(error),
        where=where,
        response_index=index,
    )


def run_here(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine to its end, also where an event loop is running already (a notebook).

    Args:
        work: the coroutine.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    result: list[ResultT] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            result.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001  (raised again below, in the caller's thread)
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]


async def judge_in_order(
    labeler: Labeler, rows: Iterator[tuple[str, Record | RowError]], total: int | None
) -> AsyncIterator[tuple[Record | None, Record]]:
    """Judge rows as they come and yield them in the order they came.

    Args:
        labeler: judges.
        rows: places, and items or what is wrong with them.
        total: how many there are, for the progress display.

    Yields:
        Each item (None where the row could not be read) with its record or failure.
    """
    ledger = Ledger(labeler.ledger) if labeler.ledger is not None else None
    finished: dict[int, tuple[Record | None, Record]] = {}
    following = 0
    async with Runner(labeler.llm, ledger) as runner:

        async def one(numbered: tuple[int, tuple[str, Record | RowError]]) -> tuple[Record | None, Record]:
            _, (where, item) = numbered
            if isinstance(item, RowError):
                return None, rejected(where, item)
            try:
                labeler.check(item)
            except RowError as error:
                return item, rejected(where, error, item)
            return item, await labeler.judge(item, runner.ask)

        with Progress("judging", total) as progress:
            async for (number, _), pair in in_parallel(enumerate(rows), one, labeler.llm.in_flight):
                failure = pair[1].failure if isinstance(pair[1], Failure) else None
                progress.advance(failure, runner.totals.usage.input_tokens + runner.totals.usage.output_tokens)
                finished[number] = pair
                while following in finished:
                    yield finished.pop(following)
                    following += 1
    if ledger is not None:
        ledger.close()


def judge_data(
    labeler: Labeler, data: Any, rows: Iterator[tuple[str, Record | RowError]], out: str | Path | None
) -> Any:
    """Judge all rows of some data and give back the same kind of data.

    Args:
        labeler: judges.
        data: what the user gave.
        rows: its rows as items.
        out: the file to write, or None.

    Returns:
        A path, a DataFrame, a Dataset or a list of records (see `PreferenceLabeler.label`).

    Raises:
        InputError: `data` is a path and `out` is None.
    """
    if out is not None:
        return run_here(_to_file(labeler, rows, Path(out)))
    if is_path(data):
        raise InputError(f"{data}: give out=FILE, which the results are written to")
    total = len(data) if hasattr(data, "__len__") else None

    async def collect() -> list[tuple[Record | None, Record]]:
        return [pair async for pair in judge_in_order(labeler, rows, total)]

    pairs = run_here(collect())
    kind = table_kind(data)
    if kind is None:
        return [record for _, record in pairs]
    table = [_row(item, record) for item, record in pairs]
    if kind == "pandas":
        import pandas as pd

        return pd.DataFrame(table, index=data.index if len(table) == len(data) else None)
    import datasets

    columns = dict.fromkeys(name for row in table for name in row)
    return datasets.Dataset.from_list([{**columns, **row} for row in table])


def _row(item: Record | None, record: Record) -> dict[str, Any]:
    """A failed item keeps its own columns, so that tables stay row by row what they were."""
    fields = record.model_dump(exclude_none=True)
    if isinstance(record, Failure) and item is not None:
        fields.pop("partial", None)
        return {**item.model_dump(exclude_none=True), **fields}
    return fields


async def _to_file(labeler: Labeler, rows: Iterator[tuple[str, Record | RowError]], out: Path) -> Path:
    """Write records to one file and failures beside it, both whole or not at all."""
    beside = out.with_name(f"{out.name.removesuffix(''.join(out.suffixes))}.failures.jsonl")
    counts: Counter[bool] = Counter()
    with replacing(beside) as failed, replacing(out.with_name(f"{out.name}.jsonl")) as done:
        with failed.open("w", encoding="utf-8") as failures, done.open("w", encoding="utf-8") as records:
            async for _, record in judge_in_order(labeler, rows, None):
                is_failure = isinstance(record, Failure)
                counts[is_failure] += 1
                (failures if is_failure else records).write(record.to_json() + "\n")
        if counts[False]:
            write_rows(out, lambda: (row.fields for row in read_rows(done) if isinstance(row.fields, dict)))
        else:
            write_rows(out, lambda: iter(()))
    out.with_name(f"{out.name}.jsonl").unlink(missing_ok=True)
    if not counts[True]:
        beside.unlink(missing_ok=True)
    return out
