"""What an online training would ask of its labeler, before it runs: steps × batch responses, and what watches."""

import math
import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rlaif.config import build, read
from rlaif.conventions import read_queries
from rlaif.errors import ConfigError, InputError, RowError
from rlaif.labeling.preference import PreferenceConfig
from rlaif.prompting import Prompter, load_task
from rlaif.records import Dialogue, Response
from rlaif.stages.labels import records_file
from rlaif.stages.quote import Quote, Quoted, quote_items

_READ = 20_000
_SHORT = 4
"""A response is taken to have between a quarter of `rollout.max_tokens` and all of them."""


def quote_training(
    config: Path,
    overrides: Sequence[str] = (),
    *,
    models: Sequence[str] = (),
    sample: int = 200,
    prices: Path | None = None,
) -> Quoted:
    """Quote a training; no key is needed and nothing is asked.

    Args:
        config: the YAML file of `rlaif train ppo` or `reinforce`.
        overrides: `section.key=value`, in place of what the file says.
        models: `provider:model` in place of the config's labeler.
        sample: of how many queries prompts are rendered.
        prices: a file of prices (see `price_of`).

    Raises:
        ConfigError: a setting is wrong, or no labeler is asked.
        InputError: the queries cannot be read.
    """
    from rlaif.stages.online import PPOConfig

    settings = read(PPOConfig, config, overrides)
    asked = settings.labeler
    if asked.reward_model is not None and not models:
        raise ConfigError(f"{config}: labeler.reward_model rewards; nobody is asked, and nothing is paid")
    items = settings.steps * settings.rollout.batch
    if settings.watch.queries is not None:
        # At first, every so many steps and at last: the labeler, itself in another form, and the anchors again.
        items += (math.ceil(settings.steps / settings.watch.every_steps) + 1) * settings.watch.limit * 3
    said: dict[str, Any] = {"exemplars": asked.exemplars, "rationale": asked.rationale, "method": asked.method}
    verdicts = build(PreferenceConfig, said, "quote")
    prompter = Prompter(load_task(asked.task), "score", verdicts.preamble, asked.exemplars, asked.rationale)
    queries = _queries(records_file(settings.queries), sample)
    most = settings.rollout.max_tokens
    quotes = []
    for llm in models or [asked.llm]:
        least, full = (
            quote_items(llm, lambda _: (prompter,), verdicts, _answered(queries, tokens), items, prices or asked.prices)
            for tokens in (max(1, most // _SHORT), most)
        )
        quotes.append(_between(least, full))
    return Quoted(items, 0, len(queries), quotes)


def _queries(path: Path, sample: int) -> list[Dialogue]:
    rows = [row for _, row in islice(read_queries(path), _READ) if not isinstance(row, RowError)]
    if not rows:
        raise InputError(f"{path}: there is no query to quote")
    return random.Random(0).sample(rows, min(sample, len(rows)))


def _answered(queries: Sequence[Dialogue], tokens: int) -> list[Response]:
    """The queries with responses of so many short words, each about a token."""
    text = " ".join(["word"] * tokens)
    return [Response(id=one.id, query=one.query, response=text) for one in queries]


def _between(least: Quote, full: Quote) -> Quote:
    return full._replace(
        input_tokens=(least.input_tokens[0], full.input_tokens[1]),
        output_tokens=(least.output_tokens[0], full.output_tokens[1]),
        cached_tokens=least.cached_tokens,
    )
