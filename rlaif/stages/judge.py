"""Label, score, rank or answer a whole file into a run folder: resumable, and at no cost the second time."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, assert_never

from rlaif.columns import ColumnMap
from rlaif.constitution.compare import PrincipleLabeler
from rlaif.constitution.revise import Reviser
from rlaif.conventions import Format, read_comparisons, read_drafts, read_queries, read_responses, read_samples
from rlaif.errors import ConfigError, RowError
from rlaif.io import is_path
from rlaif.labeling.harmlessness import HarmlessJudge
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.ranking import Ranker
from rlaif.labeling.score import Scorer
from rlaif.labeling.tables import outside_loop, warn_of_foreign_prompts
from rlaif.llm.ledger import Ledger
from rlaif.llm.run import Runner, Totals, in_parallel, watching
from rlaif.progress import Progress
from rlaif.records import Failure, FailureKind, Record
from rlaif.sampling import Sampler
from rlaif.stages.run_folder import Index, Item, RunFolder, Selection

PairJudge = PreferenceLabeler | PrincipleLabeler
"""Who labels comparisons: by a task's prompts, or by a constitution."""
Judge = PairJudge | Scorer | Ranker | HarmlessJudge | Sampler | Reviser
Status = Literal["complete", "interrupted", "stopped"]
_STORE_EVERY_S = 0.5
_STORE_EVERY = 500
_MOST_ANSWERS = 40_000
"""Waited for at once, in each order: each takes memory."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run came to.

    Attributes:
        out: the run folder.
        records: the records' file.
        count: records in it.
        failures: by kind.
        index: what reading the input found.
        totals: what was asked now and what the ledger knew.
        seconds: how long judging took.
        status: `complete`, or why not.
    """

    out: Path
    records: Path
    count: int
    failures: Counter[str]
    index: Index
    totals: Totals
    seconds: float
    status: Status


def judge_file(
    judge: Judge,
    data: Any,
    out: Path,
    *,
    format: Format = "auto",
    columns: ColumnMap | None = None,
    limit: int | None = None,
    sample: int | None = None,
    ledger: Path | None = None,
    strict: bool = False,
    retry_failures: Collection[FailureKind] | None = None,
    progress: bool = True,
) -> Summary:
    """Judge every item of a file or table and write a run folder.

    Started again, it asks nothing that was answered; with a larger `limit` or `sample` it grows.

    Args:
        judge: a `PreferenceLabeler` or `PrincipleLabeler`, a `Scorer`, a `Ranker`, a `HarmlessJudge`, a `Sampler`,
            which answers queries, or a `Reviser`, which revises answers.
        data: a path, a table or an iterable.
        out: the run folder.
        format: whose convention the rows follow.
        columns: which column holds which field.
        limit: take only the first rows.
        sample: take only so many, drawn by the judge's seed and the rows' ids.
        ledger: where answers are kept; `ledger.sqlite` beside the run folder if None.
        strict: stop at the first row that cannot be used.
        retry_failures: judge only items that failed in these ways, and ask again what was refused.
        progress: show it on standard error.

    Returns:
        What it came to. The files are written even if the run was interrupted.

    Raises:
        InputError: the data cannot be read; nothing was asked.
        RunFolderError: the folder holds another run.
        StorageError: the disk is full; what was stored is kept.
        KeyboardInterrupt: after Ctrl-C, when everything is written.
    """
    if limit is not None and sample is not None:
        raise ConfigError("limit and sample exclude one another; take the first rows or random ones")
    if (limit is not None and limit < 1) or (sample is not None and sample < 1):
        raise ConfigError("limit and sample must be at least 1")
    seed = judge.config.seed
    stage, rows = _rows(judge, data, format, columns, seed)
    name = str(data) if is_path(data) else type(data).__name__
    ledger_path = ledger or judge.ledger or out.parent / "ledger.sqlite"
    operation: dict[str, Any] = {
        "data": name,
        "columns": dict(columns.columns) if columns else None,
        "limit": limit,
        "sample": sample,
        "ledger": str(ledger_path),
        "strict": strict,
    }
    if (limits := getattr(judge.llm, "limits", None)) is not None:
        # How hard a service was asked, and how long it was waited for.
        operation["limits"] = limits.model_dump()

    def work() -> Summary:
        folder = RunFolder(out, _FILES[stage], {"stage": stage, "input_format": format, **judge.identity})
        try:
            index = folder.read_in(rows, judge, Selection(limit, sample, seed), strict)
            folder.write_config(operation)
            run = _Run(folder, judge, Ledger(ledger_path), index, retry_failures, progress)
            facts = {"stage": stage, "data": name, "data_sha256": _file_hash(data), "seed": seed}
            return run.finish(facts, out / f"{_FILES[stage]}.jsonl")
        finally:
            folder.close()

    return outside_loop(work)


