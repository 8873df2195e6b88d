"""Label 300 comparisons of the pocket world with a bundled model, and look at what came of it.

    make demo

The world is generated, so its gold preference is known: the last lines say how often the labels agree with it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rlaif.pocket.world import comparisons

ROOT = Path(__file__).parents[1]
OUT = Path("outputs")
ROWS = 300


def main() -> None:
    """Write the comparisons, run the command, read its labels."""
    data = OUT / "demo-comparisons.jsonl"
    rows = comparisons(ROWS, task="harmlessness", split="heldout", seed=2026)
    (ROOT / OUT).mkdir(exist_ok=True)
    (ROOT / data).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ["label", str(data), "--task", "harmlessness", "--llm", "pocket:labeler-l", "--out", str(OUT / "demo")]
    print("$ rlaif", *words, flush=True)
    subprocess.run([sys.executable, "-m", "rlaif", *words], check=True, cwd=ROOT)
    labels = [json.loads(line) for line in (ROOT / OUT / "demo" / "preferences.jsonl").read_text().splitlines()]
    report(labels)


def report(labels: list[dict[str, Any]]) -> None:
    """Agreement with gold, position bias, and three labels to read: a sure one, an unsure one, a wrong one."""
    right = [(one["preference"] > 0.5) == (one["human_preference"] == 1.0) for one in labels]
    same = [(one["preference_12"] > 0.5) != (one["preference_21"] > 0.5) for one in labels]
    n = len(labels)
    print(f"\nagreement with gold      {sum(right) / n:.3f} (n = {n}; a coin has .5)")
    print(f"same position preferred  {sum(same) / n:.3f} (n = {n})\n")
    by_margin = sorted(labels, key=lambda one: abs(one["preference"] - 0.5))
    wrong = [one for one, good in zip(labels, right, strict=True) if not good]
    for title, one in [("sure", by_margin[-1]), ("unsure", by_margin[0]), *[("wrong", bad) for bad in wrong[:1]]]:
        better = 1 if one["human_preference"] == 1.0 else 2
        print(
            f"--- {title}: P(response 1 preferred) = {one['preference']:.2f}, in the two orders "
            f"{one['preference_12']:.2f} and {one['preference_21']:.2f}; gold prefers response {better}"
        )
        print(f"    query       {one['query'][-1]['content']}")
        print(f"    response 1  {one['response_1']}\n    response 2  {one['response_2']}")


if __name__ == "__main__":
    main()
