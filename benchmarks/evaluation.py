"""The evaluation of 100,000 labels, and the page of 10,000 pairs: how long, how much memory, how many bytes."""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from report import write

LABELS, PAIRS, RESAMPLES = 100_000, 10_000, 2_000


def rows(n: int, with_rationales: bool) -> Iterator[dict[str, Any]]:
    """Labels of a labeler with position bias, people with noise, and texts of invented words."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]

    def text(count: int) -> str:
        return " ".join(rng.choices(words, k=count))

    for number in range(n):
        human = rng.choice((0.0, 1.0))
        first, second = (min(0.99, max(0.01, rng.gauss(0.5 + (human - 0.5) * 0.5 + bias, 0.3))) for bias in (0.1, -0.1))
        row = {
            "id": str(number),
            "query": text(15),
            "response_1": text(rng.randint(20, 60)),
            "response_2": text(rng.randint(20, 60)),
            "human_preference": human if rng.random() < 0.95 else 0.5,
            "annotations": [human if rng.random() < 0.9 else 1 - human for _ in range(3)],
            "preference": (first + second) / 2,
            "preference_12": first,
            "preference_21": second,
            "topic": f"topic {number % 8}",
        }
        if with_rationales:
            row |= {"rationales_12": [text(50)], "rationales_21": [text(50)]}
        yield row


def evaluate(source: Path, out: Path) -> dict[str, float]:
    """One run of the command, by a process of its own."""
    words = ["-m", "rlaif", "evaluate", "alignment", str(source), "--by", "topic", "--out", str(out)]
    started = time.perf_counter()
    subprocess.run([sys.executable, *words, "--resamples", str(RESAMPLES)], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"seconds": round(seconds, 1), "peak_mb_so_far": round(peak), "page_mb": size_mb(out / "report.html")}


def size_mb(path: Path) -> float:
    """Of a file."""
    return round(path.stat().st_size / 1e6, 2)


def first_paint(page: Path) -> dict[str, float]:
    """Of the page in headless Chromium, from disk, and until the pairs can be read; medians of five."""
    from statistics import median

    from playwright.sync_api import sync_playwright

    paints, readies = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for _ in range(5):
            tab = browser.new_page()
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-ready]")
            readies.append(tab.evaluate("performance.now()"))
            paints.append(tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            tab.close()
        browser.close()
    return {"first_paint_ms": round(median(paints)), "pairs_ready_ms": round(median(readies)), "openings": 5}


def main() -> None:
    """Run all and write the results."""
    facts: dict[str, Any] = {"resamples": RESAMPLES}
    with tempfile.TemporaryDirectory() as folder:
        for name, n, rationales in (("page", PAIRS, True), ("labels", LABELS, False)):
            source, out = Path(folder) / f"{name}.jsonl", Path(folder) / name
            source.write_text("".join(json.dumps(row) + "\n" for row in rows(n, rationales)))
            facts[name] = {"n": n, "input_mb": size_mb(source), **evaluate(source, out)}
        facts["page"] |= first_paint(Path(folder) / "page" / "report.html")
    write("evaluation", facts)


if __name__ == "__main__":
    main()
