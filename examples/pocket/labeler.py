"""What the bundled labelers learn: to judge the pocket world by the same prompts as any other LLM.

They read `prompts/` for three tasks, with both preambles, up to two exemplars, with and without a rationale, and
answer "1" or "2", or a score. They learn a distribution over answers from gold, a rationale that says what gold
saw, and, at each token of the responses, what gold sees there: a step that fits, a harmful one, a fact that is
kept. For the last of these they have a small head that is not kept: a verdict is one or two numbers for a whole
text, the marks are dozens.
"""

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch.nn.functional import cross_entropy
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedTokenizerBase

from rlaif.encoding import Encoder
from rlaif.generation import left_pad
from rlaif.pocket.data import HARMFUL_SHARE, TASKS, Task, comparisons, gold
from rlaif.pocket.gold import Judgement, judge
from rlaif.pocket.posts import SummaryJudgement, judge_summary
from rlaif.pocket.world import Kind, respond, situation
from rlaif.prompting import Prompt, Prompter, load_task
from rlaif.records import Turn
from tiny import NOWHERE

BATCH = 32
# Most batches have no exemplars: their prefix is long, though a batch reads it only once.
EXEMPLAR_WEIGHTS = (12, 1, 1)
RATIONALE_WEIGHT = 0.5
RATIONALE_END = -1.0
MARK_WEIGHT = 1.0
SCORE_WEIGHT = 0.5
NEAR_SHARE = 0.4
HELP: tuple[Kind, ...] = ("full_help", "warm_help", "partial_help", "wander_off", "wander_off", "wander_off")
REFUSALS: tuple[Kind, ...] = ("refuse_kindly", "refuse_kindly", "refuse_vaguely", "refuse_flatly", "ramble", "insult",
                              "rude_help", "wander_off")  # fmt: skip


class Mix(NamedTuple):
    """What is shown how often.

    Attributes:
        tasks: weights of the tasks.
        near: of which kinds each task's near misses are.
    """

    tasks: dict[str, float]
    near: dict[Task, tuple[Kind, ...]]


# Summaries are compared fact by fact, which takes longest to learn; then refusals, which are a point or two apart.
FIRST = Mix(
    {"summarization": 1.5, "helpfulness": 1.0, "harmlessness": 1.0}, {"helpfulness": HELP, "harmlessness": HELP}
)
LAST = Mix(
    {"summarization": 1.0, "helpfulness": 1.0, "harmlessness": 2.0}, {"helpfulness": HELP, "harmlessness": REFUSALS}
)
NOTHING = "nothing"
MARKS = (NOTHING, "step", "harm", "elsewhere", "alternative", "refusal", "kind", "rude", "kept", "invented")


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
    return prompter.ask(turns(row), *shown(prompter, row, swapped))


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
    return scores_near(one)


def scores_near(gold: float) -> list[float]:
    """A distribution over the scores from 1 to 10 whose mean is about a gold score."""
    weights = [math.exp(-(((score - gold) / 0.7) ** 2)) for score in range(1, 11)]
    return [weight / sum(weights) for weight in weights]


def shown(prompter: Prompter, row: dict[str, Any], swapped: bool) -> list[str]:
    """The responses that a prompt shows, in their order."""
    responses = [row["response_2"], row["response_1"]] if swapped else [row["response_1"], row["response_2"]]
    return responses if prompter.judgement == "preference" else responses[:1]


def marks(prompter: Prompter, row: dict[str, Any], swapped: bool, text: str) -> list[tuple[int, int, str]]:
    """What gold sees in the responses within a prompt.

    Args:
        prompter: the way of asking.
        row: a comparison.
        swapped: whether the second response is shown first.
        text: the prompt, which ends with the responses.

    Returns:
        Start, end (in characters of the prompt) and one of `MARKS`; first the whole of each response as `nothing`.
    """
    found = []
    end = len(text)
    for response in reversed(shown(prompter, row, swapped)):
        end = text.rindex(response, 0, end)
        found.append((end, end + len(response), NOTHING))
        if prompter.task.name == "summarization":
            seen = judge_summary(row["query"][-1]["content"], response).facts
            found += [(end + fact.start, end + fact.end, "kept" if kept else "invented") for fact, kept in seen]
        else:
            found += [(end + mark.start, end + mark.end, mark.what) for mark in judge(turns(row), response).marks]
    return found


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
    count = sum(mark.what in ("step", "harm") for mark in seen.marks)
    if seen.help > 0 or seen.harm > 0:
        steps = ("no", "one", "two", "three", "four")[min(count, 4)]
        tone = " in a kind tone" if seen.kind else " and insults the user" if seen.rude else ""
        said = f"gives {steps} useful step{'s' if count > 1 else ''}{tone}"
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
    elif any(mark.what == "elsewhere" for mark in seen.marks):
        said = "talks about something else"
    else:
        said = "does not answer the request"
    return said if seen.clarity > 0.7 else f"{said} and is hard to read"


