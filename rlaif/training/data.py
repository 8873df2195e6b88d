"""Labels become examples: tokens, a preference and a weight. Where a label comes from is a column, not a code path."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rlaif.config import Config
from rlaif.conventions import read_comparisons, read_queries
from rlaif.errors import InputError, RowError
from rlaif.io import read_rows
from rlaif.progress import Progress
from rlaif.records import Comparison, Failure, Ranking, Sample, check_dialogue, parse
from rlaif.training.rollout import Query
from rlaif.training.tokens import Tokenizer

Labels = Literal["soft", "hard"]


class Source(Config):
    """Labeled rows of one file.

    Attributes:
        path: a file in any format that `rlaif label` reads, or a run folder.
        label: the column of P(response 1 preferred): `preference`, `human_preference`, or any other; or `order`, where
            each row has K `responses` and `order` ranks them, best first.
        labels: the file that has the column by `id`, where the rows themselves have not (`calibrated.jsonl`, say).
        weight: of each row, against the rows of other sources.
        limit: take only the first rows.
    """

    path: Path
    label: str = "preference"
    labels: Path | None = None
    weight: float = Field(default=1.0, gt=0)
    limit: int | None = Field(default=None, ge=1)


class SFTSource(Config):
    """Queries with responses to learn.

    Attributes:
        path: a file of `query` with `response` or `responses`, of `prompt` and `completion`, or of `messages`, whose
            last turn is the response; or a run folder of samples.
        limit: take only the first rows.
    """

    path: Path
    limit: int | None = Field(default=None, ge=1)


class Margin(Config):
    """How far ahead a chosen response should be, by how sure people were. For hard labels only.

    Attributes:
        column: that says how sure.
        values: what each of its values means.

    Source: arXiv:2307.09288, section 3.2.2 (its larger margins: 3, 2, 1, 0).
    """

    column: str = "rating"
    values: Mapping[str, float]


@dataclass(slots=True)
class Examples:
    """What was read.

    Attributes:
        rows: each with `id`, `query` and `responses` as ids, `preference`, `ranked`, `weight`, `margin`, `row` and
            `length`, how many tokens it takes.
        failures: rows that could not be used, `rejected` or `too_long`.
        shortened: how many queries lost tokens from their left.
        by_source: rows by file.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    shortened: int = 0
    by_source: Counter[str] = field(default_factory=Counter)


