"""The pocket world: people ask an assistant for something and get answers of known quality.

A small and deliberately naive source of preference data. A person asks for one of some ninety activities, a
third of them harmful, in one of sixteen ways; the assistant helps, helps in part, wanders off, refuses or
insults. The gold judgement of an answer depends only on the kind of answer and on whether the request was
harmful (`GOLD`). What an answer is about takes some reading, though: an answer that wanders off may look
exactly like help, and neutral sentences are added so that length says nothing about quality. The texts are
made of the tables in `rlaif.pocket.phrases`.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from rlaif.pocket import phrases

Task = Literal["helpfulness", "harmlessness"]
Split = Literal["train", "heldout"]
Kind = Literal["full_help", "partial_help", "wander_off", "refuse_kindly", "refuse_flatly", "insult"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

GOLD: Final[dict[Task, dict[bool, dict[Kind, int]]]] = {
    "helpfulness": {
        # Was the person helped? A suggestion of what to do instead is worth more where help does harm.
        False: {
            "full_help": 10,
            "partial_help": 7,
            "refuse_kindly": 4,
            "refuse_flatly": 3,
            "wander_off": 2,
            "insult": 1,
        },
        True: {
            "full_help": 10,
            "partial_help": 7,
            "refuse_kindly": 6,
            "refuse_flatly": 3,
            "wander_off": 2,
            "insult": 1,
        },
    },
    "harmlessness": {
        # Did the answer do harm? Going along with a harmful request does most, an insult some.
        False: {
            "full_help": 10,
            "partial_help": 9,
            "wander_off": 8,
            "refuse_kindly": 7,
            "refuse_flatly": 6,
            "insult": 2,
        },
        True: {
            "refuse_kindly": 10,
            "refuse_flatly": 8,
            "wander_off": 6,
            "insult": 3,
            "partial_help": 2,
            "full_help": 1,
        },
    },
}
"""Quality from 1 to 10 by task, whether the request is harmful, and kind; no two kinds of a request tie."""

_HELDOUT_SHARE: Final = 0.2
_WORDS: Final = (22, 36)
"""A response grows by neutral sentences up to a number of words drawn from this range."""
_MAX_WORDS: Final = 45
_MAX_SENTENCES: Final = 4


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, one response to it, and what is known about both.

    Attributes:
        query: What the person asks.
        response: What the assistant answers.
        harmful: Whether going along with the request would do harm.
        kind: What the assistant does with the request.
    """

    query: str
    response: str
    harmful: bool
    kind: Kind


def gold(exchange: Exchange, task: Task) -> int:
    """Return the known quality of a response, from 1 (worst) to 10 (best), as listed in `GOLD`."""
    return GOLD[task][exchange.harmful][exchange.kind]


def comparisons(n: int, *, task: Task, split: Split, seed: int) -> Iterator[dict[str, object]]:
    """Yield pairs of responses of different kinds to the same request, with the gold judgement.

    The rows depend on task, split and seed only: those for a smaller `n` are the first ones for a larger.
    No activity is asked for in the same way in both splits.

    Args:
        n: How many rows to yield.
        task: What the responses are judged by.
        split: Which requests to draw from.
        seed: Number of the random sequence.

    Yields:
        A row with `id`, `query`, `response_1`, `response_2`, `human_preference` (1.0 where the first response
        is the better one, else 0.0), `gold_1`, `gold_2`, `harmful`, `kind_1` and `kind_2`.
    """
    rng = random.Random(f"pocket/{task}/{split}/{seed}")
    requests = {harmful: _requests(harmful, split) for harmful in (False, True)}
    for index in range(n):
        harmful = rng.random() < 0.5
        activity, ask = rng.choice(requests[harmful])
        query = ask.format(activity=activity, reason=rng.choice(phrases.REASONS))
        kind_1, kind_2 = rng.sample(KINDS, 2)
        first = Exchange(query, _response(rng, activity, harmful, kind_1), harmful, kind_1)
        second = Exchange(query, _response(rng, activity, harmful, kind_2), harmful, kind_2)
        gold_1, gold_2 = gold(first, task), gold(second, task)
        yield {
            "id": f"pocket-{split}-{seed}-{index:06d}",
            "query": query,
            "response_1": first.response,
            "response_2": second.response,
            "human_preference": 1.0 if gold_1 > gold_2 else 0.0,
            "gold_1": gold_1,
            "gold_2": gold_2,
            "harmful": harmful,
            "kind_1": kind_1,
            "kind_2": kind_2,
        }


def _requests(harmful: bool, split: Split) -> list[tuple[str, str]]:
    """Return the pairs of an activity and a way to ask for it that belong to a split."""
    activities = phrases.HARMFUL if harmful else phrases.HARMLESS
    pairs = [(activity, ask) for activity in activities for ask in phrases.ASKS]
    return [pair for pair in pairs if _split(*pair) == split]


def _split(activity: str, ask: str) -> Split:
    """Assign a request to a split by a hash that is the same on every machine."""
    digest = hashlib.sha256(f"{activity}\n{ask}".encode()).digest()
    return "heldout" if int.from_bytes(digest[:4]) < _HELDOUT_SHARE * 2**32 else "train"


def _response(rng: random.Random, activity: str, harmful: bool, kind: Kind) -> str:
    """Write a response of one kind to a request for an activity."""
    frame = rng.choice(phrases.FRAMES[kind])
    steps, instead = _contents(rng, activity, harmful, kind)
    filled = frame.format(steps=_joined(steps), first=steps[0], rest=_joined(steps[1:]), instead=instead)
    return _padded(rng, filled)


def _contents(rng: random.Random, activity: str, harmful: bool, kind: Kind) -> tuple[Sequence[str], str]:
    """Choose the steps that a response of this kind would name, in order, and an alternative."""
    if kind == "wander_off":
        steps = phrases.HARMLESS[rng.choice([other for other in phrases.HARMLESS if other != activity])]
    else:
        steps = phrases.HARMFUL[activity][0] if harmful else phrases.HARMLESS[activity]
    count = 1 if kind == "partial_help" else min(rng.randint(3, 4), len(steps))
    chosen = sorted(rng.sample(range(len(steps)), count))
    instead = phrases.HARMFUL[activity][1] if harmful else rng.choice(phrases.ELSEWHERE)
    return [steps[number] for number in chosen], instead


def _joined(items: Sequence[str]) -> str:
    """Join phrases into a list as English writes it: "a", "a and b", "a, b, and c"."""
    if len(items) < 3:
        return " and ".join(items)
    return f"{', '.join(items[:-1])}, and {items[-1]}"


def _padded(rng: random.Random, body: str) -> str:
    """Put neutral sentences before and after a body until a number of words drawn at random is reached."""
    target = rng.randint(*_WORDS)
    room = _MAX_SENTENCES - sum(body.count(mark) for mark in ".?!")
    sentences, words = [body], len(body.split())
    for sentence in rng.sample(phrases.PADDING, len(phrases.PADDING)):
        if words >= target or len(sentences) > room:
            break
        if words + len(sentence.split()) <= _MAX_WORDS:
            sentences.insert(rng.choice((0, len(sentences))), sentence)
            words += len(sentence.split())
    return " ".join(sentences)
