"""Data in, the same kind of data out: what `label`, `score` and `rank` share in Python."""

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rlaif.errors import InputError, RowError
from rlaif.io import check_can_write, is_path, read_rows, replacing, table_kind, write_rows
from rlaif.llm.base import LLM
from rlaif.llm.ledger import Ledger
from rlaif.llm.run import Ask, Runner, in_parallel, watching
from rlaif.progress import Progress
from rlaif.prompting import VerdictPrompter
from rlaif.records import Failure, Record

ResultT = TypeVar("ResultT")


class Labeler(Protocol):
    """What judges items one by one; items in order, resume and files are others' work."""

    llm: LLM
    ledger: Path | None

    @property
    def prompter(self) -> VerdictPrompter:
        """Renders what is asked; where there are several, one of them."""
        ...

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
    identifier = item.id if item else error.fields.get("id")
    return Failure(
        id=where if identifier in (None, "") else str(identifier),
        failure="rejected",
        detail=str(error),
        where=where,
        response_index=index,
    )


def outside_loop(work: Callable[[], ResultT]) -> ResultT:
    """Call something that runs an event loop, also where one is running already (a notebook).

    Args:
        work: is called here, or in a thread of its own where this thread's loop is running.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    result: list[ResultT] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001  (raised again below, in the caller's thread)
            errors.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]


class Prompts(Protocol):
    """What prompts ask, and the hash of everything in them that is not data."""

    @property
    def about(self) -> str:
        """What is asked, in words, for messages."""
        ...

    @property
    def sha256(self) -> str:
        """The hash."""
        ...


class Asks(Protocol):
    """What asks a model by prompts."""

    @property
    def llm(self) -> LLM:
        """The model."""
        ...

    @property
    def prompter(self) -> Prompts:
        """Renders what is asked."""
        ...


def warn_of_foreign_prompts(asks: Asks) -> None:
    """Warn where a bundled model reads prompts, or is asked by a constitution, that it was not trained on.

    Args:
        asks: its model may carry a card with the hashes of the prompts it knows, and the title of the constitution.
    """
    card, prompter = getattr(asks.llm, "card", None), asks.prompter
    known, given = (card or {}).get("constitution"), getattr(asks, "constitution", None)
    if known and given and given.title != known:
        warnings.warn(
            f"{asks.llm.name} knows the constitution {known} and was not trained on {given.title}; "
            "its answers mean little",
            stacklevel=2,
        )
    elif card and prompter.sha256 not in card.get("prompts", {}).values():
        warnings.warn(
            f"{asks.llm.name} was not trained on this prompt ({prompter.about}); its answers mean little",
            stacklevel=2,
        )


async def judge_in_order(
    labeler: Labeler, rows: Iterator[tuple[str, Record | RowError]], total: int | None
) -> AsyncIterator[tuple[Mapping[str, Any], Record]]:
    """Judge rows as they come and yield them in the order they came.

    Args:
        labeler: judges.
        rows: places, and items or what is wrong with them.
        total: how many there are, for the progress display.

    Yields:
        Each row's columns, as they were read, with its record or failure.
    """
    ledger = Ledger(labeler.ledger) if labeler.ledger is not None else None
    finished: dict[int, tuple[Mapping[str, Any], Record]] = {}
    following = 0
    async with Runner(labeler.llm, ledger) as runner:

        async def one(numbered: tuple[int, tuple[str, Record | RowError]]) -> tuple[Mapping[str, Any], Record]:
            _, (where, item) = numbered
            if isinstance(item, RowError):
                return item.fields, rejected(where, item)
            columns = item.model_dump(exclude_none=True)
            try:
                labeler.check(item)
            except RowError as error:
                return columns, rejected(where, error, item)
            return columns, await labeler.judge(item, runner.ask)

        with Progress("judging", total) as progress:
            async with watching(labeler.llm, progress.trouble):
                async for (number, _), pair in in_parallel(enumerate(rows), one, labeler.llm.in_flight):
                    failure = pair[1].failure if isinstance(pair[1], Failure) else None
                    progress.advance(failure, runner.totals.tokens, runner.totals.usage.cost_usd)
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
    warn_of_foreign_prompts(labeler)
    if out is not None:
        check_can_write(Path(out))
        return outside_loop(lambda: asyncio.run(_to_file(labeler, rows, Path(out))))
    if is_path(data):
        raise InputError(f"{data}: give out=FILE, which the results are written to")
    total = len(data) if hasattr(data, "__len__") else None

    async def collect() -> list[tuple[Mapping[str, Any], Record]]:
        return [pair async for pair in judge_in_order(labeler, rows, total)]

    pairs = outside_loop(lambda: asyncio.run(collect()))
    kind = table_kind(data)
    if kind is None:
        return [record for _, record in pairs]
    table = [_row(columns, record) for columns, record in pairs]
    if kind == "pandas":
        import pandas as pd

        return pd.DataFrame(table, index=data.index if len(table) == len(data) else None)
    import datasets

    every = dict.fromkeys(name for row in table for name in row)
    return datasets.Dataset.from_list([{**every, **row} for row in table])


def _row(columns: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """A failed item keeps its own columns, so that tables stay row by row what they were."""
    fields = record.model_dump(exclude_none=True)
    if isinstance(record, Failure):
        fields.pop("partial", None)
        return {**columns, **fields}
    return fields


async def _to_file(labeler: Labeler, rows: Iterator[tuple[str, Record | RowError]], out: Path) -> Path:
    """Write records to one file and failures beside it, both whole or not at all."""
    beside = out.with_name(f"{out.name.removesuffix('.gz').removesuffix(out.suffix)}.failures.jsonl")
    kept = out.with_name(f"{out.name}.unconverted.jsonl")
    failed = 0
    with (
        replacing(beside) as failures_draft,
        replacing(kept) as draft,
        failures_draft.open("w", encoding="utf-8") as failures,
        draft.open("w", encoding="utf-8") as records,
    ):
        async for _, record in judge_in_order(labeler, rows, None):
            failed += isinstance(record, Failure)
            (failures if isinstance(record, Failure) else records).write(record.to_json() + "\n")
    try:
        write_rows(out, lambda: _rows_of(kept))
    except InputError as error:
        raise InputError(f"{error} (what was judged is in {kept})") from error
    kept.unlink()
    if not failed:
        beside.unlink()
    return out


def _rows_of(path: Path) -> Iterator[dict[str, Any]]:
    if path.stat().st_size:
        yield from (row.fields for row in read_rows(path) if isinstance(row.fields, dict))
