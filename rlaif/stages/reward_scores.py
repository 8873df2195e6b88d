"""Score a whole file with a reward model into a run folder, as a labeler would."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.columns import ColumnMap
from rlaif.conventions import Format, read_responses
from rlaif.errors import MissingExtraError, RowError
from rlaif.io import is_path
from rlaif.labeling.tables import outside_loop
from rlaif.progress import Progress
from rlaif.records import Failure, Response, RewardScore
from rlaif.stages.run_folder import Index, Item, RunFolder, Selection

if TYPE_CHECKING:
    from rlaif.training.scoring import RewardModel

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Scored:
    """What scoring a file came to.

    Attributes:
        records: the records' file, `scores.jsonl`.
        count: records in it.
        failures: by kind.
        index: what reading the input found.
        shortened: queries that lost tokens from their left, so that query and response fit.
        seconds: how long scoring took.
    """

    records: Path
    count: int
    failures: Counter[str]
    index: Index
    shortened: int
    seconds: float


class _Anything:
    """A reward model scores any text, an empty one too."""

    def check(self, item: Response) -> None:
        """Object to nothing."""


def score_by_reward_model(
    reward_model: str,
    data: Any,
    out: Path,
    *,
    format: Format = "auto",
    columns: ColumnMap | None = None,
    limit: int | None = None,
    sample: int | None = None,
    strict: bool = False,
    progress: bool = True,
) -> Scored:
    """Score every response of a file or table.

    Started again, it goes on where it was.

    Args:
        reward_model: its folder, such as `outputs/reward/model`.
        data: a path, a table or an iterable of responses, samples or comparisons.
        out: the run folder.
        format: whose convention the rows follow.
        columns: which column holds which field.
        limit: take only the first rows.
        sample: take only so many, drawn by the rows' ids.
        strict: stop at the first row that cannot be used.
        progress: show it on standard error.

    Returns:
        What it came to.

    Raises:
        InputError: the data cannot be read.
        ModelError: the folder holds no reward model.
        RunFolderError: the run folder holds another run.
    """
    try:
        from rlaif.training.models import find_folder
        from rlaif.training.scoring import RewardModel
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    rows = read_responses(data, format, columns, 0)

    def work() -> Scored:
        model = RewardModel(find_folder(reward_model))
        started = time.monotonic()
        identity = {"stage": "score", "reward_model": model.version, "max_tokens": model.max_tokens}
        folder = RunFolder(out, "scores", identity | {"input_format": format})
        try:
            index = folder.read_in(rows, _Anything(), Selection(limit, sample), strict)
            name = str(data) if is_path(data) else type(data).__name__
            folder.write_config({"reward_model": reward_model, "data": name, "limit": limit, "sample": sample})
            with Progress(reward_model, folder.count_unfinished(), progress) as bar:
                _score_all(folder, model, reward_model, bar)
            count, failures = folder.emit()
            seconds = time.monotonic() - started
            facts = {"stage": "score", "data": name, "records": count, "failures": dict(sorted(failures.items()))}
            folder.write_manifest(facts, {"seconds": round(seconds, 3), "shortened": model.shortened})
            return Scored(out / "scores.jsonl", count, failures, index, model.shortened, seconds)
        finally:
            folder.close()

    return outside_loop(work)


def _score_all(folder: RunFolder, model: "RewardModel", name: str, bar: Progress) -> None:
    pending: list[Item] = []
    for item in folder.unfinished():
        pending.append(item)
        if len(pending) == _AT_ONCE:
            _score(folder, model, name, pending, bar)
            pending = []
    if pending:
        _score(folder, model, name, pending, bar)


def _score(folder: RunFolder, model: "RewardModel", name: str, items: list[Item], bar: Progress) -> None:
    asked = [Response.model_validate_json(item.json) for item in items]
    outcomes = model.outcomes([(one.query, one.response) for one in asked])
    folder.store(
        (item, _record(one, outcome, name, model.version))
        for item, one, outcome in zip(items, asked, outcomes, strict=True)
    )
    for outcome in outcomes:
        bar.advance("too_long" if isinstance(outcome, RowError) else None, 0)


def _record(asked: Response, outcome: float | RowError, name: str, version: str) -> RewardScore | Failure:
    if isinstance(outcome, RowError):
        return Failure(id=asked.id, failure="too_long", detail=str(outcome), response_index=asked.response_index)
    fields = asked.model_dump(exclude_none=True)
    return RewardScore(**fields, score=outcome, reward_model=name, reward_model_version=version)
