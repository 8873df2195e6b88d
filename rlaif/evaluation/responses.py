"""Single responses that were judged harmless or not: by whom, and whose they are. Pure.

A row is one response: who wrote it (`model`), and P(yes) by a labeler (`harmless`) or why there is none (`failure`), or
the share of people who said yes (`harmless`, with their `annotations`, and who they are in `annotators`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rlaif.errors import InputError, RowError
from rlaif.evaluation.contests import Kind, query_of
from rlaif.evaluation.items import Rows

_SAID = {"yes": 1.0, "y": 1.0, "true": 1.0, "no": 0.0, "n": 0.0, "false": 0.0}


class Judged(NamedTuple):
    """What one judge said of one response.

    Attributes:
        policy: who wrote it.
        cluster: the query.
        judge: a labeler, people together, or one annotator.
        kind: which of these.
        harmless: P(yes), or the share of people who say so; None where there is none.
        failure: the kind of failure, where there is none.
    """

    policy: str
    cluster: str
    judge: str
    kind: Kind
    harmless: float | None
    failure: str | None = None


@dataclass(slots=True)
class Responses:
    """Everything that was read.

    Attributes:
        found: judgements and failures.
        unusable: rows that cannot be read.
    """

    found: list[Judged] = field(default_factory=list)
    unusable: int = 0

    def by_policy(self) -> dict[tuple[str, Kind, str], list[Judged]]:
        """Judgements by policy and judge, in the order they came."""
        found: dict[tuple[str, Kind, str], list[Judged]] = {}
        for one in self.found:
            found.setdefault((one.policy, one.kind, one.judge), []).append(one)
        return found


def read_responses(*sources: tuple[str, Rows], people: Sequence[Rows] = ()) -> Responses:
    """Read judgements of single responses from rows.

    Args:
        sources: a labeler's rows, each with the policy's name where the rows have no column for it: `model`, or `llm`
            (in our own records `llm` is who judged).
        people: rows of people.

    Returns:
        What was found.

    Raises:
        InputError: no row holds a judgement, one holds a wrong one, or a response is there twice.
    """
    responses = Responses()
    for name, rows in sources:
        _add(responses, rows, name, by_people=False)
    for rows in people:
        _add(responses, rows, "responses", by_people=True)
    if not responses.found:
        raise InputError(
            "no row holds harmless: P(yes), or the share of people who say that the response is harmless; give --task "
            "and --llm to have responses judged"
        )
    return responses


def _add(responses: Responses, rows: Rows, name: str, *, by_people: bool) -> None:
    found: list[Judged] = []
    seen: set[tuple[str, str, int]] = set()
    for where, fields in rows:
        if isinstance(fields, RowError):
            responses.unusable += 1
            continue
        policy = _policy(fields) or name
        key = (str(fields.get("id") or where), policy, int(fields.get("response_index") or 0))
        if key in seen:
            raise InputError(f"{where}: id {key[0]} is there before, of the same policy; ids must differ")
        seen.add(key)
        try:
            found += _by_people(where, fields, policy) if by_people else _by_labeler(where, fields, policy)
        except RowError as error:
            raise InputError(f"{where}: {error}") from error
    # A failure does not say whose it is: of the only labeler there is.
    names = {one.judge for one in found if one.judge}
    only = names.pop() if len(names) == 1 else "labeler"
    responses.found += [one if one.judge else one._replace(judge=only) for one in found]


def _policy(fields: Mapping[str, Any]) -> str | None:
    ours = "llm_version" in fields
    index = int(fields.get("response_index") or 0)
    written_by = fields.get("model") or fields.get(f"model_{index + 1}") or (None if ours else fields.get("llm"))
    return None if written_by in (None, "") else str(written_by)


def _by_labeler(where: str, fields: Mapping[str, Any], policy: str) -> Iterator[Judged]:
    judge = str(fields.get("labeler") or (fields.get("llm") if "llm_version" in fields else "") or "")
    blank = Judged(policy, query_of(where, fields), judge, "labeler", None)
    if fields.get("failure"):
        yield blank._replace(failure=str(fields["failure"]))
    elif (harmless := _share("harmless", fields.get("harmless"))) is None:
        raise RowError("holds no harmless; give --task and --llm to have responses judged, or --people for people's")
    else:
        yield blank._replace(harmless=harmless)


def _by_people(where: str, fields: Mapping[str, Any], policy: str) -> Iterator[Judged]:
    blank = Judged(policy, query_of(where, fields), "people", "people", None)
    votes, names = fields.get("annotations") or [], fields.get("annotators") or []
    if not isinstance(votes, list | tuple):
        raise RowError(f"annotations is {votes!r}; it must be a list")
    said = [_share("annotations", vote) for vote in votes]
    known = [vote for vote in said if vote is not None]
    share = sum(known) / len(known) if known else _share("harmless", fields.get("harmless"))
    if share is None:
        raise RowError("holds neither harmless nor annotations; rlaif audit collect writes both")
    yield blank._replace(harmless=share)
    for place, vote in enumerate(said):
        name = str(names[place]) if place < len(names) else f"annotator {place + 1}"
        if vote is not None:
            yield blank._replace(judge=name, kind="annotator", harmless=vote)


def _share(name: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    said = _SAID.get(str(value).strip().casefold())
    try:
        share = said if said is not None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise RowError(f"{name} holds {value!r}; it must be a number in [0, 1], or yes or no")
    return share
