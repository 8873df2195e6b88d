"""What crosses a file: one frozen pydantic model per record, and the checks of one row.

The same field names are keys in JSONL and columns in Parquet, CSV, pandas and `datasets`.
Fields that are None are left out of JSONL. Columns that a record does not know are carried
through untouched.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticSerializationError

from rlaif.errors import RowError

FailureKind = Literal["rejected", "refused", "unreadable", "too_long", "unavailable"]
Method = Literal["exact", "logprobs", "sampled", "verbalized", "mixed"]
Order = Literal["12", "21"]


class Record(BaseModel):
    """Base of all records: immutable, unknown columns kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    id: str

    def to_json(self) -> str:
        """One line of JSONL, without its newline; fields that are None are left out.

        Raises:
            RowError: a column that was carried through is no JSON (bytes, say).
        """
        try:
            return self.model_dump_json(exclude_none=True)
        except PydanticSerializationError as error:
            raise RowError(f"a column cannot be written as JSON ({error}); leave it out") from error


class Turn(BaseModel):
    """One turn of a dialogue."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    role: Literal["system", "user", "assistant"]
    content: str


def _as_turns(query: object) -> object:
    """A plain string becomes one user turn."""
    if isinstance(query, str):
        return ({"role": "user", "content": query},)
    return _as_tuple(query)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Probability = Annotated[float, Field(ge=0, le=1)]
Query = Annotated[tuple[Turn, ...], BeforeValidator(_as_turns), Field(min_length=1)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_as_tuple)]


class Comparison(Record):
    """Two responses to one query. `human_preference` is P(response_1 preferred); 0.5 is a tie."""

    query: Query
    response_1: str
    response_2: str
    human_preference: Probability | None = None
    annotations: Annotated[tuple[Probability, ...], BeforeValidator(_as_tuple)] | None = None
    rating: float | str | None = None
    model_1: str | None = None
    model_2: str | None = None


class Response(Record):
    """One response to one query, to be scored; `response_index` tells it from its query's others."""

    query: Query
    response: str
    response_index: int = 0


class Dialogue(Record):
    """A dialogue that is to be answered."""

    query: Query


class Sample(Record):
    """K responses to one query."""

    query: Query
    responses: Texts
    finish_reasons: Texts | None = None
    seed: int | None = None
    llm: str | None = None


class Draft(Dialogue):
    """A dialogue with a response that is to be revised; without one it is to be answered first."""

    response: str | None = None
    response_index: int = 0

    @property
    def drawn_by(self) -> str:
        """What its principles and its texts are drawn by: the id, and of a later response to a query its number too."""
        return f"{self.id}\0{self.response_index}" if self.response_index else self.id


Flag = Literal[
    "critique_refused",
    "critique_empty",
    "critique_cut_off",
    "revision_refused",
    "revision_empty",
    "revision_comment",
    "revision_cut_off",
    "revision_identical",
]
"""What is wrong with a round: see `rlaif.constitution.flags`."""


