"""What is probably not meant in a constitution that can be used, and how long its parts are.

These are signs, found by words alone. They cannot see what a request means: two that ask the same in other words are
no near-duplicates here, and a request that names something absurd names something.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from rlaif.constitution.principles import Constitution
from rlaif.records import Query

NEAR = 0.25
"""Overlap from which two texts are near-duplicates. Those of the packaged constitutions stay below .15."""
NAMED = 2
"""Words that a request needs beyond those that any request has."""

_GRAMMAR = """
    a about above after again all also always an and any anything are aren't as at be because been before being but
    by can can't cannot could did do does doesn't doing don't done down each either else even every everything for
    from get give gives had has have having he her here him his how i if in instead into is isn't it its itself just
    let like make makes making many may me might more most much must my never no none nor not nothing now of off on
    once one ones only or other others our out over own per put rather same say says shall she should shouldn't so
    some somebody someone something such than that the their them then there these they this those through to too
    under until up upon us very was way ways we were what whatever when where whether which while who whom whose why
    will with within without would you your yours
"""
_ABOUT_RESPONSES = """
    ai answer answers assistant change chatbot choose compare consider conversation critique critiques decide
    describe dialogue discuss evaluate examine explain find first given identify instance instances issue issues
    judge last list look message model name note option options output part parts passage people person pick place
    places please point prefer principle problem problems query question quote read remove reply request response
    responses review revise revision rewrite second select sentence sentences show specific specifically state text
    think two user users word words write written
"""
_PRAISE_AND_BLAME = """
    acceptable actually appropriate appropriately bad badly best better content correct dangerous desirable ethical
    ethically ethics evil excellent fault faults fine fix flaw flaws good great harm harmful harmfully harming
    harmless harms helpful high honest ideal immoral improve improved improvement inappropriate kind less moral
    morally nice objectionable offensive ok okay perfect poor possible problematic proper properly quality really
    right safe safer safety suitable toxic truly unacceptable undesirable unethical unsafe unsuitable useful well
    worse worst wrong
