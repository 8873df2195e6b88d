"""What a run would take, before it runs: requests, tokens and dollars, for several models side by side.

Prompts are rendered as they would be asked, for a sample of the rows. Tokens are counted where the tokenizer is here,
and else estimated from bytes; what a model writes is an assumption. Both are stated, and both make the interval wide.
"""

import math
import random
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rlaif.columns import ColumnMap
from rlaif.config import build
from rlaif.constitution.compare import PrincipleConfig, Questions
from rlaif.conventions import Format, read_comparisons, read_responses
from rlaif.errors import ConfigError, InputError, RowError
from rlaif.labeling.pairs import PairConfig
from rlaif.labeling.preference import PreferenceConfig
from rlaif.labeling.verdict import VERDICT_TOKENS, Method, method_for, request
from rlaif.llm.base import Choose, Generate, Request
from rlaif.llm.prices import Price
from rlaif.prompting import Judgement, Prompter, VerdictPrompter, load_task
from rlaif.records import Comparison, Response, check_comparison, check_response
from rlaif.stages.quoted_model import Interval, QuotedModel

RATIONALE_TOKENS = 60
"""The least that a rationale is taken to have; the most is what the settings allow."""

Item = Comparison | Response
AskedOf = Callable[[Item], Sequence[VerdictPrompter]]
"""What renders the questions that an item is asked in each order."""


class Quote(NamedTuple):
    """What one model would take.

    Attributes:
        llm: `provider:model`.
        method: how its verdicts would be read, or `text` where it only writes.
        requests: how many it would be asked.
        input_tokens: lowest and highest.
        output_tokens: the same.
        cached_tokens: how many of the lowest input a prompt cache could serve.
        price: of its tokens; None where nobody knows, or nobody is paid.
        batch_price: the same when it is asked by batch jobs; None where it cannot be.
        is_local: whether it runs here: its own tokenizer counts, and nobody is paid.
    """

    llm: str
    method: Method | Literal["text"]
    requests: int
    input_tokens: Interval
    output_tokens: Interval
    cached_tokens: float
    price: Price | None
    batch_price: Price | None
    is_local: bool

    @property
    def cost_usd(self) -> Interval | None:
        """Lowest (with all that a prompt cache could serve) and highest cost; None without a price."""
        return self._cost(self.price)

    @property
    def batch_usd(self) -> Interval | None:
        """The same by batch jobs."""
        return self._cost(self.batch_price)

    def _cost(self, price: Price | None) -> Interval | None:
        if price is None:
            return None
        low, high = (
            read * price.input + written * price.output
            for read, written in zip(self.input_tokens, self.output_tokens, strict=True)
        )
        return low - self.cached_tokens * (price.input - price.cached), high


class Quoted(NamedTuple):
    """The rows that would be judged, those that cannot be, those whose prompts were rendered, and a quote a model.

    `unanswered` are those of the rows that have no response to revise, so that one is sampled first.
    """

    items: int
    rejected: int
    sampled: int
    quotes: list[Quote]
    unanswered: int = 0


def quote(
    data: Any,
    task: str | None,
    models: Sequence[str],
    *,
    constitution: str | None = None,
    score: bool = False,
    format: Format = "auto",
    columns: ColumnMap | None = None,
    sample: int = 200,
    prices: Path | None = None,
    **settings: Any,
) -> Quoted:
    """Quote a run; no key is needed and nothing is asked.

    Args:
        data: a path, a table or an iterable, of which every row is read.
        task: a task's name or folder; None where there is a constitution.
        models: `provider:model`.
        constitution: labels are asked for by its principles: a name or a file.
        score: whether responses are scored; else comparisons are labeled.
        format: whose convention the rows follow.
        columns: which column holds which field.
        sample: of how many rows prompts are rendered.
        prices: a file of prices (see `price_of`).
        **settings: the fields of `PreferenceConfig`, or of `PrincipleConfig` for a constitution.

    Raises:
        ConfigError: a setting is wrong, or there is not either a task or a constitution.
        InputError: the data cannot be read, or has no row that could be judged.
        CapabilityError: a model cannot do what the settings want.
    """
    config, asked_of = _questions(task, constitution, score, settings)
    rows: Iterator[tuple[str, Comparison | Response | RowError]]
    rows = read_responses(data, format, columns) if score else read_comparisons(data, format, columns)
    rng, drawn, items, rejected = random.Random(config.seed), list[Item](), 0, 0
    for item in usable(rows):
        if item is None:
            rejected += 1
            continue
        items += 1
        # Every row is as likely as any other to be in the sample.
        if len(drawn) < sample:
            drawn.append(item)
        elif (place := rng.randrange(items)) < sample:
            drawn[place] = item
    if not items:
        raise InputError(f"there is no row to quote ({rejected:,} cannot be used)")
    quotes = [quote_items(spec, asked_of, config, drawn, items, prices) for spec in models]
    return Quoted(items, rejected, len(drawn), quotes)


