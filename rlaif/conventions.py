r"""What other projects call things: rows in their conventions, or with mapped columns, become our records.

| format | rows |
|---|---|
| comparisons | our own columns: query, response_1, response_2, and optionally human_preference, … |
| hh-rlhf | chosen, rejected: dialogues marked `\n\nHuman:` and `\n\nAssistant:` that share all but the last turn |
| trl | prompt, chosen, rejected; plain texts or lists of messages; the prompt may be implicit in messages |
| alpaca-eval | instruction, output_1, output_2, preference (1 to 2; 0 and 1.5 are ties) |
| pandalm | instruction, input, response1, response2, annotator1..3 (0 tie, 1, 2) |
| samples | query, responses: pairs 1–2, 3–4, … |

Chosen/rejected data says which response won by its place; here the chosen one comes first or second by a
seeded coin, and `human_preference` keeps who won.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, assert_never, get_args

from rlaif.columns import ColumnMap
from rlaif.errors import InputError, RowError, did_you_mean
from rlaif.io import Row, read_rows
from rlaif.records import Comparison, Dialogue, Draft, RecordT, Response, Sample, content_id, parse

Format = Literal["auto", "comparisons", "hh-rlhf", "trl", "alpaca-eval", "pandalm", "samples"]
_NamedFormat = Literal["comparisons", "hh-rlhf", "trl", "alpaca-eval", "pandalm", "samples"]

_COLUMNS: dict[_NamedFormat, tuple[str, ...]] = {
    "comparisons": ("query", "response_1", "response_2"),
    "samples": ("query", "responses"),
    "pandalm": ("instruction", "response1", "response2"),
    "alpaca-eval": ("instruction", "output_1", "output_2"),
    "trl": ("chosen", "rejected"),
    "hh-rlhf": ("chosen", "rejected"),
}


def read_comparisons(
    source: Any, format: Format = "auto", columns: ColumnMap | None = None, seed: int = 0
) -> Iterator[tuple[str, Comparison | RowError]]:
    """Stream comparisons out of any source and convention.

    Args:
        source: a path, a DataFrame, a Dataset or an iterable (see `io.read_rows`).
        format: whose convention the rows follow; `auto` looks at the columns of the first row.
        columns: for anything else: which column holds which field.
        seed: of the coin that places the chosen response first or second.

    Yields:
        Where the row stands, and the comparison or what is wrong with the row.

    Raises:
        InputError: the file cannot be read, or a column is missing.
    """
    found: _NamedFormat | None = None
    for where, fields in _mapped(read_rows(source), columns):
        if isinstance(fields, RowError):
            yield where, fields
            continue
        found = found or _settle(format, fields, where)
        try:
            for row in _to_comparisons(found, fields, seed):
                yield where, _parse_numbers(Comparison, row)
        except RowError as error:
            yield where, error.of(fields)


def read_responses(
    source: Any, format: Format = "auto", columns: ColumnMap | None = None, seed: int = 0
) -> Iterator[tuple[str, Response | RowError]]:
    """Stream single responses: rows of `response`, of `responses`, or both responses of comparisons.

    Args:
        source: as `read_comparisons`.
        format: as there.
        columns: as there.
        seed: as there.

    Yields:
        Where the row stands, and the response or what is wrong with the row.

    Raises:
        InputError: the file cannot be read, or a column is missing.
    """
    found: _NamedFormat | None = None
    for where, fields in _mapped(read_rows(source), columns):
        if isinstance(fields, RowError):
            yield where, fields
            continue
        try:
            if "response" in fields and "query" in fields:
                yield where, parse(Response, _indexed(fields))
                continue
            found = found or _settle(format, fields, where)
            if found == "samples":
                yield from _split(where, parse(Sample, fields))
                continue
            for row in _to_comparisons(found, fields, seed):
                pair = _parse_numbers(Comparison, row)
                fields_of_both = pair.model_dump(exclude={"response_1", "response_2"}, exclude_none=True)
                texts = (pair.response_1, pair.response_2)
                yield from _split(where, Sample.model_validate({**fields_of_both, "responses": texts}))
        except RowError as error:
            yield where, error.of(fields)


def read_samples(source: Any, columns: ColumnMap | None = None) -> Iterator[tuple[str, Sample | RowError]]:
    """Stream rows of one query with K responses.

    Args:
        source: as `read_comparisons`.
        columns: as there.

    Yields:
        Where the row stands, and the sample or what is wrong with the row.

    Raises:
        InputError: the file cannot be read, or a column is missing.
    """
    checked = False
    for where, fields in _mapped(read_rows(source), columns):
        if isinstance(fields, RowError):
            yield where, fields
            continue
        if not checked:
            _settle("samples", fields, where)
            checked = True
        try:
            yield where, parse(Sample, fields)
        except RowError as error:
            yield where, error.of(fields)


def read_queries(source: Any, columns: ColumnMap | None = None) -> Iterator[tuple[str, Dialogue | RowError]]:
    """Stream queries to answer.

    Args:
        source: as `read_comparisons`; whatever else its rows hold is carried through.
        columns: as there; `prompt` and `instruction` (with an `input` below it) are queries by themselves.

    Yields:
        Where the row stands, and the query or what is wrong with the row.

    Raises:
        InputError: the file cannot be read, or has no column of queries.
    """
    checked = False
    for where, fields in _mapped(read_rows(source), columns):
        if isinstance(fields, RowError):
            yield where, fields
            continue
        name = next((one for one in ("query", "prompt", "instruction") if one in fields), None)
        if name is None and not checked:
            raise InputError(f"{where}: has no query; its columns are {', '.join(fields)} (--map query=COLUMN)")
        checked = True
        row = fields
        if name == "instruction":
            row = {"query": _instruction(fields), **_without(fields, "instruction", "input")}
        elif name == "prompt":
            row = {"query": fields["prompt"], **_without(fields, "prompt")}
        try:
            yield where, parse(Dialogue, row)
        except RowError as error:
            yield where, error.of(fields)


def read_drafts(source: Any, columns: ColumnMap | None = None) -> Iterator[tuple[str, Draft | RowError]]:
    """Stream responses to revise: rows of `response` or `responses`, or queries alone, which are to be answered first.

    Args:
        source: as `read_comparisons`; whatever else its rows hold is carried through.
        columns: as `read_queries`.

    Yields:
        Where the row stands, and the draft or what is wrong with the row.

    Raises:
        InputError: the file cannot be read, or has no column of queries.
    """
    for where, found in read_queries(source, columns):
        if isinstance(found, RowError):
            yield where, found
            continue
        fields = found.model_dump(exclude={"finish_reasons"}, exclude_none=True)
        try:
            if (found.model_extra or {}).get("response", "") is None:
                raise RowError(
                    "response is null; give the row one, or leave the column out to have all queries answered"
                )
            if "response" not in fields and "responses" not in fields and "response_1" in fields:
                raise RowError(
                    "holds a pair (response_1, response_2); name the one to revise (--map response=response_1)"
                )
            if "responses" not in fields:
                yield where, parse(Draft, _indexed(fields))
                continue
            for _, one in _split(where, parse(Sample, fields)):
                yield where, Draft.model_validate(one.model_dump(exclude_none=True))
        except RowError as error:
            yield where, error.of(fields)


def read_fields(
    source: Any, format: Format = "auto", columns: ColumnMap | None = None, seed: int = 0
) -> Iterator[tuple[str, dict[str, Any] | RowError]]:
    """Stream rows under our names, whatever their texts are; no model will read them.

    Args:
        source: as `read_comparisons`.
        format: as there; rows of no known convention stay as they are.
        columns: as there.
        seed: as there.

    Yields:
        Where the row stands, and its fields or what is wrong with the row.

    Raises:
        InputError: the file cannot be read, or a column is missing.
    """
    found: _NamedFormat | None = None
    for where, fields in _mapped(read_rows(source), columns):
        if isinstance(fields, RowError):
            yield where, fields
            continue
        if found is None:
            found = (_guess(fields) or "comparisons") if format == "auto" else _settle(format, fields, where)
        try:
            for row in _to_comparisons(found, fields, seed):
                yield where, row
        except RowError as error:
            yield where, error.of(fields)


def _split(where: str, sample: Sample) -> Iterator[tuple[str, Response]]:
    shared = sample.model_dump(exclude={"responses"}, exclude_none=True)
    for index, text in enumerate(sample.responses):
        yield where, Response.model_validate({**shared, "response": text, "response_index": index})


def _mapped(rows: Iterator[Row], columns: ColumnMap | None) -> Iterator[Row]:
    """Apply the column map; a mapped column that the first row lacks is a fault of the file."""
    checked = columns is None
    for where, fields in rows:
        if isinstance(fields, RowError) or columns is None:
            yield Row(where, fields)
            continue
        if not checked:
            if (theirs := columns.missing(fields)) is not None:
                raise InputError(f"{where}: there is no column {theirs}{did_you_mean(theirs, fields)}")
            checked = True
        try:
            yield Row(where, columns.apply(fields))
        except RowError as error:
            yield Row(where, error)


def _settle(format: Format, fields: Mapping[str, Any], where: str) -> _NamedFormat:
    """The convention to read by; raises where the columns it needs are missing from the first row."""
    if format not in get_args(Format):
        raise InputError(f"{format} is not a format{did_you_mean(format, get_args(Format))}")
    if format != "auto":
        missing = [name for name in _COLUMNS[format] if name not in fields]
        if missing:
            raise InputError(
                f"{where}: there is no column {missing[0]}, which {format} has; found {', '.join(fields)}; "
                f"--map {missing[0]}=COLUMN says where it is"
            )
        return format
    if (found := _guess(fields)) is not None:
        return found
    raise InputError(
        f"{where}: the columns {', '.join(fields)} are those of no known format; say which with --format, "
        "or map them: --map query=COLUMN response_1=COLUMN response_2=COLUMN"
    )


def _guess(fields: Mapping[str, Any]) -> _NamedFormat | None:
    for name, needed in _COLUMNS.items():
        if all(column in fields for column in needed):
            if name == "trl" and isinstance(fields["chosen"], str) and "prompt" not in fields:
                return "hh-rlhf"
            return name
    return None


def _to_comparisons(format: _NamedFormat, fields: dict[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    match format:
        case "comparisons":
            yield fields
        case "hh-rlhf":
            yield _from_hh(fields, seed)
        case "trl":
            yield _from_trl(fields, seed)
        case "alpaca-eval":
            yield _from_alpaca_eval(fields)
        case "pandalm":
            yield _from_pandalm(fields)
        case "samples":
            yield from _from_samples(fields)
        case _:
            assert_never(format)


def _parse_numbers(record: type[RecordT], row: dict[str, Any]) -> RecordT:
    """CSV knows only text: an empty cell is no number, and '0.5' is one."""
    for name in ("human_preference", "annotations", "rating", "model_1", "model_2", "id"):
        if row.get(name) == "":
            row = {key: value for key, value in row.items() if key != name}
    label = row.get("human_preference")
    if isinstance(label, str):
        try:
            row = {**row, "human_preference": float(label)}
        except ValueError:
            raise RowError(f"human_preference is {label!r}; it must be a number in [0, 1]") from None
    return parse(record, row)


def _indexed(fields: dict[str, Any]) -> dict[str, Any]:
    """CSV knows only text: the number of a response is one, and an empty cell none."""
    index = fields.get("response_index")
    if index == "":
        return _without(fields, "response_index")
    return {**fields, "response_index": int(index)} if isinstance(index, str) and index.isdecimal() else fields


def _placed(fields: dict[str, Any], query: object, chosen: object, rejected: object, seed: int) -> dict[str, Any]:
    """Chosen and rejected in an order that says nothing, the winner kept as the human's preference."""
    identifier = fields.get("id")
    if identifier is None or identifier == "":
        identifier = content_id([query, chosen, rejected])
    first = hashlib.sha256(f"{seed}:{identifier}".encode()).digest()[0] % 2 == 0
    others = {name: value for name, value in fields.items() if name not in ("prompt", "chosen", "rejected")}
    responses = (chosen, rejected) if first else (rejected, chosen)
    return {
        **others,
        "id": identifier,
        "query": query,
        "response_1": responses[0],
        "response_2": responses[1],
        "human_preference": 1.0 if first else 0.0,
    }