class RevisionStep(BaseModel):
    """One round of a chain: a principle, the critique by it (None without), and the revision.

    `kept` says whether the revision is what the next round goes on from; where it is not, the response before it is.
    The hashes are those of the prompts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    principle: str
    critique: str | None = None
    revision: str | None = None
    kept: bool
    flags: Annotated[tuple[Flag, ...], BeforeValidator(_as_tuple)] = ()
    critique_sha256: str | None = None
    revision_sha256: str | None = None
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float | None = None


class RevisionChain(Draft):
    """A response and its revisions, round by round; `response` is the last good one.

    `initial` is the first response, given or sampled (`sampled`, and perhaps cut off at the token limit:
    `initial_cut_off`); where no revision was good, it is `response` too.
    `when_flagged` is what was done after a round that went wrong. Usage is of the whole chain.
    """

    response: str
    initial: str
    sampled: bool
    initial_cut_off: bool = False
    steps: Annotated[tuple[RevisionStep, ...], BeforeValidator(_as_tuple)]
    constitution: str
    when_flagged: str
    seed: int
    llm: str
    llm_version: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float | None = None

    def responses(self) -> tuple[str, ...]:
        """The response after 0, 1, 2, … rounds."""
        found = [self.initial]
        for step in self.steps:
            found.append(step.revision if step.kept and step.revision is not None else found[-1])
        return tuple(found)


class Labeled(BaseModel):
    """What every judgement by an LLM says about how it came to be (a mix-in, no record of its own).

    Where answers were drawn (`method` is `sampled`), `draws` is how many of them could be read, and `interval` the
    95 % interval of the preference or score that is due to drawing answers; what the choice of rationales adds to it
    is not in there.
    """

    method: Method
    llm: str
    llm_version: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float | None = None
    draws: int | None = None
    interval: Numbers | None = None
    dropped_turns: int | None = None
    dropped_tokens: int | None = None


class Preference(Labeled, Comparison):
    """A comparison with its soft label.

    `preference` is P(response_1 preferred), the mean over the orders that were read;
    `preference_12` and `_21` are the same probability with response 1 shown first and second.
    `panel` holds each labeler's own `preference` where several were asked. `principles` are those of a
    constitution that were asked by; with several of them, all of an order are means over them, its rationales stand
    principle by principle, and its `prompt_sha256` is that of their prompts' hashes. Where preferences were clamped,
    `raw_preference_12` and `_21` are the means of what was read.
    """

    preference: Probability
    preference_12: Probability | None = None
    preference_21: Probability | None = None
    unread_mass_12: Probability | None = None
    unread_mass_21: Probability | None = None
    one_order: bool | None = None
    rationales_12: Texts | None = None
    rationales_21: Texts | None = None
    prompt_sha256_12: str | None = None
    prompt_sha256_21: str | None = None
    principles: Texts | None = None
    raw_preference_12: Probability | None = None
    raw_preference_21: Probability | None = None
    panel: dict[str, Probability] | None = None


class Score(Labeled, Response):
    """A response with its expected score, 1 to 10, and that score mapped linearly to [-1, 1].

    `distribution` holds the ten probabilities before renormalisation: with `unread_mass` they sum to 1.
    """

    score: float
    scaled: float
    distribution: Numbers
    unread_mass: Probability
    rationales: Texts | None = None
    prompt_sha256: str


class RewardScore(Response):
    """A response with a reward model's score: mean 0 and variance 1 on its reference set, higher is better."""

    score: float
    reward_model: str
    reward_model_version: str


class Harmlessness(Labeled, Response):
    """A response with the probability that it is harmless: that of yes among the answers yes and no.

    `llm` is who judged; who wrote the response is in a column `model`, where that is known.
    """

    harmless: Probability
    unread_mass: Probability
    prompt_sha256: str


class Ranking(Labeled, Record):
    """K responses of one query, best first in `order` (indices into `responses`)."""

    query: Query
    responses: Texts
    order: Annotated[tuple[int, ...], BeforeValidator(_as_tuple)]
    scores: Numbers | None = None
    comparisons: int


class Failure(Record):
    """An item without a result: why, where it came from, and the part that did succeed.

    `masked` is what a reward function says of an item that it does not apply to; labelers never say it.
    """

    failure: FailureKind | Literal["masked"]
    detail: str
    where: str | None = None
    response_index: int | None = None
    partial: dict[str, Any] | None = None
    exchange: str | None = None


RecordT = TypeVar("RecordT", bound=Record)


