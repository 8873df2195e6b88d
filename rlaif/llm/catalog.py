"""What hosted models can do: a table (`models.yaml`), since no API says it of itself."""

from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter

from rlaif.config import Config, build
from rlaif.errors import ConfigError, did_you_mean
from rlaif.llm.base import Capabilities

KNOWN_BETTER = ("top_logprobs", "temperature", "thinks", "continues", "batch")
"""Fields of an entry that a user may set."""


class Entry(Config):
    """What some models of one provider can do.

    Attributes:
        models: patterns of names.
        top_logprobs: how many likeliest tokens they show at a position.
        temperature: whether they take a temperature.
        thinks: whether they reason, in tokens that are paid for, before they answer.
        continues: whether they go on from a text begun in their name.
        endpoint: which of the provider's endpoints serves them.
        batch: whether requests can be handed in as a batch job.
        seen: when the source was last read.
        source: where it says so.
    """

    models: tuple[str, ...]
    top_logprobs: Annotated[int, Field(ge=0)] = 0
    temperature: bool = False
    thinks: bool = False
    continues: bool = False
    endpoint: Literal["chat", "completions"] = "chat"
    batch: bool = False
    seen: date
    source: str

    @property
    def capabilities(self) -> Capabilities:
        """The same in the door's terms; whoever is hosted can be drawn from."""
        return Capabilities(
            top_logprobs=self.top_logprobs,
            temperature=self.temperature,
            draws=True,
            continues=self.continues,
            batch_api=self.batch,
        )

    @property
    def advice(self) -> str:
        """How a verdict is best read from them."""
        if self.top_logprobs:
            return "--method logprobs (the default)"
        return "--method sampled --draws 16" + (" (thinks: dear)" if self.thinks else "")


@cache
def catalog() -> dict[str, tuple[Entry, ...]]:
    """The table: each provider's entries, in order."""
    content = yaml.safe_load(Path(__file__).with_name("models.yaml").read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, tuple[Entry, ...]]).validate_python(content)


def entry(provider: str, model: str, can: Mapping[str, Any] | None = None) -> Entry:
    """The first entry that matches a model.

    Args:
        provider: such as `openai`; its last entry matches everything.
        model: as the provider calls it.
        can: fields of the entry that the user knows better.

    Raises:
        ConfigError: no such field, or no such value.
    """
    found = next(one for one in catalog()[provider] if any(fnmatchcase(model, pattern) for pattern in one.models))
    for name in can or {}:
        if name not in KNOWN_BETTER:
            raise ConfigError(f"--can {name}: no such capability{did_you_mean(name, KNOWN_BETTER)}")
    return build(Entry, found.model_dump() | dict(can or {}), "--can") if can else found
