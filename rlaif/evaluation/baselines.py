"""What a reward model has to beat: which of two responses wins by one plain number of each. Pure.

A number is of one response; the response with more of it is predicted to be preferred, and equal numbers predict a tie.
Where agreement is counted a tie of a predictor is half an agreement. Where a number cannot be told, as of the share of
no words, nothing is predicted.
"""

import re
from collections.abc import Sequence
from typing import Any

WORD = re.compile(r"\w+")
TEXT_BASELINES = ("longer (words)", "more of its words are in the query", "closer to the reference (ROUGE-L)")
"""What `text_numbers` gives, in its order."""


def wins(one: float | None, other: float | None) -> float | None:
    """What two numbers predict.

    Args:
        one: of response 1; None where it cannot be told.
        other: of response 2.

    Returns:
        P(response 1 preferred): 1, 0, or .5 for equal numbers; None where a number is not known.
    """
    if one is None or other is None:
        return None
    return 0.5 if one == other else float(one > other)


def text_numbers(query: Sequence[str], response: str, reference: Any = None) -> tuple[float | None, ...]:
    """The numbers of a response that its texts alone tell.

    Args:
        query: the texts of the dialogue's turns.
        response: the response.
        reference: a response that is known to be good; what is no text counts as none.

    Returns:
        How many words it has, the share of its words that are in the query, and ROUGE-L, as in `TEXT_BASELINES`.
    """
    near = rouge_l(response, reference) if isinstance(reference, str) else None
    return float(len(response.split())), overlap(response, "\n".join(query)), near


def overlap(response: str, query: str) -> float | None:
    """How much of what a response says is in the query.

    Args:
        response: any text.
        query: any text.

    Returns:
        The share of the response's different words that are in the query, in any case, in [0, 1]; None where the
        response has no word.
    """
    said = set(_words(response))
    return len(said & set(_words(query))) / len(said) if said else None


def rouge_l(response: str, reference: str) -> float | None:
    """F1 of the longest common subsequence of words, without stemming.

    Args:
        response: any text.
        reference: any text.

    Returns:
        In [0, 1]; None where the reference has no word.

    Source: Lin, ROUGE: A Package for Automatic Evaluation of Summaries (2004), section 3.1, with β = 1.
    """
    said, wanted = _words(response), _words(reference)
    # 2·P·R / (P + R) with P = common / |said| and R = common / |wanted|.
    return 2 * longest_common(said, wanted) / (len(said) + len(wanted)) if wanted else None


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, a machine word of one text at a time.

    Args:
        one: words.
        other: words.

    Source: Hyyrö, Bit-parallel LCS-length computation revisited (AWOCA 2004), figure 4.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(one)) - 1
    # A bit is 0 where the common subsequence of this much of `one` is longer by one than without that word.
    row = full
    for word in other:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(one) - row.bit_count()


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())
