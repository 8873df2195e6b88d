"""What is wrong with a critique or a revision, as far as its words alone show it.

A revision that turns the person down is a good one: a refusal counts only where it refuses to criticise or to revise.
The phrases are English; in other languages what is empty, identical or cut off is seen, and comments are not.
"""

import re
from typing import Final

from rlaif.constitution.asking import ENDS
from rlaif.llm.base import Answer, Outcome
from rlaif.records import Flag

LOST: Final[frozenset[Flag]] = frozenset(
    (
        "critique_refused",
        "critique_empty",
        "revision_refused",
        "revision_empty",
        "revision_comment",
        "revision_cut_off",
    )
)
"""Flags of a round that brought no revision; not among them are a revision that changes nothing, and a cut critique."""

_START: Final = r"^[\W_]*(?:(?:sorry|i apologi[sz]e|i am sorry|i'm sorry|unfortunately|as an ai)\b[^.\n]{0,60}?\b)?"
_CANNOT: Final = r"i(?: really)? (?:can't|cannot|can not|won't|will not|am unable to|am not able to|'m unable to)"
_WORK: Final = r"(?:critique|criti[cz]i[sz]e|revise|rewrite|edit|review|evaluate|assess|comply|fulfil)"
_CRITIQUE_REFUSED: Final = re.compile(
    rf"{_START}(?:{_CANNOT}|i'm unable to|i must decline|i decline|i refuse)"
    rf"(?: to)?(?: \w+){{0,2}}? ?(?:{_WORK}|help|assist|provide|engage|discuss|do (?:this|that)|continue)\b"
)
_REVISION_REFUSED: Final = re.compile(
    rf"{_START}(?:{_CANNOT}|i'm unable to|i must decline to|i decline to|i refuse to)(?: \w+){{0,2}}? ?{_WORK}\b"
)
_WHICH: Final = r"(?:assistant's |ai's |chatbot's |model's |original |previous |above |given |first )*"
_COMMENT: Final = re.compile(
    rf"^[\W_]*(?:(?:the|this|that|your) {_WHICH}(?:response|answer|reply|revision|critique)\b"
    r"(?: \w+){0,2}? ?\b(?:is|was|does|do|did|should|could|would|needs?|already|contains?|gives?|helps?|has|looks?)\b"
    r"|(?:there is|there's) (?:nothing|no need)\b[^.\n]{0,30}\b(?:to|for a) (?:revise|change|correct|fix|revision)"
    r"|no (?:revision|change|changes|correction)s? (?:is|are|was|were)? ?(?:needed|necessary|required)"
    rf"|(?:i|we) (?:would|will|'d|should|have) (?:{_WORK}|change|changed|revised|rewritten|removed?))"
)
_LEAD_IN: Final = re.compile(
    r"^\s*(?:(?:sure|certainly|of course|okay|ok)[,.!:]?\s+)?here(?:'s| is| are)\s+(?:a|an|the|my|your)\s+"
    r"(?:\w+\s+)?(?:revis\w+|rewritten|improved|critique)\b[^\n:]{0,60}:\s*",
    re.IGNORECASE,
)
_LABEL: Final = re.compile(r"^\s*[*_#]*\s*(?:critique|revision|revised response)\s*:[*_]*\s*", re.IGNORECASE)


def own_words(text: str) -> str:
    """A critique or revision without what a model puts around it: the label said again, "Here is a revised response:".

    Args:
        text: what it wrote; where it went on with the prompt's layout, that is cut off.

    Returns:
        The text; empty where nothing is left.
    """
    cut = min((at for end in ENDS if (at := f"\n{text}".find(end)) >= 0), default=len(text) + 1)
    return _LEAD_IN.sub("", _LABEL.sub("", text[: max(0, cut - 1)].strip("\n"))).strip()


def of_critique(outcome: Outcome, text: str) -> tuple[Flag, ...]:
    """What is wrong with a critique.

    Args:
        outcome: an answer or a refusal.
        text: its own words.
    """
    if not isinstance(outcome, Answer) or _CRITIQUE_REFUSED.search(_plain(text)):
        return ("critique_refused",)
    if not _has_words(text):
        return ("critique_empty",)
    return ("critique_cut_off",) if outcome.finish_reason == "length" else ()


def of_revision(outcome: Outcome, text: str, before: str) -> tuple[Flag, ...]:
    """What is wrong with a revision.

    Args:
        outcome: an answer or a refusal.
        text: its own words.
        before: the response that was to be revised.
    """
    if not isinstance(outcome, Answer) or _REVISION_REFUSED.search(_plain(text)):
        return ("revision_refused",)
    if not _has_words(text):
        return ("revision_empty",)
    if outcome.finish_reason == "length":
        return ("revision_cut_off",)
    if text.split() == before.split():
        return ("revision_identical",)
    return ("revision_comment",) if _COMMENT.search(_plain(text)) else ()


def _plain(text: str) -> str:
    return text.lower().replace("’", "'")


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)
