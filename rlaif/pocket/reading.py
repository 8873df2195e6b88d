"""How gold reads: words with their places, and the phrases of the world among them.

A step or an alternative is found in a text by its words, in their order and close together, from its verb on.
Articles and possessives do not count; objects, parts and people are blanks, which a pronoun fills as well.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from rlaif.pocket.english import DETERMINERS, FUNCTION_WORDS, lowered
from rlaif.pocket.lexicon import ACTIONS, OBJECTS, PEOPLE, Action
from rlaif.pocket.world import Activity

_ENOUGH: Final = 0.6
"""So much of a phrase's words must stand in a text for it to be there."""
_ENOUGH_CONTENT: Final = 0.7
"""And so much of those that mean something by themselves."""
_LOOSE: Final = 2
"""So many foreign words may stand within a phrase."""
_SKIPPED: Final = DETERMINERS - {"every", "each"} | {"his", "this", "that", "these", "those", "some"}
_PRONOUNS: Final = frozenset(["it", "them", "they", "he", "she", "him", "her", "one"])
_ENDS: Final = frozenset([".", "?"])
_NEGATING_WORDS: Final = """
    not never cannot don't can't won't mustn't shouldn't wouldn't isn't wrong illegal cruel mistake unwise foolish
    pointless
"""
_HARMLESS_WORDS: Final = """
    worry forget hesitate mind only hard difficult be afraid shy sure least angry hurt fail harm regret wrong illegal
    cruel go
"""
_ENDING_WORDS: Final = ". ? ; : and but if when because so instead then while"
_NEGATORS: Final = frozenset(_NEGATING_WORDS.split())
_HARMLESSLY_NEGATED: Final = frozenset(_HARMLESS_WORDS.split())
_CLAUSE_ENDS: Final = frozenset(_ENDING_WORDS.split())
_OFFERING_QUESTIONS: Final = ("why not", "how about", "would it", "could you", "have you", "what about", "can you")


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        text: In lower case; "." or "?" for the end of a sentence, and ",", ";", ":" for themselves.
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
    return re.compile(rf"\b(?P<entity>{entity})\b(?:'s)?|[a-z0-9]+(?:['-][a-z0-9]+)*|[.?!…\n]+|[,;:]")


def words_of(text: str) -> list[Word]:
    """The words of a text, with their places in it."""
    found = []
    for match in _pattern().finditer(lowered(text)):
        word = match["entity"] or match.group()
        if word[0] in ".?!…\n":
            word = "?" if "?" in word else "."
        found.append(Word(word, match.start(), match.end(), match["entity"] is not None))
    return found


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

    @property
    def content(self) -> frozenset[str]:
        """Those of its words that mean something by themselves."""
        return frozenset(self.words) - FUNCTION_WORDS - {"_"}


@dataclass(frozen=True, slots=True)
class Found:
    """A phrase of the world in a text.

    Attributes:
        phrase: Which one.
        share: How much of its words is there.
        entities: The objects, parts and people named in it.
        start: Where it begins, in characters.
        end: Where it ends.
        denied: Whether a negation reaches it, or it is only asked about.
    """

    phrase: Phrase
    share: float
    entities: frozenset[str]
    start: int
    end: int
    denied: bool


def entities_of(text: str) -> frozenset[str]:
    """The objects, parts and people that a text names."""
    return frozenset(word.text for word in words_of(text) if word.entity)


def _blanked(words: Sequence[Word]) -> tuple[list[str], list[int]]:
    """The words that count, with "_" for what a blank stands for, and their numbers in the list."""
    texts: list[str] = []
    numbers: list[int] = []
    for number, word in enumerate(words):
        if word.text in _SKIPPED or word.text in (",", ";", ":"):
            continue
        text = "_" if word.entity or word.text in _PRONOUNS else "never" if word.text == "don't" else word.text
        if text == "not" and texts and texts[-1] == "do":
            texts[-1] = "never"
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


