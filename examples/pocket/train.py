"""Train the bundled models of the pocket world, each with its card.

    python examples/pocket/train.py --out outputs/pocket                     # all of them, one after the other
    OMP_NUM_THREADS=1 python examples/pocket/train.py --out outputs/pocket labeler-l &
    OMP_NUM_THREADS=1 python examples/pocket/train.py --out outputs/pocket base policy labeler-s labeler-xs
                                                                             # the quicker way: under 2 hours on 2 cores
    python examples/pocket/train.py --out outputs/pocket labeler-xs          # one of them
    python examples/pocket/train.py --out outputs/try --fraction 0.002 --n 20   # see whether it works

A model that has its card is done and is left alone, so a run that was stopped goes on with the model it was at.
`policy` starts from the weights of `base`, `reviser` and `labeler-c` from those of `labeler-l`, which must be there or
be trained before; the latter two also learn from what `policy` answers.
"""

import argparse
import copy
import json
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from comparer import ComparerBatches
from exercises import MatchingBatches, StepBatches
from labeler import LAST, LabelerBatches, prompters
from measure import measure, write_card
from reviser import CopyBatches, ReviserBatches, sampled
from rlaif.encoding import Encoder
from rlaif.pocket.data import TASKS, comparisons
from tiny import CHAT_TEMPLATE, device, fit, new_model, save, train_tokenizer
from writer import BaseBatches, PolicyBatches

