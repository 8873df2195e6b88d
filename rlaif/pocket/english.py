"""How well any text reads as English, by rules of thumb that hold outside the pocket world too."""

import re
from itertools import pairwise
from typing import Final

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
DETERMINERS: Final = frozenset(_DETERMINER_WORDS.split())
_LINKS: Final = frozenset(_LINK_WORDS.split())
_SMALL: Final = frozenset(_SMALL_WORDS.split())
FUNCTION_WORDS: Final = DETERMINERS | _LINKS | _SMALL
# After an article or a possessive comes a noun phrase; none of these begins one.
_NO_NOUN_WORDS: Final = """
    i you he she we they me us them him is are was were be been has have had does did would could should who which what
    when where how this that these those not up
"""
_NEVER_AFTER_DETERMINER: Final = (DETERMINERS | _LINKS | frozenset(_NO_NOUN_WORDS.split())) - {"near"}
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


def lowered(text: str) -> str:
    """The text in lower case, character by character, so that places stay the same."""
    lower = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return lower if len(lower) == len(text) else "".join(one.lower() if len(one.lower()) == 1 else "_" for one in text)


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
    share *= ramp(sum(word in FUNCTION_WORDS for word in plain) / len(plain), 0.1, 0.28)
    slips = sum(
        one == two
        or (one in DETERMINERS and (two in _NEVER_AFTER_DETERMINER or not two[0].isalnum()))
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
    found, before, numbered = 0, ".", False
    for match in re.finditer(r"[A-Za-z0-9]+(?:'[A-Za-z]+)?|[.?!…\n:\"()-]+", text):
        word = match.group()
        if not word[0].isalnum():
            before = word[-1]
            continue
        if before in (".", "?", "!"):
            found += word[0].islower() and not numbered  # "1. wipe" is fine
        elif not before:
            found += word[0].isupper() and word.lower() in FUNCTION_WORDS - {"i"}
        before, numbered = "", word.isdigit()
    return found
