"""Label 500 comparisons of the pocket world with a bundled model; then train a policy with that model as its reward.

    make demo
    .venv/bin/python examples/demo.py steps=10     # values of examples/recipes/direct.yaml

The world is generated, so its gold preference is known, and so are the simulated annotators' opinions: first comes how
often the labels agree with both, whether the order of the responses matters, and whether the labels mean what they
say; then, some minutes later, what gold says of the policy before and after it was trained.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = Path("outputs/demo")
TASK = "harmlessness"
ROWS = 500


def main() -> None:
    """Write the comparisons, run the labeler, read its labels."""
    rlaif("pocket", "data", "--task", TASK, "--n", str(ROWS), "--seed", "2026", "--out", str(OUT / "data"))
    pairs = str(OUT / "data" / "comparisons.jsonl")
    # An earlier demo may have had another model; what this one answered before is in the ledger.
    shutil.rmtree(ROOT / OUT / "labels", ignore_errors=True)
    rlaif("label", pairs, "--task", TASK, "--llm", "pocket:labeler-l", "--out", str(OUT / "labels"))
    lines = (ROOT / OUT / "labels" / "preferences.jsonl").read_text(encoding="utf-8").splitlines()
    asked = (ROOT / pairs).read_text(encoding="utf-8").splitlines()
    report([json.loads(line) for line in lines], len(asked))
    rlaif("run", "examples/recipes/direct.yaml", *sys.argv[1:], "--out", str(OUT / "direct"))


def rlaif(*words: str) -> None:
    """Run the command that a user would type."""
    print("$ rlaif", *words, flush=True)
    subprocess.run([sys.executable, "-m", "rlaif", *words], check=True, cwd=ROOT)


def report(labels: list[dict[str, Any]], asked: int) -> None:
    """Agreement, position bias, calibration, and three labels to read: a sure one, an unsure one, a wrong one."""
    n = len(labels)
    if n < asked:
        print(f"\n{asked - n} of {asked} comparisons have no label: see failures.jsonl")
    first = [one["preference"] > 0.5 for one in labels]
    right = [mine == (one["gold_preference"] == 1.0) for mine, one in zip(first, labels, strict=True)]
    decided = [(mine, one) for mine, one in zip(first, labels, strict=True) if one["human_preference"] != 0.5]
    people = sum(mine == (one["human_preference"] > 0.5) for mine, one in decided) / len(decided)
    gold = sum((one["gold_preference"] == 1.0) == (one["human_preference"] > 0.5) for _, one in decided) / len(decided)
    same = sum((one["preference_12"] > 0.5) != (one["preference_21"] > 0.5) for one in labels)
    sure = [max(one["preference"], 1 - one["preference"]) for one in labels]
    print(f"\nagreement with gold           {sum(right) / n:.3f} (n = {n}; a coin has .5)")
    print(
        f"agreement with the annotators {people:.3f} (their majority, n = {len(decided)}; gold itself has {gold:.3f})"
    )
    print(f"position bias                 {same / n:.3f} prefer the same position in both orders (n = {n})")
    mean = sum(sure) / n
    print(f"calibration                   believes in its choice with {mean:.3f}, is right with {sum(right) / n:.3f}\n")
    by_margin = sorted(labels, key=lambda one: abs(one["preference"] - 0.5))
    chosen = [("sure", by_margin[-1]), ("unsure", by_margin[0])]
    wrong = [one for one, good in zip(labels, right, strict=True) if not good]
    chosen += [("wrong", one) for one in wrong if all(one is not other for _, other in chosen)][:1]
    for title, one in chosen:
        better = 1 if one["gold_preference"] == 1.0 else 2
        print(
            f"--- {title}: P(response 1 preferred) = {one['preference']:.2f}, in the two orders "
            f"{one['preference_12']:.2f} and {one['preference_21']:.2f}; gold prefers response {better}"
        )
        for turn in one["query"]:
            print(f"    {turn['role']:<11} {turn['content']}")
        print(f"    response 1  {one['response_1']}\n    response 2  {one['response_2']}")


if __name__ == "__main__":
    main()
