"""Options that say who is asked, and how hard: one group for every part that a model plays."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from rlaif.cli.options import panel
from rlaif.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Model:
    """Who judges, and how hard it is asked."""

    option: ClassVar[str] = "--llm"
    """By which a model is named."""

    llm: Annotated[
        list[str],
        panel("Model", "--llm", help="provider:model, such as openai:gpt-4.1-mini; `rlaif models` lists them."),
    ] = field(default_factory=lambda: ["pocket:labeler-l"])
    dtype: Annotated[str, panel("Model", "--dtype", help="float32, bfloat16 or float16 (local models).")] = "float32"
    device: Annotated[
        str | None, panel("Model", "--device", help="cpu, cuda, … (local models; CUDA where there is one).")
    ] = None
    batch_tokens: Annotated[
        int | None, panel("Model", "--batch-tokens", min=1, help="The most tokens in a local batch.")
    ] = None
    base_url: Annotated[
        str | None,
        panel("Model", "--base-url", help="Another server of the same protocol, such as http://127.0.0.1:8000/v1."),
    ] = None
    endpoint: Annotated[
        str | None, panel("Model", "--endpoint", help="chat or completions, where the server's answer is not right.")
    ] = None
    key_variable: Annotated[
        str | None,
        panel("Model", "--key-variable", help="The environment variable that holds the key for --base-url."),
    ] = None
    can: Annotated[
        list[str] | None,
        panel("Model", "--can", metavar="NAME=VALUE", help="What rlaif models does not know: top_logprobs=20."),
    ] = None
    concurrency: Annotated[
        int, panel("Service", "--concurrency", min=1, help="The most requests under way; fewer under pressure.")
    ] = 64
    rpm: Annotated[int | None, panel("Service", "--rpm", min=1, help="The most requests a minute.")] = None
    tpm: Annotated[int | None, panel("Service", "--tpm", min=1, help="The most tokens a minute.")] = None
    timeout_s: Annotated[float, panel("Service", "--timeout-s", min=0.001, help="Of one request.")] = 120.0
    retries: Annotated[int, panel("Service", "--retries", min=0, help="Of one request; an outage is apart.")] = 8
    outage_patience_s: Annotated[
        float, panel("Service", "--outage-patience-s", min=0, help="How long a server that is gone is waited for.")
    ] = 900.0

    max_cost_usd: Annotated[
        float | None, panel("Service", "--max-cost-usd", min=0, help="What this command may spend; never passed.")
    ] = None
    batch: Annotated[
        bool, panel("Service", "--batch", help="By batch jobs: half the price, within a day; run again to collect.")
    ] = False
    prices: Annotated[
        Path | None, panel("Service", "--prices", help="YAML: provider:model to input, output, cached ($ a million).")
    ] = None

    @property
    def _can(self) -> dict[str, Any] | None:
        import yaml

        found: dict[str, Any] = {}
        for word in self.can or []:
            name, _, value = word.partition("=")
            try:
                found[name] = yaml.safe_load(value)
            except yaml.YAMLError:
                raise ConfigError(f"--can {word}: {value!r} is no value; write --can top_logprobs=20") from None
        return found or None

    def open(self, task: str | None, ledger: Path) -> Any:
        """Open the one model of a command that takes no panel.

        Args:
            task: the task's name or folder; None where the model answers queries.
            ledger: where the ids of batch jobs are kept.
        """
        if len(self.llm) > 1:
            raise ConfigError(f"{self.option} is there more than once; only label, pilot and quote take several models")
        (llm,) = self.open_each(task, ledger)
        return llm

    def open_each(self, task: str | None, ledger: Path) -> list[Any]:
        """Open the models, after the task was found to be there: a wrong word costs no second.

        They keep one cap on cost together, in all that they are asked.

        Args:
            task: the task's name or folder; None where the models answer queries.
            ledger: where the ids of batch jobs are kept.
        """
        from rlaif.config import build
        from rlaif.llm.open import open_llm
        from rlaif.llm.prices import Budget
        from rlaif.llm.remote import Limits
        from rlaif.prompting import load_task

        if task is not None:
            load_task(task)
        settings = {
            "concurrency": self.concurrency,
            "requests_per_minute": self.rpm,
            "tokens_per_minute": self.tpm,
            "timeout_s": self.timeout_s,
            "retries": self.retries,
            "outage_patience_s": self.outage_patience_s,
            "max_cost_usd": self.max_cost_usd,
        }
        limits = build(Limits, settings, "the command line")
        budget = Budget(self.max_cost_usd)
        return [
            open_llm(
                llm,
                dtype=self.dtype,
                device=self.device,
                batch_tokens=self.batch_tokens,
                base_url=self.base_url,
                endpoint=self.endpoint,
                key_variable=self.key_variable,
                limits=limits,
                prices=self.prices,
                batch=ledger if self.batch else None,
                can=self._can,
                budget=budget,
            )
            for llm in self.llm
        ]


@dataclass(frozen=True, slots=True)
class Policy(Model):
    """Who answers, and how hard it is asked."""

    llm: Annotated[
        list[str],
        panel("Model", "--llm", help="A policy's folder, or provider:model, such as openai:gpt-4.1-mini."),
    ] = field(default_factory=lambda: ["pocket:policy"])


@dataclass(frozen=True, slots=True)
class Labelers(Model):
    """Who labels: one, or several of a panel; without any the bundled one for what is asked by."""

    llm: Annotated[
        list[str],
        panel(
            "Model",
            "--llm",
            help="provider:model, such as openai:gpt-4.1-mini; pocket:labeler-l, with --constitution pocket:labeler-c.",
        ),
    ] = field(default_factory=list)

    def for_constitution(self, is_one: bool) -> "Labelers":
        """The same with a bundled model where none is named."""
        return replace(self, llm=self.llm or ["pocket:labeler-c" if is_one else "pocket:labeler-l"])


@dataclass(frozen=True, slots=True)
class Reviewer(Model):
    """Who criticises and revises, and how hard it is asked."""

    llm: Annotated[
        list[str],
        panel("Model", "--llm", help="provider:model, such as openai:gpt-4.1-mini, or a model's folder."),
    ] = field(default_factory=lambda: ["pocket:reviser"])


@dataclass(frozen=True, slots=True)
class ReportJudge(Model):
    """Who judges what a report is about, and how hard it is asked."""

    option: ClassVar[str] = "--judge"

    llm: Annotated[
        list[str],
        panel("Model", "--judge", help="provider:model that judges; without it gold of the pocket world does."),
    ] = field(default_factory=list)
