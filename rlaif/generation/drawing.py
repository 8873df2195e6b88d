"""Texts that a model draws: seeded row by row, so that none depends on its batch.

Shapes: B rows of a batch.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from rlaif.generation.batches import left_pad
from rlaif.generation.cache import Prefix, serve, static, with_room
from rlaif.generation.models import LocalModel, pad_id


class _SeededSampling(LogitsProcessor):  # type: ignore[misc]  # transformers has no types
    """Draws each row's next token from numbers of its own, so that its text depends on no other row.

    A step is a race: each token arrives after an exponential time at the rate of its probability, and the first is
    drawn; with logarithms this is the largest logit after Gumbel noise (Yellott, The relationship between Luce's Choice
    Axiom, Thurstone's theory of comparative judgment, and the double exponential distribution, 1977). What a float32
    model computes a little otherwise in another batch then decides only a race that two tokens end together; the
    inverse of the cumulative distribution, of which each token moves all behind it, flips some hundred times as often.
    The times are -ln(1 - u) of the row's generator, one u per token and step. Every other token is ruled out, so that
    greedy decoding returns the drawn one.
    """

    def __init__(
        self,
        seeds: Sequence[int | None],
        temperatures: Sequence[float],
        top_ps: Sequence[float],
        steps: int,
        start: int,
        ends: Collection[int] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self._temperatures, self._top_ps = temperatures, top_ps
        self._start, self._ends = start, ends
        self.logprobs = torch.full((len(seeds), steps), torch.nan, dtype=torch.float64, device=device)
        """(B, steps) of what was drawn, among what it was drawn from; NaN where nothing was."""
        self._generators = {
            row: torch.Generator(device).manual_seed(seed if seed is not None else 0)
            for row, seed in enumerate(seeds)
            if temperatures[row] > 0
        }

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - self._start
        if step and self._generators:
            latest = input_ids[:, -1].tolist()
            self._generators = {row: own for row, own in self._generators.items() if latest[row] not in self._ends}
        hot = list(self._generators)
        if not hot:
            return scores
        heat = torch.tensor([self._temperatures[row] for row in hot], device=scores.device, dtype=torch.float64)
        probabilities = torch.softmax(scores[hot].double() / heat[:, None], -1)
        if any(self._top_ps[row] < 1 for row in hot):
            tops = torch.tensor([self._top_ps[row] for row in hot], device=scores.device, dtype=torch.float64)
            probabilities = _nucleus(probabilities, tops)
        uniform = torch.empty_like(probabilities)
        for place, generator in enumerate(self._generators.values()):
            torch.rand(uniform.shape[1:], generator=generator, out=uniform[place])
        # Not 0, which no token that is ruled out may divide by.
        times = uniform.neg_().log1p_().neg_().clamp_(min=torch.finfo(uniform.dtype).tiny)
        drawn = (probabilities / times).argmax(-1, keepdim=True)
        likelihood = probabilities.gather(1, drawn)[:, 0] / probabilities.sum(-1)
        self.logprobs[hot, step] = likelihood.log()
        chosen = torch.full_like(scores[hot], -torch.inf).scatter(1, drawn, 0.0)
        result = scores.clone()
        result[hot] = chosen
        return result


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
        tokens: without padding and end token.
        ended: whether it came to an end by itself.
        end: the end token, where it wrote one.
        logprobs: of the tokens, and the end token, as they were drawn; NaN at temperature 0.
    """

    tokens: list[int]
    ended: bool
    end: int | None
    logprobs: list[float]


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
        max_tokens: the most tokens to write.
        temperatures: (B,) 0 is greedy.
        seeds: (B,) each row's own; used where the temperature is not 0.
        stop: texts after which a row is at its end.
        top_ps: (B,) in (0, 1]: from how much of the mass tokens are drawn; all of it if None.
        finished: told of a row by its number as soon as it has drawn its end token, while others go on.
        static_cache: make room for all keys and values before, as compiled decoding needs it; without a prefix.

    Returns:
        B continuations; a stop text is still in its tokens.
    """
    model, tokenizer = local
    pad = pad_id(tokenizer)
    batch = left_pad(rows, len(prefix.tokens), pad, model.device)
    before = torch.tensor([list(prefix.tokens)] * len(rows), device=model.device, dtype=torch.long)
    ids = torch.cat([before, batch.ids], 1)
    ends = model.generation_config.eos_token_id
    stops = set(ends if isinstance(ends, list) else [ends] if ends is not None else [])
    drawing = _SeededSampling(
        seeds, temperatures, top_ps or [1.0] * len(rows), max_tokens, ids.shape[1], stops, model.device
    )

    def end(row: int, tokens: torch.Tensor) -> None:
        assert finished is not None
        finished(row, _until_end(tokens.tolist(), stops, None, max_tokens, drawing.logprobs[row].tolist()))

    options: dict[str, Any] = {"stop_strings": list(stop), "tokenizer": tokenizer} if stop else {}
    # In place of what the model's own settings say, which do not go with a cache that is given.
    options["cache_implementation"] = None
    if not static_cache:
        options["past_key_values"] = with_room(model, serve(prefix, len(rows)), max_tokens)
    elif torch.is_autocast_enabled(model.device.type):
        options["past_key_values"] = static(model, ids.shape[1] + max_tokens)
    else:
        options["cache_implementation"] = "static"
    output = model.generate(
        ids,
        attention_mask=batch.mask.long(),
        max_new_tokens=max_tokens,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        num_beams=1,
        repetition_penalty=1.0,
        logits_processor=LogitsProcessorList([drawing]),
        pad_token_id=pad,
        stopping_criteria=StoppingCriteriaList([_Ended(stops, ids.shape[1], end)] if finished is not None else []),
        **options,
    )
    # A stop text leaves nothing but padding behind it; without one a padding token was drawn like any other.
    behind = pad if stop else None
    return [
        _until_end(row[ids.shape[1] :].tolist(), stops, behind, max_tokens, logprobs)
        for row, logprobs in zip(output, drawing.logprobs.tolist(), strict=True)
    ]


class _Ended(StoppingCriteria):  # type: ignore[misc]  # transformers has no types
    """Stops nothing; tells of each row, once, that it has drawn an end token."""

    def __init__(self, ends: set[int], start: int, tell: Callable[[int, torch.Tensor], None]) -> None:
        self._ends, self._start, self._tell = torch.tensor(sorted(ends)), start, tell
        self._told: set[int] = set()

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        over = torch.isin(input_ids[:, -1], self._ends.to(input_ids.device))
        for row in over.nonzero()[:, 0].tolist():
            if row not in self._told:
                self._told.add(row)
                self._tell(row, input_ids[row, self._start :])
        return torch.zeros_like(over)


def _until_end(
    tokens: list[int], ends: set[int], pad: int | None, max_tokens: int, logprobs: Sequence[float]
) -> Continuation:
    """Cut at the end token, or at the padding behind a stop text; either is a text that ended by itself."""
    for place, token in enumerate(tokens):
        if token in ends:
            return Continuation(tokens[:place], ended=True, end=token, logprobs=list(logprobs[: place + 1]))
        if token == pad:
            return Continuation(tokens[:place], ended=True, end=None, logprobs=list(logprobs[:place]))
    return Continuation(tokens, len(tokens) < max_tokens, None, list(logprobs[: len(tokens)]))