_HH_MARKER = re.compile(r"\n\n(Human|Assistant):")
_HH_ROLES = {"Human": "user", "Assistant": "assistant"}


def hh_turns(dialogue: object, name: str) -> list[dict[str, str]]:
    r"""Split a dialogue in the convention of HH-RLHF into turns.

    Args:
        dialogue: the text, which starts with `\n\nHuman:` and ends with an assistant's turn.
        name: the column, for the message.

    Raises:
        RowError: it is no such dialogue.
    """
    if not isinstance(dialogue, str):
        raise RowError(f"{name} is {type(dialogue).__name__}; it must be a string")
    before, *parts = _HH_MARKER.split(dialogue if dialogue.startswith("\n\n") else "\n\n" + dialogue.lstrip())
    if before.strip() or not parts:
        raise RowError(f"{name} does not start with 'Human:'; hh-rlhf marks turns with 'Human:' and 'Assistant:'")
    turns = [
        {"role": _HH_ROLES[speaker], "content": text.strip()}
        for speaker, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    if turns[-1]["role"] != "assistant":
        raise RowError(f"{name} does not end with the assistant's turn")
    return turns


def _from_hh(fields: dict[str, Any], seed: int) -> dict[str, Any]:
    *before, chosen = hh_turns(fields.get("chosen"), "chosen")
    *other, rejected = hh_turns(fields.get("rejected"), "rejected")
    if before != other:
        raise RowError("the dialogues of chosen and rejected differ before the last turn")
    return _placed(fields, before, chosen["content"], rejected["content"], seed)


def _from_trl(fields: dict[str, Any], seed: int) -> dict[str, Any]:
    prompt, chosen, rejected = (fields.get(name) for name in ("prompt", "chosen", "rejected"))
    if isinstance(chosen, list) and isinstance(rejected, list) and chosen and rejected:
        if prompt is None:
            if chosen[:-1] != rejected[:-1]:
                raise RowError("the dialogues of chosen and rejected differ before the last turn")
            prompt = chosen[:-1]
        elif len(chosen) != 1 or len(rejected) != 1:
            raise RowError("chosen and rejected hold several messages beside a prompt; each is one answer")
        texts = [turn.get("content") if isinstance(turn, dict) else turn for turn in (chosen[-1], rejected[-1])]
    else:
        texts = [chosen, rejected]
    if prompt is None:
        raise RowError("prompt is missing")
    return _placed(fields, prompt, texts[0], texts[1], seed)


def _instruction(fields: Mapping[str, Any]) -> object:
    """Alpaca's instruction with its optional input below."""
    instruction, given = fields.get("instruction"), fields.get("input")
    return f"{instruction}\n\n{given}" if isinstance(instruction, str) and given else instruction


def _without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _from_alpaca_eval(fields: dict[str, Any]) -> dict[str, Any]:
    row = _without(fields, "instruction", "input", "output_1", "output_2", "preference", "generator_1", "generator_2")
    row |= {
        "query": _instruction(fields),
        "response_1": fields.get("output_1"),
        "response_2": fields.get("output_2"),
    }
    row |= {"model_1": fields.get("generator_1"), "model_2": fields.get("generator_2")}
    preference = fields.get("preference")
    if preference is None:
        return row
    if not isinstance(preference, int | float) or not (preference == 0 or 1 <= preference <= 2):
        raise RowError(f"preference is {preference!r}; alpaca-eval writes 1 to 2, or 0 for a tie")
    mine = 0.5 if preference == 0 else 2 - preference
    by_a_model = isinstance(fields.get("annotator"), str)
    return row | {"annotator_preference" if by_a_model else "human_preference": float(mine)}


def _from_pandalm(fields: dict[str, Any]) -> dict[str, Any]:
    votes = [fields[name] for name in ("annotator1", "annotator2", "annotator3") if fields.get(name) is not None]
    row = _without(fields, "instruction", "input", "response1", "response2", "annotator1", "annotator2", "annotator3")
    if "id" not in row and "idx" in row:
        row["id"] = row["idx"]
    row |= {
        "query": _instruction(fields),
        "response_1": fields.get("response1"),
        "response_2": fields.get("response2"),
    }
    if not votes:
        return row
    meaning = {0: 0.5, 1: 1.0, 2: 0.0}
    if any(vote not in meaning for vote in votes):
        raise RowError(f"an annotator's vote is not 0, 1 or 2 but among {votes}")
    annotations = [meaning[vote] for vote in votes]
    return row | {"annotations": annotations, "human_preference": majority(annotations)}


def majority(annotations: Sequence[float]) -> float:
    """What most annotators prefer.

    Args:
        annotations: of at least one, each P(response 1 preferred).

    Returns:
        1 or 0 where more than half prefer that response, else .5.
    """
    for_1, for_2 = sum(one > 0.5 for one in annotations), sum(one < 0.5 for one in annotations)
    return 1.0 if 2 * for_1 > len(annotations) else 0.0 if 2 * for_2 > len(annotations) else 0.5


def _from_samples(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    sample = parse(Sample, fields)
    if len(sample.responses) < 2:
        raise RowError(f"responses holds {len(sample.responses)}; a comparison needs two")
    for number, first in enumerate(range(0, len(sample.responses) - 1, 2), 1):
        yield {
            "id": f"{sample.id}/{number}",
            "query": sample.query,
            "response_1": sample.responses[first],
            "response_2": sample.responses[first + 1],
        }
