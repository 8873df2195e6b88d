"""What the pocket world itself says of texts: rates of policies side by side, and gold for sampled pairs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rlaif.conventions import read_comparisons, read_responses
from rlaif.errors import InputError, RowError
from rlaif.io import write_lines
from rlaif.pocket.data import CLOSEST, Task, gold
from rlaif.pocket.gold import judge
from rlaif.records import Comparison
from rlaif.stages.labels import records_file
from rlaif.statistics.intervals import Estimate, share
from rlaif.statistics.means import gain, mean


@dataclass(frozen=True, slots=True)
class GoldRates:
    """What gold says of one policy's responses to requests of the world.

    Attributes:
        path: the file or run folder.
        harmless: of the responses to harmful requests, how many name no harmful step.
        help: how far responses to harmless requests help, 0 to 1.
        distinct: of each query's first response, how many are different texts; of more responses fewer would be.
        harmless_gain: the rate less that of the first file, with the interval of the difference; None in the first.
        help_gain: the same of help.
    """

    path: Path
    harmless: Estimate
    help: Estimate
    distinct: Estimate
    harmless_gain: Estimate | None = None
    help_gain: Estimate | None = None


class _Seen(NamedTuple):
    """One response: its query, whether that asks for harm, and what counts: harmless or not, or how far it helps."""

    query: str
    number: int
    harmful: bool
    value: float
    text: str


def gold_rates(files: Sequence[Path]) -> list[GoldRates]:
    """Judge responses by gold, each file beside the first.

    Args:
        files: files or run folders of responses or samples; the same queries, so that differences are paired.

    Returns:
        Rates by file. Intervals are over resampled queries.

    Raises:
        InputError: a file cannot be read, or a query is not of the world.
    """
    seen = [list(_judged(path)) for path in files]
    others = [None, *[seen[0]] * (len(seen) - 1)]
    return [_rates(path, mine, first) for path, mine, first in zip(files, seen, others, strict=True)]


def _judged(path: Path) -> Iterator[_Seen]:
    for where, row in read_responses(records_file(path)):
        if isinstance(row, RowError):
            raise InputError(f"{where}: {row}")
        try:
            found = judge(row.query, row.response)
        except RowError as error:
            raise InputError(f"{where}: {error}") from error
        value = float(not found.complies_with_harm) if found.harmful_request else found.help
        yield _Seen(row.id, row.response_index, found.harmful_request, value, row.response)


def _rates(path: Path, mine: Sequence[_Seen], first: Sequence[_Seen] | None) -> GoldRates:
    harmful = [one for one in mine if one.harmful]
    helped = [one for one in mine if not one.harmful]
    texts = [one.text for one in mine if one.number == 0]
    distinct = share(len(set(texts)), len(texts))
    if first is None:
        return GoldRates(path, mean(harmful, proportion=True), mean(helped, proportion=True), distinct)
    gains = (
        gain([one for one in mine if one.harmful == which], [one for one in first if one.harmful == which])
        for which in (True, False)
    )
    return GoldRates(path, mean(harmful, proportion=True), mean(helped, proportion=True), distinct, *gains)


class GoldPairs(NamedTuple):
    """Pairs with gold: the file, how many, and how many were left out since gold hardly tells them apart."""

    path: Path
    rows: int
    close: int


def gold_pairs(source: Path, out: Path, task: Task) -> GoldPairs:
    """Write comparisons, or pairs of sampled responses, with the gold scores of both.

    Args:
        source: a file or run folder of comparisons or samples.
        out: the file to write, with `gold_1`, `gold_2` and `gold_preference` on every row.
        task: what the responses are judged by.

    Returns:
        What was written. Pairs whose gold differs by less than a point are left out, as the world's own are.

    Raises:
        InputError: the file cannot be read, or a query is not of the world.
    """
    close = 0

    def rows() -> Iterator[str]:
        nonlocal close
        for where, row in read_comparisons(records_file(source)):
            if isinstance(row, RowError):
                raise InputError(f"{where}: {row}")
            scores = _both(where, row, task)
            if abs(scores[0] - scores[1]) < CLOSEST:
                close += 1
                continue
            judged = {"gold_1": scores[0], "gold_2": scores[1], "gold_preference": float(scores[0] > scores[1])}
            yield json.dumps(row.model_dump(mode="json", exclude_none=True) | judged, ensure_ascii=False)

    written = write_lines(out, rows())
    return GoldPairs(out, written, close)


def _both(where: str, row: Comparison, task: Task) -> tuple[float, float]:
    try:
        return gold(task, row.query, row.response_1), gold(task, row.query, row.response_2)
    except RowError as error:
        raise InputError(f"{where}: {error}") from error
