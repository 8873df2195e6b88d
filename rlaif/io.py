"""Rows in and out: JSONL (.gz), JSON arrays, CSV, Parquet, pandas DataFrames, `datasets`.

Everything streams: memory does not grow with the file. A row that cannot be decoded is handed on as a
`RowError`, so that the reader's caller decides whether it is counted or stops the run; a file that cannot
be read at all raises `InputError` at once.
"""

import csv
import gzip
import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from rlaif.errors import InputError, RowError, StorageError
from rlaif.records import Record

if TYPE_CHECKING:
    import pandas as pd

Source = "str | os.PathLike[str] | pd.DataFrame | datasets.Dataset | Iterable[Mapping[str, Any] | Record]"

_BATCH = 1000
_LISTS = frozenset(
    {"annotations", "responses", "rationales", "rationales_12", "rationales_21", "distribution", "order", "scores"}
)
_SUFFIXES = ".jsonl, .json, .csv (each also with .gz) and .parquet"


class Row(NamedTuple):
    """One row of the input: where it stands (`file:line`), and its fields or what is wrong with it."""

    where: str
    fields: dict[str, Any] | RowError


def is_path(source: object) -> bool:
    """Whether a source names a file (or folder) rather than being a table or an iterable."""
    return isinstance(source, str | os.PathLike)


def table_kind(source: object) -> str | None:
    """`pandas` or `datasets` where the source is one of their tables; neither library is imported for it."""
    pandas, datasets = sys.modules.get("pandas"), sys.modules.get("datasets")
    if pandas is not None and isinstance(source, pandas.DataFrame):
        return "pandas"
    if datasets is not None and isinstance(source, datasets.Dataset | datasets.IterableDataset):
        return "datasets"
    return None


def read_rows(source: Any) -> Iterator[Row]:
    """Stream the rows of a file, a table or an iterable.

    Args:
        source: a path, a pandas DataFrame, a `datasets.Dataset`, or an iterable of mappings or records.

    Yields:
        Each row with its place.

    Raises:
        InputError: there is no such file, its kind is unknown, it is empty, damaged or not UTF-8.
    """
    if is_path(source):
        yield from _read_file(Path(source))
    elif table_kind(source) == "pandas":
        yield from _read_pandas(source)
    elif isinstance(source, Iterable) and not isinstance(source, bytes | Mapping):
        for number, item in enumerate(source, 1):
            fields = item.model_dump(exclude_none=True) if isinstance(item, Record) else item
            if isinstance(fields, Mapping):
                yield Row(f"row {number}", dict(fields))
            else:
                yield Row(f"row {number}", RowError(f"is {type(item).__name__}; a row is a mapping"))
    else:
        raise InputError(
            f"cannot read rows from {type(source).__name__}; give a path, a DataFrame, a Dataset or an iterable"
        )


def _read_file(path: Path) -> Iterator[Row]:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        yield from _read_dataset_folder(path)
        return
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".json": _read_json,
        ".csv": _read_csv,
        ".parquet": _read_parquet,
    }
    if kind not in readers:
        raise InputError(f"{path}: unknown kind of file; known are {_SUFFIXES}")
    rows = readers[kind](path)
    try:
        first = next(rows, None)
        if first is None:
            raise InputError(f"{path}: is empty; there is nothing to read")
        yield from chain([first], rows)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: is not a whole gzip file ({error}); copy it again") from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _not_utf8(where: str, error: UnicodeDecodeError) -> InputError:
    byte = error.object[error.start]
    return InputError(f"{where}: not UTF-8 (byte 0x{byte:02x}); convert the file, for example with iconv")


def _read_jsonl(path: Path) -> Iterator[Row]:
    with _open(path) as lines:
        for number, line in enumerate(lines, 1):
            where = f"{path}:{number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise _not_utf8(where, error) from error
            if text:
                yield Row(where, _json_object(text))


def _json_object(text: str) -> dict[str, Any] | RowError:
    try:
        fields = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        return RowError(f"is not JSON ({error})")
    return fields if isinstance(fields, dict) else RowError(f"is {type(fields).__name__}; a row is an object")


def _read_json(path: Path) -> Iterator[Row]:
    """An array of objects, decoded piece by piece; a file that is really JSONL is read as such."""
    decoder = json.JSONDecoder()
    with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as text:
        number, buffer = 0, ""
        try:
            buffer = text.read(1 << 16).lstrip()
            if not buffer:
                return
            if not buffer.startswith("["):
                yield from _read_jsonl(path)
                return
            buffer = buffer[1:]
            while True:
                buffer = buffer.lstrip().removeprefix(",").lstrip()
                if buffer.startswith("]"):
                    return
                try:
                    item, end = decoder.raw_decode(buffer)
                except json.JSONDecodeError as error:
                    more = text.read(max(1 << 16, len(buffer)))
                    if not more:
                        raise InputError(f"{path}: item {number + 1} is not JSON ({error})") from error
                    buffer += more
                    continue
                number, buffer = number + 1, buffer[end:]
                wrong = RowError(f"is {type(item).__name__}; a row is an object")
                yield Row(f"{path}: item {number}", item if isinstance(item, dict) else wrong)
        except UnicodeDecodeError as error:
            raise _not_utf8(f"{path}: after item {number}", error) from error


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, strict=True)
        try:
            for fields in reader:
                where = f"{path}:{reader.line_num}"
                if None in fields or None in fields.values():
                    header = len(reader.fieldnames or ())
                    yield Row(where, RowError(f"has not as many fields as the header ({header})"))
                else:
                    yield Row(where, {name: _csv_cell(name, cell) for name, cell in fields.items()})
        except UnicodeDecodeError as error:
            raise _not_utf8(f"{path}: after line {reader.line_num}", error) from error
        except csv.Error as error:
            raise InputError(f"{path}:{reader.line_num}: is not CSV ({error})") from error


