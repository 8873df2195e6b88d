"""What is shown of a training: now and then a plain line, and on a real (pseudo-)terminal a live one."""

import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from rlaif.training.watching import Bar


def show(bar: Bar, tmp_path: Path, steps: dict[int, dict[str, Any]], *, start: int = 0, main: bool = True) -> None:
    """A training of 1,200 steps of which some are made, each with what is logged behind it, as trainers do."""
    arguments, control = TrainingArguments(output_dir=str(tmp_path), use_cpu=True), TrainerControl()
    state = TrainerState(global_step=start, max_steps=1200, is_world_process_zero=main)
    bar.on_train_begin(arguments, state, control)
    for state.global_step, logs in steps.items():
        bar.on_step_end(arguments, state, control)
        if logs:
            bar.on_log(arguments, state, control, logs=logs)
    bar.on_train_end(arguments, state, control)


def test_without_a_terminal_there_are_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps: dict[int, dict[str, Any]] = {
        1: {},
        1000: {"loss": 0.69314718, "accuracy": 0.5, "grad_norm": 3.0},
        1001: {},
        1002: {"train_runtime": 7.0},
        1100: {"loss": 0.25, "reward/accuracy": 1.0},
        1200: {},
    }
    show(Bar("reward model", line_every_s=-1), tmp_path, steps)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.rstrip() for line in err.rstrip().split("\n")] == [
        "reward model: step 1 of 1,200",
        "reward model: step 1,000 of 1,200",
        "reward model: step 1,001 of 1,200  loss 0.6931  accuracy 0.5000",
        "reward model: step 1,002 of 1,200  loss 0.6931  accuracy 0.5000",
        "reward model: step 1,100 of 1,200  loss 0.6931  accuracy 0.5000",
        "reward model: step 1,200 of 1,200  loss 0.2500  reward/accuracy 1.0000",
    ]


def test_plain_lines_are_few_and_the_last_step_has_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps: dict[int, dict[str, Any]] = {step: {"loss": 1.0} for step in range(1190, 1201)}
    show(Bar("policy (DPO)", line_every_s=3600), tmp_path, steps, start=1189)
    assert capsys.readouterr().err.rstrip() == "policy (DPO): step 1,200 of 1,200  loss 1.0000"


def test_of_several_processes_one_speaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(Bar("policy", line_every_s=-1), tmp_path, {1: {"loss": 1.0}, 1200: {}}, main=False)
    assert capsys.readouterr().err.strip() == ""


def test_on_a_terminal_there_is_one_live_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        show(Bar("policy (DPO)", line_every_s=-1), tmp_path, {600: {"loss": 0.5}, 900: {}}, start=300)
        shown = os.read(ours, 100_000).decode()
    os.close(ours)
    for part in ("policy (DPO)", "━", "900/1200", "loss 0.5000"):
        assert part in shown
    assert "step 900 of" not in shown
