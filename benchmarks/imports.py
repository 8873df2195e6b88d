"""How long `import rlaif` and `rlaif --help` take, beside a bare interpreter. Median of 15 runs each, interleaved."""

import statistics
import subprocess
import sys
import time

from report import write

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import rlaif": ["-c", "import rlaif"],
    "import rlaif; rlaif.PreferenceLabeler": ["-c", "import rlaif; rlaif.PreferenceLabeler"],
    "rlaif --help": ["-m", "rlaif", "--help"],
}
RUNS = 15


def main() -> None:
    """Time each command in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, words in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    found = {
        name: {"median_s": round(statistics.median(times), 3), "least_s": round(min(times), 3), "n": RUNS}
        for name, times in seconds.items()
    }
    write("imports", {"aim": "import rlaif below 0.3 s", "seconds": found})


if __name__ == "__main__":
    main()
