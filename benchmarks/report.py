"""What all benchmarks share: the machine's description and a dated file of results."""

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor, cores, memory and the versions that matter."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    found = {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(), "memory_gb": memory >> 20}
    found["python"] = platform.python_version()
    for package in ("torch", "transformers", "trl", "pydantic"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def over_seeds(names: Mapping[str, Callable[[Any], float]], found: Sequence[Any]) -> dict[str, Any]:
    """Each number's mean over seeds, with a 95 % interval by Student's t."""
    means = {}
    for name, value in names.items():
        values = [value(one) for one in found]
        means[name] = {"mean": round(float(np.mean(values)), 4), "seeds": len(values)}
        if len(values) > 1:
            half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
            means[name] |= {"low": round(means[name]["mean"] - half, 4), "high": round(means[name]["mean"] + half, 4)}
    return means


def write(name: str, facts: dict[str, Any]) -> None:
    """Print the facts and write them, dated, with the machine."""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    whole = {"benchmark": name, "date": day, "machine": machine(), **facts}
    text = json.dumps(whole, indent=2)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{day}-{name}.json").write_text(text + "\n", encoding="utf-8")