def _seen_in_summary(seen: SummaryJudgement) -> str:
    facts = {(fact.kind, fact.key): kept for fact, kept in seen.facts}
    kept, invented = (
        ", ".join(key for (_, key), is_kept in facts.items() if is_kept == wanted) or "nothing"
        for wanted in (True, False)
    )
    flaw = (
        ""
        if seen.clarity > 0.7 and seen.brevity > 0.5
        else ", and is hard to read"
        if seen.clarity <= 0.7
        else ", and is too long"
    )
    return f"keeps {seen.kept} of {seen.told} facts ({kept}) and invents {invented}{flaw}"


def near_misses(task: Task, kinds: tuple[Kind, ...], seed: int) -> Iterator[dict[str, Any]]:
    """Yield comparisons of responses that are alike, which is what labelers learn last.

    Args:
        task: helpfulness or harmlessness.
        kinds: of the responses.
        seed: number of the random sequence.

    Yields:
        A row with `query`, `response_1`, `response_2`, `gold_1` and `gold_2`, which are at least a point apart.
    """
    rng = random.Random(f"near misses/{task}/{seed}")
    while True:
        about = situation(rng, "train", rng.random() < HARMFUL_SHARE[task])
        texts = [respond(rng, "train", about, rng.choice(kinds)) for _ in range(2)]
        one, two = (gold(task, about.query, text) for text in texts)
        if abs(one - two) >= 1:
            query = [turn.model_dump() for turn in about.query]
            yield {"query": query, "response_1": texts[0], "response_2": texts[1], "gold_1": one, "gold_2": two}


class Row(NamedTuple):
    """What is learned of one comparison.

    Attributes:
        tokens: The prompt behind the shared prefix, a rationale if there is one, and a verdict.
        weights: How much each token is learned as the next one; `RATIONALE_END` where an end is learned instead.
        marks: The number of its mark in `MARKS`, or `NOWHERE`.
        golds: The gold score of a response at its last token, and 0 elsewhere.
        target: The distribution over the verdicts.
    """

    tokens: list[int]
    weights: list[float]
    marks: list[int]
    golds: list[float]
    target: list[float]


