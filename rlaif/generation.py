"""Local language models in torch: load, share a prefix, read log-probabilities, generate.

Shapes: B rows of a batch, T tokens of the longest row, V vocabulary, D positions read per row.
Rows are padded on the left; masks are bool, True = counts. `prefix` is the part that all rows share: it goes
through the model once, and its keys and values serve every batch after it.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StaticCache,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.cache_utils import DynamicLayer, StaticLayer
from transformers.utils import logging

from rlaif.errors import ModelError

_WEIGHTS = ("*.safetensors", "*.bin")


class LocalModel(NamedTuple):
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def fingerprint(folder: Path) -> str:
    """A hash of everything in a model folder that can change an answer.

    Args:
        folder: a model folder.

    Returns:
        The first 16 hexadecimal digits of a SHA-256 over configuration, tokenizer and weights.
    """
    whole = hashlib.sha256()
    files = [path for pattern in ("*.json", "*.model", "*.jinja", "*.txt", *_WEIGHTS) for path in folder.glob(pattern)]
    for path in sorted(files):
        if path.name != "card.json":
            with path.open("rb") as file:
                whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]


def check_folder(folder: Path) -> None:
    """See that a folder holds a model, before anything is loaded.

    Args:
        folder: a model folder.

    Raises:
        ModelError: says what is missing.
    """
    if not (folder / "config.json").is_file() and (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder}: holds adapters only; merge them into the weights (lora.merge=true in training)")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: holds no model (there is no config.json)")
    if not any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        raise ModelError(f"{folder}: holds no weights (*.safetensors)")
    tokenizers = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt")
    if not any((folder / name).is_file() for name in tokenizers):
        raise ModelError(f"{folder}: holds no tokenizer (tokenizer.json); save it beside the model")


def load_model(folder: Path, dtype: str = "float32", device: str = "cpu") -> PreTrainedModel:
    """Load a causal language model; code that comes with a model is never run.

    Args:
        folder: a model folder.
        dtype: of the weights, as torch names it.
        device: `cpu`, `cuda`, `cuda:1`, …

    Raises:
        ModelError: transformers cannot load it.
    """
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: cannot be loaded ({error})") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    return model.to(device).eval()


def context_tokens(folder: Path) -> int | None:
    """The longest sequence a model folder's configuration allows, or None.

    Raises:
        ModelError: the configuration cannot be read.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder / 'config.json'}: is not JSON ({error})") from error
    text = config.get("text_config", config)
    found = text.get("max_position_embeddings") or text.get("n_positions")
    return int(found) if found else None


class Prefix(NamedTuple):
    """The shared start of many prompts: its tokens, and keys and values (None where it is empty)."""

    tokens: tuple[int, ...]
    cache: DynamicCache | None


@torch.inference_mode()
def read_prefix(model: PreTrainedModel, tokens: Sequence[int]) -> Prefix:
    """Run the shared prefix through the model, once.

    Args:
        model: the model.
        tokens: (P,) its token ids.
    """
    if not tokens:
        return Prefix((), None)
    cache = DynamicCache(config=model.config)
    ids = torch.tensor([list(tokens)], device=model.device)
    model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return Prefix(tuple(tokens), cache)


def _serve(prefix: Prefix, rows: int) -> DynamicCache | None:
    """The prefix's keys and values for a batch. Where layers are plain they are shared, not copied."""
    if prefix.cache is None:
        return None
    if any(type(layer) is not DynamicLayer for layer in prefix.cache.layers):
        cache = copy.deepcopy(prefix.cache)
        cache.batch_repeat_interleave(rows)
        return cache
    cache = DynamicCache()
    for layer in prefix.cache.layers:
        served = DynamicLayer()
        served.lazy_initialization(layer.keys, layer.values)
        served.keys = layer.keys.expand(rows, -1, -1, -1)
        served.values = layer.values.expand(rows, -1, -1, -1)
        cache.layers.append(served)
    return cache


