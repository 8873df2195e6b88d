"""Soft preference labels: P(response_1 preferred), read in both orders (arXiv:2309.00267, sections 3.1 and 4.1)."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from rlaif.columns import ColumnMap
from rlaif.config import build
from rlaif.conventions import Format, read_comparisons
from rlaif.labeling.prompted import Prompted
from rlaif.labeling.tables import judge_data
from rlaif.labeling.verdict import (
    Fitted,
    NoVerdict,
    Verdict,
    VerdictConfig,
    draw_seed,
    fit,
    verdict,
)
from rlaif.llm.base import LLM, Usage
from rlaif.llm.run import Ask
from rlaif.prompting import Preamble, Task
from rlaif.records import Comparison, Failure, Order, Preference, check_comparison
from rlaif.statistics.intervals import wilson


class PreferenceConfig(VerdictConfig):
    """How preferences are asked for.

    Attributes:
        preamble: which of the task's preambles.
        orders: `both` orders of the responses, or `one`, drawn by the seed and the item's id.
        allow_one_order: keep a label whose other order failed, marked `one_order`.
    """

    preamble: Preamble = "detailed"
    orders: Literal["both", "one"] = "both"
    allow_one_order: bool = False


class PreferenceLabeler(Prompted[PreferenceConfig]):
    """Labels comparisons with an LLM.

    >>> labeler = PreferenceLabeler("helpfulness", llm="pocket:labeler-l")
    >>> labels = labeler.label([{"query": "Hi!", "response_1": "Hello.", "response_2": "Go away."}])
    """

    record: ClassVar[type[Preference]] = Preference
    item: ClassVar[type[Comparison]] = Comparison

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

    def check(self, item: Comparison) -> None:
        """Raise a `RowError` where a comparison cannot be labeled."""
        check_comparison(item)

    async def judge(self, item: Comparison, ask: Ask) -> Preference | Failure:
        """Label one comparison.

        Args:
            item: a checked comparison.
            ask: asks one request, usually `Runner.ask`.

        Returns:
            The label, or why there is none, with the order that did succeed.
        """
        texts: dict[Order, tuple[str, str]] = {
            "12": (item.response_1, item.response_2),
            "21": (item.response_2, item.response_1),
        }
        fitted = fit(self.way, item.query, list(texts.values()))
        if isinstance(fitted, NoVerdict):
            return Failure(id=item.id, failure=fitted.kind, detail=fitted.detail)
        orders: list[Order] = list(texts) if self.config.orders == "both" else [self._one_order(item.id)]
        asked = (verdict(ask, self.way, fitted.query, texts[order], item.id, order) for order in orders)
        outcomes = dict(zip(orders, await asyncio.gather(*asked), strict=True))
        label = self._label(outcomes, fitted)
        failed = [(order, one) for order, one in outcomes.items() if isinstance(one, NoVerdict)]
        if failed and (len(failed) == len(outcomes) or not self.config.allow_one_order):
            order, first = failed[0]
            return Failure(
                id=item.id,
                failure=first.kind,
                detail=f"order {order}: {first.detail}",
                partial=label or None,
                exchange=first.exchange or None,
            )
        return Preference.model_validate({**item.model_dump(exclude=_OWN), **label})

    def _one_order(self, item: str) -> Order:
        return "12" if draw_seed(self.config.seed, item, "order", 0) % 2 == 0 else "21"

    def _label(self, outcomes: Mapping[Order, Verdict | NoVerdict], fitted: Fitted) -> dict[str, Any]:
        """The label's fields from the orders that succeeded; empty where none did."""
        label: dict[str, Any] = {}
        read = {order: one for order, one in outcomes.items() if isinstance(one, Verdict)}
        if not read:
            return label
        for order, one in read.items():
            # Response 1 is the answer "1" where it was shown first, and "2" where it was shown second.
            label[f"preference_{order}"] = one.probabilities[0 if order == "12" else 1]
            label[f"unread_mass_{order}"] = one.reading.unread_mass
            label[f"prompt_sha256_{order}"] = one.prompt_sha256
            if one.rationales:
                label[f"rationales_{order}"] = one.rationales
        usage = sum((one.usage for one in outcomes.values()), Usage())
        preference = sum(label[f"preference_{order}"] for order in read) / len(read)
        own: dict[str, Any] = {"preference": preference, "one_order": True if len(read) == 1 else None}
        if draws := sum(one.draws or 0 for one in read.values()):
            own |= {"draws": draws, "interval": wilson(preference, draws)}
        return label | own | self.provenance(next(iter(read.values())).version, usage, fitted)

    def label(
        self,
        data: Any,
        out: str | Path | None = None,
        *,
        format: Format = "auto",
        columns: Mapping[str, str] | None = None,
    ) -> Any:
        """Label everything in a file or table; works inside a notebook's event loop too.

        Args:
            data: a path, a pandas DataFrame, a `datasets.Dataset`, or an iterable of mappings or records.
            out: a file to write the labels to (.jsonl, .csv, .parquet; failures go beside it). Needed for a path.
            format: whose convention the rows follow.
            columns: our field → the data's column.

        Returns:
            The path, where `out` is given. Else what came in: a DataFrame or Dataset with the label's columns added
            (row by row; `failure` and `detail` where there is no label), or a list of `Preference` and `Failure`.

        Raises:
            InputError: the data cannot be read.
        """
        mapping = ColumnMap.from_mapping(columns) if columns else None
        rows = read_comparisons(data, format, mapping, self.config.seed)
        return judge_data(self, data, rows, out)


_OWN = set(Preference.model_fields) - set(Comparison.model_fields)
