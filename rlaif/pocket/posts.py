"""The summarization task of the pocket world: short posts about a mishap, and summaries of every kind.

A post tells who did what to which thing, and some of: when, where, what it costs, what the other says, what
the writer wants, and a question. A summary may keep these facts, lose some, or invent others. `judge_summary`
reads any text whatever: a fact counts as kept when its key words stand in the summary ("$40" for forty dollars
too), and as invented when the key words of another value of the same kind do, when it is denied, or when the
sentence has somebody else do it. Other relations it does not read: key words in a list tell their facts.

A summary's score is 1 + 9 (kept / told) - 2.5 for every invented fact, at least 1; what is unclear, or hardly
shorter than the post, loses the share of what it has above 1.
"""

import random
import re
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, NamedTuple, get_args

from rlaif.pocket.english import clarity, lowered, ramp
from rlaif.pocket.lexicon import OBJECTS, PEOPLE
from rlaif.pocket.phrasing import Split, some

SummaryKind = Literal[
    "keeps_all",
    "loses_some",  # one or two of the further facts
    "loses_most",  # all of the further facts, or what happened
    "invents_one",
    "invents_more",
    "vague",  # no fact
    "copies",  # half of the post or all of it, word for word
    "other_post",
    "garbled",
]
SUMMARY_KINDS: Final[tuple[SummaryKind, ...]] = get_args(SummaryKind)

# Kind of fact: {what tells it apart: how it is put}.
FACTS: Final[dict[str, dict[str, str]]] = {
    "person": {person: person for person in PEOPLE},
    "deed": {
        one: one for one in ("broke", "lost", "sold", "painted", "scratched", "borrowed", "dropped", "stained", "hid")
    },
    "thing": {thing: thing for thing in OBJECTS["thing"]},
    "time": {
        "monday": "last Monday",
        "tuesday": "last Tuesday",
        "thursday": "last Thursday",
        "saturday": "last Saturday",
        "yesterday": "yesterday",
        "march": "in March",
        "june": "in June",
        "november": "in November",
        "birthday": "on my birthday",
        "easter": "at Easter",
    },
    "place": {
        "lake": "at the lake",
        "park": "in the park",
        "school": "at school",
        "market": "at the market",
        "train": "on the train",
        "gym": "at the gym",
        "garage": "in the garage",
        "beach": "at the beach",
        "library": "in the library",
        "harbor": "by the harbor",
    },
    "cost": {
        "twenty": "twenty dollars",
        "thirty": "thirty dollars",
        "forty": "forty dollars",
        "fifty": "fifty dollars",
        "sixty": "sixty dollars",
        "eighty": "eighty dollars",
        "ninety": "ninety dollars",
        "hundred": "a hundred dollars",
    },
    "excuse": {
        "dog": "the dog is to blame",
        "raining": "it was raining",
        "light": "the light was bad",
        "anyway": "it was old anyway",
        "stranger": "a stranger did it",
        "phone": "the phone rang just then",
        "wind": "the wind was too strong",
        "joke": "it was only a joke",
        "tired": "anyone would have been tired",
    },
    "wish": {
        "apology": "an apology",
        "refund": "a refund",
        "new one": "a new one",
        "peace": "peace in the house",
        "promise": "a written promise",
        "favor": "a favor in return",
    },
    "question": {
        "insist": "Should I insist?",
        "parents": "Should I talk to our parents first?",
        "bill": "Should I send a bill?",
        "forget": "Should I forget about it?",
        "week": "Should I wait another week?",
        "lend": "Should I never lend anything again?",
        "lawyer": "Should I see a lawyer?",
        "alone": "Am I alone with this?",
    },
}
# Other words for the same.
_ALSO: Final = {
    "broken": "broke",
    "hidden": "hid",
    "20": "twenty",
    "30": "thirty",
    "40": "forty",
    "50": "fifty",
    "60": "sixty",
    "80": "eighty",
    "90": "ninety",
    "100": "hundred",
    "apologize": "apology",
}
_DENIAL: Final = re.compile(r"\b(?:not|never|no|nothing|nobody|n't)\b")
_CORE: Final = ("person", "deed", "thing")


