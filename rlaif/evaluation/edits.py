"""Small edits of a response: some change what it means, others leave it as it is. Pure.

They are made by rules on English words, without a parser: some are clumsy, and a few miss their aim ("is not only"
means something else again). That is why reports give shares over many edits, and never a verdict on one.
Where an edit has several places or outcomes, one is drawn by the seed and the text, whatever else is edited.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

Rewrite = Callable[[str, Random], str | None]

OPPOSITES = (
    *(("safe", "dangerous"), ("always", "never"), ("before", "after"), ("more", "less"), ("most", "least")),
    *(("better", "worse"), ("best", "worst"), ("good", "bad"), ("true", "false"), ("correct", "wrong")),
    *(("first", "last"), ("hot", "cold"), ("warm", "cool"), ("high", "low"), ("higher", "lower")),
    *(("large", "small"), ("bigger", "smaller"), ("long", "short"), ("fast", "slow"), ("quickly", "slowly")),
    *(("many", "few"), ("often", "rarely"), ("with", "without"), ("above", "below"), ("inside", "outside")),
    *(("start", "stop"), ("add", "remove"), ("accept", "refuse"), ("agree", "disagree"), ("together", "alone")),
    *(("buy", "sell"), ("push", "pull"), ("love", "hate"), ("friend", "stranger"), ("polite", "rude")),
    *(("clean", "dirty"), ("wet", "dry"), ("thick", "thin"), ("strong", "weak"), ("simple", "difficult")),
    *(("healthy", "sick"), ("public", "private"), ("strictly", "loosely"), ("succeed", "fail")),
)
"""Words that say the contrary of each other; adjectives and nouns begin with a consonant, so that "a" stays right."""

NUMBER_WORDS = (
    *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty"),
    *("thirty", "forty", "fifty"),
)

_AUXILIARIES = "is|are|was|were|can|could|should|will|would|must|may|might"
_NOT_YET = re.compile(rf"(?<!\ba )(?<!\bthe )\b(?:{_AUXILIARIES})\b(?!['’]|\s+not\b)")
_NOT = re.compile(rf"\b((?:{_AUXILIARIES}|do|does|did|has|have|had)) not\b|\b(can)not\b", re.IGNORECASE)
_SHORT_NOT = re.compile(r"\b(wo|ca|sha|is|are|was|were|could|should|would|must|do|does|did|has|have|had)n['’]t\b", re.I)
_WHOLE = {"wo": "will", "ca": "can", "sha": "shall"}
_LIST_MARK = re.compile(r"^[ \t]*\d{1,3}[.)](?=\s)", re.MULTILINE)
_DIGITS = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?!\w)")
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(NUMBER_WORDS)})\b", re.IGNORECASE)
_PARTNERS = dict([*OPPOSITES, *((other, one) for one, other in OPPOSITES)])
_OPPOSITE = re.compile(rf"\b(?:{'|'.join(_PARTNERS)})\b", re.IGNORECASE)
_GAP = re.compile(r"(?<=\S) (?=\S)")
_CAN_NOT = re.compile(r"\b(can)( ?)(not)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Edit:
    """One kind of edit.

    Attributes:
        changes_meaning: whether it is meant to; the others are the control.
        rewrite: makes it; None where a text has no place for it.
    """

    changes_meaning: bool
    rewrite: Rewrite


def edits_of(text: str, seed: int) -> dict[str, str | None]:
    """A text under every kind of edit.

    Args:
        text: a response.
        seed: of what is drawn.

    Returns:
        By the names of `EDITS` the edited text, which differs; None where there is no place for the edit, as in an
        empty text.
    """
    return {name: edit.rewrite(text, Random(f"{seed}:{name}:{text}")) for name, edit in EDITS.items()}


def _replace(text: str, match: re.Match[str], new: str) -> str:
    return text[: match.start()] + new + text[match.end() :]


def _any_of(pattern: re.Pattern[str], text: str, draw: Random) -> re.Match[str] | None:
    found = list(pattern.finditer(text))
    return draw.choice(found) if found else None


def insert_negation(text: str, draw: Random) -> str | None:
    """Write "is not" for "is", and so with "can", "should", "will", …; not at the start of a sentence.

    Args:
        text: any.
        draw: which of several places.
    """
    place = _any_of(_NOT_YET, text, draw)
    return None if place is None else _replace(text, place, f"{place[0]} not")


def drop_negation(text: str, draw: Random) -> str | None:
    """Write "do" for "do not", "can" for "cannot", "will" for "won't".

    Args:
        text: any.
        draw: which of several places.
    """
    found = [*_NOT.finditer(text), *_SHORT_NOT.finditer(text)]
    if not found:
        return None
    place = draw.choice(found)
    verb = place[place.lastindex or 0]
    return _replace(text, place, _cased(_WHOLE.get(verb.casefold(), verb), verb))


def change_number(text: str, draw: Random) -> str | None:
    """Write another number: of digits the first changes, so that "2.5" stays as long; the marks of a list stay.

    Args:
        text: any.
        draw: which of several places, and which number.
    """
    marks = {match.end() for match in _LIST_MARK.finditer(text)}
    digits = [match for match in _DIGITS.finditer(text) if match.end() + 1 not in marks]
    found = [*digits, *_NUMBER_WORD.finditer(text)]
    if not found:
        return None
    place = draw.choice(found)
    old = place[0]
    if old[0].isdigit():
        return _replace(text, place, draw.choice([one for one in "123456789" if one != old[0]]) + old[1:])
    others = [word for word in NUMBER_WORDS if word != old.casefold()]
    return _replace(text, place, _cased(draw.choice(others), old))


def say_the_opposite(text: str, draw: Random) -> str | None:
    """Write the partner of a word of `OPPOSITES`.

    Args:
        text: any.
        draw: which of several places.
    """
    place = _any_of(_OPPOSITE, text, draw)
    return None if place is None else _replace(text, place, _cased(_PARTNERS[place[0].casefold()], place[0]))


def double_a_space(text: str, draw: Random) -> str | None:
    """Write two spaces for one between two words.

    Args:
        text: any.
        draw: which of several places.
    """
    place = _any_of(_GAP, text, draw)
    return None if place is None else _replace(text, place, "  ")


def end_the_line(text: str, draw: Random) -> str | None:
    """Add a line break at the end.

    Args:
        text: any.
        draw: nothing is drawn.
    """
    return f"{text}\n" if text.strip() else None


def turn_apostrophes(text: str, draw: Random) -> str | None:
    """Turn straight apostrophes into curly ones, or curly ones into straight where there are no straight ones.

    Args:
        text: any.
        draw: nothing is drawn.
    """
    if "'" in text:
        return text.replace("'", "’")
    return text.replace("’", "'") if "’" in text else None


def split_cannot(text: str, draw: Random) -> str | None:
    """Write "can not" for "cannot", and the other way round.

    Args:
        text: any.
        draw: which of several places.
    """
    place = _any_of(_CAN_NOT, text, draw)
    return None if place is None else _replace(text, place, f"{place[1]}{'' if place[2] else ' '}{place[3]}")


def _cased(word: str, like: str) -> str:
    return word.upper() if like.isupper() and len(like) > 1 else word.capitalize() if like[0].isupper() else word


EDITS: Mapping[str, Edit] = {
    "not inserted": Edit(True, insert_negation),
    "not dropped": Edit(True, drop_negation),
    "another number": Edit(True, change_number),
    "an opposite": Edit(True, say_the_opposite),
    "a doubled space": Edit(False, double_a_space),
    "a line break at the end": Edit(False, end_the_line),
    "other apostrophes": Edit(False, turn_apostrophes),
    "cannot, can not": Edit(False, split_cannot),
}
"""Every kind, by its name in reports."""
