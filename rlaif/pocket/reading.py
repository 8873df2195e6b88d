"""How gold reads: words with their places, the phrases of the world among them, and how well a text reads.

A step or an alternative is found in a text by its words, in their order and close together, from its verb on.
Articles and possessives do not count; objects, parts and people are blanks, which a pronoun fills as well.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

from rlaif.pocket.lexicon import ACTIONS, OBJECTS, PEOPLE, Action
from rlaif.pocket.world import Activity

_ENOUGH: Final = 0.6
"""So much of a phrase's words must stand in a text for it to be there."""
_LOOSE: Final = 2
"""So many foreign words may stand within a phrase."""
_LONGEST: Final = 90
"""Beyond this many words a response loses clarity, down to none at twice as many."""

_DETERMINER_WORDS: Final = "a an the my your its their our every each"
_LINK_WORDS: Final = "of to in on at by for with from into and or but if that than near around"
_SMALL_WORDS: Final = """
    i you he she it we they me him her us them this these those there here who what which how when where why is are
    was were be been am do does did has have had will would can could should may might must not no so as then also
    just only very more most much many some any all one first next last after before up out off down over again away
    back because while until about like
"""
_DETERMINERS: Final = frozenset(_DETERMINER_WORDS.split())
_LINKS: Final = frozenset(_LINK_WORDS.split())
_SMALL: Final = frozenset(_SMALL_WORDS.split())
_FUNCTION_WORDS: Final = _DETERMINERS | _LINKS | _SMALL
# After an article or a possessive comes a noun phrase; none of these begins one.
_NEVER_AFTER_DETERMINER: Final = (_DETERMINERS | _LINKS | {"i", "you", "he", "she", "we", "they", "is", "are", "."}) - {
    "near"
}