class _Roomy(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """A layer's keys and values with room for all that will be written.

    The plain layer copies them all for each token that is added: the cost of a text grows with its length squared.
    """

    def __init__(self, before: DynamicLayer, tokens: int) -> None:
        super().__init__()
        self._tokens, self._rooms = tokens, list[torch.Tensor]()
        if before.is_initialized:
            self.lazy_initialization(before.keys, before.values)
            self.keys, self.values = before.keys, before.values

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        start, end = self.get_seq_length(), self.get_seq_length() + keys.shape[-2]
        if self._rooms:
            for room, new in zip(self._rooms, (keys, values), strict=True):
                room[..., start:end, :] = new
        else:
            for whole in super().update(keys, values):
                rest = whole.new_empty(*whole.shape[:-2], self._tokens, whole.shape[-1])
                self._rooms.append(torch.cat([whole, rest], -2))
        self.keys, self.values = (room[..., :end, :] for room in self._rooms)
        return self.keys, self.values


def _with_room(model: PreTrainedModel, cache: DynamicCache | None, tokens: int) -> DynamicCache | None:
    """The cache with room for so many tokens to be written; as it is where a layer is not a plain one."""
    roomy = DynamicCache(config=model.config) if cache is None else cache
    if any(type(layer) is not DynamicLayer for layer in roomy.layers):
        return cache
    roomy.layers = [_Roomy(layer, tokens) for layer in roomy.layers]
    return roomy


class _Alike(StaticLayer):  # type: ignore[misc]  # transformers has no types
    """A static layer whose values are as wide as its keys, which autocast leaves in float32 behind a rotation."""

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        found: tuple[torch.Tensor, torch.Tensor] = super().update(keys, values.to(keys.dtype))
        return found


def _static(model: PreTrainedModel, tokens: int) -> StaticCache:
    """A cache of so many tokens that autocast can write to."""
    cache = StaticCache(config=model.config.get_text_config(decoder=True), max_cache_len=tokens)
    cache.layers = [_Alike(tokens) if type(layer) is StaticLayer else layer for layer in cache.layers]
    return cache


class Batch(NamedTuple):
    """Left-padded rows behind a prefix: ids (B, T), mask (B, P + T) over prefix and rows, positions (B, T)."""

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor


def left_pad(rows: Sequence[Sequence[int]], prefix_tokens: int, pad: int, device: torch.device) -> Batch:
    """Pad rows on the left to the longest.

    Args:
        rows: B lists of token ids, none empty.
        prefix_tokens: P, how many tokens stand before each row.
        pad: the id to pad with; masked, so that any will do.
        device: where the tensors go.
    """
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows], device=device)
    counts = torch.tensor([[False] * (longest - len(row)) + [True] * len(row) for row in rows], device=device)
    before = counts.new_ones(len(rows), prefix_tokens)
    positions = (prefix_tokens + counts.cumsum(1) - 1).clamp(min=0)
    return Batch(ids, torch.cat([before, counts], 1), positions)


def by_length(lengths: Sequence[int], prefix_tokens: int, budget_tokens: int) -> Iterator[list[int]]:
    """Group rows of like length into batches.

    Args:
        lengths: tokens of each row.
        prefix_tokens: tokens of the prefix, which each row's keys and values count too.
        budget_tokens: the most tokens of a batch, padding and prefix included; a longer row stands alone.

    Yields:
        Indices into `lengths`, longest first, so that the first batch already shows whether memory suffices.
    """
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * (prefix_tokens + longest) > budget_tokens:
            yield batch
            batch = []
        if not batch:
            longest = lengths[index]
        batch.append(index)
    if batch:
        yield batch


