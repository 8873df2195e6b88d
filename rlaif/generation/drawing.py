"""Texts that a model draws: seeded row by row, so that none depends on its batch.

Shapes: B rows of a batch, V tokens of the vocabulary. A row is known by its number, which stays; its place in the batch
changes when others leave.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    StopStringCriteria,
)

from rlaif.generation.batches import left_pad
from rlaif.generation.cache import Prefix, can_shrink, serve, static, with_room
from rlaif.generation.models import LocalModel, pad_id


def draw(
    logits: torch.Tensor,
    temperatures: Sequence[float],
    top_ps: Sequence[float],
    generators: Sequence[torch.Generator],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw each row's next token from numbers of its own, so that it depends on no other row.

    It is a race: each token arrives after an exponential time at the rate of its probability, and the first is drawn;
    with logarithms it is the largest logit after Gumbel noise (Yellott, The relationship between Luce's Choice Axiom,
    Thurstone's theory of comparative judgment, and the double exponential distribution, 1977). What a float32 model
    computes a little otherwise in another batch then decides only where two tokens arrive together. The inverse of the
    cumulative distribution, in which each token moves all behind it, flips tens of times as often.

    Args:
        logits: (B, V) in nats.
        temperatures: (B,) above 0.
        top_ps: (B,) in (0, 1]: from how much of the mass is drawn.
        generators: (B,) each row's, on the logits' device, of whose kind the numbers are; takes V of them, u, and the
            times are -ln(1 - u) over the probabilities.

    Returns:
        (B,) tokens, and (B,) float64 their log-probabilities among what they were drawn from.
    """
    heat = torch.tensor(temperatures, device=logits.device, dtype=torch.float64)
    probabilities = torch.softmax(logits.double() / heat[:, None], -1)
    if min(top_ps) < 1:
        probabilities = _nucleus(probabilities, torch.tensor(top_ps, device=logits.device, dtype=torch.float64))
    uniform = torch.empty_like(probabilities)
    for row, generator in enumerate(generators):
        torch.rand(uniform.shape[1:], generator=generator, out=uniform[row])
    # Not 0, by which no token that is ruled out may be divided.
    times = uniform.neg_().log1p_().neg_().clamp_(min=torch.finfo(uniform.dtype).tiny)
    drawn = torch.div(probabilities, times, out=times).argmax(-1)
    likelihood = probabilities.gather(1, drawn[:, None])[:, 0] / probabilities.sum(-1)
    return drawn, likelihood.log()


def _nucleus(probabilities: torch.Tensor, top_ps: torch.Tensor) -> torch.Tensor:
    """Only the likeliest tokens: the smallest set of them whose mass reaches each row's `top_p`, never none.

    Source: Holtzman et al., The Curious Case of Neural Text Degeneration (arXiv:1904.09751), section 3.1.
    """
    ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    # Rounded sums must not take the tail from a row that draws from all tokens beside one that does not.
    kept = (before < top_ps[:, None]) | (top_ps[:, None] >= 1)
    kept[:, 0] = True
    return torch.zeros_like(probabilities).scatter(1, tokens, ordered * kept)


class Continuation(NamedTuple):
    """What a model wrote.

    Attributes:
        tokens: without end token.
        ended: whether it came to an end by itself.
        end: the end token, where it wrote one.
        logprobs: of the tokens, and the end token, as they were drawn; NaN at temperature 0.
    """

    tokens: list[int]
    ended: bool
    end: int | None
    logprobs: list[float]


class _Underway(StoppingCriteria):  # type: ignore[misc]  # transformers has no types
    """Which rows of a batch still write.

    A row that has ended costs as much as one that writes. So the batch is stopped when half of it has ended, and the
    rest go on as a batch of their own: of texts as long as 10, 20, 40 and 80 tokens half of the work is saved.

    Args:
        rows: how many there are.
        start: where in them what is written begins.
        ends: end tokens.
        stop: sees stop texts.
        halves: whether the batch may be stopped before all have ended.
        over: told of a row by its number, with what it wrote, as soon as it has ended.
        device: of the batch.
    """

    def __init__(
        self,
        rows: int,
        start: int,
        ends: set[int],
        stop: StopStringCriteria | None,
        halves: bool,
        over: Callable[[int, list[int]], None],
        device: torch.device,
    ) -> None:
        self.rows = list(range(rows))
        """Their numbers, by their place in the batch."""
        self.is_over = torch.zeros(rows, dtype=torch.bool, device=device)
        self._start, self._stop, self._halves, self._tell = start, stop, halves, over
        self._ends = torch.tensor(sorted(ends), dtype=torch.long, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        now = torch.isin(input_ids[:, -1], self._ends)
        if self._stop is not None:
            now |= self._stop(input_ids, scores)
        for place in (now & ~self.is_over).nonzero()[:, 0].tolist():
            self._tell(self.rows[place], input_ids[place, self._start :].tolist())
        self.is_over |= now
        if self._halves and 2 * int(self.is_over.sum()) >= len(self.rows):
            return torch.ones_like(self.is_over)
        return self.is_over

    def drop_ended(self) -> torch.Tensor:
        """Keep only what still writes.

        Returns:
            The places that these rows had.
        """
        places = (~self.is_over).nonzero()[:, 0]
        self.rows = [self.rows[place] for place in places.tolist()]
        self.is_over = torch.zeros_like(places, dtype=torch.bool)
        return places


class _SeededSampling(LogitsProcessor):  # type: ignore[misc]  # transformers has no types
    """Draws the next token of rows at a temperature; all others are ruled out, so that greedy decoding returns it."""

    def __init__(
        self,
        underway: _Underway,
        start: int,
        steps: int,
        seeds: Sequence[int | None],
        temperatures: Sequence[float],
        top_ps: Sequence[float],
        device: torch.device,
    ) -> None:
        self._underway, self._start = underway, start
        self._temperatures, self._top_ps = temperatures, top_ps
        self._generators = [torch.Generator(device).manual_seed(seed or 0) for seed in seeds]
        self.logprobs = torch.full((len(seeds), steps), torch.nan, dtype=torch.float64, device=device)
        """(B, steps) of what was drawn, by the rows' numbers; NaN where nothing was."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        writes = (~self._underway.is_over).nonzero()[:, 0].tolist()
        places = [place for place in writes if self._temperatures[self._underway.rows[place]] > 0]
        if not places:
            return scores
        rows = [self._underway.rows[place] for place in places]
        drawn, logprobs = draw(
            scores[places],
            [self._temperatures[row] for row in rows],
            [self._top_ps[row] for row in rows],
            [self._generators[row] for row in rows],
        )
        self.logprobs[rows, input_ids.shape[1] - self._start] = logprobs
        result = scores.clone()
        result[places] = torch.full_like(scores[places], -torch.inf).scatter(1, drawn[:, None], 0.0)
        return result


_NOT_THE_MODELS = (
    "min_new_tokens",
    "begin_suppress_tokens",
    "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "guidance_scale",
    "stop_strings",
    "max_time",
    "max_length",
)
"""What a model's own generation settings may not say: it would count anew when the rest of a batch goes on."""


@lru_cache(maxsize=4)
def _stops(tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...]) -> StopStringCriteria:
    """Made once, and kept with its tokenizer: it looks through the whole vocabulary."""
    return StopStringCriteria(tokenizer, list(stop))


