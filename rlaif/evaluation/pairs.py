"""Comparisons as the page shows them: texts, and what each labeler and people said. Pure."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from rlaif.evaluation.items import Item, Items
from rlaif.evaluation.verdicts import ABSENT, UNREAD, Judgement

MOST = 10_000
"""More would make a page that no browser likes to open."""


def pairs(items: Items) -> Iterator[dict[str, Any]]:
    """Lay out items for the page.

    Args:
        items: comparisons; where there are too many, those on which a labeler and people differ, or that could not
            be read, come before others.

    Yields:
        Of at most `MOST` items, in their order, what `Report.pairs` holds.
    """
    order = list(range(len(items.items)))
    if len(order) > MOST:
        wrong = np.zeros(len(order), bool)
        for labeler in items.labelers:
            differ = (labeler.side != items.human) & (labeler.side != ABSENT) & items.with_people
            wrong |= differ | (labeler.side == UNREAD)
        order = sorted(sorted(order, key=lambda place: not wrong[place])[:MOST])
    for place in order:
        yield _pair(items.items[place])


def _pair(item: Item) -> dict[str, Any]:
    columns = dict(item.columns)
    pair: dict[str, Any] = {
        "id": item.id,
        "query": columns.pop("query", None),
        "responses": [columns.pop("response_1", None), columns.pop("response_2", None)],
        "models": [columns.pop("model_1", None), columns.pop("model_2", None)],
        "human": item.human,
        "annotations": item.annotations or None,
        "columns": {name: str(value) for name, value in columns.items() if value is not None} or None,
    }
    pair["responses"] = [None if text is None else str(text) for text in pair["responses"]]
    if pair["responses"] == [None, None]:
        del pair["responses"]
    if pair["models"] == [None, None]:
        del pair["models"]
    pair["labels"] = [_label(name, *said, item.human) for name, said in item.judgements.items()]
    return {name: value for name, value in pair.items() if value is not None}


def _label(name: str, judgement: Judgement, extra: dict[str, Any], human: float | None) -> dict[str, Any]:
    said = judgement.preference
    label: dict[str, Any] = {
        "labeler": name,
        "preference": said,
        "preference_12": judgement.orders.get("12"),
        "preference_21": judgement.orders.get("21"),
        "rationales_12": extra.get("rationales_12") or _as_list(extra.get("completion_12") or extra.get("completion")),
        "rationales_21": extra.get("rationales_21") or _as_list(extra.get("completion_21")),
        "failure": judgement.failure,
        "detail": extra.get("detail"),
        "agrees": agrees(said, human),
    }
    return {name: value for name, value in label.items() if value is not None}


def agrees(said: float | None, human: float | None) -> bool | None:
    """Whether a labeler and people prefer the same response.

    Args:
        said: P(response 1 preferred) by the labeler.
        human: the same by people.

    Returns:
        None where either is not known, or prefers neither.
    """
    return None if human is None or said is None or 0.5 in (human, said) else (said > 0.5) == (human > 0.5)


def _as_list(text: object) -> list[str] | None:
    return [text] if isinstance(text, str) else None