def _questions(
    task: str | None, constitution: str | None, score: bool, settings: dict[str, Any]
) -> tuple[PairConfig, AskedOf]:
    """By which settings items are judged, and what renders what each is asked."""
    if (task is None) == (constitution is None):
        raise ConfigError("a quote is for a task or for a constitution; name one of them")
    if constitution is not None:
        if score:
            raise ConfigError("a constitution's principles compare two responses; scores are asked for by a task")
        config = build(PrincipleConfig, settings, "quote")
        questions = Questions(constitution, config)
        return config, lambda item: tuple(questions.of(item.id).values())
    of_task = build(PreferenceConfig, settings, "quote")
    judgement: Judgement = "score" if score else "preference"
    prompter = Prompter(load_task(str(task)), judgement, of_task.preamble, of_task.exemplars, of_task.rationale)
    return of_task, lambda _: (prompter,)


def usable(rows: Iterable[tuple[str, Comparison | Response | RowError]]) -> Iterator[Item | None]:
    """Rows as they would be judged.

    Args:
        rows: places, and items or what is wrong with them.

    Yields:
        Each item; None where it would be rejected.
    """
    for _, item in rows:
        try:
            if isinstance(item, RowError):
                raise item
            check_comparison(item) if isinstance(item, Comparison) else check_response(item)
        except RowError:
            yield None
        else:
            yield item


def quote_items(
    spec: str, asked_of: AskedOf, config: PairConfig, drawn: Sequence[Item], items: int, prices: Path | None
) -> Quote:
    """What one model would take for so many items.

    Args:
        spec: `provider:model`.
        asked_of: what renders the questions of an item.
        config: how verdicts are asked for and read.
        drawn: a sample of the items.
        items: how many there are.
        prices: a file of prices (see `price_of`).

    Raises:
        CapabilityError: the model cannot do what the settings want.
    """
    model = QuotedModel(spec, prices)
    method = method_for(spec, model.able, config)
    draws = config.draws if method == "sampled" else 1
    is_text = method in ("sampled", "verbalized")
    thoughts = config.self_consistency if config.rationale else 0
    orders = 2 if config.orders == "both" and isinstance(drawn[0], Comparison) else 1

    def asked(item: Item) -> list[Request]:
        """One order of one item, whatever it is asked there; rationales are empty yet."""
        texts = (item.response_1, item.response_2) if isinstance(item, Comparison) else (item.response,)
        requests = []
        for prompter in asked_of(item):
            want: Choose | Generate = Generate(VERDICT_TOKENS) if is_text else Choose(prompter.verdicts)
            first = prompter.ask(item.query, *texts)
            last = prompter.conclude(first, "") if config.rationale else first
            requests += [request(model.able, first, want, ())] * thoughts
            requests += [request(model.able, last, want, prompter.verdicts)] * (draws * max(1, thoughts))
        return requests

    lows, highs = zip(*(model.tokens(asked(item)) for item in drawn), strict=True)
    noise = noise_of(highs, items)
    texts = orders * items
    questions = texts * len(asked_of(drawn[0]))
    answers = questions * draws * max(1, thoughts)
    # A rationale is written once, and read again before each answer behind it.
    thought = RATIONALE_TOKENS * thoughts, config.max_rationale_tokens * thoughts
    verdict = (1, VERDICT_TOKENS) if is_text else (1, 1)
    read = (
        texts * statistics.fmean(lows) * (1 - noise) + questions * thought[0] * draws,
        texts * statistics.fmean(highs) * (1 + noise) + questions * thought[1] * draws,
    )
    low, high = (questions * thought[end] + answers * (verdict[end] + model.thinking[end]) for end in (0, 1))
    # What all share is asked as often as anything, and the first request finds no cache.
    shared = texts * model.cached(asked(drawn[0])) * (1 - 1 / max(1, questions))
    return made(model, method, questions * thoughts + answers, read, (low, high), shared)


def made(
    model: QuotedModel,
    method: Method | Literal["text"],
    requests: int,
    read: Interval,
    written: Interval,
    cached: float,
) -> Quote:
    """A quote of a model."""
    prices = model.price, model.batch_price, model.is_local
    return Quote(model.spec, method, requests, read, written, cached, *prices)


def noise_of(sizes: Sequence[float], items: int) -> float:
    """Two standard errors of the sample's mean as a share of it; nothing where all rows were looked at."""
    if len(sizes) >= items or len(sizes) < 2:
        return 0.0
    error = statistics.stdev(sizes) / math.sqrt(len(sizes))
    return 2 * error / statistics.fmean(sizes)
