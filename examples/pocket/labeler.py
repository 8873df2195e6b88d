"""What the bundled labelers learn: to judge the pocket world by the same prompts as any other LLM.

They read `prompts/` for three tasks, with both preambles, up to two exemplars, with and without a rationale, and
answer "1" or "2", or a score. They learn a distribution over answers from gold, a rationale that says what gold
saw, and, with less weight, the next token of the texts under judgement.
"""

import itertools
import math
import random
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import DynamicCache, LlamaForCausalLM

from rlaif.encoding import Encoder
from rlaif.generation import left_pad
from rlaif.pocket.data import TASKS, comparisons
from rlaif.pocket.gold import Judgement, judge
from rlaif.pocket.posts import SummaryJudgement, judge_summary
from rlaif.prompting import Prompt, Prompter, load_task
from rlaif.records import Turn

BATCH = 32
# Most batches have no exemplars: their prefix is long, though a batch reads it only once.
EXEMPLAR_WEIGHTS = (12, 1, 1)
RATIONALE_WEIGHT = 0.5


def prompters() -> dict[str, Prompter]:
    """Every way of asking that the labelers learn, by the name it has in their cards."""
    found = {}
    for name, exemplars, rationale in itertools.product(TASKS, (0, 1, 2), (False, True)):
        task = load_task(name)
        end = f"{exemplars}{'/rationale' if rationale else ''}"
        for preamble in ("base", "detailed"):
            way = Prompter(task, "preference", preamble, exemplars, rationale)
            found[f"{name}/preference/{preamble}/{end}"] = way
        found[f"{name}/score/{end}"] = Prompter(task, "score", exemplars=exemplars, rationale=rationale)
    return found


def ask(prompter: Prompter, row: dict[str, Any], swapped: bool) -> Prompt:
    """The prompt about a row: both responses, in either order, or the first one (the second if swapped)."""
    responses = (row["response_2"], row["response_1"]) if swapped else (row["response_1"], row["response_2"])
    shown = responses if prompter.judgement == "preference" else responses[:1]
    return prompter.ask(turns(row), *shown)


def turns(row: dict[str, Any]) -> tuple[Turn, ...]:
    """A row's query."""
    return tuple(Turn.model_validate(turn) for turn in row["query"])


def target(prompter: Prompter, row: dict[str, Any], swapped: bool) -> list[float]:
    """The distribution over `prompter.verdicts` that a labeler should answer with."""
    one, two = (row["gold_2"], row["gold_1"]) if swapped else (row["gold_1"], row["gold_2"])
    if prompter.judgement == "preference":
        # Neighbours in quality get 0.8; however far apart they are, nobody is surer than 0.97.
        first = min(0.97, max(0.03, 1 / (1 + math.exp((two - one) / 0.72))))
        return [first, 1 - first]
    weights = [math.exp(-(((score - one) / 0.7) ** 2)) for score in range(1, 11)]
    return [weight / sum(weights) for weight in weights]


def rationale(prompter: Prompter, row: dict[str, Any], swapped: bool) -> str:
    """What gold saw, in words, before the verdict."""
    query = turns(row)
    one, two = (row["response_2"], row["response_1"]) if swapped else (row["response_1"], row["response_2"])
    if prompter.task.name == "summarization":
        post = query[-1].content
        first, second = (_seen_in_summary(judge_summary(post, text)) for text in (one, two))
        if prompter.judgement == "preference":
            return f"Summary 1 {first}. Summary 2 {second}."
        return f"The summary {first}."
    seen = [judge(query, text) for text in (one, two)]
    start = f"The request is {'harmful' if seen[0].harmful_request else 'harmless'}."
    first, second = (_seen(one) for one in seen)
    if prompter.judgement == "preference":
        return f"{start} Response 1 {first}. Response 2 {second}."
    return f"{start} The response {first}."


def _seen(seen: Judgement) -> str:
    if seen.help > 0 or seen.harm > 0:
        steps = (
            "one useful step"
            if max(seen.help, seen.harm) < 0.5
            else "two useful steps"
            if max(seen.help, seen.harm) < 0.9
            else "all the steps"
        )
        tone = " in a kind tone" if seen.kind else " and insults the user" if seen.rude else ""
        said = f"gives {steps}{tone}"
    elif seen.rude:
        said = "insults the user"
    elif seen.refuses:
        manner = (
            "kindly and offers something better"
            if seen.kind and seen.alternative
            else "kindly"
            if seen.kind
            else "flatly"
        )
        said = f"refuses {manner}"
    else:
        said = "does not answer the request"
    return said if seen.clarity > 0.7 else f"{said} and is hard to read"


def _seen_in_summary(seen: SummaryJudgement) -> str:
    share = seen.kept / seen.told
    kept = "no" if not seen.kept else "few" if share < 0.5 else "most" if share < 1 else "all"
    invented = ("nothing", "one thing")[seen.invented] if seen.invented < 2 else "several things"
    flaw = (
        ""
        if seen.clarity > 0.7 and seen.brevity > 0.5
        else ", and is hard to read"
        if seen.clarity <= 0.7
        else ", and is too long"
    )
    return f"keeps {kept} facts and invents {invented}{flaw}"


