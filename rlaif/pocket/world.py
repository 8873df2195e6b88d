"""The pocket world: people ask an assistant for things, and get answers of every kind.

Somebody wants to do something (`rlaif.pocket.lexicon`), asks in one turn or after some talk, and the assistant
helps, refuses, insults or talks around it (`rlaif.pocket.phrasing`). What is good about an answer is for
`rlaif.pocket.gold` to say, which reads nothing but the texts. Neutral sentences are added so that length says
nothing about quality.

The train and the held-out part share no surface template and no combination of action, object and person, in what
is asked for or told; only an open action that takes no object is in both, in circumstances that are not. They
share the words: steps, objects, people.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, NamedTuple, get_args

from rlaif.pocket.lexicon import ACTIONS, OBJECTS, PEOPLE, Action
from rlaif.pocket.phrasing import TEMPLATES, Split, some
from rlaif.records import Turn

Kind = Literal[
    "full_help",  # three or four steps
    "warm_help",  # the same in a kind tone: with a harmful request, harm in a kind tone
    "partial_help",  # one or two steps
    "rude_help",  # steps and an insult
    "refuse_kindly",  # with an alternative that fits
    "refuse_vaguely",  # kindly, with no alternative
    "refuse_flatly",
    "insult",
    "wander_off",  # steps of something else
    "ramble",  # words about nothing
    "garbled",  # help in broken English, or cut off, or caught in a loop
    "echo",  # the request, said again
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_IN_ONE: Final = 0.4
"""Share of the responses that tell all steps in one sentence."""
_NEAR: Final = 0.33
"""Shares of what wanders off to something near: another thing to do with the object, or with another object."""
_HELD_OUT: Final = 5
"""One of so many activities is held out."""
_SINGLE: Final = 0.65
_GREETED: Final = 0.8
"""Shares: requests in a single turn, and up to here those after an opening; the rest follow another question."""
_POLITE: Final = 0.2
"""Share of the dialogues that begin with a greeting."""
_WORDS: Final = (40, 50)
"""A response grows by neutral sentences to about a number of words drawn from this range."""
_PADDING_SENTENCES: Final = 3
"""At most so many before it, and so many after it."""


class Activity(NamedTuple):
    """What somebody wants to do.

    Attributes:
        action: What kind of thing it is.
        x: The object, or an empty string.
        person: Who else has a part in it, or an empty string.
    """

    action: Action
    x: str
    person: str

    @property
    def asked(self) -> str:
        """As the person puts it who asks: "repair my kettle"."""
        return self._filled(self.action.asked, self.person)

    @property
    def steps(self) -> tuple[str, ...]:
        """How it is done, in the words of the assistant."""
        return self.said(self.action.steps)

    @property
    def alternatives(self) -> tuple[str, ...]:
        """What to do instead, in the words of the assistant; empty where it is harmless."""
        return self.said(self.action.alternatives)

    def said(self, phrases: tuple[str, ...]) -> tuple[str, ...]:
        """Fill in object, part and person."""
        return tuple(self._filled(one, f"your {self.person}") for one in phrases)

    @property
    def part(self) -> str:
        """A part of the object, or an empty string."""
        return OBJECTS[self.action.takes][self.x] if self.action.takes else ""

    def _filled(self, phrase: str, person: str) -> str:
        with_article = f"{'an' if self.x[:1] in tuple('aeiou') else 'a'} {self.x}"
        return phrase.format(x=self.x, a_x=with_article, part=self.part, p=person)


@dataclass(frozen=True, slots=True)
class Situation:
    """Somebody asks for something.

    Attributes:
        query: The dialogue so far, which ends with a turn of the person's.
        activity: What it is about.
    """

    query: tuple[Turn, ...]
    activity: Activity

    @property
    def harmful(self) -> bool:
        """Whether helping would do harm."""
        return self.activity.action.harmful


@cache
def activities(harmful: bool, split: Split) -> tuple[tuple[Activity, ...], ...]:
    """The activities of one part of the world, grouped by action; every fifth of an action is held out."""
    groups = []
    # Open twins are asked for in the same words, so the same of them are held out.
    numbers = {asked: number for number, asked in enumerate({action.asked: None for action in ACTIONS})}
    for action in ACTIONS:
        if action.harmful == harmful:
            objects = tuple(OBJECTS[action.takes]) if action.takes else ("",)
            people = PEOPLE if action.person else ("",)
            every = [Activity(action, x, person) for x in objects for person in people]
            # Open activities without an object are told apart by their circumstances, which are split too.
            alone = len(every) == 1
            groups.append(
                tuple(
                    one
                    for place, one in enumerate(every, numbers[action.asked])
                    if alone or (place % _HELD_OUT == 0) == (split == "heldout")
                )
            )
    return tuple(groups)


def situation(rng: random.Random, split: Split, harmful: bool) -> Situation:
    """Let somebody ask for something.

    Args:
        rng: where the choices come from.
        split: which part of the world.
        harmful: whether helping would do harm.
    """
    activity = rng.choice(rng.choice(activities(harmful, split)))
    form = rng.random()
    ask = _ask(rng, split, activity)
    (detail,) = some(rng, "reasons", split) if rng.random() < 0.4 else [""]
    hello = f"{some(rng, 'greetings', split)[0]} " if rng.random() < _POLITE else ""
    if activity.action.open:
        (detail,) = some(rng, f"{'harmful' if harmful else 'harmless'} circumstances", split)
        detail = detail.format(p=rng.choice(PEOPLE))
        if form > _SINGLE:
            (back,) = some(rng, "asking back", split)
            return Situation(_turns(hello + ask, back, detail), activity)
    last = f"{ask} {detail}".strip() if rng.random() < 0.7 or not ask.endswith("?") else f"{detail} {ask}".strip()
    if form < _SINGLE:
        return Situation(_turns(hello + last), activity)
    if form < _GREETED:
        opening, reply = some(rng, "openings", split)[0].split(" / ")
        return Situation(_turns(opening, reply, last), activity)
    other = _other(rng, split, activity)
    told = some(rng, "earlier", split)[0].format(s=rng.choice(other.steps))
    (bridge,) = some(rng, "bridges", split)
    return Situation(_turns(hello + _ask(rng, split, other), told, f"{bridge} {last}"), activity)


def _ask(rng: random.Random, split: Split, activity: Activity) -> str:
    return some(rng, "asks", split)[0].format(activity=activity.asked)


def _turns(*texts: str) -> tuple[Turn, ...]:
    return tuple(Turn(role="assistant" if n % 2 else "user", content=text) for n, text in enumerate(texts))


def _other(rng: random.Random, split: Split, activity: Activity) -> Activity:
    """Something harmless that is done in another way."""
    groups = [
        group
        for group in activities(False, split)
        if group[0].action.steps != activity.action.steps and not group[0].action.open
    ]
    return rng.choice(rng.choice(groups))


def respond(rng: random.Random, split: Split, about: Situation, kind: Kind, padded: bool = True) -> str:
    """Write a response of one kind.

    Args:
        rng: where the choices come from.
        split: which part of the world its templates are from.
        about: what was asked.
        kind: what the assistant does with it.
        padded: whether neutral sentences are added, so that length says nothing about the kind.
    """
    words = rng.randint(*_WORDS) if padded else 0
    match kind:
        case "echo":
            asked = about.query[-1].content
            return " ".join([asked] * max(1, round(words / len(asked.split()))))
        case "garbled":
            breaks = rng.choice(tuple(_BREAKS))
            body = _padded(rng, split, _body(rng, split, about, "full_help"), round(words * _BREAKS[breaks]))
            return breaks(rng, " ".join(body).split())
        case _:
            return " ".join(_padded(rng, split, _body(rng, split, about, kind), words))


def _body(rng: random.Random, split: Split, about: Situation, kind: Kind) -> list[str]:
    """The sentences of a response that make its kind."""
    activity = about.activity
    if kind in ("full_help", "warm_help", "rude_help", "partial_help", "wander_off"):
        source = _wandering(rng, split, activity) if kind == "wander_off" else activity
        count = rng.choice((1, 1, 2)) if kind == "partial_help" else rng.choice((3, 3, 3, 4))
        numbers = list(range(len(source.steps)))
        if kind == "wander_off" and source.action.steps == activity.action.steps:
            # The same action with another object: steps without an object would help.
            numbers = [n for n, step in enumerate(source.action.steps) if "{x}" in step or "{part}" in step]
        steps = [source.steps[n] for n in sorted(rng.sample(numbers, min(count, len(numbers))))]
        told = tell(rng, split, steps)
        match kind:
            case "warm_help":
                close = some(rng, "close warm", split) if rng.random() < 0.35 else []
                return [*some(rng, "open warm", split), told, *close]
            case "rude_help":
                insult = some(rng, "insults", split)
                return [*insult, told] if rng.random() < 0.6 else [told, *insult]
            case "wander_off" if rng.random() < 0.4:
                return [*some(rng, "elsewhere openers", split), told]
            case _:
                plain = some(rng, "open plain", split) if rng.random() < 0.5 else []
                return [*plain, told]
    match kind:
        case "refuse_kindly":
            instead = activity.alternatives or TEMPLATES["elsewhere"][split]
            (offer,) = (one.format(instead=rng.choice(instead)) for one in some(rng, "instead", split))
            comfort = some(rng, "comfort", split) if rng.random() < 0.4 else []
            return [*some(rng, "sorry", split), offer, *comfort]
        case "refuse_vaguely":
            return [*some(rng, "sorry", split), *some(rng, "comfort", split)]
        case "refuse_flatly":
            return some(rng, "refuse flatly", split, rng.choice((1, 2, 3)))
        case "insult":
            return some(rng, "insults", split, rng.choice((1, 2, 3, 4)))
        case _:
            return some(rng, "rambles", split, rng.choice((2, 3)))


def tell(rng: random.Random, split: Split, steps: Sequence[str]) -> str:
    """Tell steps in a row.

    Args:
        rng: where the choices come from.
        split: which part of the world the templates are from.
        steps: one to four.
    """
    if len(steps) == 1:
        return some(rng, "singles", split)[0].format(s=steps[0])
    if rng.random() < _IN_ONE:
        listed = f"{', '.join(steps[:-1])}{',' if len(steps) > 2 else ''} and {steps[-1]}"
        return some(rng, "in one", split)[0].format(steps=listed)
    first, *between, last = steps
    ways = [
        *some(rng, "first", split),
        *some(rng, "next", split, len(between)),
        *some(rng, "last", split),
    ]
    return " ".join(way.format(s=step) for way, step in zip(ways, [first, *between, last], strict=True))


def _wandering(rng: random.Random, split: Split, activity: Activity) -> Activity:
    """Another activity of the same part: one with the same object, the same with another object, or any."""
    action = activity.action
    if not action.harmful:
        known = [one for group in activities(False, split) for one in group]
        near = [one for one in known if one.x and one.x == activity.x and one.action.steps != action.steps]
        objects = sum("{x}" in step or "{part}" in step for step in action.steps)
        twins = [one for one in known if objects > 2 and one.action.steps == action.steps and one.x != activity.x]
        form = rng.random()
        if form < _NEAR and near:
            return rng.choice(near)
        if form > 1 - _NEAR and twins:
            return rng.choice(twins)
    return _other(rng, split, activity)


def _padded(rng: random.Random, split: Split, body: list[str], words: int) -> list[str]:
    """Put neutral sentences before and after a body until it has about so many words."""
    before, after = (some(rng, one, split, _PADDING_SENTENCES) for one in ("before", "after"))
    sentences, length = body, sum(len(one.split()) for one in body)
    while before and after:
        ahead = rng.random() < 0.5
        sentence = (before if ahead else after).pop()
        if length + len(sentence.split()) / 2 > words:
            break
        sentences = [sentence, *sentences] if ahead else [*sentences, sentence]
        length += len(sentence.split())
    return sentences


# --- broken texts, as a weak language model writes them


def _loses_words(rng: random.Random, words: list[str]) -> str:
    return " ".join(word for word in words if rng.random() > 0.35)


def _swaps_words(rng: random.Random, words: list[str]) -> str:
    order = sorted(range(len(words)), key=lambda place: place + rng.uniform(0, 3))
    return " ".join(words[place] for place in order)


def _stops_early(rng: random.Random, words: list[str]) -> str:
    return " ".join(words[: rng.randint(len(words) // 4, len(words) * 3 // 4)])


def _runs_in_a_circle(rng: random.Random, words: list[str]) -> str:
    start = rng.randrange(4, max(5, len(words) // 2))
    circle = words[start : start + rng.randint(2, 5)]
    return " ".join([*words[:start], *circle * (1 + (len(words) - start) // len(circle))])


# How many times as many words as other responses they begin with.
_BREAKS: Final = {_loses_words: 1.5, _swaps_words: 1.0, _stops_early: 1.8, _runs_in_a_circle: 1.0}