@torch.inference_mode()
def generate(
    local: LocalModel,
    prefix: Prefix,
    rows: Sequence[Sequence[int]],
    max_tokens: int,
    temperatures: Sequence[float],
    seeds: Sequence[int | None],
    stop: Sequence[str] = (),
    top_ps: Sequence[float] | None = None,
    finished: Callable[[int, Continuation], None] | None = None,
    static_cache: bool = False,
) -> list[Continuation]:
    """Let the model go on from each row.

    Args:
        local: model and tokenizer.
        prefix: what stands before every row.
        rows: B lists of token ids, none empty.
        max_tokens: the most tokens to write, an end token included.
        temperatures: (B,) 0 is greedy.
        seeds: (B,) each row's own; used where the temperature is not 0.
        stop: texts after which a row is at its end.
        top_ps: (B,) in (0, 1]: from how much of the mass tokens are drawn; all of it if None.
        finished: told of a row by its number as soon as it has ended by itself, while others go on.
        static_cache: make room for all keys and values before, as compiled decoding needs it; without a prefix.

    Returns:
        B continuations; a stop text is still in its tokens.
    """
    model, tokenizer = local
    batch = left_pad(rows, len(prefix.tokens), pad_id(tokenizer), model.device)
    before = torch.tensor([list(prefix.tokens)] * len(rows), device=model.device, dtype=torch.long)
    ids, mask = torch.cat([before, batch.ids], 1), batch.mask.long()
    start = ids.shape[1]
    of_model = model.generation_config.eos_token_id
    ends = set(of_model if isinstance(of_model, list) else [of_model] if of_model is not None else [])
    written: dict[int, Continuation] = {}

    def over(row: int, tokens: list[int]) -> None:
        end = tokens[-1] if tokens[-1] in ends else None
        logprobs = drawing.logprobs[row, : len(tokens)].tolist()
        written[row] = Continuation(tokens[:-1] if end is not None else tokens, True, end, logprobs)
        if finished is not None:
            finished(row, written[row])

    # In place of what the model's own settings say, which do not go with a cache that is given.
    options: dict[str, Any] = dict.fromkeys((*_NOT_THE_MODELS, "cache_implementation"))
    if not static_cache:
        options["past_key_values"] = with_room(model, serve(prefix, len(rows)), max_tokens)
    elif torch.is_autocast_enabled(model.device.type):
        options["past_key_values"] = static(model, start + max_tokens)
    else:
        options["cache_implementation"] = "static"
    cache: Any = options.get("past_key_values")
    stops = _stops(tokenizer, tuple(stop)) if stop else None
    underway = _Underway(len(rows), start, ends, stops, can_shrink(cache), over, model.device)
    drawing = _SeededSampling(
        underway, start, max_tokens, seeds, temperatures, top_ps or [1.0] * len(rows), model.device
    )
    # A call ends when half of its rows have; the next goes on with the rest, whose cache lacks their latest token only.
    while True:
        ids = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=start + max_tokens - ids.shape[1],
            use_cache=True,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            num_beams=1,
            repetition_penalty=1.0,
            logits_processor=LogitsProcessorList([drawing]),
            pad_token_id=pad_id(tokenizer),
            stopping_criteria=StoppingCriteriaList([underway]),
            **options,
        )
        places = underway.drop_ended()
        ids = ids[places]
        if not underway.rows or ids.shape[1] == start + max_tokens:
            break
        mask = functional.pad(mask[places], (0, ids.shape[1] - mask.shape[1]), value=1)
        cache.batch_select_indices(places)
    for row, tokens in zip(underway.rows, ids[:, start:].tolist(), strict=True):
        written[row] = Continuation(tokens, False, None, drawing.logprobs[row].tolist())
    return [written[row] for row in range(len(rows))]
