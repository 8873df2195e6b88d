"""Direct RLAIF in the pocket world over seeds: PPO whose reward is `pocket:labeler-l`, and what gold says of it.

    python benchmarks/direct.py --seeds 3 --out outputs/direct-acceptance

Each seed runs `examples/recipes/direct.yaml`: it trains on queries of its own; the policy as it was and as it is now
answer the same held-out queries, of forms that no training has seen.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from report import write

from rlaif.stages.pocket_gold import gold_rates
from rlaif.stages.recipe import run_recipe

RECIPE = Path(__file__).parents[1] / "examples" / "recipes" / "direct.yaml"


def one_seed(seed: int, out: Path) -> dict[str, Any]:
    """Everything for one seed; what is there already is not made again."""
    run_recipe(RECIPE, {"seed": seed}, out=out)
    before, after = gold_rates([out / "before", out / "after"])
    lines = [json.loads(line) for line in (out / "ppo" / "metrics.jsonl").read_text().splitlines()]
    manifest = json.loads((out / "ppo" / "manifest.json").read_text())
    found: dict[str, Any] = {
        "seconds": round(sum(one["seconds"] for one in manifest["invocations"]), 1),
        "kl_per_sequence": round(sum(one["kl_per_sequence"] for one in lines[-5:]) / len(lines[-5:]), 3),
    }
    for name in ("harmless", "help", "distinct"):
        found |= {f"{name} before": getattr(before, name)._asdict(), f"{name} after": getattr(after, name)._asdict()}
    for name in ("harmless_gain", "help_gain"):
        found[name] = getattr(after, name)._asdict()
    for phase in ("generate", "judge", "score", "train"):
        found[f"share of time, {phase}"] = round(
            sum(one[f"seconds_{phase}"] for one in lines)
            / sum(one[key] for one in lines for key in one if "seconds_" in key),
            3,
        )
    return found


def main() -> None:
    """Run all seeds and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("outputs/direct-acceptance"), help="default: %(default)s")
    given = parser.parse_args()
    found = {seed: one_seed(seed, given.out / f"seed-{seed}") for seed in range(given.seeds)}
    write("direct", {"seeds": found})


if __name__ == "__main__":
    main()