def reading_paths(answers: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The token paths behind which next-token probabilities are needed to know every answer's.

    Args:
        answers: the tokens of each offered answer.

    Returns:
        The longest proper starts of answers, such that every proper start of an answer starts one of them:
        [()] where each answer is one token; [(one,)] where "10" is "1" and "0".
    """
    starts = {tuple(answer[:-1]) for answer in answers}
    return sorted(one for one in starts if not any(one == other[: len(one)] and one != other for other in starts))


@torch.inference_mode()
def answer_logprobs(
    model: PreTrainedModel,
    prefix: Prefix,
    rows: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    pad: int,
) -> torch.Tensor:
    """How probable it is that the text goes on with each answer's tokens.

    Args:
        model: the model.
        prefix: what stands before every row.
        rows: B lists of token ids, none empty.
        answers: A lists of token ids, none empty.
        pad: a padding id.

    Returns:
        (B, A) log-probabilities in nats, float64: sums of conditionals along each answer's tokens.
    """
    found: dict[tuple[int, ...], torch.Tensor] = {}
    paths = reading_paths(answers)
    for path in paths:
        batch = left_pad([[*row, *path] for row in rows], len(prefix.tokens), pad, model.device)
        output = model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            past_key_values=_serve(prefix, len(rows)),
            use_cache=True,
            logits_to_keep=len(path) + 1,
        )
        logprobs = torch.log_softmax(output.logits.float(), -1)
        for depth in range(len(path) + 1):
            start = path[:depth]
            following = [answer for answer in answers if len(answer) > depth and tuple(answer[:depth]) == start]
            for token in {answer[depth] for answer in following}:
                found[(*start, token)] = logprobs[:, depth, token].double()
    chains = [[found[tuple(answer[:end])] for end in range(1, len(answer) + 1)] for answer in answers]
    return torch.stack([torch.stack(chain).sum(0) for chain in chains], 1)


class _SeededSampling(LogitsProcessor):  # type: ignore[misc]  # transformers has no types
    """Draws each row's next token from numbers of its own, so that its text depends on no other row.

    Step t of a row takes the t-th uniform number of the row's generator and inverts the cumulative
    distribution; every other token is ruled out, so that greedy decoding returns the drawn one.
    """

    def __init__(
        self,
        seeds: Sequence[int | None],
        temperatures: Sequence[float],
        top_ps: Sequence[float],
        steps: int,
        start: int,
    ) -> None:
        self._temperatures, self._top_ps = temperatures, top_ps
        self._start = start
        self._uniform = torch.zeros(len(seeds), steps, dtype=torch.float64)
        self.logprobs = torch.full((len(seeds), steps), torch.nan, dtype=torch.float64)
        """(B, steps) of what was drawn, among what it was drawn from; NaN where nothing was."""
        for row, seed in enumerate(seeds):
            if temperatures[row] > 0:
                generator = torch.Generator().manual_seed(seed if seed is not None else 0)
                self._uniform[row] = torch.rand(steps, generator=generator, dtype=torch.float64)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - self._start
        hot = [row for row, temperature in enumerate(self._temperatures) if temperature > 0]
        if not hot:
            return scores
        heat = torch.tensor([self._temperatures[row] for row in hot], device=scores.device, dtype=torch.float64)
        probabilities = torch.softmax(scores[hot].double() / heat[:, None], -1)
        if any(self._top_ps[row] < 1 for row in hot):
            tops = torch.tensor([self._top_ps[row] for row in hot], device=scores.device, dtype=torch.float64)
            probabilities = _nucleus(probabilities, tops)
        chances = probabilities.cumsum(-1)
        aim = self._uniform[hot, step].to(scores.device)[:, None] * chances[:, -1:]
        drawn = torch.searchsorted(chances, aim, right=True).clamp(max=scores.shape[1] - 1)
        likelihood = probabilities.gather(1, drawn)[:, 0] / chances[:, -1]
        self.logprobs = self.logprobs.to(scores.device)
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
    drawing = _SeededSampling(seeds, temperatures, top_ps or [1.0] * len(rows), max_tokens, ids.shape[1])
    ends = model.generation_config.eos_token_id
    stops = set(ends if isinstance(ends, list) else [ends] if ends is not None else [])

    def end(row: int, tokens: torch.Tensor) -> None:
        assert finished is not None
        finished(row, _until_end(tokens.tolist(), stops, None, max_tokens, drawing.logprobs[row].tolist()))

    options: dict[str, Any] = {"stop_strings": list(stop), "tokenizer": tokenizer} if stop else {}
    # In place of what the model's own settings say, which do not go with a cache that is given.
    options["cache_implementation"] = None
    if not static_cache:
        options["past_key_values"] = _with_room(model, _serve(prefix, len(rows)), max_tokens)
    elif torch.is_autocast_enabled(model.device.type):
        options["past_key_values"] = _static(model, ids.shape[1] + max_tokens)
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


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """A padding id; padding is masked, so a tokenizer without one may use its end token or any other."""
    for candidate in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if isinstance(candidate, int):
            return candidate
    return 0
