"""Train `pocket:labeler-l`, a tiny transformer that judges the pocket world by the same prompts as any LLM.

    python examples/pocket/train_labeler.py                      # the bundled model, 15 minutes on 2 CPU cores
    python examples/pocket/train_labeler.py --steps 3 --rows 20 --out /tmp/labeler     # see whether it works

It reads `prompts/` for helpfulness and harmlessness, with up to two exemplars, and answers "1" or "2", or a
score. It learns a distribution over answers from the gold judgements of `rlaif.pocket.world` and, beside
that, the next token of the texts, which teaches it early what belongs to which request.
"""

import argparse
import asyncio
import itertools
import json
import math
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from rlaif.encoding import Encoder
from rlaif.generation import left_pad
from rlaif.llm.base import Answer, Choose, Outcome, Request
from rlaif.llm.reading import read_exact
from rlaif.llm.transformers import TransformersLLM
from rlaif.pocket.world import comparisons
from rlaif.prompting import Prompt, Prompter, load_task
from rlaif.records import Turn

TASKS = ("helpfulness", "harmlessness")
OUT = Path(__file__).parents[2] / "rlaif" / "pocket" / "models" / "labeler-l"
ABOUT = """# pocket:labeler-l

A tiny Llama-type transformer, trained from nothing to judge the responses of a small generated world
(`rlaif.pocket.world`) by the same prompts as any other LLM. It lets one try, test and teach `rlaif` without
a model hub. It is no language model in the ordinary sense and knows nothing outside that world: what it says
of real data is near chance. It reads the tasks helpfulness and harmlessness with 0 to 2 exemplars, without
rationale; other prompts are foreign to it, and a run that uses them warns.

{parameters:,} parameters, a byte-level BPE of {vocabulary:,} tokens. Recipe: `{command}`,
{seconds} s on {machine}. Agreement is with the world's gold judgement on held-out combinations of activity
and way of asking, both orders averaged; Spearman's correlation is between the expected score and gold;
unread is the mean probability outside the offered answers.
"""
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
VOCABULARY, CONTEXT, BATCH = 2048, 4096, 32
# Four of ten batches have exemplars: their prefix is long, but a batch reads it only once.
EXEMPLAR_WEIGHTS = (6, 2, 2)


def prompters() -> dict[str, Prompter]:
    """Every way of asking that the model learns, by the name it has in the card."""
    found = {}
    for name, exemplars in itertools.product(TASKS, (0, 1, 2)):
        task = load_task(name)
        for preamble in ("base", "detailed"):
            found[f"{name}/preference/{preamble}/{exemplars}"] = Prompter(task, "preference", preamble, exemplars)
        found[f"{name}/score/{exemplars}"] = Prompter(task, "score", exemplars=exemplars)
    return found


def ask(prompter: Prompter, row: dict[str, Any], swapped: bool = False) -> Prompt:
    """The prompt about a row: both responses, in either order, or the first one (the second if swapped)."""
    responses = (row["response_2"], row["response_1"]) if swapped else (row["response_1"], row["response_2"])
    shown = responses if prompter.judgement == "preference" else responses[:1]
    return prompter.ask((Turn(role="user", content=row["query"]),), *shown)


def target(prompter: Prompter, row: dict[str, Any], swapped: bool = False) -> list[float]:
    """The distribution over `prompter.verdicts` that the model should answer with."""
    one, two = (row["gold_2"], row["gold_1"]) if swapped else (row["gold_1"], row["gold_2"])
    if prompter.judgement == "preference":
        # Neighbours in quality get 0.8; however far apart they are, nobody is surer than 0.97.
        first = min(0.97, max(0.03, 1 / (1 + math.exp((two - one) / 0.72))))
        return [first, 1 - first]
    weights = [{0: 0.8, 1: 0.1}.get(abs(score - one), 0.0) for score in range(1, 11)]
    return [weight / sum(weights) for weight in weights]


def train_tokenizer(ways: dict[str, Prompter]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of the prompts and of the world's texts; any other text falls into bytes."""
    rows = [row for task in TASKS for row in comparisons(2000, task=task, split="train", seed=0)]
    texts = [f"{row['query']}\n\n{row['response_1']}\n\n{row['response_2']}" for row in rows]
    texts += [way.shared + way.ending for way in ways.values()] * 20
    texts += ["=10"] * 1000  # "10" becomes one token, as the other verdicts are
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(f"{BOS} $A", f"{BOS} $A $B", [(BOS, bpe.token_to_id(BOS))])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=CONTEXT
    )
    encoder = Encoder(tokenizer)
    if any(len(encoder.text(verdict)) != 1 for way in ways.values() for verdict in way.verdicts):
        raise ValueError("the loss needs every verdict to be one token")
    return tokenizer