def read_examples(
    sources: Sequence[Source],
    tokenizer: Tokenizer,
    max_tokens: int,
    labels: Labels = "soft",
    margin: Margin | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Examples:
    """Read labeled rows.

    Weights are scaled to a mean of 1, so that they mix sources and leave the learning rate alone.

    Args:
        sources: where from.
        tokenizer: the model's.
        max_tokens: the most tokens of a query with one response.
        labels: `hard` makes each label 0 or 1; a tie then has no side and is rejected.
        margin: how far ahead the chosen response should be.
        seed: places the chosen response of chosen/rejected data first or second.
        progress: show it on standard error.

    Returns:
        The examples, and what could not be used.

    Raises:
        InputError: a file cannot be read, or holds nothing that can be used.
    """
    found = Examples()
    with Progress("reading", None, progress) as bar:
        for source in sources:
            before = len(found.rows)
            for where, row in _labeled(source, seed):
                try:
                    if isinstance(row, RowError):
                        raise row
                    found.rows.append(_example(row, source, tokenizer, max_tokens, labels, margin, len(found.rows)))
                    found.shortened += found.rows[-1].pop("dropped") > 0
                except RowError as error:
                    found.failures.append(_failure(where, row, error))
                bar.advance(None, 0)
            _need_rows(found, before, source.path)
    mean = sum(row["weight"] for row in found.rows) / len(found.rows)
    for made in found.rows:
        made["weight"] /= mean
    return found


def read_demonstrations(
    sources: Sequence[SFTSource], tokenizer: Tokenizer, max_tokens: int, progress: bool = False
) -> Examples:
    """Read queries with responses to learn.

    Args:
        sources: where from.
        tokenizer: the model's.
        max_tokens: the most tokens of a query with its response.
        progress: show it on standard error.

    Returns:
        The examples, and what could not be used.

    Raises:
        InputError: a file cannot be read, or holds nothing that can be used.
    """
    found = Examples()
    with Progress("reading", None, progress) as bar:
        for source in sources:
            before = len(found.rows)
            for number, (where, fields) in enumerate(read_rows(source.path)):
                if source.limit is not None and number >= source.limit:
                    break
                try:
                    if isinstance(fields, RowError):
                        raise fields
                    sample = parse(Sample, _demonstration(fields))
                    for response in sample.responses:
                        tokens = tokenizer.encode(sample.query, [response], max_tokens)
                        found.rows.append({"id": sample.id, "query": tokens.query, "responses": tokens.responses})
                        found.shortened += tokens.dropped > 0
                except RowError as error:
                    found.failures.append(_failure(where, None, error))
                bar.advance(None, 0)
            _need_rows(found, before, source.path)
    return found


def read_online_queries(
    path: Path, tokenizer: Tokenizer, max_tokens: int, limit: int | None = None
) -> tuple[list[Query], list[Failure], int]:
    """Read queries to answer while training.

    Args:
        path: a file in any format that `rlaif sample` reads.
        tokenizer: the policy's.
        max_tokens: of a query; a longer one loses tokens from its left.
        limit: take only the first rows.

    Returns:
        The queries, what could not be used, and how many lost tokens.

    Raises:
        InputError: the file cannot be read, or none of its rows can be used.
    """
    found, failures, shortened = list[Query](), list[Failure](), 0
    for number, (where, row) in enumerate(read_queries(path)):
        if limit is not None and number >= limit:
            break
        try:
            if isinstance(row, RowError):
                raise row
            check_dialogue(row)
            whole = tokenizer.query(row.query)
            shortened += len(whole) > max_tokens
            columns = {name: value for name, value in row.model_dump().items() if name not in ("id", "query")}
            found.append(Query(row.id, row.query, tuple(whole[-max_tokens:]), columns))
        except RowError as error:
            failures.append(_failure(where, None, error))
    if not found:
        first = f": {failures[-1].where}: {failures[-1].detail}" if failures else ""
        raise InputError(f"{path}: none of its rows can be answered{first}")
    return found, failures, shortened


def _demonstration(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The row as a query and its responses."""
    said = {name: fields[name] for name in ("id", "query", "responses") if name in fields}
    if "responses" in fields:
        return said
    if "response" in fields:
        return said | {"responses": [fields["response"]]}
    if "messages" in fields:
        turns = fields["messages"]
        if not isinstance(turns, list) or len(turns) < 2 or not isinstance(turns[-1], dict):
            raise RowError("messages must be a list of at least two turns, the last of which is the response")
        return said | {"query": turns[:-1], "responses": [turns[-1].get("content")]}
    if "prompt" in fields and "completion" in fields:
        completion = fields["completion"]
        text = completion[-1].get("content") if isinstance(completion, list) and completion else completion
        return said | {"query": fields["prompt"], "responses": [text]}
    raise RowError("has no response; it needs query and response, prompt and completion, or messages")


def _need_rows(found: Examples, before: int, path: Path) -> None:
    """See that a source gave something, and count what."""
    found.by_source[str(path)] = len(found.rows) - before
    if len(found.rows) == before:
        first = f": {found.failures[-1].where}: {found.failures[-1].detail}" if found.failures else ""
        raise InputError(f"{path}: none of its rows can be learned from{first}")


def _labeled(source: Source, seed: int) -> Iterator[tuple[str, Comparison | Ranking | RowError]]:
    """Rows with their label in a column of their own."""
    beside = _labels_by_id(source)
    rows = _rankings(source.path) if source.label == "order" else read_comparisons(source.path, seed=seed)
    for number, (where, row) in enumerate(rows):
        if source.limit is not None and number >= source.limit:
            return
        if beside is not None and not isinstance(row, RowError):
            yield where, row.model_copy(update={source.label: beside.get(row.id)})
        else:
            yield where, row


def _labels_by_id(source: Source) -> dict[str, Any] | None:
    if source.labels is None:
        return None
    found: dict[str, Any] = {}
    for where, fields in read_rows(source.labels):
        if isinstance(fields, RowError):
            raise InputError(f"{where}: {fields}")
        if "id" not in fields or source.label not in fields:
            raise InputError(f"{where}: has no id with {source.label}")
        found[str(fields["id"])] = fields[source.label]
    return found


def _rankings(path: Path) -> Iterator[tuple[str, Ranking | RowError]]:
    for where, fields in read_rows(path):
        try:
            if isinstance(fields, RowError):
                raise fields
            # Only texts and their order are learned from; how they came to be ranked is not asked for.
            made = {name: fields.get(name) for name in ("id", "query", "responses", "order")}
            known = {"method": "exact", "llm": "", "llm_version": "", "input_tokens": 0, "cached_tokens": 0}
            yield where, parse(Ranking, {**known, "output_tokens": 0, "comparisons": 0, **made})
        except RowError as error:
            yield where, error


def _example(
    row: Comparison | Ranking,
    source: Source,
    tokenizer: Tokenizer,
    max_tokens: int,
    labels: Labels,
    margin: Margin | None,
    number: int,
) -> dict[str, Any]:
    if isinstance(row, Ranking):
        responses, preference = _best_first(row), 1.0
    else:
        responses, preference = [row.response_1, row.response_2], _preference(row, source.label, labels)
    if len(set(responses)) < len(responses):
        raise RowError("two responses are identical; there is nothing to prefer")
    tokens = tokenizer.encode(row.query, responses, max_tokens)
    return {
        "id": row.id,
        "query": tokens.query,
        "responses": tokens.responses,
        "preference": preference,
        "ranked": float(len(responses) > 2),
        "weight": source.weight,
        "margin": _margin(row, margin) if margin else 0.0,
        "row": number,
        "length": len(tokens.query) + sum(map(len, tokens.responses)),
        "dropped": tokens.dropped,
    }


def _best_first(row: Ranking) -> list[str]:
    if sorted(row.order) != list(range(len(row.responses))) or len(row.order) < 2:
        raise RowError(f"order is {list(row.order)}; it must rank all of {len(row.responses)} responses, at least two")
    return [row.responses[index] for index in row.order]


def _preference(row: Comparison, column: str, labels: Labels) -> float:
    value = getattr(row, column, None)
    if value is None:
        raise RowError(f"{column} is missing; it must be a number in [0, 1]")
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and 0 <= value <= 1):
        raise RowError(f"{column} is {value!r}; it must be a number in [0, 1]")
    if labels == "soft":
        return float(value)
    if value == 0.5:
        raise RowError(f"{column} is 0.5; a tie has no side, and labels are hard")
    return float(value > 0.5)


def _margin(row: Comparison | Ranking, margin: Margin) -> float:
    value = getattr(row, margin.column, None)
    if value is None or str(value) not in margin.values:
        raise RowError(f"{margin.column} is {value!r}; margins are known for {', '.join(margin.values)}")
    return margin.values[str(value)]


def _failure(where: str, row: Comparison | Ranking | RowError | None, error: RowError) -> Failure:
    identifier = where if row is None or isinstance(row, RowError) else row.id
    kind: Literal["too_long", "rejected"] = "too_long" if "tokens; with a query" in str(error) else "rejected"
    return Failure(id=identifier, failure=kind, detail=str(error), where=where)
