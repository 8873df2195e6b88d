"""What a constitution holds, and which of its principles an item gets.

Principles for critique and revision come in pairs: the critique request asks what is wrong with a response in one
respect, the revision request asks to put it right. Comparison principles are others, each a question that one of
two responses is the better answer to. Exemplars show a model what a good critique, revision or comparison looks
like. Source: arXiv:2212.08073, sections 3.1 and 4.1; the words are a constitution's own.

Which principle an item gets depends on nothing but the seed, the item's id and the round: neither on the order of
the items or of the principles, nor on what was drawn before or when.
"""

import hashlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, assert_never, overload

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from rlaif.errors import ConfigError, did_you_mean
from rlaif.records import Query

Draws = Literal["revision", "comparison"]
"""What is drawn: a pair of critique and revision requests, or a comparison principle."""

PARTS_OF: dict[Draws, tuple[str, str]] = {
    "revision": ("principles", "revision_exemplars"),
    "comparison": ("comparison_principles", "comparison_exemplars"),
}
"""The fields of a constitution that hold principles and exemplars, by what is drawn."""


def _has_words(text: str) -> str:
    if not any(character.isalnum() for character in text):
        raise PydanticCustomError("empty_text", "is empty; write it, or take out what it belongs to")
    return text.strip()


def _is_id(text: str) -> str:
    if not text or not all(character.isalnum() or character in "-_." for character in text):
        raise PydanticCustomError(
            "not_an_id",
            "is {found}; an id has letters, digits, -, _ and . only, such as half-refusal",
            {"found": repr(text)},
        )
    return text


def _is_number(value: object) -> object:
    # True equals 1: "yes" would become a preference.
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "is {found}; write 1 or 2", {"found": str(value)})
    return value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Text = Annotated[str, AfterValidator(_has_words)]
