"""Distilled RLAIF in the pocket world over seeds: soft against hard labels, and reward models by labels and by size.

    python benchmarks/distilled.py --seeds 5 --out outputs/distilled-acceptance
    python benchmarks/distilled.py --seed 3 --out outputs/distilled-acceptance     # one alone, beside others

Each seed runs `examples/recipes/distilled.yaml`, once more with hard labels on the same samples and labels, and
reward models on fewer labels and from smaller models. Held-out accuracy is against gold, on pairs of the policy's own
responses to held-out queries whose gold differs by a point or more. Over seeds there is a mean with its t interval.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from report import over_seeds, write

from rlaif.sampling import Sampler
from rlaif.stages.judge import judge_file
from rlaif.stages.pocket_gold import GoldRates, gold_rates
from rlaif.stages.recipe import run_recipe
from rlaif.stages.train import train

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "examples" / "recipes" / "distilled.yaml"
CONFIGS = ROOT / "examples" / "training"
QUICK = ("optimisation.autocast=true", "optimisation.micro_batch=32")
LABELS, STARTS = (200, 400, 800), ("pocket:labeler-xs", "pocket:labeler-s", "pocket:labeler-l")
"""Beside all 1,600 labels, and beside `pocket:policy`."""


def reward_accuracy(out: Path, name: str, seed: int, *overrides: str) -> dict[str, Any]:
    """Held-out accuracy of one reward model on this seed's labels."""
    held_out = f"held_out=[{{path: {out}/gold.jsonl, label: gold_preference}}]"
    trained = (f"optimisation.seed={seed}", "optimisation.epochs=3", *QUICK)
    given = (f"data.0.path={out}/labels", held_out, *trained, *overrides)
    (done,) = train("reward", CONFIGS / "reward.yaml", out / "rewards" / name, overrides=given, progress=False)
    return dict(done.facts["held_out"])


def hard_policy(out: Path, seed: int) -> Path:
    """Responses of a policy that was trained on the same labels made hard."""
    given = (f"data.0.path={out}/labels", "labels=hard", f"optimisation.seed={seed}", *QUICK)
    (done,) = train("dpo", CONFIGS / "dpo.yaml", out / "dpo-hard", overrides=given, progress=False)
    sampler = Sampler(str(done.model), max_tokens=160, seed=seed)
    judge_file(
        sampler, out / "unseen" / "queries.jsonl", out / "after-hard", ledger=out / "ledger.sqlite", progress=False
    )
    return out / "after-hard"


def facts(rates: GoldRates) -> dict[str, Any]:
    """Rates as JSON."""
    names = ("harmless", "harmless_gain", "help", "help_gain", "distinct")
    return {name: found._asdict() for name in names if (found := getattr(rates, name)) is not None}


def one_seed(seed: int, out: Path) -> dict[str, Any]:
    """Everything for one seed."""
    run_recipe(RECIPE, {"seed": seed}, out=out)
    stages = json.loads((out / "recipe.json").read_text())["stages"]
    before, soft, hard = gold_rates([out / "before", out / "after", hard_policy(out, seed)])
    whole = reward_accuracy(out, "soft", seed)
    by_labels = {n: reward_accuracy(out, f"n-{n}", seed, f"data.0.limit={n}") for n in LABELS}
    by_start = {name: reward_accuracy(out, name.partition(":")[2], seed, f"model={name}") for name in STARTS}
    return {
        "recipe_seconds": round(sum(stage["seconds"] for stage in stages.values())),
        "before": facts(before),
        "soft": facts(soft),
        "hard": facts(hard),
        "reward_soft": whole,
        "reward_hard": reward_accuracy(out, "hard", seed, "labels=hard"),
        "reward_by_labels": {**by_labels, "all": whole},
        "reward_by_start": {**by_start, "pocket:policy": whole},
    }


def compared(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is compared, over seeds."""
    names = {
        "harmless before": lambda one: one["before"]["harmless"]["value"],
        "harmless gain, soft labels": lambda one: one["soft"]["harmless_gain"]["value"],
        "harmless gain, hard labels": lambda one: one["hard"]["harmless_gain"]["value"],
        "help gain, soft labels": lambda one: one["soft"]["help_gain"]["value"],
        "help gain, hard labels": lambda one: one["hard"]["help_gain"]["value"],
        "harmless, soft less hard": lambda one: one["soft"]["harmless"]["value"] - one["hard"]["harmless"]["value"],
        "help, soft less hard": lambda one: one["soft"]["help"]["value"] - one["hard"]["help"]["value"],
        "reward model's accuracy, soft labels": lambda one: one["reward_soft"]["accuracy"]["value"],
        "reward model's accuracy, soft less hard": lambda one: (
            one["reward_soft"]["accuracy"]["value"] - one["reward_hard"]["accuracy"]["value"]
        ),
        "reward model's log loss, soft less hard": lambda one: (
            one["reward_soft"]["log_loss"] - one["reward_hard"]["log_loss"]
        ),
    }
    for key in ("reward_by_labels", "reward_by_start"):
        for name in found[0][key]:
            names[f"{key}, {name}"] = lambda one, key=key, name=name: one[key][name]["accuracy"]["value"]
    return over_seeds(names, found)


def main() -> None:
    """Run all seeds and write the results; what is there already is not made again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seed", type=int, help="only this one, and no results over all")
    parser.add_argument("--out", type=Path, default=Path("outputs/distilled-acceptance"), help="default: %(default)s")
    given = parser.parse_args()
    found = {}
    for seed in range(given.seeds) if given.seed is None else [given.seed]:
        facts = given.out / f"seed-{seed}.json"
        if not facts.exists():
            text = json.dumps(one_seed(seed, given.out / f"seed-{seed}"), indent=1)
            facts.write_text(text)
        found[seed] = json.loads(facts.read_text())
        print(json.dumps({seed: found[seed]}, indent=1), flush=True)
    if given.seed is None:
        write("distilled", {"over_seeds": compared(list(found.values())), "seeds": found})


if __name__ == "__main__":
    main()
