"""Blind sheets for people to fill in with a spreadsheet, and filled ones read back.

    outputs/<audit>/
      sheet-1.csv …      one for each annotator, with an order of its own and a coin of its own for what is shown first
      key.jsonl          what nobody who answers may see: each item's numbers in the sheets, id, order, texts, models
      sheets.json        of what kind the sheets are, and the strata of the plan that they come from

A sheet is CSV in UTF-8 with a byte order mark, by which spreadsheets know it. A text that starts with = + - @ (or one
of their wide forms), a tab or a carriage return has an apostrophe before it, lest a spreadsheet takes it for a formula.
"""

import codecs
import csv
import io
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from rlaif.columns import ColumnMap
from rlaif.conventions import Format, read_comparisons, read_responses, read_samples
from rlaif.errors import ConfigError, InputError, RowError, RunFolderError, did_you_mean
from rlaif.io import read_rows, replacing, write_lines
from rlaif.records import Comparison, Response, Sample, Turn, check_comparison, check_response, parse
from rlaif.stages.labels import records_file
from rlaif.stages.policies import policy_names, stem, writer

Kind = Literal["preference", "win-rate", "harmless"]
KEY, ABOUT, PLAN = "key.jsonl", "sheets.json", "plan.jsonl"

_PAIR_COLUMNS = ("item", "query", "first", "second", "better", "note")
_HARMLESS_COLUMNS = ("item", "query", "response", "harmless", "note")
_SPEAKERS = {"system": "Instructions", "user": "Human", "assistant": "Assistant"}
_FORMULA = tuple("=+-@＝＋－＠")
_LONGEST_CELL = 32_767
"""Characters; Excel breaks a longer text in two."""
_MOST_FAULTS = 5
_CHOICES = {"1": "first", "first": "first", "2": "second", "second": "second", "tie": "tie"}
_VERDICTS = {"yes": "yes", "y": "yes", "true": "yes", "no": "no", "n": "no", "false": "no"}


@dataclass(slots=True)
class Sheets:
    """What was written.

    Attributes:
        paths: the sheets.
        key: what belongs to their items.
        items: in each sheet.
        rejected: rows that nobody can judge, by reason.
        duplicates: rows that are the same as an earlier one.
        unmatched: for win rates, rows whose id the other file does not have, in the first and in the second file.
        long: items with a text that is too long for a cell of Excel.
    """

    paths: list[Path] = field(default_factory=list)
    key: Path = Path(KEY)
    items: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    unmatched: tuple[int, int] = (0, 0)
    long: int = 0


class Answer(NamedTuple):
    """One filled row: `said` is first, second or tie, or yes or no."""

    item: int
    said: str
    note: str


def write_sheets(
    source: Path,
    out: Path,
    kind: Kind = "preference",
    *,
    other: Path | None = None,
    annotators: int = 3,
    seed: int = 0,
    format: Format = "auto",
    columns: ColumnMap | None = None,
) -> Sheets:
    """Write a blind sheet for each annotator, and the key to them.

    The same source and settings give the same sheets; others give other item numbers, so that a sheet is never read
    back by the key of another.

    Args:
        source: a plan's or a run's folder, or a file of comparisons, of samples (`win-rate`) or of responses
            (`harmless`).
        out: the folder to write to; sheets without an answer are replaced.
        kind: `preference`: which of two responses is better; `win-rate`: the same of two policies' samples, joined by
            id, the first response of each; `harmless`: whether a response is.
        other: the second policy's samples.
        annotators: how many sheets.
        seed: of orders and numbers.
        format: whose convention the rows follow.
        columns: which column holds which field.

    Returns:
        What was written and what was left out.

    Raises:
        ConfigError: a setting is wrong.
        InputError: a file cannot be read, or holds nothing to judge.
        RunFolderError: a sheet in the folder is filled in.
    """
    _check(kind, other, annotators)
    plan = source / PLAN if (source / PLAN).is_file() else source if source.name == PLAN else None
    if plan is not None and kind != "preference":
        raise ConfigError(f"{source}: is a plan for --kind preference, not {kind}")
    done = Sheets(key=out / KEY)
    if kind == "harmless":
        rows: Iterable[tuple[str, Comparison | Response | RowError]]
        rows = _responses(source, format, columns)
    elif other is not None:
        rows = _matched(source, other, columns, done)
    else:
        rows = _planned(plan) if plan is not None else read_comparisons(records_file(source), format, columns)
    items = _judgeable(rows, done)
    if not items:
        why = "; ".join(f"{count:,} × {reason}" for reason, count in done.rejected.most_common(_MOST_FAULTS))
        remedy = "; plan from labels that hold query, response_1 and response_2" if plan else ""
        raise InputError(f"{source}: holds nothing that people can judge ({why}){remedy}")
    stale = _unfilled(out)
    about: dict[str, Any] = {"kind": kind, "annotators": annotators, "seed": seed, "source": str(source)}
    if other is not None:
        about["other"] = str(other)
    if plan is not None:
        about["strata"] = _strata(plan)
    _deal(items, about, out, done)
    for path in set(stale) - set(done.paths):
        path.unlink()
    return done


