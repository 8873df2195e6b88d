"""Checkpoints of online training: one file with all that cannot be made again, whole or not there."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from rlaif.io import replacing
from rlaif.training.models import saving


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights that are trained, by name: with adapters only those and the value head.

    Args:
        model: the model.
    """
    return {name: one.detach().cpu() for name, one in model.named_parameters() if one.requires_grad}


def load_weights(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put trained weights back.

    Args:
        model: of the same making.
        weights: what `trained_weights` gave.
    """
    for name, one in model.named_parameters():
        if one.requires_grad:
            one.data.copy_(weights[name])


def save(out: Path, step: int, state: Mapping[str, Any], keep: int) -> None:
    """Write a checkpoint, unless the step has one already, and remove older ones.

    Args:
        out: the run folder.
        step: how many steps are done.
        state: of tensors, numbers, lists and mappings.
        keep: how many of the last are kept.

    Raises:
        StorageError: it cannot be written; earlier ones are kept.
    """
    folder = out / f"checkpoint-{step}"
    draft = out / f".checkpoint-{step}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    if not folder.is_dir():
        with saving(folder):
            draft.mkdir(parents=True)
            torch.save(dict(state), draft / "state.pt")
            draft.replace(folder)
    for older in _folders(out)[:-keep]:
        shutil.rmtree(older)


def last(out: Path) -> dict[str, Any] | None:
    """What the newest checkpoint of a run folder holds; None where there is none.

    Args:
        out: the run folder.
    """
    found = _folders(out)
    if not found:
        return None
    state: dict[str, Any] = torch.load(found[-1] / "state.pt", map_location="cpu", weights_only=True)
    return state


def _folders(out: Path) -> list[Path]:
    return sorted(out.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add a line to a JSONL file, which is on the disk when this returns.

    Args:
        path: the file; made where missing.
        row: the line's content.

    Raises:
        StorageError: it cannot be written.
    """
    with saving(path), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
        # What a kill cut must not take the next line with it.
        cut = file.read(1) not in (b"", b"\n")
        file.write(("\n" * cut + json.dumps(row, ensure_ascii=False) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSONL file; a line that a kill cut is left out.

    Args:
        path: the file; none is like an empty one.
    """
    if not path.exists():
        return []
    found = []
    # Bytes: a text may hold what `splitlines` takes for a line's end, and a kill may cut a letter in two.
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def forget_after(path: Path, step: int) -> None:
    """Leave out the lines of steps that a checkpoint does not know, and what a kill cut.

    Args:
        path: a JSONL file with `step` in each line, from 1.
        step: how many steps are done.
    """
    keep_lines(path, lambda row: bool(row["step"] <= step))


def keep_lines(path: Path, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
    """Leave out all other lines of a file, and what a kill cut.

    Args:
        path: a JSONL file; none is like an empty one.
        wanted: whether a line's content stays.
    """
    if not path.exists():
        return
    kept = [row for row in read(path) if wanted(row)]
    with replacing(path) as draft:
        draft.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), encoding="utf-8")