Identifier = Annotated[str, AfterValidator(_is_id)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Principle(_Part):
    """What to look for in a response, and how to rewrite it then."""

    id: Identifier
    critique_request: Text
    revision_request: Text


class ComparisonPrinciple(_Part):
    """A question that one of two responses is the better answer to."""

    id: Identifier
    question: Text


class RevisionExemplar(_Part):
    """A worked round: a response, its critique by one principle, and the revision."""

    principle: Identifier
    query: Query
    response: Text
    critique: Text
    revision: Text


class ComparisonExemplar(_Part):
    """A worked comparison by one comparison principle."""

    principle: Identifier
    query: Query
    response_1: Text
    response_2: Text
    rationale: Text
    preferred: Annotated[Literal[1, 2], BeforeValidator(_is_number)]


class Constitution(_Part):
    """Principles and exemplars; a file holds the same fields. A part that is not needed may be left out."""

    title: Text
    description: Text
    principles: Annotated[tuple[Principle, ...], BeforeValidator(_as_tuple), Field(default=())]
    comparison_principles: Annotated[tuple[ComparisonPrinciple, ...], BeforeValidator(_as_tuple), Field(default=())]
    revision_exemplars: Annotated[tuple[RevisionExemplar, ...], BeforeValidator(_as_tuple), Field(default=())]
    comparison_exemplars: Annotated[tuple[ComparisonExemplar, ...], BeforeValidator(_as_tuple), Field(default=())]

    @model_validator(mode="after")
    def _is_consistent(self) -> "Constitution":
        sections = {name: [dict(one) for one in getattr(self, name)] for pair in PARTS_OF.values() for name in pair}
        for place, message in inconsistencies(sections):
            where = ": ".join(map(str, place))
            raise PydanticCustomError("inconsistent", "{message}", {"message": f"{where}: {message}".lstrip(": ")})
        return self

    def first(self, n: int, kind: Draws) -> "Constitution":
        """The constitution as if only its first principles of a kind had been written: for curves over their number.

        Exemplars of the others are left out with them, since they would show what is to be absent.

        Args:
            n: how many, in the order of the file.
            kind: of which kind; the other stays whole.

        Raises:
            ConfigError: it has fewer.
        """
        section, worked = PARTS_OF[kind]
        have = getattr(self, section)
        if not 1 <= n <= len(have):
            raise ConfigError(f"constitution {self.title}: the first {n} {section} were asked for; it has {len(have)}")
        kept = {one.id for one in have[:n]}
        exemplars = tuple(one for one in getattr(self, worked) if one.principle in kept)
        return self.model_copy(update={section: have[:n], worked: exemplars})


def inconsistencies(
    sections: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where the parts of a constitution do not fit together, and why, whatever else is wrong with them.

    Args:
        sections: principles and exemplars by the names of `Constitution`'s fields, each with the fields that it has.

    Yields:
        The place, and what is wrong there.
    """
    if not any(sections.get(section) for section, _ in PARTS_OF.values()):
        yield (
            (),
            "holds no principles; it needs principles (to revise by), comparison_principles (to label by) or both",
        )
    for section, worked in PARTS_OF.values():
        ids = [one.get("id") for one in sections.get(section, ())]
        for number, name in enumerate(ids):
            if isinstance(name, str) and name in ids[:number]:
                first = ids.index(name) + 1
                yield (section, number, "id"), f"is {name}, as that of number {first}; give each an id of its own"
        for number, exemplar in enumerate(sections.get(worked, ())):
            name = exemplar.get("principle")
            if isinstance(name, str) and name not in ids:
                wrong = f"is {name}, which is none of the {section}"
                known = [one for one in ids if isinstance(one, str)]
                yield (worked, number, "principle"), wrong + did_you_mean(name, known)


PrincipleT = TypeVar("PrincipleT", Principle, ComparisonPrinciple)


@overload
def draw(
    constitution: Constitution, kind: Literal["revision"], seed: int, item_id: str, round: int, k: int = 1
) -> tuple[Principle, ...]: ...


@overload
def draw(
    constitution: Constitution, kind: Literal["comparison"], seed: int, item_id: str, round: int, k: int = 1
) -> tuple[ComparisonPrinciple, ...]: ...


def draw(
    constitution: Constitution, kind: Draws, seed: int, item_id: str, round: int, k: int = 1
) -> tuple[Principle, ...] | tuple[ComparisonPrinciple, ...]:
    """Draw principles for one item, uniformly and without replacement.

    Every principle gets a random number, a hash of seed, kind, round, item and the principle's id, and the k smallest
    win. So rounds, kinds and items are independent of each other; a larger k draws the same ones first; and a principle
    that is reworded, moved or added leaves the order drawn among the others as it was.

    Args:
        constitution: where they are drawn from.
        kind: pairs of critique and revision requests, or comparison principles.
        seed: of the run.
        item_id: of the item.
        round: of the chain, or whatever else counts the draws of an item.
        k: how many different ones, at least 1.

    Returns:
        (k,) principles in the order drawn.

    Raises:
        ConfigError: the constitution has fewer than k of them.
    """
    match kind:
        case "revision":
            return _smallest(constitution, "principles", constitution.principles, (seed, kind, round), item_id, k)
        case "comparison":
            pool = constitution.comparison_principles
            return _smallest(constitution, "comparison_principles", pool, (seed, kind, round), item_id, k)
        case _:
            assert_never(kind)


def _smallest(
    constitution: Constitution, section: str, pool: Sequence[PrincipleT], draw_of: tuple[Any, ...], item_id: str, k: int
) -> tuple[PrincipleT, ...]:
    if not 1 <= k <= len(pool):
        raise ConfigError(
            f"constitution {constitution.title}: {k} {section} were asked for at once, of {len(pool)}; "
            + (
                f"ask for 1 to {len(pool)}"
                if pool
                else f"add some under {section}, or name a constitution that has them"
            )
        )
    # An id of a principle holds no NUL, and an item's id comes last: no two draws hash the same text.
    start = "\0".join(map(str, draw_of))

    def number(principle: PrincipleT) -> bytes:
        text = f"{start}\0{principle.id}\0{item_id}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    return tuple(heapq.nsmallest(k, pool, key=number))
