"""Lines and checkpoints that outlive a kill at any moment."""

from pathlib import Path

import pytest
import torch

from rlaif.training import checkpoint

ROWS = [{"step": 1, "said": "a\u2028b\x85c\nd"}, {"step": 2, "said": "é" * 3}, {"step": 3, "said": "plain"}]


def test_lines_come_back_whatever_stands_in_them(tmp_path: Path) -> None:
    for row in ROWS:
        checkpoint.append(tmp_path / "log.jsonl", row)
    assert checkpoint.read(tmp_path / "log.jsonl") == ROWS
    assert (tmp_path / "log.jsonl").read_bytes().count(b"\n") == 3
    assert checkpoint.read(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("left", range(1, 20))
def test_a_cut_line_is_left_out_and_takes_no_other_with_it(tmp_path: Path, left: int) -> None:
    path = tmp_path / "log.jsonl"
    checkpoint.append(path, ROWS[0])
    first = path.read_bytes()
    checkpoint.append(path, ROWS[1])
    # Of its 31 bytes so many are there; some of these cuts go through a letter.
    path.write_bytes(path.read_bytes()[: len(first) + left + 6])
    checkpoint.append(path, ROWS[2])
    assert checkpoint.read(path) == [ROWS[0], ROWS[2]]


def test_a_line_that_lacks_its_end_alone_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    checkpoint.append(path, ROWS[0])
    path.write_bytes(path.read_bytes()[:-1])
    checkpoint.append(path, ROWS[1])
    assert checkpoint.read(path) == ROWS[:2]


def test_later_steps_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for row in ROWS:
        checkpoint.append(path, row)
    checkpoint.forget_after(path, 2)
    assert checkpoint.read(path) == ROWS[:2]
    checkpoint.forget_after(path, -1)
    assert checkpoint.read(path) == []
    checkpoint.forget_after(tmp_path / "none.jsonl", 2)
    assert not (tmp_path / "none.jsonl").exists()


def test_the_newest_checkpoint_by_number_is_the_last(tmp_path: Path) -> None:
    assert checkpoint.last(tmp_path) is None
    for step in (9, 10):
        checkpoint.save(tmp_path, step, {"step": step, "trained": {"w": torch.ones(2)}}, keep=2)
    state = checkpoint.last(tmp_path)
    assert state is not None
    assert state["step"] == 10
    checkpoint.save(tmp_path, 11, {"step": 11}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-11"]


def test_only_trained_weights_are_saved_and_put_back(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    saved = {name: one.clone() for name, one in checkpoint.trained_weights(model).items()}
    assert saved.keys() == {"weight"}
    with torch.no_grad():
        model.weight.zero_()
    checkpoint.load_weights(model, saved)
    assert torch.equal(model.weight, saved["weight"])
    assert model.weight.requires_grad
