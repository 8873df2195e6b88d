"""Pairs of responses by two models: who won, by whose judgement. Pure.

A row names its models in `model_1` and `model_2`. It may hold what a labeler said (see `verdicts`), or why it said
nothing (`failure`), and what people said (`human_preference`, `annotations`, and who they are in `annotators`).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from rlaif.conventions import majority
from rlaif.errors import InputError, RowError, did_you_mean
from rlaif.evaluation.items import Rows
from rlaif.evaluation.pairs import MOST, agrees
from rlaif.evaluation.verdicts import VerdictReading, is_judged, read_judgement, side

Kind = Literal["labeler", "people", "annotator"]
PEOPLE = "people"
_UNNAMED = "labeler"


class Contest(NamedTuple):
    """What one judge said of one pair, as seen from the first of the two models.

    Attributes:
        models: whose responses these are.
        cluster: the query: pairs of the same query belong together.
        judge: who said it: a labeler, people by majority, or one annotator.
        kind: which of these.
        win: 1, .5 for a tie, or 0; None where there is no judgement.
        preference: P(the first model's response preferred), or the mean of people's votes; None like `win`.
        first: the same where its response was shown first; None where that was not asked or not read.
        second: the same where it was shown second.
        failure: the kind of failure, where there is no judgement.
        words: of both responses; None where the texts are not known.
    """

    models: tuple[str, str]
    cluster: str
    judge: str
    kind: Kind
    win: float | None
    preference: float | None
    first: float | None = None
    second: float | None = None
    failure: str | None = None
    words: tuple[int, int] | None = None

    def swapped(self) -> "Contest":
        """The same as seen from the other model."""
        return self._replace(
            models=self.models[::-1],
            win=_complement(self.win),
            preference=_complement(self.preference),
            first=_complement(self.second),
            second=_complement(self.first),
            words=None if self.words is None else self.words[::-1],
        )


@dataclass(slots=True)
class Contests:
    """Everything that was read.

    Attributes:
        found: judgements and failures.
        unusable: rows that cannot be read.
        itself: rows that compare a model with itself, which are left out.
        silent: rows that nobody has judged.
        pairs: the first of them as the page shows them, each with all that was said of it.
    """

    found: list[Contest] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    unusable: int = 0
    itself: int = 0
    silent: int = 0

    @property
    def about(self) -> dict[str, str]:
        """What was left out, for a report."""
        left = {
            "cannot be read": self.unusable,
            "compare a model with itself": self.itself,
            "hold no judgement": self.silent,
        }
        said = ", ".join(f"{count:,} {why}" for why, count in left.items() if count)
        return {"Rows left out": said} if said else {}

    def by_judge(self) -> dict[tuple[Kind, str], list[Contest]]:
        """Contests by who judged, in the order they came."""
        found: dict[tuple[Kind, str], list[Contest]] = {}
        for one in self.found:
            found.setdefault((one.kind, one.judge), []).append(one)
        return found

    def matchups(
        self, policy: str | None = None, baseline: str | None = None
    ) -> dict[tuple[str, str], dict[tuple[Kind, str], list[Contest]]]:
        """Contests by models, turned the same way round, and by judge.

        Args:
            policy: only its contests, as seen from it.
            baseline: only contests with it, as seen from the other.

        Returns:
            By (model, other): the first pair of two names decides which of them comes first.

        Raises:
            InputError: nobody is compared with such a model.
        """
        ways: dict[frozenset[str], tuple[str, str]] = {}
        found: dict[tuple[str, str], dict[tuple[Kind, str], list[Contest]]] = {}
        for one in self.found:
            names = frozenset(one.models)
            if (policy is not None and policy not in names) or (baseline is not None and baseline not in names):
                continue
            way = ways.setdefault(names, one.models)
            turned = policy == way[1] or (policy is None and baseline == way[0])
            way = way[::-1] if turned else way
            mine = one if one.models == way else one.swapped()
            found.setdefault(way, {}).setdefault((one.kind, one.judge), []).append(mine)
        if not found and (policy is not None or baseline is not None):
            known = sorted({name for one in self.found for name in one.models})
            for wanted in (policy, baseline):
                if wanted is not None and wanted not in known:
                    raise InputError(f"no row has the model {wanted}{did_you_mean(wanted, known)}")
            raise InputError(f"no row compares {policy} with {baseline}; models are {', '.join(known)}")
        return found


def read_contests(*sources: Rows, people_beside: bool = True) -> Contests:
    """Read who won from rows.

    Args:
        sources: places and fields, under our names; a failure does not say whose it is, and is that of the only
            labeler in its source.
        people_beside: whether what people said counts in rows that a labeler judged.

    Returns:
        What was found.

    Raises:
        InputError: no row holds a judgement, one holds a wrong one, or an id is there twice.
    """
    contests, reading = Contests(), VerdictReading()
    seen: set[tuple[str, str, frozenset[str]]] = set()
    shown: dict[tuple[object, frozenset[str]], dict[str, Any]] = {}
    for rows in sources:
        found: list[Contest] = []
        for where, fields in rows:
            if isinstance(fields, RowError):
                contests.unusable += 1
                continue
            try:
                said = list(_read(where, fields, reading, people_beside))
            except RowError as error:
                raise InputError(f"{where}: {error}") from error
            contests.silent += not said
            if said and said[0].models[0] == said[0].models[1]:
                contests.itself += 1
                continue
            for one in said if fields.get("id") not in (None, "") else ():
                key = (str(fields["id"]), one.judge, frozenset(one.models))
                if key in seen:
                    raise InputError(
                        f"{where}: id {key[0]} has a judgement of these models by {one.judge} already; ids must differ"
                    )
                seen.add(key)
            found += said
            if said:
                _show(shown, fields, said)
        name = _only_labeler(found)
        contests.found += [one if one.judge else one._replace(judge=name) for one in found]
        for label in (label for pair in shown.values() for label in pair["labels"]):
            label["labeler"] = label["labeler"] or name
    if not contests.found:
        left = "".join(f" ({what})" for what in contests.about.values())
        raise InputError(
            f"no row holds a judgement of two models{left}; a row needs preference (or verdict), human_preference or "
            "annotations, and model_1 and model_2 where there are several models (samples of two policies become rows "
            "by win-rate with --task and --llm)"
        )
    contests.pairs = [_compared(pair) for pair in shown.values()]
    return contests


def query_of(where: str, fields: Mapping[str, Any]) -> str:
    """What tells queries apart: the text; where there is none the id, or else the place.

    Args:
        where: the row's place.
        fields: the row.
    """
    query = fields.get("query")
    if query in (None, "") or query == []:
        return str(fields.get("id") or where)
    if isinstance(query, str):
        return query
    turns = [turn if isinstance(turn, Mapping) else turn.model_dump() for turn in query]
    if len(turns) == 1 and turns[0].get("role") == "user":
        return str(turns[0].get("content"))
    return json.dumps(turns, ensure_ascii=False)


def _read(where: str, fields: Mapping[str, Any], reading: VerdictReading, people_beside: bool) -> Iterator[Contest]:
    models = str(fields.get("model_1") or "response 1"), str(fields.get("model_2") or "response 2")
    texts = fields.get("response_1"), fields.get("response_2")
    blank = Contest(models, query_of(where, fields), "", "labeler", None, None)
    if isinstance(texts[0], str) and isinstance(texts[1], str):
        blank = blank._replace(words=(len(texts[0].split()), len(texts[1].split())))
    judged = is_judged(fields)
    if judged:
        said = read_judgement(fields, reading)
        win = None if said.preference is None else side(said.preference) / 2
        yield blank._replace(
            judge=str(fields.get("labeler") or fields.get("llm") or ""),
            win=win,
            preference=said.preference,
            first=said.orders.get("12"),
            second=said.orders.get("21"),
            failure=said.failure,
        )
    if not judged or people_beside:
        yield from _people(blank, fields)


def _people(blank: Contest, fields: Mapping[str, Any]) -> Iterator[Contest]:
    given = fields.get("annotations") or []
    votes = [_vote("annotations", one) for one in given] if isinstance(given, list | tuple) else []
    names = fields.get("annotators") or []
    known = [one for one in votes if one is not None]
    if known:
        win, mean = majority(known), sum(known) / len(known)
        yield blank._replace(judge=PEOPLE, kind="people", win=win, preference=mean)
    elif (label := _vote("human_preference", fields.get("human_preference"))) is not None:
        yield blank._replace(judge=PEOPLE, kind="people", win=side(label) / 2, preference=label)
    for place, vote in enumerate(votes):
        name = str(names[place]) if place < len(names) else f"annotator {place + 1}"
        if vote is not None:
            yield blank._replace(judge=name, kind="annotator", win=side(vote) / 2, preference=vote)


def _show(
    shown: dict[tuple[object, frozenset[str]], dict[str, Any]], fields: Mapping[str, Any], said: list[Contest]
) -> None:
    """Add what a row says to the pair that it is about, which another row may have brought the other way round."""
    models, identifier = said[0].models, fields.get("id")
    key = (len(shown) if identifier in (None, "") else str(identifier), frozenset(models))
    if key not in shown:
        if len(shown) >= MOST:
            return
        shown[key] = _texts(fields, models)
    pair = shown[key]
    turned = pair["models"] != list(models)
    for one in (each.swapped() if turned else each for each in said):
        match one.kind:
            case "people":
                pair["human"] = one.preference
            case "annotator":
                pair.setdefault("annotations", []).append(one.preference)
            case "labeler":
                pair["labels"].append(_label(one, fields, turned))


def _texts(fields: Mapping[str, Any], models: tuple[str, str]) -> dict[str, Any]:
    pair = {"id": str(fields.get("id") or ""), "query": query_of("", fields), "models": list(models), "labels": []}
    responses = [fields.get("response_1"), fields.get("response_2")]
    return pair | ({"responses": responses} if all(isinstance(text, str) for text in responses) else {})


def _label(one: Contest, fields: Mapping[str, Any], turned: bool) -> dict[str, Any]:
    rationales = [fields.get("rationales_12"), fields.get("rationales_21")]
    first, second = reversed(rationales) if turned else rationales
    return {
        "labeler": one.judge,
        "preference": one.preference,
        "preference_12": one.first,
        "preference_21": one.second,
        "rationales_12": first,
        "rationales_21": second,
        "failure": one.failure,
        "detail": fields.get("detail"),
    }


def _compared(pair: dict[str, Any]) -> dict[str, Any]:
    """A pair as `Report.pairs` holds it, when people and labelers have said what they say."""
    labels = [label | {"agrees": agrees(label["preference"], pair.get("human"))} for label in pair["labels"]]
    return pair | {"labels": [{key: value for key, value in one.items() if value is not None} for one in labels]}


def _vote(name: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        vote = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        vote = -1.0
    if not 0 <= vote <= 1:
        raise RowError(f"{name} holds {value!r}; it must be a number in [0, 1], P(response 1 preferred)")
    return vote


def _only_labeler(found: list[Contest]) -> str:
    """Whose failures are, which do not say it: the only labeler's that there is."""
    names = {one.judge for one in found if one.kind == "labeler" and one.judge}
    return names.pop() if len(names) == 1 else _UNNAMED


def _complement(share: float | None) -> float | None:
    return None if share is None else 1 - share