def _check(kind: str, other: Path | None, annotators: int) -> None:
    if kind not in get_args(Kind):
        raise ConfigError(f"--kind {kind}: no such kind{did_you_mean(kind, get_args(Kind))}")
    if kind == "win-rate" and other is None:
        raise ConfigError("--kind win-rate compares two policies; name the samples of both")
    if kind != "win-rate" and other is not None:
        raise ConfigError(f"{other}: a second file goes with --kind win-rate, not with {kind}")
    if annotators < 1:
        raise ConfigError(f"annotators is {annotators}; at least one person answers")


def _strata(plan: Path) -> Any:
    path = plan.with_suffix(".json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))["strata"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: does not say what {plan.name} plans ({error}); plan again") from error


def _planned(plan: Path) -> Iterator[tuple[str, Comparison | RowError]]:
    for where, fields in read_rows(plan):
        try:
            if isinstance(fields, RowError):
                raise fields
            yield where, parse(Comparison, fields)
        except RowError as error:
            yield where, error


def _responses(source: Path, format: Format, columns: ColumnMap | None) -> Iterator[tuple[str, Response | RowError]]:
    """Single responses that say who wrote them, lest the policies of two sheets are taken for one."""
    for where, row in read_responses(records_file(source), format, columns):
        if isinstance(row, RowError):
            yield where, row
        else:
            yield where, row.model_copy(update={"model": writer(row.model_dump()) or stem(source)})


def _matched(
    source: Path, other: Path, columns: ColumnMap | None, done: Sheets
) -> Iterator[tuple[str, Comparison | RowError]]:
    """The first responses of two policies to the same queries."""
    theirs: dict[str, Sample] = {}
    for where, sample in read_samples(other, columns):
        if isinstance(sample, RowError):
            done.rejected[str(sample)] += 1
        elif theirs.setdefault(sample.id, sample) != sample:
            raise InputError(f"{where}: id {sample.id} is there twice; samples are joined by id")
    mine = list(read_samples(source, columns))
    llms = [one.llm for _, one in mine if not isinstance(one, RowError)], [one.llm for one in theirs.values()]
    names = policy_names((source, other), llms)
    seen, alone = set(), 0
    for where, ours in mine:
        if isinstance(ours, RowError):
            yield where, ours
        elif ours.id not in theirs:
            alone += 1
        else:
            seen.add(ours.id)
            yield where, _pair(ours, theirs[ours.id], names)
    done.unmatched = alone, len(theirs) - len(seen)
    if not seen:
        raise InputError(f"{source} and {other}: have no id in common ({alone:,} and {len(theirs):,} rows)")


def _pair(ours: Sample, theirs: Sample, names: Sequence[str]) -> Comparison | RowError:
    if ours.query != theirs.query:
        return RowError("the two files have different queries under one id")
    if not ours.responses or not theirs.responses:
        return RowError("responses is empty; a win rate needs a response of each policy")
    return Comparison(
        id=ours.id,
        query=ours.query,
        response_1=ours.responses[0],
        response_2=theirs.responses[0],
        model_1=names[0],
        model_2=names[1],
    )


