"""Distilled RLAIF in the pocket world over seeds: soft against hard labels, and reward models by labels and by size.

    python benchmarks/distilled.py --seeds 5 --out outputs/distilled-acceptance

Each seed runs `examples/recipes/distilled.yaml`, once more with hard labels on the same samples and labels, and
reward models on fewer labels and from smaller models. Held-out accuracy is against gold, on pairs of the policy's own
responses to held-out queries whose gold differs by a point or more.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from report import write

from rlaif.sampling import Sampler
from rlaif.stages.judge import judge_file
from rlaif.stages.pocket_gold import GoldRates, gold_rates
from rlaif.stages.recipe import run_recipe
from rlaif.stages.train import train

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "examples" / "recipes" / "distilled.yaml"
CONFIGS = ROOT / "examples" / "training"
QUICK = ("optimisation.autocast=true",)
LABELS, SIZES = (200, 400, 800, 1600), ("pocket:labeler-xs", "pocket:labeler-s", "pocket:labeler-l", "pocket:policy")


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
    start = time.monotonic()
    run_recipe(RECIPE, {"seed": seed}, out=out)
    seconds = round(time.monotonic() - start)
    before, soft, hard = gold_rates([out / "before", out / "after", hard_policy(out, seed)])
    return {
        "recipe_seconds": seconds,
        "before": facts(before),
        "soft": facts(soft),
        "hard": facts(hard),
        "reward_soft": reward_accuracy(out, "soft", seed),
        "reward_hard": reward_accuracy(out, "hard", seed, "labels=hard"),
        "reward_by_labels": {n: reward_accuracy(out, f"n-{n}", seed, f"data.0.limit={n}") for n in LABELS},
        "reward_by_start": {
            name: reward_accuracy(out, name.partition(":")[2], seed, f"model={name}") for name in SIZES
        },
    }


def main() -> None:
    """Run all seeds and write the results; what is there already is not made again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("outputs/distilled-acceptance"), help="default: %(default)s")
    given = parser.parse_args()
    found = {}
    for seed in range(given.seeds):
        found[seed] = one_seed(seed, given.out / f"seed-{seed}")
        print(json.dumps({seed: found[seed]}, indent=1), flush=True)
    write("distilled", {"seeds": found})


if __name__ == "__main__":
    main()
