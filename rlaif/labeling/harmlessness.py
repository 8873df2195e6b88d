"""Whether a single response is harmless: P(yes), from which harmless rates are made (arXiv:2309.00267, section 4.2)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from rlaif.columns import ColumnMap
from rlaif.config import build
from rlaif.conventions import Format, read_responses
from rlaif.labeling.prompted import Prompted
from rlaif.labeling.tables import judge_data
from rlaif.labeling.verdict import NoVerdict, VerdictConfig, fit, verdict
from rlaif.llm.base import LLM, Answer, Outcome, Request
from rlaif.llm.run import Ask
from rlaif.prompting import Task
from rlaif.records import Failure, Harmlessness, Response, check_response
from rlaif.statistics.intervals import wilson


class HarmlessConfig(VerdictConfig):
    """How the question is asked; it has no exemplars, and no rationale comes before the answer."""

    exemplars: Literal[0] = 0
    rationale: Literal[False] = False


class HarmlessJudge(Prompted[HarmlessConfig]):
    """Asks an LLM of single responses whether they are harmless, yes or no.

    >>> judge = HarmlessJudge("harmlessness", llm="openai:gpt-4.1-mini")
    >>> judged = judge.judge_all([{"query": "How do I open a lock?", "response": "Call a locksmith."}])
    """

    record: ClassVar[type[Harmlessness]] = Harmlessness
    item: ClassVar[type[Response]] = Response

    def __init__(
        self,
        task: str | Task = "harmlessness",
        llm: str | LLM = "pocket:labeler-l",
        *,
        ledger: str | Path | None = None,
        **settings: Any,
    ) -> None:
        """Load the task and check the model; nothing is asked yet.

        Args:
            task: a task's name, a task folder's path, or a loaded task; its folder holds `harmless_question.j2`.
            llm: `provider:model`, or a model.
            ledger: a SQLite file in which answers are kept, so that none is asked twice.
            **settings: the fields of `HarmlessConfig`.

        Raises:
            PromptError: the task is unknown or wrong, or does not ask whether a response is harmless.
            ModelError: the model is unknown or incomplete.
            ConfigError: a setting is unknown or out of range.
            CapabilityError: the model cannot do what the settings want.
        """
        super().__init__(task, llm, ledger, build(HarmlessConfig, settings, "HarmlessJudge"), "harmless")

    def check(self, item: Response) -> None:
        """Raise a `RowError` where a response cannot be judged."""
        check_response(item)

    async def judge(self, item: Response, ask: Ask) -> Harmlessness | Failure:
        """Judge one response.

        Args:
            item: a checked response.
            ask: asks one request, usually `Runner.ask`.

        Returns:
            The judgement, or why there is none.
        """
        texts = (item.response,)
        fitted = fit([self.way], item.query, [texts])
        if isinstance(fitted, NoVerdict):
            return self._failure(item, fitted)
        read = await verdict(_Lowered(ask), self.way, fitted.query, texts, item.id, str(item.response_index))
        if isinstance(read, NoVerdict):
            return self._failure(item, read)
        columns = item.model_dump(exclude=_OWN)
        if writer := (item.model_extra or {}).get("llm"):
            # Samples name who wrote them in the column in which a judgement names who judged.
            columns.setdefault("model", writer)
        harmless = read.probabilities[0]
        own: dict[str, Any] = {
            "harmless": harmless,
            "unread_mass": read.reading.unread_mass,
            "prompt_sha256": read.prompt_sha256,
        }
        if read.draws:
            own |= {"draws": read.draws, "interval": wilson(harmless, read.draws)}
        return Harmlessness.model_validate({**columns, **own, **self.provenance(read.version, read.usage, fitted)})

    @staticmethod
    def _failure(item: Response, failed: NoVerdict) -> Failure:
        return Failure(
            id=item.id,
            response_index=item.response_index,
            failure=failed.kind,
            detail=failed.detail,
            exchange=failed.exchange or None,
        )

    def judge_all(
        self,
        data: Any,
        out: str | Path | None = None,
        *,
        format: Format = "auto",
        columns: Mapping[str, str] | None = None,
    ) -> Any:
        """Judge every response in a file or table; works inside a notebook's event loop too.

        Args:
            data: a path, a pandas DataFrame, a `datasets.Dataset`, or an iterable of mappings or records, with
                `query` and `response`, or any comparisons or samples, of which every response is judged.
            out: a file to write the judgements to (.jsonl, .csv, .parquet; failures go beside it). Needed for a path.
            format: whose convention the rows follow.
            columns: our field → the data's column.

        Returns:
            As `PreferenceLabeler.label`, with `Harmlessness` records.

        Raises:
            InputError: the data cannot be read.
        """
        mapping = ColumnMap.from_mapping(columns) if columns else None
        return judge_data(self, data, read_responses(data, format, mapping, self.config.seed), out)


class _Lowered:
    """Answers in lower case: models write Yes where yes was offered."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def __call__(self, request: Request) -> Outcome:
        outcome = await self._ask(request)
        return replace(outcome, text=outcome.text.casefold()) if isinstance(outcome, Answer) else outcome


_OWN = set(Harmlessness.model_fields) - set(Response.model_fields)
