"""Local labeling with 4 exemplars: shared prefix and batches by length, against the two plain ways.

A random model of 5.6 M parameters reads both orders of 96 comparisons of the pocket world. The plain ways run
every prompt whole: one after another, and in padded batches of 16 in the order of the file. All three run in turn,
five times; the ratios are those of the medians. That the labels are the same is checked to 1e-5.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from report import write
from transformers import LlamaConfig, LlamaForCausalLM

from rlaif import encoding, generation
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.run import Runner, in_parallel
from rlaif.llm.transformers import TransformersLLM
from rlaif.pocket.data import comparisons
from rlaif.pocket.paths import model_folder
from rlaif.prompting import Prompter, load_task
from rlaif.records import Comparison, Preference, parse

PAIRS, RUNS, EXEMPLARS = 96, 5, 4


def make_model(folder: Path) -> None:
    """A random Llama with the bundled tokenizer."""
    torch.manual_seed(0)
    tokenizer = encoding.load_tokenizer(model_folder("labeler-l"))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=8,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def plain(local: generation.LocalModel, prompts: list[list[int]], answers: list[int], batch: int) -> list[float]:
    """P("1") by whole forward passes over padded batches in the order given."""
    found = []
    for start in range(0, len(prompts), batch):
        rows = generation.left_pad(prompts[start : start + batch], 0, 0, local.model.device)
        with torch.inference_mode():
            logits = local.model(
                input_ids=rows.ids, attention_mask=rows.mask, position_ids=rows.positions, logits_to_keep=1
            ).logits[:, -1]
        found += torch.softmax(logits[:, answers].double(), -1)[:, 0].tolist()
    return found


async def ours(labeler: PreferenceLabeler, items: list[Comparison]) -> list[float]:
    """P("1") in both orders as the labeler reads them."""
    async with Runner(labeler.llm) as runner:

        async def one(item: Comparison) -> Preference:
            label = await labeler.judge(item, runner.ask)
            assert isinstance(label, Preference), label
            return label

        labels = {item.id: label async for item, label in in_parallel(items, one, labeler.llm.in_flight)}
    return [p for item in items for p in (labels[item.id].preference_12 or 0, 1 - (labels[item.id].preference_21 or 0))]


def main() -> None:
    """Run the three ways in turn."""
    items = [parse(Comparison, row) for row in comparisons(PAIRS, task="helpfulness", split="heldout", seed=5)]
    prompter = Prompter(load_task("helpfulness"), "preference", exemplars=EXEMPLARS)
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        local = generation.LocalModel(generation.load_model(Path(folder)), encoding.load_tokenizer(Path(folder)))
        encoder = encoding.Encoder(local.tokenizer)
        prompts = []
        for item in items:
            for texts in ((item.response_1, item.response_2), (item.response_2, item.response_1)):
                prompt = prompter.ask(item.query, *texts)
                content = prompt.shared + prompt.question
                head, tail = encoder.prompt([("user", content)], prompt.continuation, len(prompt.shared))
                prompts.append(head + tail)
        answers = [encoder.text(answer)[0] for answer in ("1", "2")]
        shared = len(encoder.prompt([("user", prompter.shared)], "", len(prompter.shared))[0])

        def label() -> list[float]:
            # A fresh model each time: the prefix is read anew, and tokenising is part of the time.
            model = TransformersLLM(Path(folder))
            model._local  # noqa: B018  (loading the weights is not what is compared)
            nonlocal started
            started = time.perf_counter()
            settings = {"exemplars": EXEMPLARS, "max_unread_mass": 1.0}
            return asyncio.run(ours(PreferenceLabeler("helpfulness", model, **settings), items))

        started = 0.0
        ways: dict[str, Callable[[], list[float]]] = {
            "one forward per prompt": lambda: plain(local, prompts, answers, 1),
            "padded batches of 16": lambda: plain(local, prompts, answers, 16),
            "rlaif": label,
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        results = {}
        for _ in range(RUNS):
            for name, way in ways.items():
                started = time.perf_counter()
                results[name] = way()
                seconds[name].append(time.perf_counter() - started)
    whole = results["one forward per prompt"]
    apart = {name: max(abs(a - b) for a, b in zip(whole, found, strict=True)) for name, found in results.items()}
    assert max(apart.values()) < 1e-5, apart
    lengths = [len(prompt) for prompt in prompts]
    padded = sum(16 * max(lengths[start : start + 16]) for start in range(0, len(lengths), 16))
    tokens = {
        "one forward per prompt": sum(lengths),
        "padded batches of 16": padded,
        "rlaif": shared + sum(length - shared for length in lengths),
    }
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    write(
        "local-labeling",
        {
            "aim": "4 times one forward per prompt, 2 times padded batches of 16, same labels to 1e-5",
            "parameters": local.model.num_parameters(),
            "pairs": PAIRS,
            "exemplars": EXEMPLARS,
            "prompt_tokens_mean": round(statistics.mean(map(len, prompts))),
            "shared_tokens": shared,
            "tokens_through_the_model": tokens,
            "fewer_tokens": {name: round(count / tokens["rlaif"], 2) for name, count in tokens.items()},
            "runs": RUNS,
            "pairs_per_s": {name: round(PAIRS / median, 2) for name, median in medians.items()},
            "spread_s": {name: [round(min(times), 3), round(max(times), 3)] for name, times in seconds.items()},
            "times_as_fast": {name: round(median / medians["rlaif"], 2) for name, median in medians.items()},
            "largest_difference_of_a_label": {name: float(f"{value:.2g}") for name, value in apart.items()},
        },
    )


if __name__ == "__main__":
    main()