SEED = 0
EXERCISE_RATE = 3e-3
LAST_RATE = 1e-3
FIRST_WEIGHT = 1.0
"""Of the first tokens of critiques and revisions, in the last batches."""
TRAINED = "training.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made.

    Attributes:
        learns: What it is trained on.
        hidden: Its width.
        layers: Its depth.
        steps: Batches it is trained on.
        rate: The highest learning rate.
        base: The model whose weights it starts from, or None for random ones.
        text_weight: See `LabelerBatches`.
        scores_first: The same.
        matching: Before all else, so many batches of `MatchingBatches`,
        belonging: and then so many of `StepBatches`.
        copying: before all else, so many of `CopyBatches`.
        last: After all else, so many batches (a labeler's of `LAST`), from the saved draft and with fresh heads.
    """

    learns: Literal["texts", "examples", "judging", "revising", "comparing"]
    hidden: int
    layers: int
    steps: int
    rate: float
    base: str | None = None
    text_weight: float = 0.0
    scores_first: int = 0
    matching: int = 0
    belonging: int = 0
    last: int = 0
    copying: int = 0


RECIPES = {
    "base": Recipe("texts", 160, 4, steps=1600, rate=3e-3),
    "labeler-l": Recipe(
        "judging", 160, 4, steps=3500, rate=2e-3, scores_first=1000, matching=250, belonging=600, last=2600
    ),
    "policy": Recipe("examples", 160, 4, steps=1400, rate=1.5e-3, base="base"),
    "labeler-s": Recipe("judging", 80, 3, steps=1200, rate=4e-3, scores_first=400, matching=250, belonging=400),
    "labeler-xs": Recipe("judging", 40, 2, steps=1000, rate=6e-3, text_weight=0.3, scores_first=300),
    "reviser": Recipe("revising", 160, 4, steps=750, rate=2e-3, base="labeler-l", copying=700, last=1500),
    "labeler-c": Recipe("comparing", 160, 4, steps=300, rate=1e-3, base="labeler-l"),
}


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of all models: of the prompts and of the world's texts."""
    rows = [row for task in TASKS for row in comparisons(2000, task=task, split="train", seed=SEED)]
    texts = [
        "\n\n".join([*(turn["content"] for turn in row["query"]), str(row["response_1"]), str(row["response_2"])])
        for row in rows
    ]
    texts += [
        way.shared + way.ask((), "", "").text for way in prompters().values() if way.judgement == "preference"
    ] * 8
    texts += ["=10"] * 1000  # "10" becomes one token, as the other verdicts are
    made = train_tokenizer(texts)
    encoder = Encoder(made)
    if any(len(encoder.text(verdict)) != 1 for way in prompters().values() for verdict in way.verdicts):
        raise ValueError("the loss needs every verdict to be one token")
    return made


def train(name: str, recipe: Recipe, models: Path, report_every: int = 50) -> list[float]:
    """Train one model and save it, last of all `training.json`, which says how it was made.

    Args:
        name: of the model and its folder.
        recipe: how.
        models: the folder of all models, with that from which this one starts.
        report_every: steps between lines of progress.

    Returns:
        The loss of each step.
    """
    start = time.monotonic()
    folder = models / (f"{name}.draft" if recipe.last else name)
    losses: list[float] = []
    if recipe.last and (folder / TRAINED).is_file():
        start -= json.loads((folder / TRAINED).read_text())["seconds"]
    else:
        losses = _train_first(recipe, models, folder, report_every)
        _say_how(folder, name, recipe, start)
    if recipe.last:
        losses += _train_last(recipe, folder, models / name, report_every)
        _say_how(models / name, name, recipe, start)
        shutil.rmtree(folder)
    return losses


def _train_first(recipe: Recipe, models: Path, folder: Path, report_every: int) -> list[float]:
    """Everything but the last batches."""
    torch.manual_seed(SEED)
    tokens = copy.deepcopy(tokenizer())
    if recipe.learns in ("examples", "revising"):
        tokens.chat_template = CHAT_TEMPLATE
    if recipe.base:
        model = LlamaForCausalLM.from_pretrained(models / recipe.base, dtype=torch.float32)
    else:
        model = new_model(tokens, recipe.hidden, recipe.layers)
    model.to(device())
    exercises = ((recipe.matching, MatchingBatches), (recipe.belonging, StepBatches))
    for steps, exercise in ((steps, make(model, tokens, SEED)) for steps, make in exercises if steps):
        fit(model, exercise, steps, EXERCISE_RATE, report_every, list(exercise.heads.parameters()))
    encoder, beside = Encoder(tokens), list[torch.nn.Parameter]()
    match recipe.learns:
        case "texts":
            batches: Callable[[], torch.Tensor] = BaseBatches(model, encoder, SEED)
        case "examples":
            batches = PolicyBatches(model, encoder, SEED)
        case "judging":
            batches = judging = LabelerBatches(model, tokens, SEED, recipe.text_weight, recipe.scores_first)
            beside = [*judging.marker.parameters(), *judging.scorer.parameters()]
        case "revising":
            answered = sampled(models / "policy", models / "policy.samples.jsonl")
            fit(model, CopyBatches(model, tokens, SEED, answered), recipe.copying, EXERCISE_RATE, report_every)
            batches = revising = ReviserBatches(model, tokens, SEED, answered)
            beside = list(revising.marker.parameters())
        case "comparing":
            answered = sampled(models / "policy", models / "policy.samples.jsonl")
            batches = comparing = ComparerBatches(model, tokens, SEED, answered)
            beside = [*comparing.marker.parameters(), *comparing.scorer.parameters()]
    long_rows = recipe.learns == "comparing"
    losses = fit(model, batches, recipe.steps, recipe.rate, report_every, beside, fused=long_rows)
    save(model, tokens, folder)
    return losses


def _train_last(recipe: Recipe, draft: Path, folder: Path, report_every: int) -> list[float]:
    """The last batches, from what is on disk, so that a training that was stopped before them goes on from there."""
    torch.manual_seed(SEED)
    tokens = copy.deepcopy(tokenizer())
    model = LlamaForCausalLM.from_pretrained(draft, dtype=torch.float32).to(device())
    if recipe.learns == "revising":
        tokens.chat_template = CHAT_TEMPLATE
        answered = sampled(folder.parent / "policy", folder.parent / "policy.samples.jsonl")
        batches: Callable[[], torch.Tensor] = (
            revising := ReviserBatches(model, tokens, SEED + 1, answered, FIRST_WEIGHT)
        )
        beside = list(revising.marker.parameters())
    else:
        batches = judging = LabelerBatches(model, tokens, SEED + 1, recipe.text_weight, mix=LAST)
        beside = [*judging.marker.parameters(), *judging.scorer.parameters()]
    losses = fit(model, batches, recipe.last, LAST_RATE, report_every, beside)
    save(model, tokens, folder)
    return losses


def _say_how(folder: Path, name: str, recipe: Recipe, start: float) -> None:
    """Write `training.json`, by which a model is known to be whole."""
    made = asdict(recipe) | {
        "command": f"python examples/pocket/train.py {name}{'' if recipe == RECIPES[name] else ' (shortened)'}",
        "seed": SEED,
        "seconds": round(time.monotonic() - start),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {device().type}",
    }
    (folder / TRAINED).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


def shorten(recipe: Recipe, fraction: float) -> Recipe:
    """The same recipe with a fraction of its steps."""
    return replace(
        recipe,
        steps=max(1, round(recipe.steps * fraction)),
        scores_first=round(recipe.scores_first * fraction),
        matching=round(recipe.matching * fraction),
        belonging=round(recipe.belonging * fraction),
        last=round(recipe.last * fraction),
        copying=round(recipe.copying * fraction),
    )


def main() -> None:
    """Train what is not done, measure it, write its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"one of {', '.join(RECIPES)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("outputs/pocket"), help="default: %(default)s")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the steps, to try it (default: 1)")
    parser.add_argument("--n", type=int, default=2000, help="held-out rows to measure on (default: %(default)s)")
    given = parser.parse_args()
    unknown = [name for name in given.models if name not in RECIPES]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}; known are {', '.join(RECIPES)}")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for name, recipe in RECIPES.items():
        folder = given.out / name
        if given.models and name not in given.models:
            continue
        if (folder / "card.json").is_file():
            print(f"{name}: done, in {folder}", flush=True)
            continue
        if not (folder / TRAINED).is_file():
            shortened = shorten(recipe, given.fraction)
            print(f"{name}: {shortened}", flush=True)
            train(name, shortened, given.out)
        write_card(folder, name, measure(folder, given.n))


if __name__ == "__main__":
    main()
