"""What is wrong with a critique or a revision, as far as its words alone show it.

A revision that turns the person down is a good one: a refusal counts only where it refuses to criticise or to revise.
The phrases are English; in other languages what is empty, identical or cut off is seen, and comments are not.
"""

import re
from collections.abc import Sequence
from typing import Final

from rlaif.llm.base import Answer, Outcome
from rlaif.prompting import INDENT
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

# Without quotation marks: '"I cannot help" sounds cold' speaks of a refusal and is none.
_MARKUP: Final = r"^[\s*_#>~(\[-]*"
_START: Final = _MARKUP + (
    r"(?:(?:(?:i'm |i am )?(?:so |very |really )?sorry|i apologi[sz]e|my apologies|unfortunately|but|however"
    r"|as an? (?:ai|assistant|language model)\b[\w ]{0,40}"
    r"|i(?:'m| am) (?:just |only )?(?:an ai|a language model|programmed|designed)\b[^.\n]{0,100})[\s,;:.!]+){0,4}"
)
_CANNOT: Final = (
    r"(?:i(?: really)? (?:can't|cannot(?: and will not)?|can not|won't|will not)"
    r"|i(?:'m| am) (?:unable to|not able to|not going to|not comfortable)"
    r"|i(?:'d| would) rather not|i (?:must )?decline to|i refuse to)"
)
_WHOSE: Final = r"(?:(?:assistant's|ai's|chatbot's|model's|original|previous|above) )"
_RESPONSE: Final = rf"(?:the|this|that|your|any) {_WHOSE}*(?:response|answer|reply|critique|revision)\b"
_IS_OVER: Final = r"(?=\W*$|\s*[.;:!,\n])"
_WORK: Final = r"(?:critiqu|criti[cz]i[sz]|revis|rewrit)(?:e|ing)"
# "I can't assess your symptoms" and "I won't edit the photo" turn the person down, who asked for that.
_TO_WORK: Final = (
    rf"(?:(?:help|assist)(?: you)?(?: with| in| to)? )?(?:{_WORK}(?: or {_WORK})?"
    rf"(?: (?:that|this|it){_IS_OVER}| {_RESPONSE}| (?:this |such |harmful )?(?:content|responses)\b|{_IS_OVER})"
    rf"|(?:edit|review|evaluat|assess|judg)(?:e|ing)? {_RESPONSE}"
    r"|provide (?:a|the|any) (?:revision|critique|(?:revised|better) (?:response|answer))\b"
    r"|(?:comply with|fulfil|fulfill) (?:the|this|that|your) (?:critique|revision) request)"
)
_REVISION_REFUSED: Final = re.compile(rf"{_START}{_CANNOT} {_TO_WORK}")
# "I can't go into detail here, but the response names the dose" criticises after all.
_CRITICISES: Final = r"[^.\n]*\bbut (?:the|this|its?) (?:response|answer|reply|assistant)\b"
_CRITIQUE_REFUSED: Final = re.compile(
    rf"(?!{_CRITICISES}){_START}(?:i (?:must )?(?:decline|refuse)(?:{_IS_OVER}| (?:this|that|the|your) )"
    rf"|{_CANNOT}(?:{_IS_OVER}| (?:{_TO_WORK}|(?:help|assist)\b(?! but\b| \w+ing\b)|comply\b|fulfill?\b|engage\b"
    r"|discuss (?:this|that|it|such|the)\b"
    rf"|(?:evaluate|assess|review|judge) (?:that|this|it){_IS_OVER}"
    rf"|do (?:this|that|so)\b|continue(?:{_IS_OVER}| with\b)"
    r"|provide (?:(?:a|any|the|this|that|such|you|with) )*"
    r"(?:critique|criticism|feedback|assistance|help|guidance|support|advice|information|instructions|content)\b"
    r"|(?:generate|create|write) (?:this |such |harmful )?(?:content|text)\b)))"
)
_IS: Final = (
    r"(?:,? (?:already|still|also|itself|as \w+),?)?"
    r"(?: (?:is|does|should|could|would|needs?|contains?|gives?|helps?|has|looks?)\b| already\b)"
)
_FINE: Final = (
    r"(?:already\b|(?:fine|good|ok|okay|harmless|safe|appropriate|acceptable)"
    r"(?=\W*$|\s*[.;:!,\n]| (?:as|and|because|enough|since)\b))"
)
_EDIT: Final = r"(?:revise|rewrite|edit|change|remove|revised|rewritten|edited|changed|removed)"
_COMMENT: Final = re.compile(
    rf"{_MARKUP}(?:(?:the|this|that|your) {_WHOSE}+(?:response|answer|reply)\b(?:{_IS}| (?:was|did)\b)"
    rf"|(?:the|this) (?:response|revision|critique)\b{_IS}|this (?:answer|reply)\b{_IS}"
    # "The answer is no" and "your answer is correct" may well be what the person asked for.
    rf"|(?:the|your) (?:response|answer|reply)\b (?:already\b|needs no\b|could be improved\b|(?:is|looks) {_FINE})"
    r"|a (?:better|safer|revised) (?:response|revision) (?:would|could|should|might)\b"
    r"|there(?: is|'s) nothing (?:[\w ]{0,20} )?to (?:revise\b|be revised\b|(?:change|correct|fix|improve)"
    rf"(?=\W*$|\s*[.;:!\n]| here\b| (?:in|about) {_RESPONSE}))"
    rf"|there(?: is|'s) no need (?:for (?:a |any )?(?:revision|change)s?{_IS_OVER}|to {_EDIT} (?:it\b|{_RESPONSE}))"
    r"|no (?:further )?(?:revision|change|correction)s? (?:is |are )?(?:needed|necessary|required)"
    rf"(?:{_IS_OVER}| here\b| (?:in|to) {_RESPONSE}| (?:as|because|since)\b)"
    rf"|(?:i|we)(?:'d|'ll|'ve| would| will| should| have) {_EDIT} (?:the|this|that|my|your) (?:\w+ ){{0,2}}"
    r"(?:response|answer|reply|sentence|paragraph|wording|phrasing|instructions|critique|revision)\b"
    r"(?! (?:of|in|from) your\b)"
    # What somebody says of an edit, in front of it or in place of one.
    rf"|(?:note|edit)\b\W{{1,5}}(?:i|we)(?:'ve| have)? {_EDIT}\b|(?:n/a|none(?: needed)?|unchanged)\W*$"
    r"|the (?:assistant|chatbot) (?:should|could have|does|did|has|gives)\b)"
)
_REVISED: Final = r"(?:revised|rewritten|improved)\s+(?:response|answer|reply|version|revision)"
_LEAD_IN: Final = re.compile(
    r"^\s*(?:(?:sure|certainly|of course|okay|ok)[,.!:]?\s+)?"
    r"(?:(?:based on|following|given) (?:the|this|your|that) (?:critique|request)s?[\w ]{0,20},\s+)?"
    r"(?:(?:here(?:['’]s| is| are)|below is|(?:the )?following is)\s+(?:a|an|the|my|your)\s+"
    rf"(?:[\w-]+(?:,|\s+and)\s+){{0,3}}(?:[\w-]+\s+)?(?:{_REVISED}|revision|critique)\b[^\n:]{{0,40}}"
    rf"|(?:the|my|a)\s+{_REVISED}\s+(?:is|reads|would be|could be)(?: as follows)?):\s*",
    re.IGNORECASE,
)
# With a colon behind it, or alone in its line.
_LABEL: Final = re.compile(
    r"^\s*[*_#]*\s*(?:critique|revision|revised response)(?:\s*:[*_]*\s*|[*_]*[ \t]*\n\s*)", re.IGNORECASE
)


def own_words(text: str, ends: Sequence[str] = ()) -> str:
    """A critique or revision without what a model puts around it: the label said again, "Here is a revised response:".

    Args:
        text: what it wrote.
        ends: where it goes on with the prompt's layout; that is cut off.

    Returns:
        The text; empty where nothing is left.
    """
    cut = min((at for end in ends if (at := f"\n{text}".find(end)) >= 0), default=len(text) + 1)
    return _LEAD_IN.sub("", _LABEL.sub("", text[: max(0, cut - 1)].strip("\n"))).strip()


def at_the_margin(text: str, before: str) -> str:
    """A revision without the indentation of the prompt, where the model copied that of the response it read.

    Args:
        text: its own words.
        before: the response that was to be revised; where it is indented by itself, as code is, nothing is taken off.
    """
    first, *others = text.split("\n")
    if not _is_indented(others) or _is_indented(before.split("\n")[1:]):
        return text
    return "\n".join([first, *(line.removeprefix(INDENT) for line in others)])


def _is_indented(lines: Sequence[str]) -> bool:
    written = [line for line in lines if line.strip()]
    return bool(written) and all(line.startswith(INDENT) for line in written)


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
