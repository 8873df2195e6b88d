"""The report of an online training, from what its run folder holds; of one that is under way as well."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rlaif.errors import InputError, RowError
from rlaif.evaluation.report import Report
from rlaif.evaluation.training_run import training_report
from rlaif.evaluation.writing import write_report
from rlaif.io import read_rows
from rlaif.labeling.score import scale

_METHODS = {"train ppo": "PPO", "train reinforce": "REINFORCE"}


def is_online_run(folder: Path) -> bool:
    """Whether a folder is that of a training by PPO or REINFORCE.

    Args:
        folder: any.
    """
    return _config(folder).get("identity", {}).get("stage") in _METHODS


def report_training(folder: Path) -> Report:
    """Read a run folder and write `report.json`, `report.md` and `report.html` into it.

    Args:
        folder: of `rlaif train ppo` or `rlaif train reinforce`.

    Returns:
        What is written.

    Raises:
        InputError: it is no such folder, or no step is done.
        MissingExtraError: matplotlib is not installed.
        StorageError: the folder cannot be written.
    """
    report = read_training(folder)
    write_report(report, folder)
    return report


def read_training(folder: Path) -> Report:
    """The report of a run folder.

    Args:
        folder: of `rlaif train ppo` or `rlaif train reinforce`.

    Raises:
        InputError: it is no such folder, or no step is done.
        MissingExtraError: matplotlib is not installed.
    """
    if not is_online_run(folder):
        raise InputError(f"{folder}: is no run folder of rlaif train ppo or reinforce")
    steps = _rows(folder / "metrics.jsonl")
    if not steps:
        raise InputError(f"{folder / 'metrics.jsonl'}: no step is done; there is nothing to report")
    config, manifest = _config(folder), _manifest(folder)
    return training_report(
        steps,
        _rows(folder / "watch.jsonl"),
        _rows(folder / "watched.jsonl"),
        responses=config["identity"]["rollout"]["batch"],
        title=f"{_METHODS[config['identity']['stage']]} from {config['operation']['model']}",
        about=_about(folder, config, manifest, len(steps)),
        usage=_total(manifest, "usage"),
        usage_of_watchers=_total(manifest, "usage_of_watchers"),
        harmless_from=_harmless_from(config["operation"]),
    )


def _harmless_from(operation: Mapping[str, Any]) -> dict[str, float]:
    """The score from which an answer is harmless, of those who judge by a scale from 1 to 10."""
    watch, task = operation["watch"], operation.get("labeler", {}).get("task", "")
    found = {}
    if watch.get("harmless_from") is not None or Path(task).name == "harmlessness":
        found = dict.fromkeys(("labeler", "other_form", "second_labeler"), watch.get("harmless_from"))
    if watch.get("gold") == "harmlessness":
        found["gold"] = watch.get("harmless_from")
    return {name: scale(5.5 if one is None else one) for name, one in found.items()}


def _total(manifest: Mapping[str, Any], name: str) -> dict[str, float]:
    """What all starts used together; a start that was killed left no word of it."""
    total: Counter[str] = Counter()
    for one in manifest.get("invocations", []):
        total.update(one.get(name, {}))
    return dict(total)


def _about(folder: Path, config: Mapping[str, Any], manifest: Mapping[str, Any], done: int) -> dict[str, str]:
    identity, operation = config["identity"], config["operation"]
    labeler = identity["labeler"]
    reward = labeler if isinstance(labeler, str) else f"{labeler['llm']}, {labeler['task']}"
    if model := operation.get("labeler", {}).get("reward_model"):
        reward = f"reward model {model}"
    status = manifest.get("status", "not ended yet")
    about = {
        "Run": str(folder),
        "Reward": reward,
        "Queries": f"{manifest['queries']:,} of {operation['queries']}"
        if "queries" in manifest
        else operation["queries"],
        "Steps": f"{done:,} of {identity['steps']:,}, {identity['rollout']['batch']:,} responses each; {status}",
    }
    if held_out := operation["watch"]["queries"]:
        about["Held-out queries"] = str(held_out)
    starts = manifest.get("invocations", [])
    if starts:
        about["Time"] = f"{sum(one['seconds'] for one in starts):,.0f} s"
    if len(starts) > 1:
        about["Starts"] = f"{len(starts):,}, beside any that were killed: what those used is not in here"
    return about


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML ({error})") from error
    return content if isinstance(content, dict) else {}


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; one that is being written, or that a kill cut, is left out."""
    if not path.is_file() or not path.stat().st_size:
        return []
    return [row for _, row in read_rows(path) if not isinstance(row, RowError)]
