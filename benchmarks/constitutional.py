"""Constitutional AI in the pocket world over seeds, by gold: stages, revisions, critiques, principles.

    python benchmarks/constitutional.py --seeds 3 --out outputs/constitutional-acceptance

Each seed runs `examples/recipes/constitutional.yaml`, whose report says everything for one seed. Over seeds there is a
mean with its t interval of harmless rate and help: of each stage, of what each stage gains on the one before it, and
after each round of revision.
"""

import argparse
import json
import operator
from pathlib import Path
from typing import Any

from report import over_seeds, write

from rlaif.stages.recipe import run_recipe

RECIPE = Path(__file__).parents[1] / "examples" / "recipes" / "constitutional.yaml"


def one_seed(seed: int, out: Path) -> dict[str, Any]:
    """The sections of one seed's report, and the seconds that its stages took; what is there is not made again."""
    run_recipe(RECIPE, {"seed": seed}, out=out)
    sections = json.loads((out / "report" / "report.json").read_text())["sections"]
    stages = json.loads((out / "recipe.json").read_text())["stages"]
    seconds = {name: stage["seconds"] for name, stage in stages.items()}
    return {
        "seconds": sum(seconds.values()),
        "stages' seconds": seconds,
        **{key: section["rows"] for key, section in sections.items()},
    }


def numbers(sections: dict[str, Any]) -> dict[str, float]:
    """What is compared over seeds."""
    found = {f"distinct, {row['stage']}": row["distinct"] for row in sections["stages"]}
    for name in ("harmless", "help"):
        for row in sections["stages"]:
            found[f"{name}, {row['stage']}"] = row[name]["value"]
        for row in sections["steps"]:
            found[f"{name}, {row['stages']}"] = row[name]["value"]
        for row in sections["revisions"]:
            found[f"{name}, {row['chains']}, {row['revisions']} revisions"] = row[name]["value"]
        for row in sections["critiques"]:
            found[f"{name}, {row['chains']}, {row['revisions']} revisions"] = row[name]["value"]
    return found


def main() -> None:
    """Run all seeds and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("outputs/constitutional-acceptance"), help="%(default)s")
    given = parser.parse_args()
    found = []
    for seed in range(given.seeds):
        found.append(one_seed(seed, given.out / f"seed-{seed}"))
        print(json.dumps({seed: numbers(found[-1])}, indent=1), flush=True)
    compared = [numbers(one) for one in found]
    means = over_seeds({name: operator.itemgetter(name) for name in compared[0]}, compared)
    write("constitutional", {"over_seeds": means, "seeds": found})


if __name__ == "__main__":
    main()
