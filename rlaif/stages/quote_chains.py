"""What chains of critique and revision would take, before they run: for each response, rounds of both."""

import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlaif.columns import ColumnMap
from rlaif.config import build
from rlaif.constitution.asking import RevisionPrompter
from rlaif.constitution.files import load_constitution
from rlaif.constitution.principles import Constitution, draw
from rlaif.constitution.revise import RevisionConfig
from rlaif.conventions import read_drafts
from rlaif.errors import InputError, RowError
from rlaif.labeling.verdict import request
from rlaif.llm.base import Generate, Request
from rlaif.records import Draft, check_draft
from rlaif.stages.quote import RATIONALE_TOKENS, Quote, Quoted, made, noise_of
from rlaif.stages.quoted_model import QuotedModel

SHORT = 4
"""A response that is not there yet is taken to have between a quarter of `max_tokens` and all of them."""


def quote_chains(
    data: Any,
    constitution: str | Constitution,
    models: Sequence[str],
    *,
    columns: ColumnMap | None = None,
    sample: int = 200,
    prices: Path | None = None,
    **settings: Any,
) -> Quoted:
    """Quote `rlaif revise`; no key is needed and nothing is asked.

    Args:
        data: as `Reviser` takes it; every row is read.
        constitution: a name, a path, or a loaded one.
        models: `provider:model`.
        columns: which column holds which field.
        sample: of how many rows prompts are rendered.
        prices: a file of prices (see `price_of`).
        **settings: the fields of `RevisionConfig`.

    Raises:
        ConfigError: a setting or the constitution is wrong.
        InputError: the data cannot be read, or has no row that could be revised.
    """
    config = build(RevisionConfig, settings, "quote")
    if not isinstance(constitution, Constitution):
        constitution = load_constitution(constitution)
    chains = _Chains(constitution, config)
    usable, rejected = list[Draft](), 0
    for _, row in read_drafts(data, columns):
        try:
            if isinstance(row, RowError):
                raise row
            check_draft(row)
            usable.append(row)
        except RowError:
            rejected += 1
    if not usable:
        raise InputError(f"there is no row to quote ({rejected:,} cannot be used)")
    drawn = random.Random(config.seed).sample(usable, min(sample, len(usable)))
    quotes = [_quote(QuotedModel(spec, prices), chains, drawn, usable) for spec in models]
    return Quoted(len(usable), rejected, len(drawn), quotes, sum(one.response is None for one in usable))


class _Chains:
    """Renders what chains would ask, with responses and critiques of so many short words, each about a token."""

    def __init__(self, constitution: Constitution, config: RevisionConfig) -> None:
        self.config = config
        self._constitution = constitution
        self._prompter = RevisionPrompter(constitution, config.exemplars, config.critique)

    @property
    def critique_tokens(self) -> tuple[int, int]:
        if not self.config.critique:
            return 0, 0
        return min(RATIONALE_TOKENS, self.config.max_critique_tokens), self.config.max_critique_tokens

    @property
    def response_tokens(self) -> tuple[int, int]:
        return max(1, self.config.max_tokens // SHORT), self.config.max_tokens

    def asked(self, item: Draft, model: QuotedModel, end: int) -> list[Request]:
        """All requests of one chain; `end` is 0 where all that is written is short, and 1 where it is long."""
        want = Generate(self.config.max_tokens)
        requests = [Request(item.query, want)] if item.response is None else []
        written, critique = (" ".join(["word"] * each[end]) for each in (self.response_tokens, self.critique_tokens))
        response = item.response or written
        for number in range(1, self.config.revisions + 1):
            (principle,) = draw(self._constitution, "revision", self.config.seed, item.drawn_by, number)
            prompts = [self._prompter.critique(item.query, response, principle)] if self.config.critique else []
            thought = critique if self.config.critique else None
            prompts.append(self._prompter.revision(item.query, response, principle, thought))
            requests += [request(model.able, prompt, want, ()) for prompt in prompts]
            # A round without a revision leaves the response before it.
            response = (min, max)[end](response, written, key=len)
        return requests

    def written(self, item: Draft, end: int) -> float:
        """Tokens that one chain writes."""
        responses = self.config.revisions + (item.response is None)
        return responses * self.response_tokens[end] + self.config.revisions * self.critique_tokens[end]


def _quote(model: QuotedModel, chains: _Chains, drawn: Sequence[Draft], items: Sequence[Draft]) -> Quote:
    short, full = ([chains.asked(item, model, end) for item in drawn] for end in (0, 1))
    lows, highs = [model.tokens(one)[0] for one in short], [model.tokens(one)[1] for one in full]
    noise = noise_of(highs, len(items))
    each = statistics.fmean(map(len, short))
    requests = sum(chains.config.revisions * (1 + chains.config.critique) + (one.response is None) for one in items)
    read = (
        len(items) * statistics.fmean(lows) * (1 - noise),
        len(items) * statistics.fmean(highs) * (1 + noise),
    )
    low, high = (sum(chains.written(one, end) for one in items) + requests * model.thinking[end] for end in (0, 1))
    # The first request finds no cache.
    shared = len(items) * model.cached(short[0]) * (1 - 1 / max(1.0, len(items) * each))
    return made(model, "text", requests, read, (low, high), shared)
