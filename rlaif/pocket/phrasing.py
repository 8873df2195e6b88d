"""How things are put in the pocket world: the surface templates of queries, responses, posts and summaries.

They are in `phrasing.yaml`, by list and by the part of the world that uses them. In a template `[a|b|c]` stands for
one of these, drawn each time (`drawn`); what stands between braces is filled in by those who write the texts:
`{activity}` is what somebody wants to do, `{s}` a step, `{steps}` several in a row, `{instead}` an alternative,
`{p}` a person, and the rest are the kinds of facts of a post.
"""

import random
import re
from importlib.resources import files
from typing import Final, Literal, get_args

import yaml

Split = Literal["train", "heldout"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)

TEMPLATES: Final[dict[str, dict[Split, tuple[str, ...]]]] = {
    name: {split: tuple(parts[split].splitlines()) for split in SPLITS}
    for name, parts in yaml.load(
        (files("rlaif.pocket") / "phrasing.yaml").read_text(encoding="utf-8"),
        Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),
    ).items()
}
"""List: {part of the world: its templates}; no template of one part occurs in the other."""

_GROUP: Final = re.compile(r"\[([^\]]*)\]")


def drawn(rng: random.Random, template: str) -> str:
    """A template in which one of each group of alternatives is left.

    Args:
        rng: where the choices come from.
        template: with any number of groups like `[a|b]`; groups do not nest, and one may be empty.
    """
    return _GROUP.sub(lambda group: rng.choice(group[1].split("|")), template)


def pattern_of(template: str) -> str:
    """A regular expression for whatever `drawn` may leave of a template, in lower case; braces stay as they are."""
    texts = _GROUP.split(template.lower())
    # Every second one is what stood in a group.
    return "".join(
        f"(?:{'|'.join(map(re.escape, text.split('|')))})" if number % 2 else re.escape(text)
        for number, text in enumerate(texts)
    )


def some(rng: random.Random, name: str, split: Split, n: int = 1) -> list[str]:
    """Draw different templates of a list, and their words.

    Args:
        rng: where the choices come from.
        name: of the list.
        split: which part of it.
        n: how many.
    """
    return [drawn(rng, one) for one in rng.sample(TEMPLATES[name][split], n)]
