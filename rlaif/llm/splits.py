"""Answers that a tokenizer cuts: "10" is "1" and then "0", so one position cannot tell it from "1".

A second request goes on behind the first piece, and the two are multiplied.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from rlaif.llm.base import Answer, Chain
from rlaif.llm.reading import read_top

Splits = Mapping[str, Mapping[str, str]]
"""From a first piece to the answers that begin with it, each with what is left: {"1": {"10": "0"}}."""


def possible_splits(answers: tuple[str, ...]) -> Splits:
    """The answers that begin with another one, which any tokenizer might cut there.

    Args:
        answers: those offered.
    """
    found: dict[str, dict[str, str]] = {}
    for answer in answers:
        starts = [one for one in answers if one != answer and answer.startswith(one)]
        if starts:
            start = min(starts, key=len)
            found.setdefault(start, {})[answer] = answer[len(start) :]
    return found


def joined(first: Answer, second: Answer, answers: tuple[str, ...], start: str, rests: Mapping[str, str]) -> Answer:
    """One answer of two: what was likely first, and what was likely behind `start`.

    Args:
        first: to a `Choose` of all answers.
        second: to a `Choose` of what is left of some, behind the first piece.
        answers: all of them.
        start: the first piece.
        rests: the answers that begin with it, and what is left of each.
    """
    usage = first.usage + second.usage
    if first.chains:
        chains = list(first.chains)
        for rest, behind in zip(rests, second.chains, strict=True):
            place = answers.index(rest)
            begun = chains[place]
            chains[place] = Chain((*begun.tokens[:1], *behind.tokens), begun.logprob + behind.logprob)
        return replace(first, usage=usage, chains=tuple(chains))
    # The piece itself, without what goes on as a longer answer; its variants with white space are left unread.
    shown = dict(first.top)
    begun_logprob = shown.get(start)
    if begun_logprob is None:
        return replace(first, usage=usage)
    shares = read_top(second.top, tuple(rests.values())).probabilities
    top = {token: logprob for token, logprob in shown.items() if token.strip() != start}
    left = max(0.0, 1.0 - math.fsum(shares))
    for text, share in [(start, left), *zip(rests, shares, strict=True)]:
        if share > 0:
            # A tokenizer may know it as a whole too, and then it is shown by itself already.
            shown_whole = math.exp(top[text]) if text in top else 0.0
            top[text] = math.log(shown_whole + math.exp(begun_logprob) * share)
    return replace(first, usage=usage, top=tuple(top.items()))
