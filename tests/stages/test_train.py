"""Training from a config file: into a run folder, through kills and signals, with rows that will not do."""

import itertools
import json
import math
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
from rlaif.records import Turn
from rlaif.stages.train import Method, train
from rlaif.training.models import head_from_policy, load_classifier, load_policy
from rlaif.training.scoring import RewardModel
from rlaif.training.tokens import Tokenizer

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
    assert not list((tmp_path / "out").glob("checkpoint-*"))
    # The advice can be followed in the same folder.
    settings = ["optimisation={batch: 4, micro_batch: 4, max_steps: 1}"]
    (done,) = train("dpo", config, tmp_path / "out", overrides=settings, progress=False)
    assert done.facts["steps"] == 1


def encoded(folder: Path, row: dict[str, Any]) -> tuple[list[int], list[list[int]]]:
    """Tokens of a row's query and of its responses."""
    responses = row.get("responses") or [row["response_1"], row["response_2"]]
    tokens = Tokenizer(folder).encode([Turn(**turn) for turn in row["query"]], responses, 256)
    return tokens.query, tokens.responses


def logged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_the_reference_is_the_policy_at_the_start_response_by_response(
    write: Callable[..., Path], policy: Path, tmp_path: Path
) -> None:
    config = write(optimisation={"max_steps": 2, "schedule": "constant", "warmup_share": 0.0, "max_loss": 1e9})
    (done,) = train("dpo", config, tmp_path / "out", overrides=["beta=0.5"], progress=False)
    lines = [json.loads(line) for line in (tmp_path / "out" / "reference.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [row["id"] for row in PAIRS]
    model = load_policy(policy, torch.float64).eval()
    for line, row in zip(lines, PAIRS, strict=True):
        query, responses = encoded(policy, row)
        for found, response in zip(line["logprobs"], responses, strict=True):
            with torch.no_grad():
                logprobs = torch.log_softmax(model(torch.tensor([query + response])).logits[0], -1)
            nats = [logprobs[len(query) - 1 + place, token].item() for place, token in enumerate(response)]
            assert found == pytest.approx(sum(nats), abs=1e-3)
    # At its first step the policy is its own reference, on each side: no ratio, and the loss of a coin.
    first, second = logged(tmp_path / "out")
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert (first["margin"], first["log_ratio"]) == pytest.approx((0, 0), abs=1e-3)
    assert second["margin"] > 0.01
    assert done.facts["steps"] == 2


def test_margin_and_centring_of_the_config_are_in_the_loss(
    write: Callable[..., Path], policy: Path, tmp_path: Path
) -> None:
    names = {"much": 2.0, "slightly": 0.5, "hardly": 0.0}
    rows = [dict(row, preference=n % 3 / 2, rating=[*names][n % 5 % 3]) for n, row in enumerate(PAIRS) if n % 3 != 1]
    settings = {"labels": "hard", "margin": {"values": names}, "centring": 0.25}
    config = write(rows, optimisation={"batch": len(rows), "micro_batch": len(rows), "max_steps": 1}, **settings)
    train("reward", config, tmp_path / "out", progress=False)
    torch.manual_seed(0)
    model = head_from_policy(policy, torch.float32, Tokenizer(policy).pad).eval()
    total = 0.0
    for row in rows:
        query, responses = encoded(policy, row)
        with torch.no_grad():
            one, other = (model(torch.tensor([query + response])).logits.item() for response in responses)
        ahead = one - other if row["preference"] == 1 else other - one
        total += math.log1p(math.exp(names[row["rating"]] - ahead)) + 0.25 * (one + other) ** 2
    assert {(row["preference"], row["rating"]) for row in rows} == {(p, name) for p in (0.0, 1.0) for name in names}
    assert logged(tmp_path / "out")[0]["loss"] == pytest.approx(total / len(rows), rel=1e-5)


def exchanges(row: dict[str, Any]) -> list[tuple[list[Turn], str]]:
    query = [Turn(**turn) for turn in row["query"]]
    return [(query, response) for response in row.get("responses") or (row["response_1"], row["response_2"])]


def test_held_out_figures_are_those_of_the_saved_models_scores(write: Callable[..., Path], tmp_path: Path) -> None:
    pairs = [dict(row, id=f"held-{n}") for n, row in enumerate(PAIRS[:24])]
    for n, row in enumerate(pairs):
        row["preference"] = 0.5 if n % 6 == 0 else round(n / 23, 3)
    ranked = {"id": "ranked", "query": PAIRS[30]["query"], "responses": ["Yes.", "No, never.", "Perhaps so."]}
    for name, rows in (("held", pairs), ("ranked", [ranked | {"order": [1, 2, 0]}])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    held_out = [{"path": str(tmp_path / "held.jsonl")}, {"path": str(tmp_path / "ranked.jsonl"), "label": "order"}]
    (done,) = train("reward", write(held_out=held_out), tmp_path / "out", progress=False)
    model = RewardModel(done.model)
    right, losses = list[float](), list[float]()
    best_first = ranked | {"responses": ["No, never.", "Perhaps so.", "Yes."]}
    for row in [*pairs, best_first]:
        label = row.get("preference", 1.0)
        for first, second in itertools.combinations(model.scores(exchanges(row)), 2):
            likely = 1 / (1 + math.exp((second - first) * model.score_scale))
            losses.append(-label * math.log(likely) - (1 - label) * math.log(1 - likely))
            if label != 0.5:
                right.append((likely > 0.5) == (label > 0.5))
    # Of 24 pairs 4 are ties; 3 ranked responses are 3 pairs.
    assert (len(right), len(losses)) == (23, 27)
    found = done.facts["held_out"]
    assert (found["accuracy"]["n"], found["rejected"]) == (23, 0)
    assert found["accuracy"]["value"] == pytest.approx(sum(right) / 23, abs=1e-12)
    assert found["log_loss"] == pytest.approx(sum(losses) / 27, abs=1e-5)


def test_scores_are_normalised_on_the_first_examples_and_the_manifest_says_how(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    config = write(optimisation={"max_steps": 4})
    (done,) = train("reward", config, tmp_path / "out", overrides=["normalise_on=12"], progress=False)
    model = RewardModel(done.model)
    scores = model.scores([one for row in PAIRS[:12] for one in exchanges(row)])
    assert sum(scores) / 24 == pytest.approx(0, abs=1e-5)
    assert sum(one * one for one in scores) / 24 == pytest.approx(1, abs=1e-5)
    said = json.loads((done.model / "config.json").read_text())
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for name in ("score_scale", "score_shift"):
        assert manifest[name] == done.facts[name] == said[name]
    # The last checkpoint has the head as it was trained.
    trained = load_classifier(tmp_path / "out" / "checkpoint-4", torch.float32).eval()
    raw = []
    for row in PAIRS[:12]:
        query, responses = encoded(done.model, row)
        with torch.no_grad():
            raw += [trained(torch.tensor([query + response])).logits.item() for response in responses]
    assert [one * manifest["score_scale"] + manifest["score_shift"] for one in scores] == pytest.approx(raw, abs=1e-5)


def test_scores_stay_as_they_are_on_request(write: Callable[..., Path], tmp_path: Path) -> None:
    config = write(optimisation={"max_steps": 1})
    (done,) = train("reward", config, tmp_path / "out", overrides=["normalise_on=0"], progress=False)
    assert (done.facts["score_scale"], done.facts["score_shift"]) == (1.0, 0.0)
    assert json.loads((done.model / "config.json").read_text())["score_scale"] == 1.0
    assert_same(done.model, tmp_path / "out" / "checkpoint-1")


def test_how_far_a_training_is_stands_on_standard_error_where_it_is_wanted(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(optimisation={"max_steps": 2})
    capsys.readouterr()
    train("reward", config, tmp_path / "out")
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("reward model: ")]
    assert re.fullmatch(r"reward model: step 2 of 2  loss 0\.\d{4}  accuracy [01]\.\d{4}", line.strip())
    train("reward", config, tmp_path / "other", progress=False)
    assert "reward model" not in capsys.readouterr().err
