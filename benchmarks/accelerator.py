"""Reward and DPO training of a 0.5 B model in bfloat16 on a GPU, beside TRL's own trainers: speed, FLOPs, memory.

    python benchmarks/accelerator.py

The model has the shape of Qwen2-0.5B and random weights. Settings are those of `training.py`; each takes some
steps to warm up, and is then timed in interleaved rounds, in one process: kernels are compiled before any timing.

Tokens are those of the pairs, a query's counted once for each response, whoever runs it once: what a user has, not
what the machine does. FLOPs are those of the tokens that do go through the model, without padding: 6 for each weight of
a layer and 12·d for each token that a token sees, in each layer, and 6·d·V for each token that a policy's head scores.
Their share of the peak is the model FLOP utilisation. TRL's DPO head scores all tokens; only those of responses count.
"""

import argparse
import gc
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from report import write
from training import pairs, trainer
from transformers import AutoTokenizer, PrinterCallback, Qwen2Config, Qwen2ForCausalLM

from rlaif.pocket.paths import model_folder as bundled

SETTINGS = ("trl", "rows", "rows-by-length", "shared-by-length")
STEPS, WARMING, ROUNDS = 10, 3, 2
SHAPES = {
    "short queries": {"query": (100, 300), "response": (100, 300), "pairs": 24},
    "long queries": {"query": (600, 1000), "response": (100, 300), "pairs": 10},
}
"""Bounds of token counts, and pairs of a step."""
HIDDEN, INTERMEDIATE, LAYERS, WORDS = 896, 4864, 24, 151_936
KV = 128
"""Width of the keys: two heads of 64."""
PEAK_FLOPS = 989e12
"""Of an H100 or H200, bfloat16 without sparsity, by its data sheet."""


def qwen(folder: Path) -> Path:
    """A random model of that shape, with the bundled tokenizer: no text is read."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=WORDS,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(bundled("policy")).save_pretrained(folder)
    return folder


def flops(kind: str, shared: bool, rows: list[dict[str, Any]]) -> float:
    """Floating-point operations that these rows need, forwards and backwards."""
    layer = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * KV + 3 * HIDDEN * INTERMEDIATE
    total = 0.0
    for row in rows:
        query, answers = len(row["query"]), [len(one) for one in row["responses"]]
        lengths = [query, *answers] if shared else [query + one for one in answers]
        total += 6 * LAYERS * layer * sum(lengths)
        # Each token sees itself and what stands before it, in its own branch.
        behind = [query * (query + 1) / 2] * (1 if shared else len(answers))
        behind += [one * query + one * (one + 1) / 2 for one in answers]
        total += 12 * LAYERS * HIDDEN * sum(behind)
        total += 6 * HIDDEN * WORDS * sum(answers) if kind == "dpo" else 0
    return total


def measured(kind: str, setting: str, rows: list[dict[str, Any]], folder: Path, steps: int) -> dict[str, float]:
    """One run through the rows in so many steps: seconds and peak gigabytes."""
    with tempfile.TemporaryDirectory() as out:
        size = len(rows) // STEPS
        made = trainer(kind, setting, rows, folder, Path(out), micro=size, steps=steps, on_accelerator=True)
        made.remove_callback(PrinterCallback)
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        start = time.monotonic()
        made.train()
        torch.cuda.synchronize()
        found = {"seconds": time.monotonic() - start, "peak_gb": torch.cuda.max_memory_allocated() / 1e9}
    del made
    gc.collect()
    torch.cuda.empty_cache()
    return found


def matrix_flops() -> float:
    """What a product of two large random matrices reaches, FLOP/s."""
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    torch.cuda.synchronize()
    start = time.monotonic()
    for _ in range(20):
        left @ right
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (time.monotonic() - start)


def main() -> None:
    """Measure everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no GPU: skipped")
        return
    facts: dict[str, Any] = {"steps": STEPS, "rounds": given.rounds, "shapes": SHAPES}
    facts["matrix_product_tflops"] = round(matrix_flops() / 1e12)
    with tempfile.TemporaryDirectory() as temporary:
        folder = qwen(Path(temporary))
        for shape, sizes in SHAPES.items():
            count = STEPS * sizes["pairs"]
            rows = pairs(sizes, count, WORDS)
            tokens = sum(len(row["query"]) + len(one) for row in rows for one in row["responses"])
            for kind in ("reward", "dpo"):
                for setting in SETTINGS:
                    measured(kind, setting, rows, folder, WARMING)
                rounds = [
                    {one: measured(kind, one, rows, folder, STEPS) for one in SETTINGS} for _ in range(given.rounds)
                ]
                for setting in SETTINGS:
                    seconds = median(found[setting]["seconds"] for found in rounds)
                    ratios = [found["trl"]["seconds"] / found[setting]["seconds"] for found in rounds]
                    done = flops(kind, setting.startswith("shared"), rows)
                    name = f"{kind}, {shape}, {setting}"
                    facts[name] = {
                        "pairs_per_s": round(count / seconds, 1),
                        "tokens_per_s": round(tokens / seconds),
                        "model_flop_utilisation": round(done / seconds / PEAK_FLOPS, 3),
                        "times_trl": round(median(ratios), 2),
                        "times_trl_from": round(min(ratios), 2),
                        "times_trl_to": round(max(ratios), 2),
                        "peak_gb": round(max(found[setting]["peak_gb"] for found in rounds), 2),
                    }
                    print(name, facts[name], flush=True)
    write("accelerator", facts)


if __name__ == "__main__":
    main()