def _stems(verb: str) -> tuple[str, ...]:
    """A verb, and what it may be a form of: wiping → wipe, cutting → cut."""
    if not verb.endswith("ing") or len(verb) < len("going"):
        return (verb,)
    stem = verb.removesuffix("ing")
    return (verb, stem, f"{stem}e", stem[:-1]) if stem[-1] == stem[-2] else (verb, stem, f"{stem}e")


def _denied(words: Sequence[Word], own: set[int]) -> list[bool]:
    """Of each word, whether a negation before it reaches it, or it stands in a question that suggests nothing.

    Args:
        words: of a text.
        own: numbers of those that belong to a phrase of the world: they negate nothing.
    """
    texts = [word.text for word in words]
    # Whether the rest of the sentence has an "or", which carries a negation over commas; and whether it is a question.
    has_or, asks = [False] * len(texts), [False] * len(texts)
    for number in reversed(range(len(texts))):
        last = number + 1 == len(texts) or texts[number] in _ENDS
        has_or[number] = texts[number] == "or" or (not last and has_or[number + 1])
        asks[number] = texts[number] == "?" if last else asks[number + 1]
    found = []
    reach, suggests = False, False
    for number, text in enumerate(texts):
        before, after = (texts[at] if 0 <= at < len(texts) else "." for at in (number - 1, number + 1))
        if before in _ENDS:
            suggests = " ".join(texts[number : number + 2]) in _OFFERING_QUESTIONS
        found.append(reach or (asks[number] and not suggests))
        if text in _CLAUSE_ENDS or (text == "," and not has_or[number]):
            reach = False
        elif number in own:
            continue
        elif text in _NEGATORS:
            if before in _NEGATORS:
                reach = False  # "it is not wrong to", "it would be wrong not to"
            elif after not in _HARMLESSLY_NEGATED and before != "why":
                reach = True
        elif (text in ("nobody", "one") and after in ("should", "must") and (text == "nobody" or before == "no")) or (
            (text in ("avoid", "stop") and after.endswith("ing")) or (text in ("sense", "need") and before == "no")
        ):
            reach = True
    return found


def phrases_in(text: str) -> list[Found]:
    """The steps and alternatives of the world in a text, each once.

    A phrase is there if at least six tenths of its words are, in order, from its verb on, and seven tenths of
    those that mean something by themselves.

    Args:
        text: any text.
    """
    words = words_of(text)
    texts, numbers = _blanked(words)
    candidates = []
    for place, verb in enumerate(texts):
        for first in _stems(verb):
            for phrase in _phrases().get(first, ()):
                window = [first, *texts[place + 1 : place + len(phrase.words) + _LOOSE]]
                window = window[: next((at for at, one in enumerate(window) if one in _ENDS), len(window))]
                inside = set(window)
                content = len(phrase.content & inside) >= _ENOUGH_CONTENT * len(phrase.content)
                if not content or len(inside.intersection(phrase.words)) < _ENOUGH * len(phrase.words) - 1:
                    continue
                count, last = _common(phrase.words, window)
                if count >= _ENOUGH * len(phrase.words) and count > 1:
                    candidates.append((count / len(phrase.words), place, place + last, phrase))
    found: list[tuple[float, int, int, Phrase]] = []
    taken, seen = set[int](), set[tuple[str, str]]()
    # What two phrases share counts for the one that fits better.
    for share, start, end, phrase in sorted(candidates, key=lambda one: (-one[0], one[1])):
        span = set(range(start, end + 1))
        if len(taken & span) <= len(span) / 2 and (phrase.action.asked, phrase.template) not in seen:
            taken |= span
            seen.add((phrase.action.asked, phrase.template))
            found.append((share, numbers[start], numbers[end], phrase))
    denied = _denied(words, {number for _, first, last, _ in found for number in range(first, last + 1)})
    return [
        Found(
            phrase,
            share,
            frozenset(word.text for word in words[first : last + 1] if word.entity),
            words[first].start,
            words[last].end,
            denied[first],
        )
        for share, first, last, phrase in sorted(found, key=lambda one: one[1])
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
