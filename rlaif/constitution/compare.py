"""Soft preference labels by the principles of a constitution (arXiv:2212.08073, section 4.1).

An item draws its principles by the seed and its id. Each is asked in both orders, with (A) shown first and (B) second;
the preference of an order is the mean over its principles, and the label the mean over the orders. Behind a rationale
probabilities come out near 0 and 1, so there each is clamped to 40-60 % before any mean, as in the paper.

Deviations from the paper: both orders are asked, where it asks one; with several principles, it draws one for each
label and lets the mean form over labels; it gives the normalised probabilities of the same two options.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field

from rlaif.config import build
from rlaif.constitution.asking import ComparisonPrompter, texts_sha256
from rlaif.constitution.files import load_constitution
from rlaif.constitution.principles import Constitution, draw
from rlaif.labeling.pairs import PairConfig, PairLabeler
from rlaif.labeling.verdict import Way
from rlaif.llm.base import LLM

BEHIND_A_RATIONALE: Final = 0.4
"""The clamp of arXiv:2212.08073, section 4.1: to 40-60 %."""


class PrincipleConfig(PairConfig):
    """How preferences are asked for by a constitution.

    Attributes:
        principles_per_label: how many comparison principles an item draws; their mean is its label.
        principles: only so many are drawn from, the first of the file; None draws from all.
        clamp: the least that the preference by one principle in one order may be; the most is 1 - clamp, so .4 clamps
            to [.4, .6], and 0 clamps nothing. None is .4 with a rationale, and 0 without.
    """

    principles_per_label: Annotated[int, Field(ge=1)] = 1
    principles: Annotated[int, Field(ge=1)] | None = None
    clamp: Annotated[float, Field(ge=0, lt=0.5)] | None = None

    @property
    def answers(self) -> int:
        """How many answers stand behind an order."""
        return super().answers * self.principles_per_label

    @property
    def least(self) -> float:
        """The clamp in force."""
        if self.clamp is not None:
            return self.clamp
        return BEHIND_A_RATIONALE if self.rationale else 0.0


class Questions:
    """What the items of a run are asked: for each the principles that it draws, and what renders their prompts."""

    def __init__(self, constitution: str | Constitution, config: PrincipleConfig) -> None:
        """Load the constitution, and see that it has what the settings want.

        Args:
            constitution: a name, a path, or a loaded one.
            config: how many principles are drawn, from how many, and what comes before a question.

        Raises:
            ConfigError: there is no such constitution, it says something wrong, or it has too few principles or
                exemplars.
            InputError: its file cannot be read.
        """
        if not isinstance(constitution, Constitution):
            constitution = load_constitution(constitution)
        if config.principles is not None:
            constitution = constitution.first(config.principles, "comparison")
        self.constitution, self._config = constitution, config
        self._draw("")
        self._prompters = {
            one.id: ComparisonPrompter(constitution, one, config.exemplars, config.rationale)
            for one in constitution.comparison_principles
        }

    @property
    def any_prompter(self) -> ComparisonPrompter:
        """One of those that render prompts; they differ in nothing but the question."""
        return next(iter(self._prompters.values()))

    def of(self, item: str) -> dict[str, ComparisonPrompter]:
        """What an item is asked.

        Args:
            item: its id.

        Returns:
            The ids of its principles in the order drawn, with their prompters.
        """
        return {name: self._prompters[name] for name in self._draw(item)}

    def _draw(self, item: str) -> tuple[str, ...]:
        k = self._config.principles_per_label
        return tuple(one.id for one in draw(self.constitution, "comparison", self._config.seed, item, 0, k))


class PrincipleLabeler(PairLabeler[PrincipleConfig]):
    """Labels comparisons with an LLM, each by principles drawn from a constitution.

    >>> labeler = PrincipleLabeler("harmless", llm="openai:gpt-4.1-mini")
    >>> labels = labeler.label([{"query": "Hi!", "response_1": "Hello.", "response_2": "Go away."}])
    """

    def __init__(
        self,
        constitution: str | Constitution = "harmless",
        llm: str | LLM = "pocket:labeler-c",
        *,
        ledger: str | Path | None = None,
        **settings: Any,
    ) -> None:
        """Load the constitution and check the model; nothing is asked yet.

        Args:
            constitution: a constitution's name, the path of a file or folder, or a loaded constitution.
            llm: `provider:model`, or a model.
            ledger: a SQLite file in which answers are kept, so that none is asked twice.
            **settings: the fields of `PrincipleConfig`.

        Raises:
            ConfigError: the constitution is unknown or wrong or has too few principles or exemplars, or a setting is
                unknown or out of range.
            InputError: the constitution's file cannot be read.
            ModelError: the model is unknown or incomplete.
            CapabilityError: the model cannot do what the settings want.
        """
        config = build(PrincipleConfig, settings, "PrincipleLabeler")
        # What is in force is what a run folder records.
        config = config.model_copy(update={"clamp": config.least})
        self._questions = Questions(constitution, config)
        self.constitution = self._questions.constitution
        source = {
            "constitution": self.constitution.title,
            "constitution_sha256": texts_sha256(self.constitution, "comparison"),
        }
        super().__init__(source, self._questions.any_prompter, llm, ledger, config)
        self.clamp = config.least

    def ways(self, item: str) -> Mapping[str, Way]:
        """How an item is asked for: by the principles that it draws."""
        return {name: Way(self.llm, prompter, self.config) for name, prompter in self._questions.of(item).items()}

    def again(self, repeat: int) -> Self:
        """The labeler that asks the same, by the same principles, under other draws."""
        return type(self)(self.constitution, self.llm, **self.config.model_dump() | {"repeat": repeat})
