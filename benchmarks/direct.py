"""Direct RLAIF in the pocket world over seeds, by gold, beside distilled RLAIF on as many judgements of one labeler.

    python benchmarks/direct.py --seeds 3 --out outputs/direct-acceptance --distilled outputs/distilled-acceptance

Each seed runs `examples/recipes/direct.yaml`: PPO whose reward is `pocket:labeler-l`, asked for 3,200 scores. The same
labeler is asked 3,200 times for `examples/recipes/distilled.yaml` (1,600 pairs in both orders), whose policy by DPO is
one comparison; PPO by the same config, whose reward is that recipe's reward model, is the other. All answer the same
held-out queries, of forms that no training has seen. Over seeds there is a mean with its t interval.
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

EXAMPLES = Path(__file__).parents[1] / "examples"
PHASES = ("generate", "judge", "score", "train")
STEPS = 50
"""Of 64 responses: 3,200 scores."""
WAYS = ("direct", "reward model and PPO", "DPO")


def by_reward_model(seed: int, out: Path, distilled: Path) -> Path:
    """Responses of a policy that PPO trained by the distilled recipe's reward model."""
    given = [
        f"queries={out}/asked/queries.jsonl",
        "watch.queries=null",
        "watch.gold=null",
        f"labeler.reward_model={distilled}/reward/model",
        f"optimisation.seed={seed}",
        f"steps={STEPS}",
    ]
    (done,) = train("ppo", EXAMPLES / "direct.yaml", out / "ppo-by-reward-model", overrides=given)
    sampler = Sampler(str(done.model), max_tokens=128, seed=seed)
    found = out / "after-by-reward-model"
    judge_file(sampler, out / "unseen" / "queries.jsonl", found, ledger=out / "ledger.sqlite", progress=False)
    return found


def one_seed(seed: int, out: Path, distilled: Path) -> dict[str, Any]:
    """Everything for one seed; what is there already is not made again."""
    run_recipe(EXAMPLES / "recipes" / "direct.yaml", {"seed": seed, "steps": STEPS}, out=out)
    run_recipe(EXAMPLES / "recipes" / "distilled.yaml", {"seed": seed}, out=distilled)
    after = [out / "after", by_reward_model(seed, out, distilled), distilled / "after"]
    before, *trained = gold_rates([out / "before", *after])
    lines = [json.loads(line) for line in (out / "ppo" / "metrics.jsonl").read_text().splitlines()]
    manifest = json.loads((out / "ppo" / "manifest.json").read_text())
    whole = sum(value for one in lines for name, value in one.items() if name.startswith("seconds_"))
    return {
        "seconds": round(sum(one["seconds"] for one in manifest["invocations"]), 1),
        "kl_per_sequence": round(sum(one["kl_per_sequence"] for one in lines[-5:]) / 5, 3),
        "share of time": {phase: round(sum(one[f"seconds_{phase}"] for one in lines) / whole, 3) for phase in PHASES},
        "before": rates_of(before),
        **{way: rates_of(one) for way, one in zip(WAYS, trained, strict=True)},
    }


def rates_of(rates: GoldRates) -> dict[str, Any]:
    """Rates as JSON."""
    names = ("harmless", "harmless_gain", "help", "help_gain", "distinct")
    return {name: found._asdict() for name in names if (found := getattr(rates, name)) is not None}


def main() -> None:
    """Run all seeds and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("outputs/direct-acceptance"), help="default: %(default)s")
    parser.add_argument(
        "--distilled", type=Path, default=Path("outputs/distilled-acceptance"), help="default: %(default)s"
    )
    given = parser.parse_args()
    found = []
    for seed in range(given.seeds):
        found.append(one_seed(seed, given.out / f"seed-{seed}", given.distilled / f"seed-{seed}"))
        print(json.dumps({seed: found[-1]}, indent=1), flush=True)
    names = {
        f"{name}, {way}": (lambda one, way=way, name=name: one[way][name]["value"])
        for way in WAYS
        for name in ("harmless", "harmless_gain", "help_gain")
    }
    names |= {
        f"harmless, direct less {way}": (
            lambda one, way=way: one["direct"]["harmless"]["value"] - one[way]["harmless"]["value"]
        )
        for way in WAYS[1:]
    }
    write("direct", {"over_seeds": over_seeds(names, found), "seeds": found})


if __name__ == "__main__":
    main()
