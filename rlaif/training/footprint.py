"""What one training step takes, counted without weights: it runs on tensors of a shape and a type but no content.

Shapes: R rows, T tokens of the longest, V words of the vocabulary, d the hidden size.
Nothing is a formula for one architecture: attention kernels, adapters, checkpointing and autocast are run as the
libraries run them, and the formulas of arXiv:2205.05198, section 4, come out of it (a test derives one by hand).
The attention mask is there, as with rows of different lengths.
"""

import logging
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from rlaif.errors import ModelError
from rlaif.training.models import checkpoint_activations, freeze_lower_layers
from rlaif.training.settings import Lora
from rlaif.training.tally import BIG_BYTES, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATES = 2
"""Tensors that AdamW keeps for each trained one, of its shape and type; its fused step needs nothing else."""
_TILE_TOKENS, _TILE_WIDTH = 4096, 32_768
"""TRL's fused head multiplies so many tokens by so much of the vocabulary at once."""
_TILES_ON_CPU = 8
"""Copies of a tile in the backward pass of TRL's fused head on a CPU; with Triton there is one."""

Head = Literal["scalar", "fused", "vocabulary"]


class Workload(NamedTuple):
    """What training asks of the machine.

    Attributes:
        folder: the model folder; its weights are not read.
        head: `scalar` for a reward model; `fused` for TRL's head, which never holds all logits; `vocabulary` for logits
            of all tokens, (R, T, V).
        tokens: of the longest row, T.
        micro_batch: examples that go through the model at once.
        rows_per_example: rows that each becomes.
        responses_per_row: of at most `max_tokens`, each with its query.
        accumulates: whether a step of the optimizer takes several micro-batches.
        weights: the type of all weights.
        autocast: whether matrices are multiplied in bfloat16.
        gradient_checkpointing: whether activations are computed twice.
        lora_rank: of the adapters on all linear layers; 0 trains the weights.
        frozen_layers: how many of the lowest layers are not trained.
        reference: whether a second copy of the model is kept beside it.
    """

    folder: Path
    head: Head
    tokens: int
    micro_batch: int
    rows_per_example: int = 1
    responses_per_row: int = 1
    accumulates: bool = False
    weights: Literal["float32", "bfloat16"] = "float32"
    autocast: bool = False
    gradient_checkpointing: bool = False
    lora_rank: int = 0
    frozen_layers: int = 0
    reference: bool = False


class Footprint(NamedTuple):
    """What a step takes.

    Attributes:
        most: bytes by kind (`weights`, `reference`, `gradients`, `optimizer`, `activations`, `logits`) when they are
            most in all.
        small_bytes: the most that blocks below `BIG_BYTES` take together.
        parameters: of the model, adapters included.
        trained: of these.
        counted: False where the model's path depends on its data (experts), so that nobody can know before; then
            `activations` and `logits` are missing, and the rest is a lower bound.
    """

    most: Counter[str]
    small_bytes: int
    parameters: int
    trained: int
    counted: bool


def footprint(work: Workload, device: str) -> Footprint:
    """Count what a step takes; about a second for 20 layers, whatever their size.

    Args:
        work: what is asked.
        device: `cpu`, `cuda`, `cuda:1`, …; it decides on the attention kernel.

    Raises:
        ModelError: transformers cannot build the model.
        ConfigError: the model has not so many layers as are to be frozen.
    """
    model, base_bytes = _empty_model(work)
    weights = list(model.parameters())
    trained = [one for one in weights if one.requires_grad]
    weights_bytes, trained_bytes = [one.nbytes for one in weights], [one.nbytes for one in trained]
    parameters, of_these = sum(one.numel() for one in weights), sum(one.numel() for one in trained)
    copy_bytes = base_bytes if work.reference else []
    beside = Counter(reference=sum(copy_bytes), optimizer=_STATES * sum(trained_bytes))
    small_beside = _small(copy_bytes) + _STATES * _small(trained_bytes)
    tally = Tally({model.config.get_text_config().vocab_size, _tile_width(model, device)})
    try:
        _run(model, work, device, tally)
    except RuntimeError:  # the shape of something depends on data, and there are none
        least = Counter(weights=sum(weights_bytes), gradients=sum(trained_bytes))
        small = _small(weights_bytes) + _small(trained_bytes)
        return Footprint(least + beside, small + small_beside, parameters, of_these, counted=False)
    # The optimizer, which works in place, takes no more than the end of the backward pass.
    return Footprint(tally.most + beside, tally.most_small + small_beside, parameters, of_these, counted=True)


def _small(sizes_bytes: list[int]) -> int:
    return sum(size for size in sizes_bytes if size < BIG_BYTES)


