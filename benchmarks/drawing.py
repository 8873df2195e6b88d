"""Drawing responses: the local model's batches beside transformers' own `generate` in batches of the same queries.

The bundled policy answers held-out queries at temperature 1, at most 128 tokens each. Both ways get the same batches of
queries of like length, and run in turn; the ratio is that of the medians. The floor is a row read for each token that
is written: how many more are read is counted at the model itself. For whoever wants to see what other batches change,
all texts are drawn once more in batches a quarter as large.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from report import write

from rlaif import encoding, generation
from rlaif.generation.batches import by_length, left_pad
from rlaif.pocket.data import queries
from rlaif.pocket.paths import model_folder

LONGEST, BATCH = 128, 16_384


def ours(local: generation.LocalModel, rows: Sequence[list[int]], budget_tokens: int) -> list[list[int]]:
    """Each row's tokens, the end token included."""
    prefix, found = generation.Prefix((), None), [list[int]() for _ in rows]
    for batch in by_length([len(row) for row in rows], LONGEST, budget_tokens):
        seeds: list[int | None] = list(batch)
        written = generation.generate(local, prefix, [rows[row] for row in batch], LONGEST, [1.0] * len(batch), seeds)
        for row, one in zip(batch, written, strict=True):
            found[row] = one.tokens if one.end is None else [*one.tokens, one.end]
    return found


def theirs(local: generation.LocalModel, rows: Sequence[list[int]], budget_tokens: int) -> list[list[int]]:
    """The same batches, drawn by transformers."""
    model, pad, found = local.model, generation.pad_id(local.tokenizer), [list[int]() for _ in rows]
    for batch in by_length([len(row) for row in rows], LONGEST, budget_tokens):
        padded = left_pad([rows[row] for row in batch], 0, pad, model.device)
        output = model.generate(
            padded.ids,
            attention_mask=padded.mask.long(),
            max_new_tokens=LONGEST,
            do_sample=True,
            top_k=None,
            pad_token_id=pad,
        )
        for row, tokens in zip(batch, output[:, padded.ids.shape[1] :].tolist(), strict=True):
            end = model.generation_config.eos_token_id
            found[row] = tokens[: tokens.index(end) + 1] if end in tokens else tokens
    return found


def main() -> None:
    """Draw both ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=400, help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="default: %(default)s")
    given = parser.parse_args()
    folder = model_folder("policy")
    local = generation.LocalModel(generation.load_model(folder), encoding.load_tokenizer(folder))
    encoder = encoding.Encoder(local.tokenizer)
    rows = []
    for asked in queries(given.queries, task="harmlessness", split="heldout", seed=0):
        head, tail = encoder.prompt([("user", asked["query"][0]["content"])], "", 0)
        rows.append(head + tail)
    read: list[int] = []
    local.model.register_forward_hook(lambda _module, _args, output: read.append(len(output.logits)))
    ways: dict[str, Callable[..., list[list[int]]]] = {"rlaif": ours, "transformers": theirs}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for_each: dict[str, list[float]] = {name: [] for name in ways}
    torch.manual_seed(0)
    for _ in range(given.runs):
        for name, way in ways.items():
            read.clear()
            started = time.perf_counter()
            tokens = sum(map(len, way(local, rows, BATCH)))
            seconds[name].append((time.perf_counter() - started) / tokens)
            for_each[name].append(sum(read) / tokens)
    whole, apart = ours(local, rows, BATCH), ours(local, rows, BATCH // 4)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    write(
        "drawing",
        {
            "floor": "one row read for each token",
            "parameters": local.model.num_parameters(),
            "queries": len(rows),
            "runs": given.runs,
            "tokens_per_s": {name: round(1 / median) for name, median in medians.items()},
            "rows_read_per_token": {name: round(statistics.median(found), 2) for name, found in for_each.items()},
            "spread_us_per_token": {
                name: [round(min(times) * 1e6, 1), round(max(times) * 1e6, 1)] for name, times in seconds.items()
            },
            "times_as_fast": round(medians["transformers"] / medians["rlaif"], 2),
            "the_same_in_batches_a_quarter_as_large": sum(a == b for a, b in zip(whole, apart, strict=True)),
        },
    )


if __name__ == "__main__":
    main()