"""
_ANY_REQUEST = frozenset(f"{_GRAMMAR} {_ABOUT_RESPONSES} {_PRAISE_AND_BLAME}".split())
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


class Size(NamedTuple):
    """How much text a part is.

    Attributes:
        part: its name.
        texts: how many.
        words: of all.
        characters: of all.
        longest: words of the longest.
        tokens: of all, by the tokenizer that was given.
    """

    part: str
    texts: int
    words: int
    characters: int
    longest: int
    tokens: int | None


def remarks(constitution: Constitution) -> list[str]:
    """What a careful reader would ask about: missing parts, duplicates, requests that name no behaviour.

    Args:
        constitution: any that could be loaded.

    Returns:
        Remarks in plain words; none of them keeps the constitution from being used.
    """
    return [*_missing(constitution), *_duplicates(constitution), *_nameless(constitution)]


def _missing(constitution: Constitution) -> Iterator[str]:
    wants = {
        "principles": "nothing can be revised by it",
        "comparison_principles": "nothing can be labeled by it",
        "revision_exemplars": "critiques and revisions are asked for without an example",
        "comparison_exemplars": "comparisons are asked for without an example",
    }
    needed_for = {"revision_exemplars": "principles", "comparison_exemplars": "comparison_principles"}
    for section, without in wants.items():
        # Exemplars are not missed where there is nothing that they could be examples of.
        if not getattr(constitution, section) and getattr(constitution, needed_for.get(section, "title")):
            yield f"{section}: are missing; {without}"
    preferred = {one.preferred for one in constitution.comparison_exemplars}
    if len(constitution.comparison_exemplars) > 1 and len(preferred) == 1:
        yield f"comparison_exemplars: prefer response {preferred.pop()} each time, which teaches the position"


def _duplicates(constitution: Constitution) -> Iterator[str]:
    """Texts that share many of the words that make them what they are.

    Compared are the requests and questions of different principles, also questions with critique requests: labels
    that only repeat what revisions strove for say little. Words that any request has do not count (known of English
    only), those that many of these texts have count less. Without spaces between its words a text is one word.
    """
    pairs = constitution.principles
    critiques = [(f"{one.id}: critique_request", one.critique_request) for one in pairs]
    revisions = [(f"{one.id}: revision_request", one.revision_request) for one in pairs]
    questions = [(f"{one.id}: question", one.question) for one in constitution.comparison_principles]
    for group in (critiques + questions, revisions):
        bags = [Counter(_naming(text)) for _, text in group]
        weights = _weights(bags)
        for ((place, text), bag), ((other, other_text), other_bag) in combinations(zip(group, bags, strict=True), 2):
            overlap = _overlap(bag, other_bag, weights)
            if _words(text) == _words(other_text):
                yield f"{place} says the same as {other}"
            elif overlap >= NEAR:
                yield f"{place} nearly says the same as {other}: they share {overlap:.0%} of their words"


def _weights(bags: Sequence[Counter[str]]) -> dict[str, float]:
    having = Counter(word for bag in bags for word in bag)
    return {word: math.log(1 + len(bags) / count) for word, count in having.items()}


def _overlap(one: Counter[str], other: Counter[str], weights: dict[str, float]) -> float:
    """Weighted Jaccard similarity of two bags of words, in [0, 1]."""
    both = sum(count * weights[word] for word, count in (one & other).items())
    either = sum(count * weights[word] for word, count in (one | other).items())
    return both / either if either else 0.0


def _nameless(constitution: Constitution) -> Iterator[str]:
    """Critique requests and questions of fewer than two words beyond grammar, talk of responses, bare praise and blame.

    A revision request may lean on its critique ("rewrite it without that"), and passes.

    "Identify what is harmful or unethical in the response" says nothing of what a response does; "point out where it
    mocks somebody's accent" does. The list of words is English: in other languages every request passes. And it
    counts words only: whether those that are left make sense, or name something that a response can do, it can't see.
    """
    requests = [
        *((f"{one.id}: critique_request", one.critique_request) for one in constitution.principles),
        *((f"{one.id}: question", one.question) for one in constitution.comparison_principles),
    ]
    for place, text in requests:
        left = dict.fromkeys(_naming(text))
        if len(left) < NAMED:
            beyond = f" (beyond {', '.join(left)})" if left else ""
            yield f"{place} names no behaviour{beyond}; say what it is that a response does"


def _words(text: str) -> list[str]:
    return [word.removesuffix("'s") for word in _WORD.findall(text.casefold().replace("’", "'"))]


def _naming(text: str) -> list[str]:
    """The words that not any request has."""
    return [word for word in _words(text) if word not in _ANY_REQUEST]


def sizes(constitution: Constitution, count_tokens: Callable[[str], int] | None = None) -> list[Size]:
    """How long the parts are; without what a prompt puts around them.

    Args:
        constitution: any.
        count_tokens: tokens of a text, where a tokenizer is at hand.
    """
    principles, revised, compared = (
        constitution.principles,
        constitution.revision_exemplars,
        constitution.comparison_exemplars,
    )
    parts = {
        "critique requests": [one.critique_request for one in principles],
        "revision requests": [one.revision_request for one in principles],
        "comparison questions": [one.question for one in constitution.comparison_principles],
        "revision exemplars": [_joined(one.query, one.response, one.critique, one.revision) for one in revised],
        "comparison exemplars": [_joined(one.query, one.response_1, one.response_2, one.rationale) for one in compared],
    }
    found = []
    for name, texts in parts.items():
        words = [len(text.split()) for text in texts]
        tokens = None if count_tokens is None else sum(map(count_tokens, texts))
        found.append(Size(name, len(texts), sum(words), sum(map(len, texts)), max(words, default=0), tokens))
    return found


def _joined(query: Query, *texts: str) -> str:
    return "\n".join([*(turn.content for turn in query), *texts])