class LabelerBatches:
    """Draws batches of judgements, one way of asking each, and gives their loss."""

    def __init__(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
        seed: int,
        text_weight: float = 0.0,
        scores_first: int = 0,
        mix: Mix = FIRST,
    ) -> None:
        """Prepare.

        Args:
            model: the labeler to be.
            tokenizer: the model's.
            seed: of the data and the order of the ways.
            text_weight: weight of the next token of the texts, beside the verdict's of 1.
            scores_first: so many batches ask for scores only, without exemplars: these are short, and a score
                tells more about a response than a preference does.
            mix: what is shown how often.
        """
        self.model, self.tokenizer, self.encoder = model, tokenizer, Encoder(tokenizer)
        self.text_weight, self.scores_first, self.mix = text_weight, scores_first, mix
        self.rng = random.Random(seed)
        self.marker = torch.nn.Linear(model.config.hidden_size, len(MARKS), device=model.device)
        self.scorer = torch.nn.Linear(model.config.hidden_size, 10, device=model.device)
        self.ways = list(prompters().values())
        self.weights = [
            EXEMPLAR_WEIGHTS[way.exemplars]
            * (2 if way.judgement == "score" else 1)
            * (RATIONALE_WEIGHT if way.rationale else 1)
            * mix.tasks[way.task.name]
            for way in self.ways
        ]
        self.sources = {task: comparisons(10**9, task=task, split="train", seed=seed) for task in TASKS}
        self.near = {task: near_misses(task, kinds, seed) for task, kinds in mix.near.items()}

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        way = self.next_way()
        head, _ = self.encoder.prompt([("user", way.shared)], "", len(way.shared))
        rows = [self._row(way, self.next_row(cast(Task, way.task.name)), self.rng.random() < 0.5) for _ in range(BATCH)]
        return self._loss(head, rows, [self.encoder.text(verdict)[0] for verdict in way.verdicts])

    def next_way(self) -> Prompter:
        """How the next batch is asked."""
        if self.scores_first > 0:
            self.scores_first -= 1
            plain = [way for way in self.ways if way.judgement == "score" and way.exemplars == 0]
            return self.rng.choices(plain, [self.mix.tasks[way.task.name] for way in plain])[0]
        return self.rng.choices(self.ways, self.weights)[0]

    def next_row(self, task: Task) -> dict[str, Any]:
        """The next comparison of a task."""
        near = task in self.near and self.rng.random() < NEAR_SHARE
        return next(self.near[task] if near else self.sources[task])

    def _row(self, way: Prompter, row: dict[str, Any], swapped: bool) -> Row:
        """What is learned of a comparison asked about in one way."""
        prompt = ask(way, row, swapped)
        text = f"{prompt.question}\n\n{prompt.continuation}"
        _, item = self.encoder.prompt([("user", prompt.question)], prompt.continuation, 0)
        found = marks(way, row, swapped, prompt.question)
        seen, golds = self._token_marks(text, found), self._token_golds(text, found, row, swapped)
        weights = [self.text_weight] * len(item)
        if way.rationale:
            told = self.told(way, row, swapped)
            whole = way.conclude(prompt, told)
            _, longer = self.encoder.prompt([("user", whole.question)], whole.continuation, 0)
            thought = len(self.encoder.text(f" {told}"))
            rest = len(longer) - len(item) - thought
            weights = [*[self.text_weight / 3] * len(item), *[1.0] * thought, RATIONALE_END, *[0.0] * (rest - 1)]
            more = len(longer) - len(item)
            item, seen, golds = longer, [*seen, *[NOWHERE] * more], [*golds, *[0.0] * more]
        aim = target(way, row, swapped)
        verdict = self.rng.choices([self.encoder.text(one)[0] for one in way.verdicts], aim)
        return Row([*item, *verdict], [0.0, *weights[1:], 0.0], [*seen, NOWHERE], [*golds, 0.0], aim)

    def told(self, way: Prompter, row: dict[str, Any], swapped: bool) -> str:
        """The rationale that is learned."""
        return rationale(way, row, swapped)

    def _token_marks(self, text: str, found: list[tuple[int, int, str]]) -> list[int]:
        """The number of the mark that each token of a text has; later marks hide earlier ones."""
        numbers = []
        for start, end in self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping:
            mine = [mark for first, last, mark in found if start < last and first < end]
            numbers.append(MARKS.index(mine[-1]) if mine else NOWHERE)
        return numbers

    def _token_golds(
        self, text: str, found: list[tuple[int, int, str]], row: dict[str, Any], swapped: bool
    ) -> list[float]:
        """The gold score of each response at the last of its tokens."""
        ends = [end for _, end, mark in found if mark == NOTHING]
        golds = [row["gold_2"], row["gold_1"]] if swapped else [row["gold_1"], row["gold_2"]]
        # The last response is the first one found.
        by_end = dict(zip(reversed(ends), golds, strict=False))
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        return [next((gold for end, gold in by_end.items() if first < end <= last), 0.0) for first, last in offsets]

    def _loss(self, head: list[int], rows: list[Row], verdicts: list[int]) -> torch.Tensor:
        """Cross-entropy of verdicts and their ends, of rationales and texts, and of the marks."""
        model, ends = self.model, self.model.config.eos_token_id
        # The prefix goes through the model once, its keys and values serve the batch, gradients flow back into it.
        cache = DynamicCache(config=model.config)
        model(
            input_ids=torch.tensor([head], device=model.device), past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        cache.batch_repeat_interleave(len(rows))
        batch = left_pad([row.tokens for row in rows], len(head), model.config.pad_token_id, model.device)
        longest = batch.ids.shape[1]

        def padded(name: str, fill: float) -> torch.Tensor:
            values = [getattr(row, name) for row in rows]
            return torch.tensor([[fill] * (longest - len(one)) + one for one in values], device=model.device)

        counts = padded("weights", 0.0)
        # Nothing before the first token that is learned needs logits, which are most of a tiny model's work.
        learned = (counts != 0).any(0).nonzero()
        start = int(learned[0]) if len(learned) else longest - 1
        output = model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=True,
            logits_to_keep=longest - start + 1,
        )
        logits = output.logits.float()
        # A target over the whole vocabulary also says that nothing but a verdict may stand here.
        wanted = torch.zeros_like(logits[:, -2])
        wanted[:, verdicts] = torch.tensor([row.target for row in rows], device=model.device)
        end = cross_entropy(logits[:, -1], torch.full((len(rows),), ends, device=model.device))
        seen = cross_entropy(
            self.marker(output.hidden_states[-1]).float().flatten(0, 1),
            padded("marks", NOWHERE).flatten(),
            ignore_index=NOWHERE,
        )
        golds = padded("golds", 0.0)
        near = torch.tensor([scores_near(gold) for gold in golds[golds > 0].tolist()], device=model.device)
        scored = cross_entropy(self.scorer(output.hidden_states[-1][golds > 0]).float(), near)
        loss = cross_entropy(logits[:, -2], wanted) + 0.1 * end + MARK_WEIGHT * seen + SCORE_WEIGHT * scored
        if not len(learned):
            return loss
        counts, aims = counts[:, start:], torch.where(counts < 0, ends, batch.ids)[:, start:]
        each = cross_entropy(logits[:, :-1].flatten(0, 1), aims.flatten(), reduction="none")
        return loss + (each * counts.abs().flatten()).sum() / counts.abs().sum() * counts.abs().max()
