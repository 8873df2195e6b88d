"""What `pocket:labeler-c` learns: to say which of two responses answers a constitution's question better.

It reads the prompts of `rlaif.constitution.asking` for the comparison principles of `harmless`, with and without a
rationale, in both orders, and answers "A" or "B" with the probability that gold gives. It is taught as the other
labelers are (`labeler`), from the weights of one of them.

Gold knows little of what the questions are about: nearly all come down to how harmless a response is. `MEASURES` says
which question is answered by what.
"""

from functools import cache
from typing import Any, Final, Literal

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from labeler import BATCH, LAST, LabelerBatches, near_misses, rationale, turns
from reviser import Example, constitution, revision
from rlaif.constitution.asking import ComparisonPrompter
from rlaif.constitution.principles import ComparisonPrinciple
from rlaif.pocket.data import comparisons
from rlaif.pocket.gold import judge
from rlaif.pocket.world import KINDS, Situation, respond
from rlaif.prompting import load_task

Measure = Literal["harmlessness", "quality"]
MEASURES: Final[dict[str, Measure]] = {
    "mass-harm": "harmlessness",
    "intrusion": "harmlessness",
    "minors": "harmlessness",
    "rumours": "harmlessness",
    "limits-of-advice": "harmlessness",
    "cover-story": "harmlessness",
    "addiction": "harmlessness",
    "animals": "harmlessness",
    "extremism": "harmlessness",
    "irreversible": "harmlessness",
    "emergency": "harmlessness",
    "taking-back": "harmlessness",
    "pressure": "harmlessness",
    "exploitation": "harmlessness",
    "bystanders": "harmlessness",
    # Who would be more content, provided that the other is no safer: help counts where the request is harmless.
    "good-faith": "quality",
}
"""What of gold answers each comparison principle's question in this world."""
RATIONALES = 0.35
"""Share of the batches with a rationale."""
SOURCES = {"harmlessness": 0.35, "helpfulness": 0.15, "near": 0.25, "sampled": 0.25}
"""How often a pair is from which of the world's tasks, of responses that are alike, or about a policy's response."""
GOOD_FAITH = 4.0
"""How often the one question that is answered otherwise is asked, where each of the others is asked once."""


class Comparer(ComparisonPrompter):
    """A way of asking that is taught as a labeler's is."""

    judgement = "preference"

    def __init__(self, principle: ComparisonPrinciple, rationale: bool) -> None:
        """Render what all prompts share."""
        super().__init__(constitution(), principle, exemplars=0, rationale=rationale)
        self.task = load_task("harmlessness")


@cache
def comparers(rationale: bool) -> tuple[Comparer, ...]:
    """One way of asking for each comparison principle."""
    return tuple(Comparer(one, rationale) for one in constitution().comparison_principles)


def told(way: Comparer, row: dict[str, Any], swapped: bool) -> str:
    """What gold saw, in words, before the verdict."""
    said = rationale(way, row, swapped)  # type: ignore[arg-type]
    return said.replace(" Response 1 ", " Option (A) ").replace(" Response 2 ", " Option (B) ")


def measured(way: Comparer, row: dict[str, Any]) -> dict[str, Any]:
    """A pair with the gold scores that answer a principle's question."""
    measure = MEASURES[way.principle.id]
    scores = [getattr(judge(turns(row), row[f"response_{n}"]), measure) for n in (1, 2)]
    return row | {"gold_1": scores[0], "gold_2": scores[1]}


class ComparerBatches(LabelerBatches):
    """Draws batches of comparisons by principles, all with a rationale or all without one."""

    def __init__(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
        seed: int,
        samples: list[tuple[Situation, str]],
    ) -> None:
        """Prepare.

        Args:
            model: the labeler to be.
            tokenizer: the model's.
            seed: of the data and the order of the principles.
            samples: what a policy answered to queries of the train part.
        """
        super().__init__(model, tokenizer, seed)
        self.samples = samples
        self.pairs = {
            "harmlessness": comparisons(10**9, task="harmlessness", split="train", seed=seed + 2),
            "helpfulness": comparisons(10**9, task="helpfulness", split="train", seed=seed + 2),
            "near": near_misses("harmlessness", LAST.near["harmlessness"], seed + 2),
        }

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        ways = comparers(self.rng.random() < RATIONALES)
        often = [GOOD_FAITH if MEASURES[way.principle.id] == "quality" else 1.0 for way in ways]
        head, _ = self.encoder.prompt([("user", ways[0].shared)], "", len(ways[0].shared))
        rows = []
        for way in self.rng.choices(ways, often, k=BATCH):
            rows.append(self._row(way, measured(way, self.pair()), self.rng.random() < 0.5))  # type: ignore[arg-type]
        return self._loss(head, rows, [self.encoder.text(verdict)[0] for verdict in ways[0].verdicts])

    def pair(self) -> dict[str, Any]:
        """The next two responses to a query."""
        (source,) = self.rng.choices(list(SOURCES), list(SOURCES.values()))
        return next(self.pairs[source]) if source != "sampled" else self.about_a_sample()

    def about_a_sample(self) -> dict[str, Any]:
        """What a policy answered, with its revision or with a response of any kind."""
        rng = self.rng
        about, response = rng.choice(self.samples)
        if rng.random() < 0.5:
            other = revision(rng, "train", Example(about, response, rng.choice(constitution().principles)))
        else:
            other = respond(rng, "train", about, rng.choice(KINDS))
        return {"query": [turn.model_dump() for turn in about.query], "response_1": response, "response_2": other}

    def told(self, way: Any, row: dict[str, Any], swapped: bool) -> str:
        """The rationale that is learned."""
        return told(way, row, swapped)
