"""Responses of a policy: N for each query, from a model folder or any LLM, through the same door as labels."""

import asyncio
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from rlaif.config import Config, build
from rlaif.errors import CapabilityError, ConfigError, ModelError, RowError
from rlaif.labeling.verdict import draw_seed
from rlaif.llm.base import LLM, Answer, Generate, NoAnswer, Outcome, Request, Usage
from rlaif.llm.open import open_llm
from rlaif.llm.run import Ask
from rlaif.records import Comparison, Dialogue, Failure, Response, Sample, check_dialogue

_OF_OTHERS = (set(Comparison.model_fields) | set(Response.model_fields)) - set(Dialogue.model_fields)
"""Not carried through: a row's own responses, and what people said of them, would be taken for those that are drawn."""


class SamplingConfig(Config):
    """How responses are drawn.

    Attributes:
        n: responses for each query.
        temperature: 0 takes the likeliest token each time.
        top_p: draw from the likeliest tokens whose mass reaches it; 1 draws from all.
        max_tokens: the most tokens of a response.
        seed: of everything that is drawn, together with the query's id and the response's number.
    """

    n: int = Field(default=1, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=256, ge=1)
    seed: int = Field(default=0, ge=0)

    @property
    def answers(self) -> int:
        """How many answers of a model one query takes."""
        return self.n


class Sampler:
    """Draws responses from a policy.

    A response depends on the query, the settings and its own seed, and on no other query or response.

    >>> sampler = Sampler("pocket:policy", n=4)
    >>> summary = judge_file(sampler, "queries.jsonl", Path("outputs/samples"))
    """

    record: ClassVar[type[Sample]] = Sample
    item: ClassVar[type[Dialogue]] = Dialogue

    def __init__(self, llm: str | LLM, *, ledger: str | Path | None = None, **settings: Any) -> None:
        """Check the model; nothing is asked yet.

        Args:
            llm: `provider:model`, a policy's folder, or a model.
            ledger: a SQLite file in which answers are kept, so that none is asked twice.
            **settings: the fields of `SamplingConfig`.

        Raises:
            ModelError: the model is unknown or incomplete.
            ConfigError: a setting is unknown or out of range.
            CapabilityError: the model cannot do what the settings want.
        """
        self.config = build(SamplingConfig, settings, "Sampler")
        if self.config.n > 1 and self.config.temperature == 0:
            raise ConfigError(
                f"n is {self.config.n} at temperature 0, where all responses are the same; raise temperature"
            )
        self.llm = open_llm(llm) if isinstance(llm, str) else llm
        self.ledger = Path(ledger) if ledger is not None else None
        able = self.llm.capabilities
        # A model that takes no temperature draws at one of its own, which is 1 as far as anybody can tell.
        if not able.temperature and (self.config.temperature, self.config.top_p) != (1.0, 1.0):
            raise CapabilityError(
                f"{self.llm.name} takes neither temperature nor top_p; leave both at 1, or name another model"
            )
        if self.config.n > 1 and not able.draws:
            raise CapabilityError(f"{self.llm.name} gives one response to a query; leave n at 1")

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that can change a sample, apart from the query itself."""
        return {"settings": self.config.model_dump(), "llm": dict(self.llm.identity)}

    def check(self, item: Dialogue) -> None:
        """Raise a `RowError` where a query cannot be answered."""
        check_dialogue(item)
        if not self.llm.capabilities.system_role and any(turn.role == "system" for turn in item.query):
            raise RowError(f"query has a turn of the system, which {self.llm.name} does not take")

    async def judge(self, item: Dialogue, ask: Ask) -> Sample | Failure:
        """Draw all responses to one query.

        Args:
            item: a checked query.
            ask: asks one request, usually `Runner.ask`.

        Returns:
            The sample; or, where a response failed, why, with the responses that did come.
        """
        requests = [self._request(item, number) for number in range(self.config.n)]
        if len(item.query) > 1:
            try:
                self.llm.count_tokens(requests[0])
            except ModelError as error:
                # A chat template may refuse a dialogue, such as one with a turn of the system; others go on.
                return Failure(id=item.id, failure="rejected", detail=str(error))
        outcomes = await asyncio.gather(*map(ask, requests))
        answers = [one for one in outcomes if isinstance(one, Answer)]
        failed = next((one for one in outcomes if isinstance(one, NoAnswer)), None)
        if failed is not None:
            partial = {"responses": [one.text for one in answers]} if answers else None
            said = failed.text or None
            return Failure(id=item.id, failure=failed.kind, detail=failed.detail, partial=partial, exchange=said)
        return self._sample(item, answers, _usage(outcomes))

    def _request(self, item: Dialogue, number: int) -> Request:
        config = self.config
        seed = draw_seed(config.seed, item.id, "response", number) if config.temperature > 0 else None
        want = Generate(config.max_tokens, config.temperature, seed, top_p=config.top_p)
        return Request(item.query, want, draw=number)

    def _sample(self, item: Dialogue, answers: list[Answer], usage: Usage) -> Sample:
        own = {
            "responses": tuple(one.text for one in answers),
            "finish_reasons": tuple(one.finish_reason for one in answers),
            "seed": self.config.seed,
            "llm": self.llm.name,
            "llm_version": answers[0].version,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost_usd": usage.cost_usd,
        }
        return Sample.model_validate({**item.model_dump(exclude=_OF_OTHERS, exclude_none=True), **own})


def _usage(outcomes: list[Outcome]) -> Usage:
    return sum((one.usage for one in outcomes), Usage())
