"""Data of the pocket world as rows: comparisons with gold and annotations, and queries to sample responses for."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, get_args

from rlaif.pocket.annotators import ANNOTATORS
from rlaif.pocket.gold import judge
from rlaif.pocket.phrasing import Split
from rlaif.pocket.posts import SUMMARY_KINDS, judge_summary, summarize, write_post
from rlaif.pocket.world import KINDS, respond, situation
from rlaif.records import Turn

Task = Literal["summarization", "helpfulness", "harmlessness"]
TASKS: Final[tuple[Task, ...]] = get_args(Task)

HARMFUL_SHARE: Final[dict[Task, float]] = {"summarization": 0.0, "helpfulness": 0.25, "harmlessness": 0.6}
"""How many of the requests are harmful, by what the responses are judged for."""
_MIXED: Final = 0.4
"""The same for queries that are answered, not judged."""
CLOSEST: Final = 1.0
"""Two responses whose gold differs by less, in points, are not compared."""


# Broken texts are half as frequent as others.
_KINDS: Final = tuple(kind for kind in KINDS for _ in range(1 if kind in ("garbled", "echo") else 2))


def gold(task: Task, query: Sequence[Turn], response: str) -> float:
    """The gold score of any text, from 1 to 10.

    Args:
        task: what it is judged by.
        query: a query or post of the world.
        response: any text.

    Raises:
        RowError: the query asks for nothing that this world knows.
    """
    match task:
        case "summarization":
            return judge_summary(query[-1].content, response).quality
        case "helpfulness":
            return judge(query, response).helpfulness
        case "harmlessness":
            return judge(query, response).harmlessness


def comparisons(
    n: int, *, task: Task, split: Split, seed: int, harmful: float | None = None
) -> Iterator[dict[str, object]]:
    """Yield pairs of responses to the same query, with the gold judgement and what annotators say.

    The rows depend on task, split and seed only: those for a smaller `n` are the first ones for a larger. Gold of
    the two responses differs by at least one point.

    Args:
        n: how many rows to yield.
        task: what the responses are judged by.
        split: which part of the world; the parts share no combination and no template.
        seed: number of the random sequence.
        harmful: the share of harmful requests, in place of the task's.

    Yields:
        A row with `id`, `query`, `response_1`, `response_2`, `annotations` (one of 0, .5 and 1 from each of
        `ANNOTATORS`), `shown_first` (1 or 2, what each of them saw first), `human_preference` (the mean of the
        annotations), `gold_1` and `gold_2` (1 to 10), `gold_preference` (1.0 where the first response is the better
        one, else 0.0), `harmful`, `kind_1` and `kind_2`.
    """
    rng = random.Random(f"pocket/{task}/{split}/{seed}")
    name = task + ("" if harmful is None else f"-{harmful:g}")
    share = HARMFUL_SHARE[task] if harmful is None else harmful
    for index in range(n):
        query, is_harmful, write, kinds = _task(rng, task, split, share)
        while True:  # every query has kinds of response that are further apart
            kind_1, kind_2 = rng.choice(kinds), rng.choice(kinds)
            response_1, response_2 = write(kind_1), write(kind_2)
            gold_1, gold_2 = gold(task, query, response_1), gold(task, query, response_2)
            if abs(gold_1 - gold_2) >= CLOSEST:
                break
        said = [one.judge(rng, gold_1, gold_2, response_1, response_2) for one in ANNOTATORS]
        yield {
            "id": f"pocket-{name}-{split}-{seed}-{index:06d}",
            "query": [turn.model_dump() for turn in query],
            "response_1": response_1,
            "response_2": response_2,
            "human_preference": sum(one.preference for one in said) / len(said),
            "annotations": [one.preference for one in said],
            "shown_first": [one.shown_first for one in said],
            "gold_1": round(gold_1, 2),
            "gold_2": round(gold_2, 2),
            "gold_preference": float(gold_1 > gold_2),
            "harmful": is_harmful,
            "kind_1": kind_1,
            "kind_2": kind_2,
        }


def _task(
    rng: random.Random, task: Task, split: Split, harmful: float
) -> tuple[tuple[Turn, ...], bool, Callable[[Any], str], Sequence[str]]:
    """A query, whether it is harmful, what writes a response of a kind to it, and the kinds."""
    if task == "summarization":
        post = write_post(rng, split)
        return (
            (Turn(role="user", content=post.text),),
            False,
            lambda kind: summarize(rng, split, post, kind),
            SUMMARY_KINDS,
        )
    about = situation(rng, split, rng.random() < harmful)
    return about.query, about.harmful, lambda kind: respond(rng, split, about, kind), _KINDS


def queries(
    n: int, *, split: Split, seed: int, task: Task | None = None, harmful: float | None = None
) -> Iterator[dict[str, object]]:
    """Yield queries to sample responses for, two of five of them harmful unless something else is said.

    Args:
        n: how many rows to yield.
        split: which part of the world.
        seed: number of the random sequence.
        task: `summarization` for posts, another for its share of harmful requests; a mixed set of requests if None.
        harmful: the share of harmful requests, in place of the task's.

    Yields:
        A row with `id`, `query` and `harmful`.
    """
    name = (task or "mixed") + ("" if harmful is None else f"-{harmful:g}")
    share = harmful if harmful is not None else HARMFUL_SHARE[task] if task else _MIXED
    rng = random.Random(f"pocket/queries/{name}/{split}/{seed}")
    for index in range(n):
        query: tuple[Turn, ...]
        if task == "summarization":
            query, is_harmful = (Turn(role="user", content=write_post(rng, split).text),), False
        else:
            about = situation(rng, split, rng.random() < share)
            query, is_harmful = about.query, about.harmful
        yield {
            "id": f"pocket-query-{name}-{split}-{seed}-{index:06d}",
            "query": [turn.model_dump() for turn in query],
            "harmful": is_harmful,
        }
