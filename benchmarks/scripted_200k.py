"""200,000 comparisons through everything but a model: rows/s, memory, ledger, and a fully answered second run.

Each run is a process of its own, whose peak memory is read when it ends. The floor beside it is a bare loop that
reads the file and writes it back as JSON.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from report import write

SMALL, LARGE = 20_000, 200_000
WORDS = ["the", "a", "model", "answer", "question", "because", "with", "people", "reads", "tokens", "order", "better"]


def write_rows(path: Path, n: int) -> None:
    """Comparisons of about a kilobyte."""
    rng = random.Random(0)
    with path.open("w") as file:
        for number in range(n):
            texts = [" ".join(rng.choices(WORDS, k=60)) + f" {number}{side}" for side in "qab"]
            row = {"id": f"row-{number}", "query": texts[0], "response_1": texts[1], "response_2": texts[2]}
            file.write(json.dumps(row) + "\n")


def child(data: str, out: str) -> None:
    """One run, and what it took."""
    import rlaif

    labeler = rlaif.PreferenceLabeler("helpfulness", llm="scripted:hashed")
    start = time.perf_counter()
    summary = rlaif.judge_file(labeler, data, Path(out), progress=False)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": summary.count, "asked": summary.totals.asked, "seconds": seconds, "peak_mb": peak}))


def run(data: Path, out: Path) -> dict[str, Any]:
    """A run in a process of its own."""
    words = [sys.executable, __file__, str(data), str(out)]
    found: dict[str, Any] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    found["rows_per_s"] = round(found["rows"] / found["seconds"])
    return {name: round(value, 1) if isinstance(value, float) else value for name, value in found.items()}


def floor(data: Path, out: Path) -> float:
    """Seconds to parse and write every row once."""
    start = time.perf_counter()
    with data.open() as rows, out.open("w") as file:
        for row in rows:
            file.write(json.dumps(json.loads(row)) + "\n")
    return time.perf_counter() - start


def main() -> None:
    """Small, large, and large again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n in (SMALL, LARGE):
            write_rows(folder / f"{n}.jsonl", n)
        small = run(folder / f"{SMALL}.jsonl", folder / "small" / "run")
        large = run(folder / f"{LARGE}.jsonl", folder / "large" / "run")
        again = run(folder / f"{LARGE}.jsonl", folder / "large" / "run")
        anew = run(folder / f"{LARGE}.jsonl", folder / "large" / "another")
        sizes = {
            path.name: round(path.stat().st_size / 1e6, 1)
            for path in (
                folder / f"{LARGE}.jsonl",
                folder / "large" / "ledger.sqlite",
                folder / "large" / "run" / "work.sqlite",
                folder / "large" / "run" / "preferences.jsonl",
            )
        }
        bare = floor(folder / f"{LARGE}.jsonl", folder / "floor.jsonl")
    write(
        "scripted-200k",
        {
            "aim": "peak memory flat within 10 % from 20,000 to 200,000",
            "small": small,
            "large": large,
            "second_run_in_the_same_folder": again,
            "another_folder_from_the_ledger": anew,
            "memory_large_over_small": round(large["peak_mb"] / small["peak_mb"], 3),
            "floor_parse_and_write_s": round(bare, 2),
            "large_over_floor": round(large["seconds"] / bare, 1),
            "second_run_over_floor": round(again["seconds"] / bare, 1),
            "megabytes": sizes,
        },
    )


if __name__ == "__main__":
    child(*sys.argv[1:]) if len(sys.argv) > 1 else main()
