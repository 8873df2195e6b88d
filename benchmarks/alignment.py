"""The bundled labelers against simulated annotators of their own world: alignment by size, and calibration.

The annotators are noisy and biased by design (`rlaif.pocket.annotators`), so that the ceiling is far below 1.
"""

import tempfile
from pathlib import Path
from typing import Any

from report import write

from rlaif.labeling.preference import PreferenceLabeler
from rlaif.stages.calibrate import calibrate
from rlaif.stages.evaluate import evaluate_alignment
from rlaif.stages.judge import judge_file
from rlaif.stages.pocket import write_data
from rlaif.statistics.intervals import Estimate

N = 1_000
TASKS = ("harmlessness", "helpfulness", "summarization")


def cell(estimate: Any) -> Any:
    """An estimate in JSON."""
    if not isinstance(estimate, Estimate):
        return estimate
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in estimate._asdict().items()}


def one_task(task: str, folder: Path) -> dict[str, Any]:
    """Label held-out comparisons by all three, evaluate and calibrate."""
    write_data(folder, N, task=task, seed=20, progress=False)
    runs = []
    for size in ("l", "s", "xs"):
        runs.append(folder / size)
        labeler = PreferenceLabeler(task, f"pocket:labeler-{size}")
        judge_file(labeler, folder / "comparisons.jsonl", runs[-1], progress=False)
    report = evaluate_alignment(runs)
    sections = {section.key: section for section in report.sections}
    found: dict[str, Any] = {}
    for key in ("alignment", "probabilities", "people", "paired"):
        section = sections[key]
        found[key] = [
            {name: cell(value) for name, value in zip(section.columns, row, strict=True)} for row in section.rows
        ]
    found["calibration"] = {}
    for run in runs:
        done = calibrate(run)
        found["calibration"][run.name] = {
            "written": done.method,
            "held out": {
                name: {part: cell(value) for part, value in quality._asdict().items()}
                for name, quality in {"as labeled": done.before, **done.after}.items()
            },
        }
    return found


def main() -> None:
    """Run all and write the results."""
    facts: dict[str, Any] = {"n": N}
    with tempfile.TemporaryDirectory() as folder:
        for task in TASKS:
            facts[task] = one_task(task, Path(folder) / task)
    write("alignment", facts)


if __name__ == "__main__":
    main()
