"""What labelers share: a model, the settings by which it is asked, and where a record says it comes from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from rlaif.errors import ConfigError
from rlaif.labeling.verdict import Fitted, VerdictConfig, Way, method_for
from rlaif.llm.base import LLM, Usage
from rlaif.llm.open import open_llm
from rlaif.prompting import Judgement, Preamble, Prompter, Task, VerdictPrompter, load_task

ConfigT = TypeVar("ConfigT", bound=VerdictConfig)


class Asking(Generic[ConfigT]):
    """A model, the settings by which it is asked, and what renders its prompts."""

    def __init__(
        self,
        source: Mapping[str, Any],
        prompter: VerdictPrompter,
        llm: str | LLM,
        ledger: str | Path | None,
        config: ConfigT,
    ) -> None:
        self.prompter = prompter
        self.llm = open_llm(llm) if isinstance(llm, str) else llm
        self.ledger = Path(ledger) if ledger is not None else None
        self.config = config.model_copy(update={"method": method_for(self.llm.name, self.llm.capabilities, config)})
        self._source = source

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that can change a record, apart from the item itself."""
        settings = self.config.model_dump()
        if not settings["repeat"]:
            # The first time is the run itself, as it was before anything was repeated.
            del settings["repeat"]
        return {
            **self._source,
            "settings": settings,
            "llm": dict(self.llm.identity),
            "prompts_sha256": self.prompter.sha256,
        }

    def provenance(self, version: str, usage: Usage, fitted: Fitted) -> dict[str, Any]:
        """The fields of `records.Labeled`.

        Args:
            version: the served model's.
            usage: of all exchanges behind the record.
            fitted: how much of the query went.
        """
        return {
            "method": self.config.method,
            "llm": self.llm.name,
            "llm_version": version,
            "input_tokens": usage.input_tokens,
            "cached_tokens": usage.cached_tokens,
            "output_tokens": usage.output_tokens,
            "cost_usd": usage.cost_usd,
            "dropped_turns": fitted.dropped_turns or None,
            "dropped_tokens": fitted.dropped_tokens or None,
        }


class Prompted(Asking[ConfigT]):
    """One that asks by a task's prompts."""

    def __init__(
        self,
        task: str | Task,
        llm: str | LLM,
        ledger: str | Path | None,
        config: ConfigT,
        judgement: Judgement,
        preamble: Preamble = "detailed",
    ) -> None:
        self.task = task if isinstance(task, Task) else load_task(str(task))
        prompter = Prompter(self.task, judgement, preamble, config.exemplars, config.rationale)
        if config.method == "verbalized" and judgement != "preference":
            raise ConfigError("verbalized asks how probable a preference is; scores are exact, logprobs or sampled")
        super().__init__({"task": self.task.name}, prompter, llm, ledger, config)
        self.way = Way(self.llm, self.prompter, self.config)