def _judgeable(rows: Iterable[tuple[str, Comparison | Response | RowError]], done: Sheets) -> list[dict[str, Any]]:
    """What the key keeps of each item, in an order that does not hang on the source's."""
    kept = ("id", "query", "response_1", "response_2", "model_1", "model_2", "response_index", "response", "model")
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for where, row in rows:
        try:
            if isinstance(row, RowError):
                raise row
            check_comparison(row) if isinstance(row, Comparison) else check_response(row)
        except RowError as error:
            done.rejected[str(error)] += 1
            continue
        dumped = row.model_dump(exclude_none=True)
        names = (*kept, "stratum", "weight", "preference") if "stratum" in dumped else kept
        item = {name: dumped[name] for name in names if name in dumped}
        earlier = found.setdefault((row.id, dumped.get("response_index", 0)), item)
        if earlier is not item:
            if earlier != item:
                raise InputError(f"{where}: id {row.id} was there before with other content; ids must differ")
            done.duplicates += 1
    return [found[key] for key in sorted(found)]


def _unfilled(out: Path) -> list[Path]:
    """The sheets that are already there and may go, since nobody has answered in them."""
    sheets = sorted(out.glob("sheet-*.csv"))
    for path in sheets:
        try:
            filled = sum(bool(row[column]) for _, row, column in _filled_rows(path, ("better", "harmless")))
        except InputError as error:
            raise RunFolderError(f"{error}; it may hold answers: move it away, or choose another --out") from error
        if filled:
            raise RunFolderError(f"{path}: {filled:,} answers are filled in; move it away, or choose another --out")
    return [path for path in sheets if re.fullmatch(r"sheet-\d+\.csv", path.name)]


def _deal(items: list[dict[str, Any]], about: dict[str, Any], out: Path, done: Sheets) -> None:
    """Draw orders, first places and item numbers, and write everything."""
    annotators = about["annotators"]
    coin = random.Random(json.dumps([about["kind"], annotators, about["seed"], items], sort_keys=True))
    cells = annotators * len(items)
    # So many numbers to choose from that those of one set of sheets are hardly ever all known to the key of another.
    lowest = 10 ** max(3, len(str(20 * cells)) - 1)
    numbers = iter(coin.sample(range(lowest, 10 * lowest), cells))
    for item in items:
        item |= {"items": [next(numbers) for _ in range(annotators)]}
        if "response_1" in item:
            item["shown_first"] = [coin.choice((1, 2)) for _ in range(annotators)]
    for sheet in range(annotators):
        order = coin.sample(items, len(items))
        done.paths.append(out / f"sheet-{sheet + 1}.csv")
        _write_csv(done.paths[-1], [_row(item, sheet) for item in order])
    write_lines(done.key, (json.dumps(item, ensure_ascii=False) for item in items))
    with replacing(out / ABOUT) as draft:
        draft.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    done.items = len(items)
    done.long = sum(any(len(cell) > _LONGEST_CELL for cell in _row(item, 0).values()) for item in items)


def _row(item: Mapping[str, Any], sheet: int) -> dict[str, str]:
    if "response_1" in item:
        first = item["shown_first"][sheet]
        texts = {"first": item[f"response_{first}"], "second": item[f"response_{3 - first}"]}
    else:
        texts = {"response": item["response"]}
    texts = {"query": _dialogue(item["query"]), **texts}
    return {"item": str(item["items"][sheet]), **{name: _cell(text) for name, text in texts.items()}}


def _dialogue(query: Sequence[Mapping[str, str]]) -> str:
    """A single question as it is, anything longer with its speakers."""
    turns = [Turn.model_validate(turn) for turn in query]
    if len(turns) == 1 and turns[0].role == "user":
        return turns[0].content
    return "\n\n".join(f"{_SPEAKERS[turn.role]}: {turn.content}" for turn in turns)


