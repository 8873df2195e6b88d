"""Expected scores from 1 to 10 (arXiv:2309.00267, section 3.2.2): the reward of direct RLAIF."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from rlaif.columns import ColumnMap
from rlaif.config import build
from rlaif.conventions import Format, read_responses
from rlaif.labeling.prompted import Prompted
from rlaif.labeling.tables import judge_data
from rlaif.labeling.verdict import NoVerdict, VerdictConfig, fit, verdict
from rlaif.llm.base import LLM
from rlaif.llm.run import Ask
from rlaif.prompting import Task
from rlaif.records import Failure, Response, Score, check_response
from rlaif.statistics.intervals import wilson


class ScoreConfig(VerdictConfig):
    """How scores are asked for; a task has one score preamble."""


def scale(score: float) -> float:
    """Map a score linearly from [1, 10] to [-1, 1]: 2 (s - 1) / 9 - 1, so that a uniform reading gives 0.

    Args:
        score: in [1, 10].

    Source: arXiv:2309.00267 names the range [-1, 1] and leaves the map open; this is the linear one.
    """
    return 2 * (score - 1) / 9 - 1


class Scorer(Prompted[ScoreConfig]):
    """Scores responses with an LLM.

    >>> scorer = Scorer("helpfulness", llm="pocket:labeler-l")
    >>> scores = scorer.score([{"query": "Hi!", "response": "Hello."}])
    """

    record: ClassVar[type[Score]] = Score
    item: ClassVar[type[Response]] = Response

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
            **settings: the fields of `ScoreConfig`.

        Raises:
            PromptError: the task is unknown or wrong.
            ModelError: the model is unknown or incomplete.
            ConfigError: a setting is unknown or out of range.
            CapabilityError: the model cannot do what the settings want.
        """
        super().__init__(task, llm, ledger, build(ScoreConfig, settings, "Scorer"), "score")

    def check(self, item: Response) -> None:
        """Raise a `RowError` where a response cannot be scored."""
        check_response(item)

    async def judge(self, item: Response, ask: Ask) -> Score | Failure:
        """Score one response.

        Args:
            item: a checked response.
            ask: asks one request, usually `Runner.ask`.

        Returns:
            The score, or why there is none.
        """
        texts = (item.response,)
        fitted = fit([self.way], item.query, [texts])
        if isinstance(fitted, NoVerdict):
            return self._failure(item, fitted)
        index = str(item.response_index)
        read = await verdict(ask, self.way, fitted.query, texts, item.id, index)
        if isinstance(read, NoVerdict):
            return self._failure(item, read)
        score = sum(value * p for value, p in enumerate(read.probabilities, 1))
        own: dict[str, Any] = {
            "score": score,
            "scaled": scale(score),
            "distribution": read.reading.probabilities,
            "unread_mass": read.reading.unread_mass,
            "rationales": read.rationales or None,
            "prompt_sha256": read.prompt_sha256,
        }
        if read.draws:
            # Scores as values in [0, 1], and back.
            low, high = wilson((score - 1) / 9, read.draws)
            own |= {"draws": read.draws, "interval": (1 + 9 * low, 1 + 9 * high)}
        source = self.provenance(read.version, read.usage, fitted)
        return Score.model_validate({**item.model_dump(exclude=_OWN), **own, **source})

    @staticmethod
    def _failure(item: Response, failed: NoVerdict) -> Failure:
        return Failure(
            id=item.id,
            response_index=item.response_index,
            failure=failed.kind,
            detail=failed.detail,
            exchange=failed.exchange or None,
        )

    def score(
        self,
        data: Any,
        out: str | Path | None = None,
        *,
        format: Format = "auto",
        columns: Mapping[str, str] | None = None,
    ) -> Any:
        """Score every response in a file or table; works inside a notebook's event loop too.

        Args:
            data: a path, a pandas DataFrame, a `datasets.Dataset`, or an iterable of mappings or records, with
                `query` and `response`, or any comparisons or samples, of which every response is scored.
            out: a file to write the scores to (.jsonl, .csv, .parquet; failures go beside it). Needed for a path.
            format: whose convention the rows follow.
            columns: our field → the data's column.

        Returns:
            As `PreferenceLabeler.label`, with `Score` records.

        Raises:
            InputError: the data cannot be read.
        """
        mapping = ColumnMap.from_mapping(columns) if columns else None
        rows = read_responses(data, format, mapping, self.config.seed)
        return judge_data(self, data, rows, out)


_OWN = set(Score.model_fields) - set(Response.model_fields)