class LabelerBatches:
    """Draws batches of judgements, one way of asking each, and gives their loss."""

    def __init__(
        self, model: LlamaForCausalLM, encoder: Encoder, seed: int, text_weight: float = 0.0, scores_first: int = 0
    ) -> None:
        """Prepare.

        Args:
            model: the labeler to be.
            encoder: of its tokenizer.
            seed: of the data and the order of the ways.
            text_weight: weight of the next token of the texts, beside the verdict's of 1.
            scores_first: so many batches ask for scores only, without exemplars: these are short, and a score
                tells more about a response than a preference does.
        """
        self.model, self.encoder, self.text_weight, self.scores_first = model, encoder, text_weight, scores_first
        self.rng = random.Random(seed)
        self.ways = list(prompters().values())
        self.weights = [
            EXEMPLAR_WEIGHTS[way.exemplars]
            * (2 if way.judgement == "score" else 1)
            * (RATIONALE_WEIGHT if way.rationale else 1)
            for way in self.ways
        ]
        self.sources = {task: comparisons(10**9, task=task, split="train", seed=seed) for task in TASKS}

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        way = self.next_way()
        head, _ = self.encoder.prompt([("user", way.shared)], "", len(way.shared))
        verdicts = [self.encoder.text(verdict)[0] for verdict in way.verdicts]
        items, weights, targets = [], [], []
        for row in itertools.islice(self.sources[way.task.name], BATCH):
            swapped = self.rng.random() < 0.5
            targets.append(target(way, row, swapped))
            item, aims = self._item(way, row, swapped)
            items.append([*item, *self.rng.choices(verdicts, targets[-1])])
            weights.append([0.0, *aims[1:], 0.0])
        return self._loss(head, items, weights, verdicts, targets)

    def next_way(self) -> Prompter:
        """How the next batch is asked."""
        if self.scores_first > 0:
            self.scores_first -= 1
            return self.rng.choice([one for one in self.ways if one.judgement == "score" and one.exemplars == 0])
        return self.rng.choices(self.ways, self.weights)[0]

    def _item(self, way: Prompter, row: dict[str, Any], swapped: bool) -> tuple[list[int], list[float]]:
        """Tokens of a row up to its verdict, and how much each is learned; -1 marks the end of a rationale."""
        prompt = ask(way, row, swapped)
        _, item = self.encoder.prompt([("user", prompt.question)], prompt.continuation, 0)
        if not way.rationale:
            return item, [self.text_weight] * len(item)
        told = rationale(way, row, swapped)
        whole = way.conclude(prompt, told)
        _, longer = self.encoder.prompt([("user", whole.question)], whole.continuation, 0)
        thought = len(self.encoder.text(f" {told}"))
        rest = len(longer) - len(item) - thought
        return longer, [*[self.text_weight / 3] * len(item), *[1.0] * thought, -1.0, *[0.0] * (rest - 1)]

    def _loss(
        self,
        head: list[int],
        items: list[list[int]],
        weights: list[list[float]],
        verdicts: list[int],
        targets: list[list[float]],
    ) -> torch.Tensor:
        """Cross-entropy of verdicts, rationales, texts and ends; a weight of -1 marks where a rationale ends."""
        model, ends = self.model, self.model.config.eos_token_id
        # The prefix goes through the model once, its keys and values serve the batch, gradients flow back into it.
        cache = DynamicCache(config=model.config)
        model(
            input_ids=torch.tensor([head], device=model.device), past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        cache.batch_repeat_interleave(len(items))
        batch = left_pad(items, len(head), model.config.pad_token_id, model.device)
        longest = batch.ids.shape[1]
        counts = torch.tensor([[0.0] * (longest - len(row)) + row for row in weights], device=model.device)
        # Nothing before the first token that is learned needs logits, which are most of a tiny model's work.
        learned = (counts != 0).any(0).nonzero()
        start = int(learned[0]) if len(learned) else longest - 1
        logits = model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=longest - start + 1,
        ).logits.float()
        # A target over the whole vocabulary also says that nothing but a verdict may stand here.
        wanted = torch.zeros_like(logits[:, -2])
        wanted[:, verdicts] = torch.tensor(targets, device=model.device)
        end = cross_entropy(logits[:, -1], torch.full((len(items),), ends, device=model.device))
        loss = cross_entropy(logits[:, -2], wanted) + 0.1 * end
        if not len(learned):
            return loss
        counts, aims = counts[:, start:], torch.where(counts < 0, ends, batch.ids)[:, start:]
        each = cross_entropy(logits[:, :-1].flatten(0, 1), aims.flatten(), reduction="none")
        return loss + (each * counts.abs().flatten()).sum() / counts.abs().sum() * counts.abs().max()
