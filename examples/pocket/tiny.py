"""Tiny Llama-type models: their tokenizer, their weights, the loop that trains them."""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BOS, EOS, PAD, USER, ASSISTANT = "<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"
VOCABULARY, CONTEXT = 2048, 4096
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'assistant' %}"
    f"{ASSISTANT}{{{{ message.content }}}}{EOS}"
    f"{{% else %}}{USER}{{{{ message.content }}}}{{% endif %}}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{ASSISTANT}{{% endif %}}"
)
NOWHERE = -100


def device() -> torch.device:
    """An accelerator if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of some texts; any other text falls into bytes."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(f"{BOS} $A", f"{BOS} $A $B", [(BOS, bpe.token_to_id(BOS))])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=CONTEXT,
    )


def new_model(tokenizer: PreTrainedTokenizerFast, hidden: int, layers: int) -> LlamaForCausalLM:
    """A small Llama with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(1, round(hidden / 64)),
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def right_padded(rows: Sequence[Sequence[int]], pad: int, where: torch.device) -> torch.Tensor:
    """(B, T) rows of tokens, padded on the right to the longest."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=where)


def next_token_loss(
    model: LlamaForCausalLM, rows: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]
) -> torch.Tensor:
    """The mean cross-entropy of the next token.

    Args:
        model: the model.
        rows: B lists of token ids; what is padded behind a row cannot reach it.
        labels: the same with `NOWHERE` for tokens that are not learned.
    """
    ids = right_padded(rows, model.config.pad_token_id, model.device)
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    aims = right_padded(labels, NOWHERE, model.device)[:, 1:]
    return cross_entropy(logits.flatten(0, 1).float(), aims.flatten(), ignore_index=NOWHERE)


def fit(
    model: LlamaForCausalLM,
    batch_loss: Callable[[], torch.Tensor],
    steps: int,
    rate: float,
    report_every: int = 50,
    beside: Sequence[torch.nn.Parameter] = (),
    fused: bool = False,
) -> list[float]:
    """Train: AdamW, a short warm-up, a cosine down to a fiftieth; matrices multiply in bfloat16.

    Args:
        model: the model; its weights stay float32.
        batch_loss: draws the next batch and returns its loss.
        steps: how many batches.
        rate: the highest learning rate.
        report_every: steps between lines of progress.
        beside: what is trained beside the model, and not kept.
        fused: whether the fused attention kernel is used on a CPU too, where it is quicker for a few long rows.

    Returns:
        The loss of each step.
    """
    # On a CPU the fused attention kernel is slower in its backward pass than plain matrix products of many short rows.
    model.set_attn_implementation("eager" if model.device.type == "cpu" and not fused else "sdpa")
    optimizer = torch.optim.AdamW([*model.parameters(), *beside], lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    warmup = min(100, steps // 10 + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.02 + 0.98 * math.cos(math.pi / 2 * step / steps) ** 2),
    )
    losses: list[float] = []
    start = time.monotonic()
    model.train()
    for step in range(1, steps + 1):
        with torch.autocast(model.device.type, torch.bfloat16):
            loss = batch_loss()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % report_every == 0 or step == steps:
            recent = losses[-report_every:]
            seconds = time.monotonic() - start
            print(f"step {step} of {steps}  {seconds:.0f} s  loss {sum(recent) / len(recent):.3f}", flush=True)
    model.eval()
    model.set_attn_implementation("sdpa")
    return losses


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the model folder with weights in float16; each file appears whole."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as draft:
        model.to("cpu", torch.float16).save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        (Path(draft) / "generation_config.json").unlink(missing_ok=True)
        for path in Path(draft).iterdir():
            path.chmod(0o644)
            path.replace(out / path.name)
