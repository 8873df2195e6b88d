"""Metrics of a training at Weights & Biases or trackio, where one of them is installed."""

import importlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from rlaif.errors import MissingExtraError
from rlaif.evaluation.training_steps import number
from rlaif.io import replacing

Tracker = Literal["wandb", "trackio"]
Log = Callable[[int, Mapping[str, Any]], None]


def check_tracker(name: Tracker | None) -> None:
    """See that a tracker is installed.

    Args:
        name: of its package; None for none.

    Raises:
        MissingExtraError: it is not.
    """
    if name is not None and find_spec(name) is None:
        raise MissingExtraError(name)


@contextmanager
def tracking(name: Tracker | None, out: Path, config: Mapping[str, Any]) -> Iterator[Log]:
    """Open a run of the project `rlaif` for as long as the block runs; started again, a folder goes on with its own.

    Args:
        name: of the tracker's package; None for none.
        out: the run folder, which remembers by which name the tracker knows it.
        config: the settings.

    Yields:
        What takes a step with its metrics, of which those that are no finite numbers are left out.
    """
    if name is None:
        yield lambda step, metrics: None
        return
    package, known_by = importlib.import_module(name), out / f"{name}.txt"
    if not known_by.exists():
        # The folder's own name may come again, with another training in it.
        with replacing(known_by) as draft:
            draft.write_text(f"{out.resolve().name}-{secrets.token_hex(4)}\n", encoding="utf-8")
    run = known_by.read_text(encoding="utf-8").strip()
    own = {"id": run.rpartition("-")[2]} if name == "wandb" else {}
    package.init(project="rlaif", name=run, config=dict(config), resume="allow", **own)

    def log(step: int, metrics: Mapping[str, Any]) -> None:
        known = {key: one for key in metrics if (one := number(metrics, key)) is not None}
        if known:
            package.log(known, step=step)

    try:
        yield log
    finally:
        package.finish()
