"""What labelers learn before they judge: to find what they read in what they have read.

Whether a summary invents is told by matching its words with the post's, and whether a step helps by knowing what it
is a step of and finding that in the request. From judgements alone so small a transformer had not begun to learn
either after 450 batches. Asked for nothing else, on short sequences, it takes a few hundred; told besides which
action each phrase is about, it takes two thirds of them, and makes use of it in the prompts much sooner.
"""

import random
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlaif.pocket.lexicon import ACTIONS, Action
from rlaif.pocket.phrasing import some
from rlaif.pocket.world import Activity, activities
from tiny import NOWHERE, right_padded

BATCH = 64
LENGTHS = (8, 80)
STEPS = 7
ABOUT_WEIGHT = 0.5


class MatchingBatches:
    """Draws pairs of random sequences; of each token of the second one is learned whether the first one has it."""

    def __init__(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
        """Prepare for a model, its tokenizer and a seed of the data."""
        self.model = model
        self.heads = torch.nn.Linear(model.config.hidden_size, 2, device=model.device)
        self.special = len(tokenizer.all_special_ids)
        self.rng, self.random = random.Random(seed), torch.Generator().manual_seed(seed)

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        first, second, found = (one.to(self.model.device) for one in self.draw(self.rng.randint(*LENGTHS)))
        ids = torch.cat([first, second], 1)
        states = self.model.model(input_ids=ids, use_cache=False).last_hidden_state[:, first.shape[1] :]
        return cross_entropy(self.heads(states).float().flatten(0, 1), found.long().flatten())

    def draw(self, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Two (B, T) batches of tokens, and which tokens of the second stand in the same row of the first."""
        shape, draw = (BATCH, length), self.random
        first, fresh = (
            torch.randint(self.special, self.model.config.vocab_size, shape, generator=draw) for _ in range(2)
        )
        copied = first.gather(1, torch.randint(0, length, shape, generator=draw))
        second = torch.where(torch.rand(shape, generator=draw) < 0.5, copied, fresh)
        return first, second, (second.unsqueeze(2) == first.unsqueeze(1)).any(2)


class Labeled(NamedTuple):
    """A request and steps as tokens, and what is learned of each.

    Attributes:
        tokens: the ids.
        fits: 1 in a step that fits, 0 in one that does not, `NOWHERE` in the request.
        about: the number of the action that request or step belong to.
    """

    tokens: list[int]
    fits: list[int]
    about: list[int]


class StepBatches:
    """Draws requests with steps in any order; of each token of a step is learned whether the step fits.

    Two to four of at most seven do; of the others half are of the same action, with another object or person. Of
    each token is also learned which action it is about, the request's too.
    """

    def __init__(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
        """Prepare for a model, its tokenizer and a seed of the data."""
        self.model, self.tokenizer, self.rng = model, tokenizer, random.Random(seed)
        hidden = model.config.hidden_size
        self.fits, self.about = torch.nn.Linear(hidden, 2), torch.nn.Linear(hidden, len(ACTIONS))
        self.heads = torch.nn.ModuleList([self.fits, self.about]).to(model.device)
        self.groups = [group for harmful in (False, True) for group in activities(harmful, "train")]

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        rows = [self.row() for _ in range(BATCH)]
        ids = right_padded([row.tokens for row in rows], self.model.config.pad_token_id, self.model.device)
        states = self.model.model(input_ids=ids, use_cache=False).last_hidden_state

        def loss(head: torch.nn.Linear, aims: list[list[int]]) -> torch.Tensor:
            wanted = right_padded(aims, NOWHERE, self.model.device)
            return cross_entropy(head(states).float().flatten(0, 1), wanted.flatten(), ignore_index=NOWHERE)

        about = loss(self.about, [row.about for row in rows])
        return loss(self.fits, [row.fits for row in rows]) + ABOUT_WEIGHT * about

    def row(self) -> Labeled:
        """A request with steps."""
        rng = self.rng
        group = rng.choice(self.groups)
        asked = rng.choice(group)
        fitting = [(step, 1, asked.action) for step in rng.sample(asked.steps, rng.randint(2, 4))]
        foreign = [(step, 0, action) for step, action in self._foreign(group) if step not in asked.steps]
        steps = [*fitting, *foreign[: STEPS - len(fitting)]]
        rng.shuffle(steps)
        text = some(rng, "asks", "train")[0].format(activity=asked.asked)
        spans = [(0, len(text), (NOWHERE, ACTIONS.index(asked.action)))]
        for step, fits, action in steps:
            spans.append((len(text) + 1, len(text) + 1 + len(step), (fits, ACTIONS.index(action))))
            text += f" {step}."
        encoded: Any = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        labels = [
            next((label for start, end, label in spans if first < end and start < last), (NOWHERE, NOWHERE))
            for first, last in encoded.offset_mapping
        ]
        return Labeled(
            [self.model.config.bos_token_id, *encoded.input_ids],
            [NOWHERE, *(fits for fits, _ in labels)],
            [NOWHERE, *(about for _, about in labels)],
        )

    def _foreign(self, group: tuple[Activity, ...]) -> list[tuple[str, Action]]:
        """Steps of any activity, half of them of the same action, where those without an object fit as well."""
        rng = self.rng
        others = [rng.choice(group if rng.random() < 0.5 else rng.choice(self.groups)) for _ in range(STEPS)]
        return [(rng.choice(other.steps), other.action) for other in others]