def _empty_model(work: Workload) -> tuple[PreTrainedModel, list[int]]:
    """The model as it would be trained, without contents, and the bytes of each of its own weights."""
    scalar = work.head == "scalar"
    kind, options = (AutoModelForSequenceClassification, {"num_labels": 1}) if scalar else (AutoModelForCausalLM, {})
    try:
        config = AutoConfig.from_pretrained(work.folder, trust_remote_code=False, **options)
        with torch.device("meta"):
            model = kind.from_config(config, dtype=getattr(torch, work.weights))
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise ModelError(f"{work.folder}: cannot be built ({error})") from error
    model.config.pad_token_id = 0  # a classifier wants one
    freeze_lower_layers(model, work.frozen_layers)
    base_bytes = [one.nbytes for one in model.parameters()]
    adapters = Lora(rank=work.lora_rank).peft_config("SEQ_CLS" if scalar else "CAUSAL_LM", work.frozen_layers)
    if adapters is not None:
        from peft import get_peft_model

        with torch.device("meta"):
            get_peft_model(model, adapters)  # changes the model in place
    if work.gradient_checkpointing:
        checkpoint_activations(model)
    return model.train(), base_bytes


def _run(model: PreTrainedModel, work: Workload, device: str, tally: Tally) -> None:
    """One micro-batch forwards and backwards."""
    with _no_log(), FakeTensorMode(), torch.device(device):
        _place(model)
        for one in (*model.parameters(), *model.buffers()):
            tally.add(one, "weights")
        for one in (one for one in model.parameters() if one.requires_grad):
            if work.accumulates:
                one.grad = torch.empty_like(one)
                tally.add(one.grad, "gradients")
            one.register_post_accumulate_grad_hook(tally.see_gradient)
        with tally:
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=work.autocast):
                loss = _loss(model, work, device)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it


@contextmanager
def _no_log() -> "Iterator[None]":
    # What cannot be run without contents is logged before it is raised.
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _place(model: PreTrainedModel) -> None:
    """Put the weights, which are nowhere, on the device of the context; tied ones stay tied."""
    made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for module in model.modules():
        for name, old in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if id(old) not in made:
                new = torch.empty(old.shape, dtype=old.dtype)
                if isinstance(old, torch.nn.Parameter):
                    new = torch.nn.Parameter(new, old.requires_grad)
                made[id(old)] = old, new  # the old one is held: its id must not come again
            setattr(module, name, made[id(old)][1])


def _loss(model: PreTrainedModel, work: Workload, device: str) -> torch.Tensor:
    ids = torch.zeros(work.micro_batch * work.rows_per_example, work.tokens, dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    if work.head == "fused":
        hidden = model.base_model(**inputs).last_hidden_state[:, :-1].flatten(0, 1)
        tiles = _TILES_ON_CPU if torch.device(device).type == "cpu" else 1
        weight = model.get_output_embeddings().weight
        logprobs = _FusedHead.apply(hidden, weight, _tile_width(model, device), tiles)  # type: ignore[no-untyped-call]
        return cast(torch.Tensor, logprobs.sum())
    logits = model(**inputs).logits.float()
    if work.head == "scalar":
        return cast(torch.Tensor, logits.sum())
    return cross_entropy(logits.flatten(0, 1), ids.flatten())


def _tile_width(model: PreTrainedModel, device: str) -> int:
    # A whole tile is allocated for any vocabulary; on a CPU only the pages that are written count.
    vocabulary = int(model.config.get_text_config().vocab_size)
    return min(vocabulary, _TILE_WIDTH) if torch.device(device).type == "cpu" else _TILE_WIDTH


class _FusedHead(torch.autograd.Function):
    """Allocates what TRL's fused head allocates (`trl.kernels.ChunkedLogProbFunction`) and computes nothing."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, width: int, tiles: int) -> torch.Tensor:
        ctx.save_for_backward(hidden, weight)
        ctx.width, ctx.tiles = width, tiles
        return hidden.new_zeros(len(hidden), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        both, rows = ctx.saved_tensors, min(len(ctx.saved_tensors[0]), _TILE_TOKENS)
        wanted = [one for one, needed in zip(both, ctx.needs_input_grad[:2], strict=True) if needed]
        gradients = [torch.zeros_like(one, dtype=torch.float32) for one in wanted]
        tiles = [both[0].new_empty(rows, ctx.width) for _ in range(ctx.tiles)]
        del tiles
        found = iter([one.to(weight.dtype) for one, weight in zip(gradients, wanted, strict=True)])
        return *(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None, None