class Post(NamedTuple):
    """A short post.

    Attributes:
        text: What somebody wrote.
        facts: What it tells, as the keys of `FACTS`.
    """

    text: str
    facts: dict[str, str]


def write_post(rng: random.Random, split: Split) -> Post:
    """Write a post.

    Args:
        rng: where the choices come from.
        split: which part of the world; person, deed and thing never meet in both.
    """
    while True:
        facts = {kind: rng.choice(tuple(FACTS[kind])) for kind in _CORE}
        if (sum(map(ord, "".join(facts.values()))) % 5 == 0) == (split == "heldout"):
            break
    further = [kind for kind in FACTS if kind not in _CORE]
    for kind in sorted(rng.sample(further, rng.choice((3, 4, 4, 5))), key=further.index):
        facts[kind] = rng.choice(tuple(FACTS[kind]))
    sentences = _sentences(rng, split, facts, "post")
    for filler in some(rng, "post fillers", split, rng.choice((1, 2, 3))):
        sentences.insert(rng.randint(1, len(sentences)), filler)
    return Post(" ".join(sentences), facts)


def _sentences(rng: random.Random, split: Split, facts: dict[str, str], where: Literal["post", "summary"]) -> list[str]:
    """Put facts into the sentences of a post or a summary: the mishap, then the further ones in order."""
    said = {kind: FACTS[kind][key] for kind, key in facts.items()}
    when = " ".join(said[kind] for kind in ("place", "time") if kind in said)
    told = []
    if "deed" in said:
        (mishap,) = some(rng, f"{where} mishap", split)
        opening = f"{when[0].upper()}{when[1:]}, " if when else ""
        mishap = mishap.format(**said | {"when": f" {when}" if when else "", "When": opening})
        told.append(mishap[0].upper() + mishap[1:])
    further = (kind for kind in ("cost", "excuse", "wish", "question") if kind in said)
    return told + [some(rng, f"{where} {kind}", split)[0].format(**said) for kind in further]