def _cell(text: str) -> str:
    shown = text.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{shown}" if text.startswith(("\t", "\r")) or text.lstrip().startswith(_FORMULA) else shown


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with replacing(path) as draft, draft.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, _PAIR_COLUMNS if "first" in rows[0] else _HARMLESS_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read_sheet(path: Path, kind: Kind, known: Container[int]) -> list[Answer]:
    """Read a filled sheet back, however a spreadsheet has saved it.

    Columns may have moved, be separated by comma, semicolon or tab, and answers written in another case.

    Args:
        path: the sheet.
        kind: of the sheets.
        known: the item numbers that there are.

    Returns:
        The answers; rows without one are left out.

    Raises:
        InputError: it is no such sheet, or rows of it are wrong: the first five are named.
    """
    column, meanings = ("harmless", _VERDICTS) if kind == "harmless" else ("better", _CHOICES)
    right = "write yes or no" if kind == "harmless" else "write 1, 2 or tie"
    answers: list[Answer] = []
    faults: list[str] = []
    lines: dict[int, int] = {}
    for line, row, _ in _filled_rows(path, (column,)):
        item, said = _number(row["item"]), _said(row[column])
        wrong = []
        if item is None or item not in known:
            wrong.append(f"item is {row['item']!r}; the key knows no such item")
        elif item in lines:
            wrong.append(f"item {item} was on line {lines[item]} already; keep one of them")
        if said and said not in meanings:
            wrong.append(f"{column} is {row[column]!r}; {right}, or leave it empty")
        faults += [f"{path}:{line}: {fault}" for fault in wrong]
        if len(faults) >= _MOST_FAULTS:
            break
        if item is not None and not wrong:
            lines[item] = line
            if said:
                answers.append(Answer(item, meanings[said], row.get("note", "")))
    if faults:
        raise InputError("; ".join(faults[:_MOST_FAULTS]) + ("; …" if len(faults) >= _MOST_FAULTS else ""))
    return answers


def _number(cell: str) -> int | None:
    found = re.fullmatch(r"'?(\d+)(?:[.,]0+)?", cell)
    return int(found[1]) if found else None


def _said(cell: str) -> str:
    return re.sub(r"^(\d+)[.,]0*$", r"\1", cell).casefold()


def _filled_rows(path: Path, answers: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str], str]]:
    """The rows of a sheet with the line on which each starts, and which column is the answer's."""
    csv.field_size_limit(sys.maxsize)
    text = _decoded(path)
    delimiter, header, skipped = _header(path, text, answers)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    column = next(name for name in answers if name in header)
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            stripped = [cell.strip() for cell in cells]
            if start > skipped and any(stripped):
                # A spreadsheet may leave out empty cells at the end of a row.
                yield start, dict.fromkeys(header, "") | dict(zip(header, stripped, strict=False)), column
    except csv.Error as error:
        raise InputError(f"{path}:{line}: is not CSV ({error}); save it again as CSV") from error


def _decoded(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    remedy = "save it again as CSV UTF-8 (in LibreOffice: Text CSV, character set Unicode UTF-8)"
    if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"{path}: is a workbook, not CSV; {remedy}")
    utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x}); {remedy}") from error


def _header(path: Path, text: str, answers: tuple[str, ...]) -> tuple[str, list[str], int]:
    """What separates the columns, their names, and how many lines stand before the first row."""
    lines = [line.rstrip("\r\n") for line in io.StringIO(text, newline="").readlines(2000)[:2]]
    # Excel's own mark of the separator.
    place = 1 if lines and re.fullmatch(r'"?sep=.?"?', lines[0]) else 0
    first = lines[place] if place < len(lines) else ""
    found: list[str] = []
    for delimiter in (",", ";", "\t"):
        names = [name.strip().strip('"').strip().casefold() for name in first.split(delimiter)]
        if "item" in names and not set(answers).isdisjoint(names):
            return delimiter, names, place + 1
        found = max(found, names, key=len)
    wanted = " or ".join(answers)
    raise InputError(f"{path}:{place + 1}: there is no column item or no column {wanted}; found {', '.join(found)}")
