"""Scripts for the public double, and what tests share about asking."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.score import Scorer
from rlaif.llm.base import Choose, NoAnswer, Request
from rlaif.llm.run import Runner
from rlaif.llm.scripted import ScriptedLLM

PAIR: dict[str, Any] = {"id": "p", "query": "Q?", "response_1": "good", "response_2": "bad"}


def shown_first(request: Request) -> str:
    """The text shown as response 1 in a prompt of helpfulness."""
    text = request.messages[-1].content
    return text.split("Response 1 - ")[-1].split("\n")[0]


def by_order(p12: float, p21: float, unread: float = 0.0) -> Callable[[Request], Mapping[str, float] | str]:
    """P("1") when the good response is shown first, and when it is shown second."""

    def script(request: Request) -> Mapping[str, float] | str:
        if not isinstance(request.want, Choose):
            return "I thought about it."
        first = p12 if shown_first(request) == "good" else p21
        return {"1": first * (1 - unread), "2": (1 - first) * (1 - unread)}

    return script


def scripted(script: Callable[[Request], Any], **options: Any) -> ScriptedLLM:
    """A double under a name of its own."""
    return ScriptedLLM(script, "scripted:test", **options)


def judge(labeler: Any, item: Any) -> Any:
    """Judge one item without files."""

    async def run() -> Any:
        async with Runner(labeler.llm) as runner:
            return await labeler.judge(item, runner.ask)

    return asyncio.run(run())


def outcomes(llm: Any, requests: Iterable[Request]) -> list[Any]:
    """Ask requests all at once."""

    async def run() -> list[Any]:
        async with Runner(llm) as runner:
            return list(await asyncio.gather(*(runner.ask(request) for request in requests)))

    return asyncio.run(run())


def judged(llm: Any, pairs: list[dict[str, Any]]) -> list[list[float]]:
    """Both orders and unread masses of every pair, and the distribution over the scores of every first response."""
    labels = PreferenceLabeler("helpfulness", llm).label(pairs)
    responses = [{"id": row["id"], "query": row["query"], "response": row["response_1"]} for row in pairs]
    scores = Scorer("helpfulness", llm).score(responses)
    rows = [[one.preference_12, one.preference_21, one.unread_mass_12, one.unread_mass_21] for one in labels]
    return rows + [list(one.distribution) for one in scores]


def refuse(request: Request) -> NoAnswer:
    """A script that refuses."""
    return NoAnswer("refused", "will not", "I can't.")