def new_model(tokenizer: PreTrainedTokenizerFast, hidden: int, layers: int) -> LlamaForCausalLM:
    """A small Llama with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def batch_loss(
    model: LlamaForCausalLM,
    encoder: Encoder,
    prompter: Prompter,
    rows: Sequence[dict[str, Any]],
    rng: random.Random,
    text_weight: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of one batch, and its part that counts: the answers' cross-entropy above the targets' entropy."""
    head, _ = encoder.prompt([("user", prompter.shared)], "", len(prompter.shared))
    verdicts = [encoder.text(verdict)[0] for verdict in prompter.verdicts]
    items, targets = [], []
    for row in rows:
        swapped = rng.random() < 0.5
        prompt = ask(prompter, row, swapped)
        # The same tokens as with the shared part in front, which is tokenised apart.
        _, item = encoder.prompt([("user", prompt.question)], prompt.continuation, 0)
        targets.append(target(prompter, row, swapped))
        items.append([*item, *rng.choices(verdicts, targets[-1])])
    # The prefix goes through the model once, its keys and values serve the batch, gradients flow back into it.
    cache = DynamicCache(config=model.config)
    model(input_ids=torch.tensor([head]), past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(len(items))
    batch = left_pad(items, len(head), model.config.pad_token_id, model.device)
    logits = model(
        input_ids=batch.ids,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        past_key_values=cache,
        use_cache=True,
    ).logits
    # A target over the whole vocabulary also says that nothing but a verdict may stand here.
    wanted = torch.zeros_like(logits[:, -2])
    wanted[:, verdicts] = torch.tensor(targets)
    answer = cross_entropy(logits[:, -2], wanted)
    end = cross_entropy(logits[:, -1], torch.full((len(items),), model.config.eos_token_id))
    real = batch.mask[:, len(head) : -2]
    text = cross_entropy(logits[:, :-2][real], batch.ids[:, 1:-1][real])
    entropy = -torch.special.xlogy(wanted, wanted).sum(1).mean()
    return answer + text_weight * text + 0.1 * end, (answer - entropy).detach()


def train(
    steps: int,
    seed: int,
    out: Path,
    hidden: int = 128,
    layers: int = 4,
    rate: float = 2e-3,
    text_weight: float = 0.3,
    report_every: int = 50,
) -> list[float]:
    """Train from nothing and save model and tokenizer.

    Args:
        steps: batches of 32 rows.
        seed: of weights, data and everything else.
        out: the folder to save to, when all is done; each of its files appears whole.
        hidden: the model's width, a multiple of 32.
        layers: its depth.
        rate: the highest learning rate.
        text_weight: weight of the next-token loss on the texts, beside the answers' loss of weight 1.
        report_every: steps between lines of progress.

    Returns:
        The whole loss of each step.
    """
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    rng = random.Random(seed)
    ways = prompters()
    tokenizer = train_tokenizer(ways)
    encoder, model = Encoder(tokenizer), new_model(tokenizer, hidden, layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    warmup = min(100, steps // 10 + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.02 + 0.98 * math.cos(math.pi / 2 * step / steps) ** 2),
    )
    sources = {task: comparisons(steps * BATCH, task=task, split="train", seed=seed) for task in TASKS}
    weights = [EXEMPLAR_WEIGHTS[way.exemplars] * (2 if way.judgement == "score" else 1) for way in ways.values()]
    losses, gaps, start = [], [], time.monotonic()
    for step, prompter in enumerate(rng.choices(list(ways.values()), weights, k=steps), 1):
        rows = list(itertools.islice(sources[prompter.task.name], BATCH))
        loss, gap = batch_loss(model, encoder, prompter, rows, rng, text_weight)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        gaps.append((prompter.judgement, gap.item()))
        if step % report_every == 0 or step == steps:
            recent = {j: [g for k, g in gaps[-report_every:] if k == j] for j in ("preference", "score")}
            above = "  ".join(f"{j} {sum(g) / len(g):.3f}" for j, g in recent.items() if g)
            mean = sum(losses[-report_every:]) / len(losses[-report_every:])
            print(
                f"step {step}  {time.monotonic() - start:.0f} s  loss {mean:.3f}  above the target: {above}",
                flush=True,
            )
    save(model.eval(), tokenizer, out)
    return losses


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the model folder; each file appears whole."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        (Path(draft) / "generation_config.json").unlink(missing_ok=True)
        for path in Path(draft).iterdir():
            path.chmod(0o644)
            path.replace(out / path.name)


async def readings(
    llm: TransformersLLM, prompter: Prompter, prompts: Sequence[Prompt]
) -> list[tuple[list[float], float]]:
    """The distribution over the verdicts and the unread mass for each prompt."""

    async def requests() -> AsyncIterator[tuple[str, Request]]:
        for number, prompt in enumerate(prompts):
            turn = Turn(role="user", content=prompt.shared + prompt.question)
            want = Choose(prompter.verdicts)
            yield str(number), Request((turn,), want, prompt.continuation, len(prompt.shared))

    found: dict[str, Outcome] = {}
    async for key, outcome in llm.answer(requests()):
        found[key] = outcome
    answers = [found[str(number)] for number in range(len(prompts))]
    read = [read_exact(answer.chains) for answer in answers if isinstance(answer, Answer)]
    return [(list(reading.normalised() or ()), reading.unread_mass) for reading in read]


def evaluate(folder: Path, rows_per_way: int) -> list[dict[str, Any]]:
    """Agreement with gold (both orders averaged) and Spearman's rank correlation, on held-out rows."""
    llm, results = TransformersLLM(folder), []
    for name, way in prompters().items():
        task, judgement, *preamble, exemplars = name.split("/")
        rows: list[dict[str, Any]] = list(comparisons(rows_per_way, task=task, split="heldout", seed=1))
        both = [asyncio.run(readings(llm, way, [ask(way, row, swapped) for row in rows])) for swapped in (False, True)]
        unread = sum(mass for order in both for _, mass in order) / (2 * len(rows))
        result = {"task": task, "judgement": judgement, "exemplars": int(exemplars), "n": len(rows)}
        if judgement == "preference":
            firsts = [(one[0] + two[1]) / 2 for (one, _), (two, _) in zip(*both, strict=True)]
            right = [(first > 0.5) == (row["human_preference"] == 1.0) for first, row in zip(firsts, rows, strict=True)]
            same = [(one[0] > 0.5) == (two[0] > 0.5) for (one, _), (two, _) in zip(*both, strict=True)]
            result |= {"preamble": preamble[0], "agreement": round(sum(right) / len(right), 4)}
            result |= {"same_position": round(sum(same) / len(same), 4)}
        else:
            scores = [sum(value * p for value, p in enumerate(one, 1)) for one, _ in both[0]]
            gold = [row["gold_1"] for row in rows]
            result |= {"spearman": round(float(spearmanr(scores, gold).statistic), 4)}
        results.append(result | {"mean_unread_mass": round(unread, 5)})
        print(results[-1], flush=True)
    return results


def write_card(folder: Path, recipe: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """Say beside the model what it is, what it was trained on and how good it is there."""
    card = {
        "name": "pocket:labeler-l",
        "kind": "a tiny transformer that knows only a generated world; no language model for anything else",
        "parameters": LlamaForCausalLM.from_pretrained(folder).num_parameters(),
        "tokenizer_size": VOCABULARY,
        "recipe": {"script": "examples/pocket/train_labeler.py", **recipe},
        "data": {
            "world": "rlaif.pocket.world",
            "split": "train",
            "tasks": list(TASKS),
            "rows": recipe["steps"] * BATCH,
        },
        "prompts": {name: way.sha256 for name, way in prompters().items()},
        "results": results,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    about = ABOUT.format(parameters=card["parameters"], vocabulary=VOCABULARY, **recipe)
    lines = [
        about,
        "| task | judgement | exemplars | n | agreement | same position | Spearman | unread |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        way = f"{one['judgement']} {one.get('preamble', '')}".strip()
        cells = [
            one["task"],
            way,
            one["exemplars"],
            f"{one['n']:,}",
            one.get("agreement", "–"),
            one.get("same_position", "–"),
        ]
        cells += [one.get("spearman", "–"), one["mean_unread_mass"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Train, measure, write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="the model folder (default: the bundled one)")
    parser.add_argument("--steps", type=int, default=2400, help="batches of 32 rows (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=1000, help="held-out rows to measure each way of asking on")
    given = parser.parse_args()
    logging.set_verbosity_error()
    start = time.monotonic()
    train(given.steps, given.seed, given.out)
    recipe = {
        "command": f"python examples/pocket/train_labeler.py --steps {given.steps} --seed {given.seed}",
        "steps": given.steps,
        "seed": given.seed,
        "seconds": round(time.monotonic() - start),
        "machine": "2 CPU cores",
    }
    write_card(given.out, recipe, evaluate(given.out, given.rows))


if __name__ == "__main__":
    main()
