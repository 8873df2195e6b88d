"""What an online training says on standard error: a live table on a terminal, plain lines elsewhere."""

import contextlib
import io
import json
import os
import pty
import re
import signal
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console
from tiny_policy import tiny_policy

from rlaif.rewards import FromScores
from rlaif.stages.online import PPOConfig, run_online
from rlaif.stages.telling import Telling

WIPED = r"(?:\r|\x1b\[1A|\x1b\[2K)+"
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"
FIRST = {"score": 0.16, "kl_per_sequence": 0.0, "response_tokens": 49.9, "masked_share": 0.0, "clip_fraction": 0.029}
LATER = {"score": -0.444, "kl_per_sequence": 0.435, "response_tokens": 1047.8, "masked_share": 0.25}
LATER |= {"explained_variance": None, "seconds_generate": 0.8, "seconds_score": 0.26}


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=40, color_system=None, highlight=False)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def last_frame(console: Console) -> list[str]:
    """The table as it stands at the end: what was drawn after the last time that it was wiped away."""
    text = re.split(WIPED, shown(console))[-1]
    return [line.rstrip() for line in re.sub(r"\x1b\[[?0-9]*[a-zA-Z]", "", text).split("\n")]


def test_on_a_terminal_a_table_has_the_first_step_and_the_last_the_time_the_cost_and_a_sample(tmp_path: Path) -> None:
    looks = [{"step": 0, "labeler": 0.1, "other_form": 0.2}, {"step": 40, "labeler": 0.3, "other_form": 0.4}]
    (tmp_path / "watch.jsonl").write_text("".join(json.dumps(row) + "\n" for row in looks))
    # What a model writes must not move the cursor.
    sample = {"step": 20, "response": "One\n\x1b[2Jtwo " + "long " * 40, "score": 0.84}
    (tmp_path / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    console = terminal()
    usage = {"asked": 1536.0, "input_tokens": 20_000.0, "output_tokens": 1536.0, "cost_usd": 0.01234}
    telling = Telling("PPO from somewhere", 60, usage=lambda: usage, console=console)
    with telling.table():
        telling.step(0, {})
        telling.step(1, FIRST)
        telling.step(40, LATER)
        telling.read(tmp_path)
    frame = last_frame(console)
    assert re.match(r"step 40 of 60, \d+ s left: PPO from somewhere$", frame[0])
    rows = {line[:24].strip(): line[24:].split() for line in frame[2:7]}
    assert rows == {
        "score": ["0.160", "-0.444"],
        "KL per sequence, nats": ["0.000", "0.435"],
        "response tokens": ["49.900", "1,047.8"],
        "masked, share": ["0.000", "0.250"],
        "clip fraction": ["0.029", "–"],
    }
    assert frame[7:10] == [
        "held-out: labeler 0.100 → 0.300 (step 0 → 40)",
        "time: generate 0.8 s · log-probs and values 0.3 s",
        "labeler: 1,536 requests, 20,000 tokens read, 1,536 written, $0.0123",
    ]
    assert frame[10].startswith("sample: 0.840 (step 20) One  [2Jtwo long")
    assert frame[10].endswith("…")
    # There is room for the ^C that a terminal writes behind it.
    assert len(frame[10]) <= 97


def test_warnings_stand_above_the_table_and_an_error_leaves_the_terminal_as_it_was() -> None:
    console = terminal()
    telling = Telling("PPO", 3, console=console)

    def fails() -> None:
        with telling.table():
            telling.step(1, FIRST)
            telling.warn("the score [follows] the length")
            sys.stderr.write("what a library says\n")
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fails()
    text = shown(console)
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    assert 0 < text.index("warning: the score [follows] the length") < text.rindex("step 1 of 3")
    assert "what a library says" in text
    assert "what a library says" not in "".join(last_frame(console))


def test_the_table_says_what_holds_training_up_and_that_it_is_about_to_end() -> None:
    console = terminal()
    telling = Telling("PPO", 3, console=console)
    with telling.table(lambda: True):
        telling.step(1, FIRST)
        telling.trouble("40% of the judgements failed")
    assert last_frame(console)[-3:-1] == [
        "waiting: 40% of the judgements failed",
        "ending: a checkpoint is saved after this step; Ctrl-C again ends at once",
    ]
    telling.trouble("")
    with telling.table():
        telling.step(2, LATER)
    assert last_frame(console)[-2].startswith("time: ")


def test_elsewhere_there_are_plain_lines(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), soft_wrap=True, width=40)
    telling = Telling("PPO", 3, every_s=1000.0, console=console)
    with telling.table():
        telling.step(0, {})
        telling.step(1, FIRST)
        telling.read(tmp_path)
        telling.trouble("40% failed")
        telling.trouble("50% failed")
        telling.trouble("")
        telling.step(3, LATER)
    assert shown(console).splitlines() == [
        "waiting: 40% failed",
        "going on",
        "step 3 of 3  score -0.444  KL 0.435  tokens 1.05e+03  masked 0.25  0 s left",
    ]


@pytest.mark.parametrize("console", [terminal(), Console(file=io.StringIO())])
def test_nothing_is_shown_where_nothing_is_wanted(console: Console) -> None:
    telling = Telling("PPO", 1, show=False, console=console)
    with telling.table():
        telling.step(1, FIRST)
        telling.warn("x")
    assert shown(console) == ""


def test_ctrl_c_leaves_a_real_terminal_with_the_table_and_its_cursor(tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text("".join(json.dumps({"id": f"q-{n}", "query": f"Question {n}?"}) + "\n" for n in range(4)))
    settings = {"rollout": {"batch": 4, "max_tokens": 4}, "optimisation": {"micro_batch": 4}, "ppo": {"epochs": 1}}
    model = str(tiny_policy(tmp_path / "policy", hidden=16, layers=1))
    config = PPOConfig(model=model, queries=queries, steps=100, **settings)

    def by_length(exchanges: list[tuple[object, str]]) -> list[float]:
        steps = tmp_path / "run" / "metrics.jsonl"
        if steps.exists() and len(steps.read_text().splitlines()) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return [len(response) / 100 for _, response in exchanges]

    ours, theirs = pty.openpty()
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.extend(iter(lambda: _read(ours), "")))
    reader.start()
    with open(theirs, "w") as screen, contextlib.redirect_stderr(screen), pytest.raises(KeyboardInterrupt):
        run_online(config, tmp_path / "run", FromScores(by_length))
    reader.join(30)
    os.close(ours)
    text = "".join(read).replace("\r\n", "\n")
    assert text.count(HIDE_CURSOR) == text.count(SHOW_CURSOR) == 1
    end = re.split(WIPED, text)[-1]
    for said in (
        "PPO from ",
        "step 3 of 100",
        "clip fraction",
        "generate ",
        "sample: ",
        "ending: a checkpoint",
    ):
        assert said in end
    assert end.rstrip().endswith(SHOW_CURSOR)
    assert [one.name for one in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-3"]


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 100_000).decode(errors="replace")
    except OSError:  # Linux says so when the other end is closed.
        return ""