def _csv_cell(name: str, cell: str) -> Any:
    """A list of turns, and what a record holds as a list, is written to CSV as JSON; texts stay texts."""
    is_dialogue = cell.startswith("[{") and '"role"' in cell and not name.startswith("response_")
    if is_dialogue or (cell.startswith("[") and name in _LISTS):
        try:
            return json.loads(cell)
        except json.JSONDecodeError:
            return cell
    return cell


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: is not Parquet ({error})") from error
    number = 0
    with file:
        for batch in file.iter_batches(batch_size=_BATCH):
            for fields in batch.to_pylist():
                number += 1
                yield Row(f"{path}: row {number}", fields)


def _read_dataset_folder(path: Path) -> Iterator[Row]:
    if not (path / "dataset_info.json").exists():
        raise InputError(f"{path}: is a folder, but none that datasets' save_to_disk has written")
    import datasets

    yield from read_rows(datasets.load_from_disk(str(path)))


def _read_pandas(frame: "pd.DataFrame") -> Iterator[Row]:
    for start in range(0, len(frame), _BATCH):
        part = frame.iloc[start : start + _BATCH]
        for offset, fields in enumerate(part.to_dict("records")):
            plain = {str(name): _plain(value) for name, value in fields.items()}
            yield Row(f"row {start + offset + 1}", plain)


def _plain(value: Any) -> Any:
    """Pandas and numpy scalars as Python's own; NaN as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return None if isinstance(value, float) and value != value else value


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Translate a full disk or a read-only folder into a `StorageError` that names the file."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: the block writes to the path given, which then takes the name.

    Raises:
        StorageError: the disk is full or the folder cannot be written; the old file is still there.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}{''.join(path.suffixes)}")
        try:
            yield draft
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines of text (JSONL), whole or not at all.

    Args:
        path: a `.jsonl` or `.jsonl.gz` file.
        lines: its lines, without newlines.

    Returns:
        How many were written.
    """
    count = 0
    with replacing(path) as draft, _open_text(draft) as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    return count


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "wt", encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")


def write_rows(path: Path, rows: Callable[[], Iterator[dict[str, Any]]]) -> int:
    """Write rows to a file whose suffix says its kind, whole or not at all.

    Args:
        path: ends in `.jsonl`, `.csv` (each also with .gz) or `.parquet`; without a suffix it becomes a folder
            for `datasets.load_from_disk`.
        rows: called for each pass over the rows: CSV and Parquet need the columns before the first row.

    Returns:
        How many were written.

    Raises:
        InputError: the suffix is unknown.
        StorageError: the disk is full or the folder cannot be written.
    """
    check_can_write(path)
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        return write_lines(path, (json.dumps(row, ensure_ascii=False) for row in rows()))
    if name.endswith(".csv"):
        return _write_csv(path, rows)
    if name.endswith(".parquet"):
        return _write_parquet(path, rows)
    return _write_dataset_folder(path, rows)


def check_can_write(path: Path) -> None:
    """See that a file is of a kind that `write_rows` writes, before anything is done for it.

    Args:
        path: the file.

    Raises:
        InputError: the suffix is unknown.
    """
    name = path.name.lower().removesuffix(".gz")
    if path.suffix and not name.endswith((".jsonl", ".ndjson", ".csv")) and not path.name.endswith(".parquet"):
        raise InputError(f"{path}: cannot write this kind of file; known are {_SUFFIXES}, and a folder for datasets")


def _write_csv(path: Path, rows: Callable[[], Iterator[dict[str, Any]]]) -> int:
    columns = list(dict.fromkeys(name for row in rows() for name in row))
    count = 0
    with replacing(path) as draft, _open_text(draft) as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows():
            cells = {
                name: json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
                for name, value in row.items()
            }
            writer.writerow(cells)
            count += 1
    return count


def _write_parquet(path: Path, rows: Callable[[], Iterator[dict[str, Any]]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([])
    for batch in _batches(rows()):
        try:
            found = pa.Table.from_pylist(_with_all_columns(batch)).schema
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(f"{path}: a column holds values of several types ({error}); write JSONL") from error
    count = 0
    with replacing(path) as draft, pq.ParquetWriter(draft, schema) as writer:
        for batch in _batches(rows()):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def _with_all_columns(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pyarrow takes the columns from the first row alone."""
    columns = dict.fromkeys(name for row in batch for name in row)
    return [dict(columns, **batch[0]), *batch[1:]]


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _write_dataset_folder(path: Path, rows: Callable[[], Iterator[dict[str, Any]]]) -> int:
    import tempfile

    import datasets

    with tempfile.TemporaryDirectory() as cache:
        table = Path(cache) / "rows.parquet"
        count = _write_parquet(table, rows)
        dataset = datasets.Dataset.from_parquet(str(table), cache_dir=cache)
        with writing(path):
            dataset.save_to_disk(str(path))
    return count
