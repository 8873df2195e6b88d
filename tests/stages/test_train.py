"""Training from a config file: into a run folder, through kills and signals, with rows that will not do."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_policy import tiny_policy
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rlaif.errors import ConfigError, InputError, RunFolderError, TrainingError
from rlaif.pocket.data import comparisons
from rlaif.stages.train import Method, train

METHODS: tuple[Method, ...] = ("sft", "reward", "dpo")
PAIRS = [
    {"id": row["id"], "query": row["query"], "response_1": row["response_1"], "response_2": row["response_2"]}
    | {"preference": round(0.1 + 0.8 * float(row["gold_preference"]), 2), "human_preference": row["gold_preference"]}
    for row in comparisons(40, task="harmlessness", split="train", seed=3)
]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def write(tmp_path: Path, policy: Path) -> Callable[..., Path]:
    """Writes a data file and a config that names it."""

    def written(rows: list[dict[str, Any]] = PAIRS, **settings: Any) -> Path:
        data = tmp_path / "pairs.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        optimisation = {"batch": 8, "micro_batch": 4, "learning_rate": 1e-3, "epochs": 4}
        optimisation |= settings.pop("optimisation", {})
        content = {"model": str(policy), "data": [{"path": str(data)}], "optimisation": optimisation}
        content |= {"max_tokens": 256, "checkpoints": {"every_steps": 3, "log_every_steps": 1}} | settings
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return written


def demonstrations() -> list[dict[str, Any]]:
    return [{"id": row["id"], "query": row["query"], "response": row["response_1"]} for row in PAIRS]


def rows_for(method: Method) -> list[dict[str, Any]]:
    return demonstrations() if method == "sft" else PAIRS


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def steps_logged(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("method", METHODS)
def test_a_training_that_was_told_to_end_goes_on_to_the_same_weights(
    method: Method, write: Callable[..., Path], tmp_path: Path
) -> None:
    config = write(rows_for(method))
    (whole,) = train(method, config, tmp_path / "whole", progress=False)
    out = tmp_path / "ended"

    def end_it() -> None:
        while not (out / "checkpoint-3").is_dir():
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    teller = threading.Thread(target=end_it)
    teller.start()
    with pytest.raises(SystemExit) as ended:
        train(method, config, out, progress=False)
    teller.join()
    assert ended.value.code == 143
    saved = [int(path.name.rpartition("-")[2]) for path in out.glob("checkpoint-*")]
    assert 3 <= max(saved) < 20
    assert json.loads((out / "manifest.json").read_text())["status"] == "stopped"
    (resumed,) = train(method, config, out, progress=False)
    assert_same(whole.model, resumed.model)
    assert steps_logged(out) == steps_logged(tmp_path / "whole") == list(range(1, 21))
    assert resumed.facts["status"] == "complete"
    assert list((out / "tensorboard").glob("events.*"))
    (again,) = train(method, config, out, progress=False)
    assert again.before
    loader = AutoModelForSequenceClassification if method == "reward" else AutoModelForCausalLM
    assert loader.from_pretrained(resumed.model) is not None


def test_a_training_that_was_killed_goes_on_to_the_same_weights(write: Callable[..., Path], tmp_path: Path) -> None:
    config = write(optimisation={"epochs": 8})
    (whole,) = train("reward", config, tmp_path / "whole", progress=False)
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "rlaif", "train", "reward", str(config), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while not list(out.glob("checkpoint-1?")) and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    newest = max(out.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    broken = out / "checkpoint-999"  # what a kill in the middle of a save leaves behind
    broken.mkdir()
    (broken / "trainer_state.json").write_text('{"global_st')
    (resumed,) = train("reward", config, out, progress=False)
    assert newest.name != "checkpoint-40"
    assert not broken.exists()
    assert_same(whole.model, resumed.model)
    assert (whole.facts["score_scale"], whole.facts["score_shift"]) == (
        resumed.facts["score_scale"],
        resumed.facts["score_shift"],
    )


def test_rows_that_cannot_be_learned_from_are_counted_with_their_line(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [dict(row, id=f"row-{n}") for n, row in enumerate((PAIRS * 40)[:1500], 1)]
    rows[1233]["preference"] = "most likely"
    rows[1234]["preference"] = 1.5
    rows[1235].pop("preference")
    rows[1236]["response_2"] = rows[1236]["response_1"]
    rows[1237]["preference"] = float("nan")
    rows[1238]["response_1"] = "word " * 400
    config = write(rows, optimisation={"max_steps": 1})
    (done,) = train("reward", config, tmp_path / "out", progress=False)
    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert done.facts["failures"] == {"rejected": 5, "too_long": 1}
    assert done.facts["examples"] == 1494
    found = {int(one["where"].rpartition(":")[2]): one["detail"] for one in failures}
    assert found[1234] == "preference is 'most likely'; it must be a number in [0, 1]"
    assert found[1235] == "preference is 1.5; it must be a number in [0, 1]"
    assert found[1236] == "preference is missing; it must be a number in [0, 1]"
    assert found[1237] == "two responses are identical; there is nothing to prefer"
    assert found[1238] == "preference is nan; it must be a number in [0, 1]"
    assert "with a query it must have at most 256" in found[1239]


def test_long_queries_lose_their_left_and_are_counted(write: Callable[..., Path], tmp_path: Path) -> None:
    rows = [dict(row) for row in PAIRS]
    rows[0]["query"] = "word " * 300
    (done,) = train("reward", write(rows, optimisation={"max_steps": 1}), tmp_path / "out", progress=False)
    assert (done.facts["shortened"], done.facts["examples"], done.facts["failures"]) == (1, 40, {})


@pytest.mark.parametrize("method", METHODS)
def test_an_exploding_loss_stops_with_its_step_and_rows_and_keeps_the_last_checkpoint(
    method: Method, write: Callable[..., Path], tmp_path: Path
) -> None:
    config = write(rows_for(method), optimisation={"max_steps": 6})
    train(method, config, tmp_path / "sound", progress=False)
    exploding = {"learning_rate": 3e3, "max_grad_norm": 1e6, "warmup_share": 0.5, "schedule": "constant"}
    config = write(rows_for(method), optimisation={"epochs": 12} | exploding)
    with pytest.raises(TrainingError, match=r"^step \d+: the (loss is|gradient)") as stopped:
        train(method, config, tmp_path / "out", progress=False)
    assert "the last checkpoint is kept" in str(stopped.value)
    if method != "sft" and "the loss" in str(stopped.value):
        assert "pocket-harmlessness-train-3-" in str(stopped.value)
    for checkpoint in (tmp_path / "out").glob("checkpoint-*"):
        assert all(torch.isfinite(one).all() for one in weights(checkpoint).values())
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["status"] == "stopped"


def test_another_run_of_the_folder_is_refused_and_what_may_change_is_not(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    config = write(optimisation={"max_steps": 2})
    train("dpo", config, tmp_path / "out", progress=False)
    train("dpo", config, tmp_path / "out", overrides=["optimisation.micro_batch=8"], progress=False)
    with pytest.raises(RunFolderError, match=r"beta was 0.1 there and is 0.2 now"):
        train("dpo", config, tmp_path / "out", overrides=["beta=0.2"], progress=False)
    write(PAIRS[:30], optimisation={"max_steps": 2})
    with pytest.raises(RunFolderError, match=r"inputs\.data\.0\.path was"):
        train("dpo", config, tmp_path / "out", progress=False)


def test_a_training_is_the_same_wherever_its_data_and_model_are(write: Callable[..., Path], tmp_path: Path) -> None:
    config = write(optimisation={"max_steps": 2})
    train("reward", config, tmp_path / "out", progress=False)
    moved = (tmp_path / "pairs.jsonl").rename(tmp_path / "moved.jsonl")
    with pytest.raises(InputError, match=r"pairs\.jsonl: cannot be read \(No such file"):
        train("reward", config, tmp_path / "out", progress=False)
    (again,) = train("reward", config, tmp_path / "out", overrides=[f"data.0.path={moved}"], progress=False)
    assert again.before


def test_micro_batches_change_no_step_not_even_a_smaller_last_one(write: Callable[..., Path], tmp_path: Path) -> None:
    # 13 examples are a step of 8 and one of 5: in micro-batches of 4 that is 4 and 1.
    for method in ("reward", "dpo"):
        for size in (4, 8):
            config = write(PAIRS[:13], optimisation={"epochs": 1, "micro_batch": size})
            train(method, config, tmp_path / f"{method}-{size}", progress=False)
        four, eight = (
            [json.loads(line) for line in (tmp_path / f"{method}-{size}" / "metrics.jsonl").read_text().splitlines()]
            for size in (4, 8)
        )
        for name in ("grad_norm", "loss"):
            assert [one[name] for one in four] == pytest.approx([one[name] for one in eight], rel=1e-4)
            assert len(four) == 2


def test_two_processes_end_with_the_weights_of_one_and_are_not_run_twice(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    config = write(optimisation={"epochs": 1})
    (whole,) = train("reward", config, tmp_path / "whole", progress=False)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "rlaif"]
    words = ["train", "reward", str(config), "--out", str(tmp_path / "out")]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    for said in ("/model: trained, 5 steps on 40 of", "/model: trained before, 5 steps"):
        done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count(said) == 1
    found = weights(tmp_path / "out" / "model")
    for name, one in weights(whole.model).items():
        torch.testing.assert_close(found[name], one, atol=1e-5, rtol=1e-4)


def test_a_full_disk_is_said_in_a_line(write: Callable[..., Path], tmp_path: Path) -> None:
    config = write(optimisation={"epochs": 1})
    # No file may have more than 40 kB, which is less than the weights take.
    command = f"ulimit -f 40; exec {sys.executable} -m rlaif train reward {config} --out {tmp_path / 'out'}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "out: cannot be written (" in done.stderr.splitlines()[-1]


def test_scores_that_are_not_normalised_say_so_to_whoever_loads_them(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    config = write(optimisation={"max_steps": 1})
    (first,) = train("reward", config, tmp_path / "first", progress=False)
    from_it = [f"model={first.model}", "normalise_on=0"]
    (second,) = train("reward", config, tmp_path / "second", overrides=from_it, progress=False)
    assert json.loads((first.model / "config.json").read_text())["score_scale"] != 1
    kept = json.loads((second.model / "config.json").read_text())
    assert (kept["score_scale"], kept["score_shift"], kept["score_max_tokens"]) == (1.0, 0.0, 256)


def test_frozen_layers_keep_their_weights_also_under_adapters(
    write: Callable[..., Path], policy: Path, tmp_path: Path
) -> None:
    config = write(optimisation={"max_steps": 2}, frozen_layers=1, lora={"rank": 4})
    (done,) = train("dpo", config, tmp_path / "out", progress=False)
    before, after = weights(policy), weights(done.model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(".layers.1." in name for name in changed)


def test_two_reward_models_come_from_one_config(write: Callable[..., Path], tmp_path: Path) -> None:
    config = write(optimisation={"max_steps": 2})
    settings = yaml.safe_load(config.read_text())
    source = settings["data"][0]
    settings["data"] = {"helpfulness": [source], "safety": [source | {"label": "human_preference"}]}
    settings["held_out"] = {"safety": [source | {"limit": 10}]}
    config.write_text(yaml.safe_dump(settings))
    helpfulness, safety = train("reward", config, tmp_path / "out", progress=False)
    assert (helpfulness.model, safety.model) == (
        tmp_path / "out" / "helpfulness" / "model",
        tmp_path / "out" / "safety" / "model",
    )
    assert "held_out" not in helpfulness.facts
    assert safety.facts["held_out"]["accuracy"]["n"] == 10


@pytest.mark.parametrize(
    ("method", "override", "message"),
    [
        ("reward", "margin={column: rating, values: {good: 1}}", "margin goes with labels: hard"),
        ("reward", "optimisation.batch=6", "batch 6 is not a multiple of micro_batch 4"),
        ("dpo", "data.0.label=order", "DPO learns from pairs"),
        ("dpo", "beta=0", "beta is 0"),
        ("sft", "modle=x", "modle is not a setting; did you mean model?"),
        ("sft", "optimisation.epochs", "write section.key=value"),
        ("reward", "data.7.limit=3", "data.7.limit=3: cannot be set"),
        ("reward", "held_out.0.path=x", "held_out is no list that has a number 0; give it whole"),
        ("reward", "data={helpfulness: [{path: x}]} held_out={help: [{path: x}]}", "held_out names help, which data"),
        (
            "reward",
            "labels=hard margin={column: rating, values: {good: 1}} data.0.label=order",
            "margin goes with pairs",
        ),
        ("reward", "lora={rank: 4, merge: false}", "lora.merge is false, but a reward model's scale"),
        ("dpo", "max_tokens=100000", "max_tokens is 100000, but .* takes 512 at most"),
    ],
)
def test_settings_that_cannot_be_say_so_before_anything_is_loaded(
    method: Method, override: str, message: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        train(method, write(), tmp_path / "out", overrides=re.split(r" (?=\w+[.\w]*=)", override), progress=False)
    assert not (tmp_path / "out").exists()


def test_data_without_one_usable_row_is_an_error(write: Callable[..., Path], tmp_path: Path) -> None:
    config = write([dict(row, preference=2) for row in PAIRS])
    with pytest.raises(InputError, match=r"none of its rows can be learned from: .*pairs.jsonl:40: preference is 2;"):
        train("reward", config, tmp_path / "out", progress=False)


def test_what_cannot_fit_is_refused_with_what_would_make_it_fit(write: Callable[..., Path], tmp_path: Path) -> None:
    config = write(optimisation={"batch": 1 << 22, "micro_batch": 1 << 22})
    with pytest.raises(ConfigError, match=r"training takes at least .* available .*optimisation\.micro_batch=\d+"):
        train("dpo", config, tmp_path / "out", progress=False)
    # The advice can be followed in the same folder.
    (done,) = train(
        "dpo",
        config,
        tmp_path / "out",
        overrides=["optimisation={batch: 4, micro_batch: 4, max_steps: 1}"],
        progress=False,
    )
    assert done.facts["steps"] == 1
