"""What a model in a folder answers, in the order asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from rlaif.errors import ModelError
from rlaif.llm.base import Answer, Generate, Request
from rlaif.llm.transformers import TransformersLLM
from rlaif.records import Turn


async def _answers(llm: TransformersLLM, asked: Sequence[Request]) -> list[Answer]:
    async def requests() -> AsyncIterator[tuple[str, Request]]:
        for number, one in enumerate(asked):
            yield str(number), one

    found: dict[str, Answer] = {}
    async for key, outcome in llm.answer(requests()):
        if not isinstance(outcome, Answer) or outcome.text is None:
            raise ModelError(f"{llm.name}: gives no answer to query {key} ({outcome})")
        found[key] = outcome
    return [found[str(number)] for number in range(len(asked))]


def answers(llm: TransformersLLM, asked: Sequence[Request]) -> list[Answer]:
    """What a model answers to requests.

    Args:
        llm: the model.
        asked: the requests.

    Raises:
        ModelError: one of them gets no answer.
    """
    return asyncio.run(_answers(llm, asked))


def respond_to(folder: Path, rows: Sequence[dict[str, Any]], seed: int = 1) -> list[str]:
    """What a model answers to the queries of rows at temperature 1, at most 120 tokens."""
    asked = [
        Request(
            tuple(Turn.model_validate(turn) for turn in row["query"]), Generate(120, 1.0, seed * 1_000_003 + number)
        )
        for number, row in enumerate(rows)
    ]
    return [one.text for one in answers(TransformersLLM(folder), asked)]