def content_id(content: object) -> str:
    """An id for a row that has none: a hash of its content, so that it survives reordering."""
    dump = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(dump.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def parse(record: type[RecordT], row: Mapping[str, Any]) -> RecordT:
    """Turn one row into a record.

    Args:
        record: the kind of record.
        row: its fields; a missing `id` becomes a hash of the others, a number becomes a string.

    Returns:
        The record.

    Raises:
        RowError: a field is missing or of the wrong type; says which, what was found and what is right.
    """
    fields = dict(row)
    identifier = fields.get("id")
    if identifier is None or identifier == "":
        fields["id"] = content_id(row)
    elif isinstance(identifier, int) and not isinstance(identifier, bool):
        fields["id"] = str(identifier)
    try:
        return record.model_validate(fields)
    except ValidationError as error:
        raise RowError(_explain(error)) from None


_WANTED = {
    "string_type": "it must be a string",
    "string_unicode": "it must be valid Unicode",
    "float_type": "it must be a number",
    "float_parsing": "it must be a number",
    "int_type": "it must be a whole number",
    "tuple_type": "it must be a list",
    "model_type": "it must be an object with role and content",
    "dict_type": "it must be an object",
    "greater_than_equal": "it must be in [0, 1]",
    "less_than_equal": "it must be in [0, 1]",
    "finite_number": "it must be a finite number",
}


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{place} is missing"
    if first["type"] == "too_short":
        return f"{place} is empty; a query needs at least one turn"
    found = json.dumps(first["input"], ensure_ascii=False, default=str)
    found = found if len(found) <= 60 else found[:57] + "..."
    return f"{place} is {found}; {_WANTED.get(first['type'], first['msg'])}"


def check_comparison(comparison: Comparison) -> None:
    """The checks of what is sent to a model: two different, non-empty texts without NUL.

    Args:
        comparison: a comparison.

    Raises:
        RowError: says which text is wrong and why.
    """
    for name in ("response_1", "response_2"):
        if not getattr(comparison, name).strip():
            raise RowError(f"{name} is empty; a comparison needs two non-empty responses")
    if comparison.response_1 == comparison.response_2:
        raise RowError("response_1 and response_2 are identical; there is nothing to prefer")
    _check_text(comparison.query, {"response_1": comparison.response_1, "response_2": comparison.response_2})


def check_response(response: Response) -> None:
    """The checks of what is sent to a model: a non-empty text without NUL.

    Args:
        response: a response to be scored.

    Raises:
        RowError: says which text is wrong and why.
    """
    if not response.response.strip():
        raise RowError("response is empty; there is nothing to judge or revise")
    _check_text(response.query, {"response": response.response})


def check_sample(sample: Sample) -> None:
    """The checks of what is sent to be ranked: 2 to 9 different, non-empty texts without NUL.

    Args:
        sample: the responses of one query.

    Raises:
        RowError: says which text is wrong and why.
    """
    if not 2 <= len(sample.responses) <= 9:
        raise RowError(f"there are {len(sample.responses)} responses; a ranking takes 2 to 9")
    if len(set(sample.responses)) < len(sample.responses):
        raise RowError("two responses are identical; there is nothing to prefer")
    for index, text in enumerate(sample.responses):
        if not text.strip():
            raise RowError(f"responses.{index} is empty; a ranking needs non-empty responses")
    _check_text(sample.query, {f"responses.{i}": text for i, text in enumerate(sample.responses)})


def check_dialogue(dialogue: Dialogue) -> None:
    """The checks of what a policy answers: the last turn is not its own and not empty, and no text holds NUL.

    Args:
        dialogue: the dialogue.

    Raises:
        RowError: says what is wrong.
    """
    if dialogue.query[-1].role == "assistant":
        raise RowError("query ends with a turn of the assistant; there is nothing to answer")
    if not dialogue.query[-1].content.strip():
        last = "query" if len(dialogue.query) == 1 else "the last turn of query"
        raise RowError(f"{last} is empty; there is nothing to answer")
    _check_text(dialogue.query, {})


def check_draft(draft: Draft) -> None:
    """The checks of what is revised: a dialogue to answer, and a response that is not empty, where there is one.

    Args:
        draft: the dialogue, perhaps with a response.

    Raises:
        RowError: says what is wrong.
    """
    check_dialogue(draft)
    if draft.response is not None:
        check_response(Response(id=draft.id, query=draft.query, response=draft.response))


def _check_text(query: tuple[Turn, ...], texts: Mapping[str, str]) -> None:
    turns = {f"query.{index}.content": turn.content for index, turn in enumerate(query)}
    for name, text in {**turns, **texts}.items():
        if "\0" in text:
            raise RowError(f"{name} holds a NUL character; remove it")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise RowError(f"{name} holds half of a surrogate pair, which is not valid Unicode")
