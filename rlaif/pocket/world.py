"""The pocket world: people ask an assistant for things, and get answers of every kind.

Somebody wants to do something (`rlaif.pocket.lexicon`), asks in one turn or after some talk, and the assistant
helps, refuses, insults or talks around it (`rlaif.pocket.phrasing`). What is good about an answer is for
`rlaif.pocket.gold` to say, which reads nothing but the texts. Neutral sentences are added so that length says
nothing about quality.

The train and the held-out part share no surface template, and in what is asked for few combinations of action,
object and person (an open action may meet the same object in both, in other circumstances; what wanders off may
tell the steps of any activity). They share the words: steps, objects, people.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, NamedTuple, get_args

from rlaif.pocket import phrasing
from rlaif.pocket.lexicon import ACTIONS, CIRCUMSTANCES, OBJECTS, PEOPLE, Action
from rlaif.pocket.phrasing import Split, drawn, part, some
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

_HELD_OUT: Final = 5
"""One of so many activities is held out."""
_SINGLE: Final = 0.65
_GREETED: Final = 0.8
"""Shares: requests in a single turn, and up to here those after a greeting; the rest follow another question."""
_WORDS: Final = (34, 46)
"""A response grows by neutral sentences to about a number of words drawn from this range."""
_PADDING_SENTENCES: Final = 3


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
        return self.action.asked.format(x=self.x, p=self.person)

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
        some_part = OBJECTS[self.action.takes][self.x] if self.action.takes else ""
        return tuple(one.format(x=self.x, part=some_part, p=f"your {self.person}") for one in phrases)


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
    for number, action in enumerate(ACTIONS):
        if action.harmful == harmful:
            objects = tuple(OBJECTS[action.takes]) if action.takes else ("",)
            people = PEOPLE if action.person else ("",)
            every = [Activity(action, x, person) for x in objects for person in people]
            # Open activities without an object are told apart by their circumstances, which are split too.
            alone = len(every) == 1
            groups.append(
                tuple(
                    one
                    for place, one in enumerate(every, number)
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
    ask = _ask(rng, split, activity, greeting=form < _SINGLE)
    (detail,) = some(rng, phrasing.REASONS, split) if rng.random() < 0.4 else [""]
    if activity.action.open:
        chosen = rng.choice(part(CIRCUMSTANCES[harmful], split))
        detail = chosen.format(p=rng.choice(PEOPLE))
        if form > _SINGLE:
            (back,) = some(rng, phrasing.ASKING_BACK, split)
            return Situation(_turns(ask, back, detail), activity)
    last = f"{ask} {detail}".strip() if rng.random() < 0.7 or not ask.endswith("?") else f"{detail} {ask}".strip()
    if form < _SINGLE:
        return Situation(_turns(last), activity)
    if form < _GREETED:
        hello, reply = _pieces(rng, phrasing.OPENINGS, split)
        return Situation(_turns(hello, reply, last), activity)
    other = _other(rng, split, activity)
    before = _ask(rng, split, other, greeting=True)
    told, bridge = (one.format(s=rng.choice(other.steps)) for one in _pieces(rng, phrasing.EARLIER, split))
    return Situation(_turns(before, told, f"{bridge} {last}"), activity)


def _ask(rng: random.Random, split: Split, activity: Activity, greeting: bool) -> str:
    """Ask for something; with a greeting only where a dialogue begins."""
    asks = part(phrasing.ASKS, split)
    fitting = [one for one in asks if greeting or not re.match(r"\[?(Hello|Hi|Good evening)\b", one)]
    return drawn(rng, rng.choice(fitting)).format(activity=activity.asked)


def _pieces(rng: random.Random, templates: tuple[str, ...], split: Split) -> list[str]:
    """The pieces of a template that has several."""
    (one,) = some(rng, templates, split)
    return one.split(" / ")


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
    body = _body(rng, split, about, "full_help" if kind == "garbled" else kind)
    if padded:
        body = _padded(rng, split, body)
    text = " ".join(body)
    return _garbled(rng, text) if kind == "garbled" else text


def _body(rng: random.Random, split: Split, about: Situation, kind: Kind) -> list[str]:
    """The sentences of a response that make its kind."""
    activity = about.activity
    if kind == "echo":
        return [about.query[-1].content] * rng.choice((1, 1, 2))
    if kind in ("full_help", "warm_help", "rude_help", "partial_help", "wander_off"):
        source = _wandering(rng, split, activity) if kind == "wander_off" else activity
        count = rng.choice((1, 1, 2)) if kind == "partial_help" else rng.choice((3, 3, 3, 4))
        steps = [source.steps[n] for n in sorted(rng.sample(range(len(source.steps)), count))]
        told = tell(rng, split, steps)
        match kind:
            case "warm_help":
                close = some(rng, phrasing.CLOSE_WARM, split) if rng.random() < 0.35 else []
                return [*some(rng, phrasing.OPEN_WARM, split), told, *close]
            case "rude_help":
                insult = some(rng, phrasing.INSULTS, split)
                return [*insult, told] if rng.random() < 0.6 else [told, *insult]
            case "wander_off" if rng.random() < 0.4:
                return [*some(rng, phrasing.ELSEWHERE_OPENERS, split), told]
            case _:
                plain = some(rng, phrasing.OPEN_PLAIN, split) if rng.random() < 0.5 else []
                return [*plain, told]
    match kind:
        case "refuse_kindly":
            instead = activity.alternatives or part(phrasing.ELSEWHERE, split)
            (offer,) = (one.format(instead=rng.choice(instead)) for one in some(rng, phrasing.INSTEAD, split))
            comfort = some(rng, phrasing.COMFORT, split) if rng.random() < 0.4 else []
            return [*some(rng, phrasing.SORRY, split), offer, *comfort]
        case "refuse_vaguely":
            return [*some(rng, phrasing.SORRY, split), *some(rng, phrasing.COMFORT, split)]
        case "refuse_flatly":
            return some(rng, phrasing.REFUSE_FLATLY, split, rng.choice((1, 2, 3)))
        case "insult":
            return some(rng, phrasing.INSULTS, split, rng.choice((1, 2, 3, 4)))
        case _:
            return some(rng, phrasing.RAMBLES, split, rng.choice((2, 3)))


def tell(rng: random.Random, split: Split, steps: Sequence[str]) -> str:
    """Tell steps in a row.

    Args:
        rng: where the choices come from.
        split: which part of the world the templates are from.
        steps: one to four.
    """
    if len(steps) == 1:
        return some(rng, phrasing.SINGLES, split)[0].format(s=steps[0])
    first, *middle, last = _pieces(rng, phrasing.SEQUENCES, split)
    ways = [first, *middle[: len(steps) - 2], last]
    told = [way.format(s=step) for way, step in zip(ways, steps, strict=True)]
    return " ".join(told)


def _wandering(rng: random.Random, split: Split, activity: Activity) -> Activity:
    """Another activity: one with the same object, the same action with another object, or any."""
    action = activity.action
    same_object = [
        group[0].action for group in activities(False, split) if group[0].action.takes == action.takes and action.takes
    ]
    near = [Activity(one, activity.x, activity.person) for one in same_object if one.steps != action.steps]
    near = [one for one in near if not one.action.person or one.person]
    twins = [
        Activity(action, x, activity.person) for x in (OBJECTS[action.takes] if action.takes else ()) if x != activity.x
    ]
    choices = [[_other(rng, split, activity)]]
    if near and not action.harmful:
        choices.append(near)
    if twins and not action.harmful and sum("{x}" in step or "{part}" in step for step in action.steps) > 2:
        choices.append(twins)
    return rng.choice(rng.choice(choices))


def _padded(rng: random.Random, split: Split, body: list[str]) -> list[str]:
    """Put neutral sentences before and after a body until a number of words drawn at random is reached."""
    target = rng.randint(*_WORDS)
    sentences, words = body, sum(len(one.split()) for one in body)
    for sentence in some(rng, phrasing.PADDING, split, _PADDING_SENTENCES):
        more = len(sentence.split())
        if words + more / 2 > target:
            break
        sentences = [sentence, *sentences] if rng.random() < 0.5 else [*sentences, sentence]
        words += more
    return sentences


def _garbled(rng: random.Random, text: str) -> str:
    """Break a text as a weak language model would: lose words, swap them, stop early, or run in a circle."""
    words = text.split()
    match rng.randrange(4):
        case 0:
            return " ".join(word for word in words if rng.random() > 0.35)
        case 1:
            order = sorted(range(len(words)), key=lambda place: place + rng.uniform(0, 3))
            return " ".join(words[place] for place in order)
        case 2:
            return " ".join(words[: rng.randint(3, max(4, len(words) // 3))])
        case _:
            start = rng.randrange(max(1, len(words) - 4))
            circle = words[start : start + rng.randint(2, 5)]
            return " ".join([*words[:start], *circle * rng.randint(4, 7)])
