"""Soft preference labels: P(response_1 preferred), read in both orders (arXiv:2309.00267, sections 3.1 and 4.1)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from rlaif.config import build
from rlaif.labeling.pairs import PairConfig, PairLabeler
from rlaif.labeling.prompted import Prompted
from rlaif.labeling.verdict import Way
from rlaif.llm.base import LLM
from rlaif.prompting import Preamble, Task


class PreferenceConfig(PairConfig):
    """How preferences are asked for by a task's prompts.

    Attributes:
        preamble: which of the task's preambles.
    """

    preamble: Preamble = "detailed"


class PreferenceLabeler(Prompted[PreferenceConfig], PairLabeler[PreferenceConfig]):
    """Labels comparisons with an LLM.

    >>> labeler = PreferenceLabeler("helpfulness", llm="pocket:labeler-l")
    >>> labels = labeler.label([{"query": "Hi!", "response_1": "Hello.", "response_2": "Go away."}])
    """

    def __init__(
        self,
        task: str | Task,
        llm: str | LLM = "pocket:labeler-l",
        *,
        ledger: str | Path | None = None,
        **settings: Any,
    ) -> None:
        """Load the task and check the model; nothing is asked yet.

        Args:
            task: a task's name, a task folder's path, or a loaded task.
            llm: `provider:model`, or a model.
            ledger: a SQLite file in which answers are kept, so that none is asked twice.
            **settings: the fields of `PreferenceConfig`.

        Raises:
            PromptError: the task is unknown or wrong.
            ModelError: the model is unknown or incomplete.
            ConfigError: a setting is unknown or out of range.
            CapabilityError: the model cannot do what the settings want.
        """
        config = build(PreferenceConfig, settings, "PreferenceLabeler")
        super().__init__(task, llm, ledger, config, "preference", config.preamble)

    def ways(self, item: str) -> Mapping[str, Way]:
        """How an item is asked for: like any other."""
        return {"": self.way}

    def again(self, repeat: int) -> Self:
        """The labeler that asks the same under other draws."""
        return type(self)(self.task, self.llm, **self.config.model_dump() | {"repeat": repeat})