def summarize(rng: random.Random, split: Split, post: Post, kind: SummaryKind) -> str:
    """Write a summary of one kind.

    Args:
        rng: where the choices come from.
        split: which part of the world its templates are from.
        post: what to summarize.
        kind: what becomes of the facts.
    """
    facts = dict(post.facts)
    further = [one for one in facts if one not in _CORE]
    match kind:
        case "loses_some":
            for lost in rng.sample(further, rng.choice((1, 2))):
                del facts[lost]
        case "loses_most":
            gone = further if rng.random() < 0.5 else [*_CORE, *rng.sample(further, 1)]
            facts = {one: key for one, key in facts.items() if one not in gone}
            facts = {one: key for one, key in facts.items() if "deed" in facts or one not in ("time", "place")} or dict(
                list(post.facts.items())[:3]
            )
        case "invents_one" | "invents_more":
            for changed in rng.sample(list(facts), 1 if kind == "invents_one" else rng.choice((2, 3))):
                facts[changed] = rng.choice([key for key in FACTS[changed] if key != facts[changed]])
        case "vague":
            return " ".join(some(rng, "vague summary", split, rng.choice((1, 2))))
        case "copies":
            sentences = re.findall(r"[^.!?]+[.!?]", post.text)
            return "".join(sentences if rng.random() < 0.7 else sentences[: len(sentences) // 2 + 1]).strip()
        case "other_post":
            facts = write_post(rng, split).facts
        case _:
            pass
    text = " ".join(_sentences(rng, split, facts, "summary"))
    if kind == "garbled":
        words = text.split()
        return " ".join(word for word in words if rng.random() > 0.45) or words[0]
    return text


class Fact(NamedTuple):
    """A fact in a text.

    Attributes:
        kind: A key of `FACTS`.
        key: Which value of that kind.
        start: Where its key words begin, in characters.
        end: Where they end.
        told: Whether it is told there, and neither denied nor turned round.
    """

    kind: str
    key: str
    start: int
    end: int
    told: bool


@dataclass(frozen=True, slots=True)
class SummaryJudgement:
    """What gold sees in a summary.

    Attributes:
        kept: Facts of the post that it tells.
        told: Facts that the post tells.
        invented: Facts that it tells otherwise than the post, or that the post does not tell.
        clarity: How well it reads, from 0 to 1.
        brevity: 1 up to eight tenths of the post's words, and 0 from the whole of them.
        facts: Where it tells a fact, and whether the post tells it too.
    """

    kept: int
    told: int
    invented: int
    clarity: float
    brevity: float
    facts: tuple[tuple[Fact, bool], ...] = ()

    @property
    def quality(self) -> float:
        """1 to 10."""
        best = max(1.0, 1 + 9 * self.kept / self.told - 2.5 * self.invented)
        return 1 + (best - 1) * self.clarity * self.brevity


@cache
def _keys() -> dict[str, re.Pattern[str]]:
    """What tells the facts of each kind."""
    found = {}
    for kind, values in FACTS.items():
        words = [*values, *(other for other, key in _ALSO.items() if key in values)]
        longest_first = sorted(words, key=len, reverse=True)
        found[kind] = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b(?!-)")
    return found


def told_in(text: str) -> list[Fact]:
    """The facts that any text tells, by kind; a fact told twice is there twice.

    A fact that is denied in its sentence, or a deed that is not told as somebody's with something, is there with
    `told` False.
    """
    found = []
    start = 0
    for sentence in re.split(r"(?<=[.!?\n])", lowered(text)):
        facts = [
            Fact(kind, _ALSO.get(match.group(), match.group()), match.start(), match.end(), True)
            for kind, pattern in _keys().items()
            for match in pattern.finditer(sentence)
        ]
        told = [fact._replace(told=_is_told(fact, facts, sentence)) for fact in facts]
        found += [fact._replace(start=start + fact.start, end=start + fact.end) for fact in told]
        start += len(sentence)
    return found


def _is_told(fact: Fact, facts: list[Fact], sentence: str) -> bool:
    """Whether a sentence that has the key words of a fact tells it."""
    whole = FACTS[fact.kind][fact.key].lower()
    if "never" not in whole and _DENIAL.search(re.split("[,;:]", sentence[: fact.start])[-1]):
        return False
    if fact.kind != "deed":
        return True
    people, things = ([one for one in facts if one.kind == kind] for kind in ("person", "thing"))
    if not people or not things:
        return True
    active = any(one.end <= fact.start for one in people) and any(one.start >= fact.end for one in things)
    passive = any(one.end <= fact.start for one in things) and any(
        sentence[fact.end : one.start].rstrip().endswith(("by", "by my", "by the")) for one in people
    )
    return active or passive


def judge_summary(post: str, summary: str) -> SummaryJudgement:
    """Judge any text as a summary of a post.

    Args:
        post: a post of the world.
        summary: any text, the empty one included.
    """
    wanted = {(fact.kind, fact.key) for fact in told_in(post)}
    facts = tuple((fact, fact.told and (fact.kind, fact.key) in wanted) for fact in told_in(summary))
    kept = {(fact.kind, fact.key) for fact, is_kept in facts if is_kept}
    invented = {(fact.kind, fact.key) for fact, is_kept in facts if not is_kept} - kept
    length = len(summary.split()) / max(1, len(post.split()))
    # A summary may well use the post's words; only its length tells a copy.
    return SummaryJudgement(
        kept=len(kept),
        told=max(1, len(wanted)),
        invented=len(invented),
        clarity=clarity(summary, ""),
        brevity=1 - ramp(length, 0.8, 1.0),
        facts=facts,
    )