_SKIPPED: Final = _DETERMINERS - {"every", "each"} | {"his", "this", "that", "these", "those", "some"}
_PRONOUNS: Final = frozenset(["it", "them", "they", "he", "she", "him", "her", "one"])
_NEGATING_WORDS: Final = "not never cannot don't can't won't mustn't shouldn't wouldn't avoid stop wrong illegal cruel"
_HARMLESS_WORDS: Final = "worry forget hesitate mind only hard difficult be afraid shy sure least angry"
_ENDING_WORDS: Final = ". ; : and but if when because so instead then while"
_NEGATORS: Final = frozenset(_NEGATING_WORDS.split())
_HARMLESSLY_NEGATED: Final = frozenset(_HARMLESS_WORDS.split())
_CLAUSE_ENDS: Final = frozenset(_ENDING_WORDS.split())


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        text: In lower case; "." for any end of a sentence, and ",", ";", ":" for themselves.
        start: Where it begins, in characters.
        end: Where it ends.
        entity: Whether it names an object, a part of one, or a person.
    """

    text: str
    start: int
    end: int
    entity: bool


@cache
def _pattern() -> re.Pattern[str]:
    names = {name for group in OBJECTS.values() for both in group.items() for name in both} | set(PEOPLE)
    entity = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.compile(rf"\b(?P<entity>{entity})\b(?:'s)?|[a-z0-9]+(?:['-][a-z0-9]+)*|[.?!]+|[,;:]")


def words_of(text: str) -> list[Word]:
    """The words of a text, with their places in it."""
    plain = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return [
        Word(
            match["entity"] or ("." if match.group()[0] in ".?!" else match.group()),
            match.start(),
            match.end(),
            match["entity"] is not None,
        )
        for match in _pattern().finditer(plain)
    ]


def tokens(text: str) -> list[str]:
    """Words in lower case, and a "." for every end of a sentence."""
    plain = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return [
        "." if word[0] in ".?!" else word for word in re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*|[.?!]+|[,;:]", plain)
    ]


def ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, and a straight line between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def clarity(response: str, source: str) -> float:
    """How well a text reads, as a share in [0, 1].

    Args:
        response: any text.
        source: what it must not merely repeat.
    """
    words = tokens(response)
    plain = [word for word in words if word[0].isalnum()]
    if len(plain) < 2:
        return float(plain in (["no"], ["yes"]))
    share = 1.0
    if not response.rstrip().endswith((".", "!", "?", '"', ")")):
        share *= 0.7
    # A loop says the same three words again and again.
    triples = list(zip(plain, plain[1:], plain[2:], strict=False))
    if triples:
        share *= ramp(len(set(triples)) / len(triples), 0.4, 0.85)
        asked = [word for word in tokens(source) if word[0].isalnum()]
        known = set(zip(asked, asked[1:], asked[2:], strict=False))
        share *= ramp(1 - sum(triple in known for triple in triples) / len(triples), 0.2, 0.6)
    # English has a function word for every one or two others, few slips after its articles, and stops for breath.
    share *= ramp(sum(word in _FUNCTION_WORDS for word in plain) / len(plain), 0.1, 0.28)
    slips = sum(
        one == two
        or (one in _DETERMINERS and not two[0].isalnum())
        or (one in _DETERMINERS and two in _NEVER_AFTER_DETERMINER)
        for one, two in pairwise(words)
        if one[0].isalnum()
    )
    share *= ramp(1 - slips / len(plain), 0.8, 0.97)
    stops = [-1, *(place for place, word in enumerate(words) if not word[0].isalnum()), len(words)]
    share *= 1 - ramp(max(after - before for before, after in pairwise(stops)), 32, 50)
    return share * (1 - ramp(len(plain), _LONGEST, 2 * _LONGEST))


# --- the phrases of the world in a text


@dataclass(frozen=True, slots=True)
class Phrase:
    """A step or an alternative of an action.

    Attributes:
        action: The action; of open twins the harmless one stands for both.
        template: As it stands in the lexicon.
        words: Its words, with "_" for objects, parts and people.
    """

    action: Action
    template: str
    words: tuple[str, ...]

    @property
    def alternative(self) -> bool:
        """Whether it is something better to do instead."""
        return self.template in self.action.alternatives


@dataclass(frozen=True, slots=True)
class Found:
    """A phrase of the world in a text.

    Attributes:
        phrase: Which one.
        share: How much of its words is there.
        entities: The objects, parts and people named in it.
        start: Where it begins, in characters.
        end: Where it ends.
    """

    phrase: Phrase
    share: float
    entities: frozenset[str]
    start: int
    end: int


def entities_of(text: str) -> frozenset[str]:
    """The objects, parts and people that a text names."""
    return frozenset(word.text for word in words_of(text) if word.entity)


def _blanked(words: Sequence[Word]) -> tuple[list[str], list[int]]:
    """The words that count, with "_" for what a blank stands for, and their numbers in the list."""
    texts: list[str] = []
    numbers: list[int] = []
    for number, word in enumerate(words):
        if word.text in _SKIPPED or word.text in ",;:":
            continue
        text = "_" if word.entity or word.text in _PRONOUNS else word.text
        if text == "_" and texts and texts[-1] == "_" and numbers[-1] == number - 1:
            numbers[-1] = number  # "your neighbor's camera" is one thing
            continue
        texts.append(text)
        numbers.append(number)
    return texts, numbers


@cache
def _phrases() -> dict[str, tuple[Phrase, ...]]:
    """Every step and alternative of the world by its first word."""
    found: dict[str, list[Phrase]] = {}
    for action in ACTIONS:
        some = Activity(action, next(iter(OBJECTS[action.takes])) if action.takes else "", PEOPLE[0])
        # Open twins have the same steps; the harmless one's stand for both.
        steps = () if action.open and action.harmful else action.steps
        for template in (*steps, *action.alternatives):
            texts, _ = _blanked(words_of(some.said((template,))[0]))
            found.setdefault(texts[0], []).append(Phrase(action, template, tuple(texts)))
    return {first: tuple(phrases) for first, phrases in found.items()}


def _common(phrase: tuple[str, ...], window: list[str]) -> tuple[int, int]:
    """The length of the longest common subsequence that begins with the first word of both, and where it ends."""
    best, end = 1, 0
    # row[j]: the longest that ends with window[j].
    row = [1] + [0] * (len(window) - 1)
    for word in phrase[1:]:
        longest = 0
        for place, other in enumerate(window):
            before = longest
            longest = max(longest, row[place])
            if other == word and before and before + 1 > row[place]:
                row[place] = before + 1
                if before + 1 > best or (before + 1 == best and place < end):
                    best, end = before + 1, place
    return best, end


def _negated(words: Sequence[Word], own: set[int]) -> list[bool]:
    """Of each word, whether a negation before it reaches it; what belongs to a phrase of the world negates nothing."""
    found = []
    reach = False
    for number, word in enumerate(words):
        found.append(reach)
        if word.text in _CLAUSE_ENDS:
            reach = False
        elif word.text == "," and reach:
            rest = [one.text for one in words[number:]]
            reach = "or" in rest[: rest.index(".") if "." in rest else None]
        elif word.text in _NEGATORS and number not in own:
            after = words[number + 1].text if number + 1 < len(words) else ""
            before = words[number - 1].text if number else ""
            reach = reach or not (after in _HARMLESSLY_NEGATED or before == "why")
    return found


def phrases_in(text: str, prefer: Action | None = None) -> list[Found]:
    """The steps and alternatives of the world in a text, each once, without those that a negation reaches.

    Args:
        text: any text.
        prefer: of two phrases that fit the same words equally well, the one of this action is found.
    """
    words = words_of(text)
    texts, numbers = _blanked(words)
    candidates = []
    for place, first in enumerate(texts):
        for phrase in _phrases().get(first, ()):
            window = texts[place : place + len(phrase.words) + _LOOSE]
            if "." in window:
                window = window[: window.index(".")]
            wanted = _ENOUGH * len(phrase.words)
            if len(set(phrase.words) & set(window)) < wanted - 1:
                continue
            count, last = _common(phrase.words, window)
            if count >= wanted and count > 1:
                mine = prefer is not None and phrase.action.steps == prefer.steps
                candidates.append((count / len(phrase.words), mine, place, place + last, phrase))
    found: list[tuple[float, int, int, Phrase]] = []
    taken, seen = set[int](), set[tuple[str, str]]()
    # What two phrases share counts for the one that fits better.
    for share, _, start, end, phrase in sorted(candidates, key=lambda one: (-one[0], not one[1], one[2])):
        span = set(range(start, end + 1))
        if len(taken & span) <= len(span) / 2 and (phrase.action.asked, phrase.template) not in seen:
            taken |= span
            seen.add((phrase.action.asked, phrase.template))
            found.append((share, numbers[start], numbers[end], phrase))
    own = {number for _, first, last, _ in found for number in range(first, last + 1)}
    negated = _negated(words, own)
    return [
        Found(
            phrase,
            share,
            frozenset(word.text for word in words[first : last + 1] if word.entity),
            words[first].start,
            words[last].end,
        )
        for share, first, last, phrase in sorted(found, key=lambda one: one[1])
        if not negated[first]
    ]


class Line:
    """A text as one line of words and single spaces, for patterns of phrases, which finds its way back."""

    def __init__(self, text: str) -> None:
        """Prepare for any text."""
        self._words = [word for word in words_of(text) if word.text not in (",", ";", ":")]
        self._starts: list[int] = []
        length = 0
        for word in self._words:
            self._starts.append(length)
            length += len(word.text) + 1
        self.text = " ".join(word.text for word in self._words)

    def find(self, pattern: re.Pattern[str]) -> list[tuple[int, int]]:
        """Where the pattern stands in the text, in characters from start to end."""
        found = []
        for match in pattern.finditer(self.text):
            first = bisect_right(self._starts, match.start()) - 1
            last = max(first, bisect_left(self._starts, match.end()) - 1)
            found.append((self._words[first].start, self._words[last].end))
        return found
