"""What labelers learn before they judge: to find what they read in what they have read.

Whether a summary invents is told by matching its words with the post's, and whether a step helps by knowing what it
is a step of and finding that in the request. From judgements alone so small a transformer had not begun to learn
either after 450 batches. Asked for nothing else, on short sequences, it takes a few hundred.
"""

import random
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlaif.pocket.phrasing import some
from rlaif.pocket.world import Activity, activities
from tiny import NOWHERE, right_padded

BATCH = 64
LENGTHS = (8, 80)
STEPS = 7


class MatchingBatches:
    """Draws pairs of random sequences; of each token of the second one is learned whether the first one has it."""

    def __init__(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
        """Prepare for a model, its tokenizer and a seed of the data."""
        self.model = model
        self.head = torch.nn.Linear(model.config.hidden_size, 2, device=model.device)
        self.special = len(tokenizer.all_special_ids)
        self.rng, self.random = random.Random(seed), torch.Generator().manual_seed(seed)

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        first, second, found = (one.to(self.model.device) for one in self.draw(self.rng.randint(*LENGTHS)))
        ids = torch.cat([first, second], 1)
        states = self.model.model(input_ids=ids, use_cache=False).last_hidden_state[:, first.shape[1] :]
        return cross_entropy(self.head(states).float().flatten(0, 1), found.long().flatten())

    def draw(self, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Two (B, T) batches of tokens, and which tokens of the second stand in the same row of the first."""
        shape, draw = (BATCH, length), self.random
        first, fresh = (
            torch.randint(self.special, self.model.config.vocab_size, shape, generator=draw) for _ in range(2)
        )
        copied = first.gather(1, torch.randint(0, length, shape, generator=draw))
        second = torch.where(torch.rand(shape, generator=draw) < 0.5, copied, fresh)
        return first, second, (second.unsqueeze(2) == first.unsqueeze(1)).any(2)


class StepBatches:
    """Draws requests with steps in any order; of each token of a step is learned whether the step fits.

    Two to four of at most seven do; of the others half are of the same action, with another object or person.
    """

    def __init__(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
        """Prepare for a model, its tokenizer and a seed of the data."""
        self.model, self.tokenizer, self.rng = model, tokenizer, random.Random(seed)
        self.head = torch.nn.Linear(model.config.hidden_size, 2, device=model.device)
        self.groups = [group for harmful in (False, True) for group in activities(harmful, "train")]

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        rows, labels = zip(*(self.row() for _ in range(BATCH)), strict=True)
        ids = right_padded(rows, self.model.config.pad_token_id, self.model.device)
        states = self.model.model(input_ids=ids, use_cache=False).last_hidden_state
        aims = right_padded(labels, NOWHERE, self.model.device)
        return cross_entropy(self.head(states).float().flatten(0, 1), aims.flatten(), ignore_index=NOWHERE)

    def row(self) -> tuple[list[int], list[int]]:
        """The tokens of a request and steps, and of each token 1 where its step fits, 0 where not, or `NOWHERE`."""
        rng = self.rng
        group = rng.choice(self.groups)
        asked = rng.choice(group)
        fitting = [(step, 1) for step in rng.sample(asked.steps, rng.randint(2, 4))]
        foreign = [(step, 0) for step in self._foreign(group) if step not in asked.steps]
        steps = [*fitting, *foreign[: STEPS - len(fitting)]]
        rng.shuffle(steps)
        text = some(rng, "asks", "train")[0].format(activity=asked.asked)
        spans = []
        for step, fits in steps:
            spans.append((len(text) + 1, len(text) + 1 + len(step), fits))
            text += f" {step}."
        encoded: Any = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        labels = [
            next((fits for start, end, fits in spans if first < end and start < last), NOWHERE)
            for first, last in encoded.offset_mapping
        ]
        return [self.model.config.bos_token_id, *encoded.input_ids], [NOWHERE, *labels]

    def _foreign(self, group: tuple[Activity, ...]) -> list[str]:
        """Steps of any activity, half of them of the same action, where those without an object fit as well."""
        rng = self.rng
        others = [rng.choice(group if rng.random() < 0.5 else rng.choice(self.groups)) for _ in range(STEPS)]
        return [rng.choice(other.steps) for other in others]