Stage = Literal["label", "score", "rank", "harmless", "sample", "revise"]
_FILES: dict[Stage, str] = {
    "label": "preferences",
    "score": "scores",
    "rank": "rankings",
    "harmless": "harmlessness",
    "sample": "samples",
    "revise": "revisions",
}


def _rows(
    judge: Judge, data: Any, format: Format, columns: ColumnMap | None, seed: int
) -> tuple[Stage, Iterator[tuple[str, Record | RowError]]]:
    match judge:
        case PreferenceLabeler() | PrincipleLabeler():
            return "label", read_comparisons(data, format, columns, seed)
        case Scorer():
            return "score", read_responses(data, format, columns, seed)
        case Ranker():
            return "rank", read_samples(data, columns)
        case Sampler():
            return "sample", read_queries(data, columns)
        case Reviser():
            return "revise", read_drafts(data, columns)
        case HarmlessJudge():
            return "harmless", read_responses(data, format, columns, seed)
        case _:
            assert_never(judge)


class _Run:
    """The middle of a run: what is between an indexed folder and its written files."""

    def __init__(
        self,
        folder: RunFolder,
        judge: Judge,
        ledger: Ledger,
        index: Index,
        retry: Collection[FailureKind] | None,
        progress: bool,
    ) -> None:
        self._folder, self._judge, self._ledger, self._retry = folder, judge, ledger, retry
        self._index, self._progress = index, progress
        self._parse: Callable[[str], Record] = judge.item.model_validate_json
        self._pending: list[tuple[Item, Record]] = []
        self._stored_at = time.monotonic()
        self.totals = Totals()

    def finish(self, facts: dict[str, Any], records: Path) -> Summary:
        """Judge what is unfinished; then, whatever happened, write the files."""
        if not isinstance(self._judge, Sampler):
            warn_of_foreign_prompts(self._judge)
        started, at = time.monotonic(), datetime.now(UTC)
        status: Status = "stopped"
        try:
            asyncio.run(self._judge_all())
            status = "complete"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            self._store()
            seconds = time.monotonic() - started
            count, failures = self._folder.emit()
            invocation = {
                "started": at.isoformat(timespec="seconds"),
                "seconds": round(seconds, 3),
                "status": status,
                **asdict(self.totals),
            }
            result = {
                "llm": self._judge.llm.name,
                "status": status,
                "rows": asdict(self._index),
                "records": count,
                "failures": dict(sorted(failures.items())),
            }
            self._folder.write_manifest(facts | result, invocation)
            self._ledger.close()
        return Summary(self._folder.path, records, count, failures, self._index, self.totals, seconds, status)

    async def _judge_all(self) -> None:
        llm, retry = self._judge.llm, self._retry
        async with Runner(llm, self._ledger, ask_failed_again=retry is not None) as runner:
            self.totals = runner.totals

            async def one(item: Item) -> Record:
                return await self._judge.judge(self._parse(item.json), runner.ask)  # type: ignore[arg-type]

            with Progress(llm.name, self._folder.count_unfinished(retry), self._progress) as progress:
                async with watching(llm, progress.trouble):
                    limit = max(1, min(llm.in_flight, _MOST_ANSWERS // self._judge.config.answers))
                    async for item, result in in_parallel(self._folder.unfinished(retry), one, limit):
                        self._pending.append((item, result))
                        if len(self._pending) >= _STORE_EVERY or time.monotonic() - self._stored_at > _STORE_EVERY_S:
                            self._store()
                        failure = result.failure if isinstance(result, Failure) else None
                        progress.advance(failure, runner.totals.tokens, runner.totals.usage.cost_usd)

    def _store(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            self._folder.store(pending)
        self._stored_at = time.monotonic()


def _file_hash(data: Any) -> str | None:
    if not is_path(data) or not Path(data).is_file():
        return None
    with Path(data).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
