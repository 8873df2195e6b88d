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
_ENOUGH_CONTENT: Final = 0.7
"""And so much of those that mean something by themselves."""
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
_NO_NOUN_WORDS: Final = """
    i you he she we they me us them him is are was were be been has have had does did would could should who which what
    when where how this that these those not up
"""
_NEVER_AFTER_DETERMINER: Final = (_DETERMINERS | _LINKS | frozenset(_NO_NOUN_WORDS.split())) - {"near"}
# Pairs of words that no English sentence has, though each of its words is common: (these, before these).
_MISFITS: Final = tuple(
    (frozenset(first.split()), frozenset(second.split()))
    for first, second in (
        ("i he she we they", "i he she we they to the of a an"),
        ("i we they", "is has does"),
        ("it he she", "are were have do"),
        ("can could will would should must may might cannot", "to of is are was were has had"),
        ("to of from into", "is of to are was were"),
        ("of and or but from into at the", ". ? , and but"),
        ("is are was were be", "do does did can could will would should is are was were"),
    )
)

_SKIPPED: Final = _DETERMINERS - {"every", "each"} | {"his", "this", "that", "these", "those", "some"}
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


def lowered(text: str) -> str:
    """The text in lower case, character by character, so that places stay the same."""
    lower = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return lower if len(lower) == len(text) else "".join(one.lower() if len(one.lower()) == 1 else "_" for one in text)


def words_of(text: str) -> list[Word]:
    """The words of a text, with their places in it."""
    found = []
    for match in _pattern().finditer(lowered(text)):
        word = match["entity"] or match.group()
        if word[0] in ".?!…\n":
            word = "?" if "?" in word else "."
        found.append(Word(word, match.start(), match.end(), match["entity"] is not None))
    return found


def tokens(text: str) -> list[str]:
    """Words in lower case, the marks of punctuation among them; "." or "?" ends a sentence."""
    found = re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*|[.?!…\n]+|[,;:]", lowered(text))
    return [word if word[0] not in ".?!…\n" else "?" if "?" in word else "." for word in found]


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
        return float(plain in (["no"], ["yes"], ["sure"], ["gladly"], ["certainly"]))
    share = 1.0
    if not response.rstrip().endswith((".", "!", "?", '"', ")", "…")):
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
        or (one in _DETERMINERS and (two in _NEVER_AFTER_DETERMINER or not two[0].isalnum()))
        or any(one in first and two in second for first, second in _MISFITS)
        for one, two in pairwise(words)
        if one[0].isalnum()
    )
    share *= ramp(1 - (slips + _misplaced_capitals(response)) / len(plain), 0.8, 0.975)
    stops = [-1, *(place for place, word in enumerate(words) if not word[0].isalnum()), len(words)]
    share *= 1 - ramp(max(after - before for before, after in pairwise(stops)), 32, 50)
    return share * (1 - ramp(len(plain), _LONGEST, 2 * _LONGEST))


def _misplaced_capitals(text: str) -> int:
    """How many sentences begin with a small letter, and how many small words inside one with a capital."""
    found, begins = 0, True
    for match in re.finditer(r"[A-Za-z]+(?:'[A-Za-z]+)?|[.?!…\n:\"()-]+", text):
        word = match.group()
        if not word[0].isalpha():
            begins = True
            continue
        if begins:
            # A colon or a quotation mark may be followed by either.
            before = text[: match.start()].rstrip()[-1:]
            found += word[0].islower() and before in ("", ".", "?", "!")
        else:
            found += word[0].isupper() and word.lower() in _FUNCTION_WORDS - {"i"}
        begins = False
    return found


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

    @property
    def content(self) -> frozenset[str]:
        """Those of its words that mean something by themselves."""
        return frozenset(self.words) - _FUNCTION_WORDS - {"_"}


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
        if word.text in _SKIPPED or word.text in ",;:":
            continue
        text = "_" if word.entity or word.text in _PRONOUNS else "never" if word.text == "don't" else word.text
        if text == "not" and texts and texts[-1] == "do":
            texts[-1] = "never"
            continue
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


def phrases_in(text: str, prefer: Action | None = None) -> list[Found]:
    """The steps and alternatives of the world in a text, each once.

    A phrase is there if at least six tenths of its words are, in order, from its verb on, and seven tenths of
    those that mean something by themselves.

    Args:
        text: any text.
        prefer: of two phrases that fit the same words equally well, the one of this action is found.
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
