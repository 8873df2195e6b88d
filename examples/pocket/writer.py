"""What the models learn that write: a base model of the pocket world's texts, and a policy supervised on examples.

The base model reads dialogues with responses of every kind, comparisons, posts and summaries, as plain text. The
policy is what one gets from imitating a mediocre assistant: it goes along with half of the harmful requests,
helps with most of the others, is rude at times, and keeps most of the facts of a post.
"""

import random

import torch
from transformers import LlamaForCausalLM

from labeler import ask, turns
from rlaif.encoding import Encoder
from rlaif.pocket.data import HARMFUL_SHARE, TASKS, comparisons
from rlaif.pocket.phrasing import Split
from rlaif.pocket.posts import SummaryKind, summarize, write_post
from rlaif.pocket.world import Kind, respond, situation
from rlaif.prompting import Prompter, load_task
from rlaif.records import Turn
from tiny import NOWHERE, next_token_loss

BATCH = 32
POSTS = 0.12
# What the policy is shown: {whether the request is harmful: {kind of response: how often}}.
SHOWN: dict[bool, dict[Kind, float]] = {
    False: {
        "full_help": 0.44,
        "warm_help": 0.18,
        "partial_help": 0.20,
        "rude_help": 0.05,
        "wander_off": 0.03,
        "refuse_flatly": 0.03,
        "refuse_vaguely": 0.03,
        "ramble": 0.02,
        "insult": 0.02,
    },
    True: {
        "full_help": 0.22,
        "warm_help": 0.10,
        "partial_help": 0.08,
        "rude_help": 0.04,
        "refuse_kindly": 0.20,
        "refuse_vaguely": 0.10,
        "refuse_flatly": 0.16,
        "ramble": 0.04,
        "insult": 0.06,
    },
}
SUMMARIES: dict[SummaryKind, float] = {"keeps_all": 0.35, "loses_some": 0.35, "loses_most": 0.15, "invents_one": 0.15}
UNPADDED = 0.6
"""Share of the policy's examples without neutral sentences."""


class BaseBatches:
    """Draws plain texts: half of them dialogues and posts with one response, half of them with two to compare."""

    def __init__(self, model: LlamaForCausalLM, encoder: Encoder, seed: int, split: Split = "train") -> None:
        """Prepare for a model, its encoder, a seed of the data and a part of the world."""
        self.model, self.encoder = model, encoder
        self.rng = random.Random(seed)
        self.sources = {task: comparisons(10**9, task=task, split=split, seed=seed + 1) for task in TASKS}
        self.ways = {task: Prompter(load_task(task), "preference", "base") for task in TASKS}

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        texts = [self._text(compare) for compare in [self.rng.random() < 0.4] for _ in range(BATCH)]
        rows = [[self.model.config.bos_token_id, *text, self.model.config.eos_token_id] for text in texts]
        return next_token_loss(self.model, rows, rows)

    def _text(self, compare: bool) -> list[int]:
        task = self.rng.choices(TASKS, (1, 2, 2))[0]
        row = next(self.sources[task])
        if compare:
            return self.encoder.text(ask(self.ways[task], row, swapped=False).question)
        head, tail = self.encoder.prompt([(turn.role, turn.content) for turn in turns(row)], "", 0)
        lead = "" if len(row["query"]) == 1 else " "
        return [*head[1:], *tail, *self.encoder.text(lead + str(row["response_1"]))]


class PolicyBatches:
    """Draws dialogues in the chat template with a response to imitate; nothing else is learned."""

    def __init__(self, model: LlamaForCausalLM, encoder: Encoder, seed: int) -> None:
        """Prepare for a model, its encoder (with the chat template) and a seed of the data."""
        self.model, self.encoder = model, encoder
        self.rng = random.Random(seed)

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        return next_token_loss(self.model, *self.rows())

    def rows(self) -> tuple[list[list[int]], list[list[int]]]:
        """The tokens of the next batch, and those among them that are learned."""
        rows, labels = [], []
        for _ in range(BATCH):
            query, response = self._example()
            head, tail = self.encoder.prompt([(turn.role, turn.content) for turn in query], "", 0)
            answer = [*self.encoder.text(response), self.model.config.eos_token_id]
            rows.append([*head, *tail, *answer])
            labels.append([*[NOWHERE] * (len(head) + len(tail)), *answer])
        return rows, labels

    def _example(self) -> tuple[tuple[Turn, ...], str]:
        rng = self.rng
        if rng.random() < POSTS:
            post = write_post(rng, "train")
            (kind,) = rng.choices(list(SUMMARIES), list(SUMMARIES.values()))
            return (Turn(role="user", content=post.text),), summarize(rng, "train", post, kind)
        about = situation(rng, "train", rng.random() < HARMFUL_SHARE["harmlessness"])
        shown = SHOWN[about.harmful]
        (manner,) = rng.choices(list(shown), list(shown.values()))
        return about.query, respond(rng, "train", about, manner, padded=rng.random() > UNPADDED)
