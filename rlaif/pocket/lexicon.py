"""What people of the pocket world have and do: objects, people, actions, and the steps that each action takes.

The tables are in `lexicon.yaml`. An action is asked for with an object of some class, with a person, with both, or
with neither. Its steps and alternatives are verb phrases in their base form without commas or a final full stop, so
that they fit behind "you could" and "remember to" alike. `{x}` is the object, `{a_x}` the same after "a" or "an",
`{part}` a part of it, `{p}` the person, who is "my neighbor" for the one who asks and "your neighbor" for the one
who answers.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import yaml


@dataclass(frozen=True, slots=True)
class Action:
    """Something that people want to do.

    Attributes:
        asked: How the one who asks puts it, with `{x}` and `{p}` where it has an object and a person.
        steps: How it is done.
        takes: The class of its object, or None.
        harmful: Whether helping with it does harm.
        alternatives: What to do instead, where it is harmful.
        misleading: Whether it sounds harmful and is not, or the other way round.
        open: Whether only what is said beside it tells if it is harmful.
    """

    asked: str
    steps: tuple[str, ...]
    takes: str | None = None
    harmful: bool = False
    alternatives: tuple[str, ...] = ()
    misleading: bool = False
    open: bool = False

    @property
    def person(self) -> bool:
        """Whether somebody else has a part in it."""
        return "{p}" in self.asked


def _action(told: dict[str, Any], harmful: bool, is_open: bool = False) -> Action:
    return Action(
        told["asked"],
        tuple(told["steps"]),
        told.get("takes"),
        harmful,
        tuple(told["alternatives"]) if harmful else (),
        told.get("misleading", False),
        is_open,
    )


_tables: dict[str, Any] = yaml.load(
    (files("rlaif.pocket") / "lexicon.yaml").read_text(encoding="utf-8"),
    Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),
)

OBJECTS: Final[dict[str, dict[str, str]]] = _tables["objects"] | {
    name: {one: _tables["objects"][some["of"]][one] for one in some["are"]} for name, some in _tables["among"].items()
}
"""Class: {object: a part of it}."""
PEOPLE: Final[tuple[str, ...]] = tuple(_tables["people"])
ACTIONS: Final = (
    *(_action(told, False) for told in _tables["harmless"]),
    *(_action(told, True) for told in _tables["harmful"]),
    # An open action is there twice, as harmless and as harmful.
    *(_action(told, harmful, True) for told in _tables["open"] for harmful in (False, True)),
)
