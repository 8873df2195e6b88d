"""The whole way on real data: 2,312 human comparisons of HH-RLHF (harmless), labeled by the bundled model.

That model knows nothing of this data, so agreement with people near one half is what to expect.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import write
from scipy.stats import binomtest

DATA = Path(__file__).parents[2] / "shared" / "data" / "hh_rlhf_harmless_test.jsonl.gz"


def main() -> None:
    """Label and count."""
    if not DATA.exists():
        print("the real data is not here: skipped")
        return
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "hh"
        words = ["label", str(DATA), "--format", "hh-rlhf", "--task", "harmlessness", "--llm", "pocket:labeler-l"]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "rlaif", *words, "--out", str(out)], check=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        labels = [json.loads(line) for line in (out / "preferences.jsonl").read_text().splitlines()]
        manifest = json.loads((out / "manifest.json").read_text())
        failures = [json.loads(line)["detail"] for line in (out / "failures.jsonl").read_text().splitlines()]
    right = sum((one["preference"] > 0.5) == (one["human_preference"] > 0.5) for one in labels)
    interval = binomtest(right, len(labels)).proportion_ci(method="wilson")
    same = sum((one["preference_12"] > 0.5) != (one["preference_21"] > 0.5) for one in labels)
    tokens = manifest["invocations"][0]["usage"]
    write(
        "hh-rlhf",
        {
            "labels": len(labels),
            "failures": manifest["failures"],
            "failure_details": {detail: failures.count(detail) for detail in sorted(set(failures))},
            "seconds": round(seconds, 1),
            "pairs_per_s": round(len(labels) / seconds, 1),
            "peak_mb": round(peak),
            "input_tokens": tokens["input_tokens"],
            "of_them_from_the_prefix_cache": tokens["cached_tokens"],
            "agreement_with_people": round(right / len(labels), 4),
            "agreement_95_interval": [round(interval.low, 4), round(interval.high, 4)],
            "same_position_preferred": round(same / len(labels), 4),
            "dialogues_cut_to_fit": sum("dropped_turns" in one for one in labels),
        },
    )


if __name__ == "__main__":
    main()
