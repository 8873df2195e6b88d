"""What labelers of pairs share: both orders, the questions that each is asked, and the label that they come to."""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeVar

from rlaif.columns import ColumnMap
from rlaif.conventions import Format, read_comparisons
from rlaif.labeling.prompted import Asking
from rlaif.labeling.tables import judge_data
from rlaif.labeling.verdict import Fitted, NoVerdict, Verdict, VerdictConfig, Way, draw_seed, fit, verdict
from rlaif.llm.base import Usage
from rlaif.llm.run import Ask
from rlaif.records import Comparison, Failure, Order, Preference, Turn, check_comparison
from rlaif.statistics.intervals import wilson


class PairConfig(VerdictConfig):
    """How preferences are asked for, by whatever prompts.

    Attributes:
        orders: `both` orders of the responses, or `one`, drawn by the seed and the item's id.
        allow_one_order: keep a label whose other order failed, marked `one_order`.
    """

    orders: Literal["both", "one"] = "both"
    allow_one_order: bool = False


PairConfigT = TypeVar("PairConfigT", bound=PairConfig)


class OrderRead(NamedTuple):
    """What was read in one order.

    Attributes:
        preference: P(response_1 preferred), the mean over the order's questions.
        raw: the same before anything was clamped.
        unread_mass: the mean over its questions.
        rationales: the texts, question by question, one a draw; empty without.
        prompt_sha256: of the first prompt; where there are several questions, of their hashes.
        draws: how many sampled answers were read; 0 where none were sampled.
    """

    preference: float
    raw: float
    unread_mass: float
    rationales: tuple[str, ...]
    prompt_sha256: str
    version: str
    usage: Usage
    draws: int


def clamped(probability: float, least: float) -> float:
    """A probability moved into [least, 1 - least].

    Args:
        probability: any.
        least: from 0, which clamps nothing, to below .5.
    """
    return min(max(probability, least), 1 - least)


def read_order(verdicts: Sequence[Verdict], order: Order, clamp: float = 0.0) -> OrderRead:
    """The mean over the questions that were asked in one order, each clamped before.

    Args:
        verdicts: (K,) one a question.
        order: in which the responses were shown.
        clamp: the least that each preference may be; 1 - clamp is the most.

    Source: arXiv:2212.08073, section 4.1, clamps to 40-60 % what is read behind a rationale.
    """
    # Response 1 is the first answer where it was shown first, and the second where it was shown second.
    said = [one.probabilities[0 if order == "12" else 1] for one in verdicts]
    hashes = [one.prompt_sha256 for one in verdicts]
    return OrderRead(
        preference=sum(clamped(one, clamp) for one in said) / len(said),
        raw=sum(said) / len(said),
        unread_mass=sum(one.reading.unread_mass for one in verdicts) / len(verdicts),
        rationales=tuple(text for one in verdicts for text in one.rationales),
        prompt_sha256=hashes[0] if len(hashes) == 1 else hashlib.sha256("\0".join(hashes).encode()).hexdigest(),
        version=verdicts[0].version,
        usage=sum((one.usage for one in verdicts), Usage()),
        draws=sum(one.draws or 0 for one in verdicts),
    )


class PairLabeler(Asking[PairConfigT], ABC):
    """Labels comparisons with an LLM, by one question or by several."""

    record: ClassVar[type[Preference]] = Preference
    item: ClassVar[type[Comparison]] = Comparison

    clamp: float = 0.0
    """The least that a preference by one question in one order may be; 1 - clamp is the most."""

    @abstractmethod
    def ways(self, item: str) -> Mapping[str, Way]:
        """How an item is asked for, the same in both orders: the ids of its principles and a way for each.

        Args:
            item: its id.

        Returns:
            At least one way; the only one of a task has no name.
        """

    @abstractmethod
    def again(self, repeat: int) -> Self:
        """The labeler that asks the same under other draws.

        Args:
            repeat: the number of the repetition, from 1.
        """

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
        shown: dict[Order, tuple[str, str]] = {
            "12": (item.response_1, item.response_2),
            "21": (item.response_2, item.response_1),
        }
        ways = self.ways(item.id)
        fitted = fit(list(ways.values()), item.query, list(shown.values()))
        if isinstance(fitted, NoVerdict):
            return Failure(id=item.id, failure=fitted.kind, detail=fitted.detail)
        orders: list[Order] = list(shown) if self.config.orders == "both" else [self._one_order(item.id)]
        asked = (self._ask_order(ask, ways, fitted.query, shown[order], item.id, order) for order in orders)
        outcomes = dict(zip(orders, await asyncio.gather(*asked), strict=True))
        label = self._label(outcomes, tuple(filter(None, ways)), fitted)
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

    async def _ask_order(
        self,
        ask: Ask,
        ways: Mapping[str, Way],
        query: tuple[Turn, ...],
        texts: tuple[str, str],
        item: str,
        order: Order,
    ) -> OrderRead | NoVerdict:
        """Every question in one order; a mean over fewer than were wanted is no label."""
        # The seeds of draws tell principles apart; a task's are what they were before there were principles.
        names = [f"{order}/{name}" if name else order for name in ways]
        asked = (verdict(ask, way, query, texts, item, name) for name, way in zip(names, ways.values(), strict=True))
        outcomes = await asyncio.gather(*asked)
        for name, one in zip(ways, outcomes, strict=True):
            if isinstance(one, NoVerdict):
                usage = sum((other.usage for other in outcomes), Usage())
                where = f"principle {name}: " if name else ""
                return one._replace(detail=where + one.detail, usage=usage)
        return read_order([one for one in outcomes if isinstance(one, Verdict)], order, self.clamp)

    def _label(
        self, outcomes: Mapping[Order, OrderRead | NoVerdict], principles: tuple[str, ...], fitted: Fitted
    ) -> dict[str, Any]:
        """The label's fields from the orders that succeeded; empty where none did."""
        label: dict[str, Any] = {}
        read = {order: one for order, one in outcomes.items() if isinstance(one, OrderRead)}
        if not read:
            return label
        for order, one in read.items():
            label[f"preference_{order}"] = one.preference
            label[f"unread_mass_{order}"] = one.unread_mass
            label[f"prompt_sha256_{order}"] = one.prompt_sha256
            if one.rationales:
                label[f"rationales_{order}"] = one.rationales
            if self.clamp:
                label[f"raw_preference_{order}"] = one.raw
        usage = sum((one.usage for one in outcomes.values()), Usage())
        preference = sum(one.preference for one in read.values()) / len(read)
        own: dict[str, Any] = {
            "preference": preference,
            "one_order": True if len(read) == 1 else None,
            "principles": principles or None,
        }
        if draws := sum(one.draws for one in read.values()):
            raw = sum(one.raw for one in read.values()) / len(read)
            own |= {"draws": draws, "interval": self._interval(preference, raw, draws)}
        return label | own | self.provenance(next(iter(read.values())).version, usage, fitted)

    def _interval(self, preference: float, raw: float, draws: int) -> tuple[float, float]:
        """Clamping moves what is drawn closer together: the interval is at most as wide as before, on either side."""
        low, high = wilson(raw, draws)
        if not self.clamp:
            return low, high
        return clamped(preference - (raw - low), self.clamp), clamped(preference + (high - raw), self.clamp)

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
