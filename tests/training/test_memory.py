"""The memory plan: counted by hand, against what a real training takes, and what it advises.

Run as a program, this file trains a model for three steps and prints the bytes that this took (see `measured`).
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    MixtralConfig,
    PreTrainedModel,
)

from rlaif.errors import ConfigError, ModelError
from rlaif.training import memory
from rlaif.training.footprint import Workload, footprint
from rlaif.training.memory import MemoryPlan, Remedy, available_bytes, find_remedies, plan, workload
from rlaif.training.models import freeze_lower_layers
from rlaif.training.settings import Lora, Optimisation

D, FF, LAYERS, HEADS, KV, WORDS = 64, 96, 3, 4, 2, 101
"""Hidden size, intermediate size, layers, heads, key-value heads, vocabulary: no two products are alike."""
HEAD_SIZE = D // HEADS
LAYER = D * D + 2 * D * KV * HEAD_SIZE + D * D + 3 * D * FF + 2 * D  # q, k and v, o, gate-up-down, two norms
PARAMETERS = 2 * WORDS * D + LAYERS * LAYER + D  # embeddings and head, layers, the last norm


def llama(**changes: Any) -> LlamaConfig:
    shape = {
        "vocab_size": WORDS,
        "hidden_size": D,
        "intermediate_size": FF,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    return LlamaConfig(**shape | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    llama().save_pretrained(tmp_path)
    return tmp_path


def work_of(folder: Path, **changes: Any) -> Workload:
    return Workload(folder, **{"head": "vocabulary", "tokens": 32, "micro_batch": 4} | changes)


# What is counted


def test_parameters_are_those_of_the_config_by_hand(folder: Path) -> None:
    found = footprint(work_of(folder), "cpu")
    assert (found.parameters, found.trained) == (PARAMETERS, PARAMETERS)
    assert found.most["weights"] == 4 * PARAMETERS + 4 * HEAD_SIZE  # two buffers of the rotation, head size / 2 each
    assert found.most["optimizer"] == 8 * PARAMETERS


def test_a_scalar_head_replaces_that_of_the_vocabulary(folder: Path) -> None:
    assert footprint(work_of(folder, head="scalar"), "cpu").parameters == PARAMETERS - WORDS * D + D


def test_tied_embeddings_are_counted_once(tmp_path: Path) -> None:
    llama(tie_word_embeddings=True).save_pretrained(tmp_path)
    found = footprint(work_of(tmp_path), "cpu")
    assert found.parameters == PARAMETERS - WORDS * D
    assert found.most["weights"] == 4 * (PARAMETERS - WORDS * D + HEAD_SIZE)


def test_bfloat16_weights_and_their_states_take_half(folder: Path) -> None:
    found = footprint(work_of(folder, weights="bfloat16"), "cpu")
    assert found.most["weights"] == 2 * PARAMETERS + 4 * HEAD_SIZE  # the rotation stays float32
    assert found.most["optimizer"] == 4 * PARAMETERS


def test_adapters_add_rank_times_both_sides_of_every_linear_layer(folder: Path) -> None:
    rank, kv = 5, KV * HEAD_SIZE
    sides = (D + D) + 2 * (D + kv) + (D + D) + 3 * (D + FF)  # q, k and v, o, gate-up-down
    found = footprint(work_of(folder, lora_rank=rank), "cpu")
    assert found.trained == rank * sides * LAYERS
    assert found.parameters == PARAMETERS + found.trained
    assert found.most["optimizer"] == 8 * found.trained


@pytest.mark.parametrize("head", ["scalar", "vocabulary"])
def test_adapters_are_counted_like_peft_counts_them_on_a_real_model(folder: Path, head: str) -> None:
    from peft import get_peft_model

    kind, task = (
        (AutoModelForSequenceClassification, "SEQ_CLS") if head == "scalar" else (AutoModelForCausalLM, "CAUSAL_LM")
    )
    model = get_peft_model(kind.from_config(llama(num_labels=1)), Lora(rank=3).peft_config(task))
    found = footprint(work_of(folder, head=head, lora_rank=3), "cpu")
    assert (found.trained, found.parameters) == model.get_nb_trainable_parameters()


def test_frozen_layers_are_not_trained_and_keep_no_activations(folder: Path) -> None:
    whole, part = (footprint(work_of(folder, frozen_layers=frozen), "cpu") for frozen in (0, 2))
    assert whole.trained - part.trained == WORDS * D + 2 * LAYER
    assert part.most["activations"] < whole.most["activations"] / 2


def test_kept_activations_are_those_of_the_formula(tmp_path: Path) -> None:
    # Per token and layer, as in arXiv:2205.05198, section 4, for a gated MLP without dropout, in float32 elements:
    #   two norms: what comes in, it normalised, it scaled (3d each), and 1/rms (1 each)
    #   attention: q (d), k and v for each head of q (2d), what comes out (d), logsumexp (one for each head)
    #   MLP: gate, silu of it, up, their product (4·ff)
    # and for each row and layer the mask as numbers. What is no layer's falls out of the differences.
    per_token = 2 * (3 * D + 1) + 4 * D + HEADS + 4 * FF
    found = {}
    for layers in (3, 4):
        llama(num_hidden_layers=layers).save_pretrained(tmp_path)
        for rows in (8, 16):
            found[layers, rows] = footprint(work_of(tmp_path, head="scalar", micro_batch=rows), "cpu").most
    activations = {key: most["activations"] for key, most in found.items()}
    by_rows = {layers: activations[layers, 16] - activations[layers, 8] for layers in (3, 4)}
    assert by_rows[4] - by_rows[3] == 8 * 4 * (32 * per_token + 32 * 32)


def test_logits_are_counted_apart(folder: Path) -> None:
    # The backward pass of the cross-entropy holds the logits' log-softmax, and its gradient before and after.
    logits = 4 * 32 * WORDS * 4
    found = footprint(work_of(folder), "cpu").most["logits"]
    assert found % logits == 0
    assert 2 <= found / logits <= 3
    assert footprint(work_of(folder, head="scalar"), "cpu").most["logits"] == 0


def test_the_fused_head_holds_no_more_than_tiles(tmp_path: Path) -> None:
    llama(vocab_size=20_000).save_pretrained(tmp_path)
    few, many = (
        footprint(work_of(tmp_path, head="fused", tokens=512, micro_batch=rows), "cpu").most["logits"]
        for rows in (16, 32)
    )
    assert few == many == 8 * 4096 * 20_000 * 4


def test_more_rows_and_more_tokens_take_more(folder: Path) -> None:
    sizes = [
        sum(footprint(work_of(folder, **changes), "cpu").most.values())
        for changes in (
            {"micro_batch": 2},
            {"micro_batch": 4},
            {"micro_batch": 4, "rows_per_example": 2},
            {"micro_batch": 8, "tokens": 48},
            {"micro_batch": 8, "tokens": 64},
        )
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("lora_rank", [0, 4])
@pytest.mark.parametrize("head", ["scalar", "fused", "vocabulary"])
def test_checkpointing_and_autocast_take_less(folder: Path, head: str, lora_rank: int) -> None:
    work = work_of(folder, head=head, lora_rank=lora_rank, micro_batch=16)
    usual = footprint(work, "cpu").most["activations"]
    assert footprint(work._replace(gradient_checkpointing=True), "cpu").most["activations"] < usual / 2
    assert footprint(work._replace(autocast=True), "cpu").most["activations"] < usual


def test_gradients_wait_through_the_forward_pass_where_they_accumulate(folder: Path) -> None:
    work = work_of(folder, micro_batch=64)
    assert footprint(work, "cpu").most["gradients"] < 4 * PARAMETERS
    assert footprint(work._replace(accumulates=True), "cpu").most["gradients"] == 4 * PARAMETERS


def test_a_reference_is_a_second_copy(folder: Path) -> None:
    found = footprint(work_of(folder, reference=True), "cpu").most
    assert found["reference"] == 4 * PARAMETERS


def test_with_few_tokens_gradients_and_states_are_nearly_all(folder: Path) -> None:
    found = footprint(work_of(folder, tokens=2, micro_batch=1), "cpu").most
    assert found["gradients"] > 0.9 * 4 * PARAMETERS
    assert found["activations"] < 0.1 * 4 * PARAMETERS


def test_only_blocks_that_may_leave_holes_are_small(tmp_path: Path) -> None:
    # 150,000 words of 64 float32 numbers are a block of 38 MB; all others are below 33.5 MB.
    llama(vocab_size=150_000).save_pretrained(tmp_path)
    rest = 4 * (PARAMETERS - 2 * WORDS * D + D)  # in bytes: all but the embeddings, and a scalar head
    work = work_of(tmp_path, head="scalar", tokens=2, micro_batch=1)
    found = footprint(work, "cpu")
    assert found.most["weights"] > 4 * 150_000 * D
    # Weights, gradients and two states of each, and the activations of two tokens.
    assert 4 * rest < found.small_bytes < 4.1 * rest
    assert footprint(work._replace(reference=True), "cpu").small_bytes - found.small_bytes == rest
    assert plan(work, "cpu").parts["workspace"] == round(0.3 * found.small_bytes)


def test_counting_draws_no_random_number(folder: Path) -> None:
    before = torch.get_rng_state()
    footprint(work_of(folder, lora_rank=2), "cpu")
    assert torch.equal(before, torch.get_rng_state())


def test_of_experts_only_the_least_is_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shape = {"vocab_size": WORDS, "hidden_size": D, "intermediate_size": FF, "num_hidden_layers": 2}
    MixtralConfig(**shape, num_attention_heads=4, num_key_value_heads=2, num_local_experts=4).save_pretrained(tmp_path)
    found = plan(work_of(tmp_path), "cpu")
    assert not found.counted
    assert found.parts["activations"] == 0
    assert found.parts["optimizer"] == 8 * found.parameters
    assert ("activations", "–") in found.rows()
    assert found.rows()[-2][1].startswith("at least ")
    assert not caplog.records


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be built"):
        footprint(work_of(tmp_path), "cpu")


def test_more_frozen_layers_than_there_are_is_an_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match="frozen_layers is 3; the model has 3"):
        footprint(work_of(folder, frozen_layers=3), "cpu")


# What is available


def test_the_container_or_the_machine_decides_whichever_has_less(tmp_path: Path) -> None:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (cgroup / "memory").mkdir(parents=True)
    proc.mkdir()
    (proc / "meminfo").write_text("MemTotal:       9000 kB\nMemAvailable:   5000 kB\n")
    assert available_bytes("cpu", proc, cgroup) == 5000 * 1024
    (cgroup / "memory.max").write_text("max\n")
    (cgroup / "memory.current").write_text("700\n")
    assert available_bytes("cpu", proc, cgroup) == 5000 * 1024
    (cgroup / "memory.max").write_text("1000\n")
    assert available_bytes("cpu", proc, cgroup) == 300
    (cgroup / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    assert available_bytes("cpu", proc, cgroup) == 300 + 200
    (cgroup / "memory/memory.limit_in_bytes").write_text("900\n")
    (cgroup / "memory/memory.usage_in_bytes").write_text("800\n")
    (cgroup / "memory/memory.stat").write_text("total_inactive_file 50\n")
    assert available_bytes("cpu", proc, cgroup) == 100 + 50


def test_elsewhere_it_is_all_the_memory_of_the_machine(tmp_path: Path) -> None:
    assert available_bytes("cpu", tmp_path, tmp_path) > 2**28


# What would make it fit


def test_every_remedy_alone_is_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_of(folder, tokens=256, micro_batch=16)
    usual = plan(work, "cpu")
    available = round(usual.total_bytes * 0.8)
    monkeypatch.setattr(memory, "available_bytes", lambda device: available)
    found = plan(work, "cpu")
    assert not found.fits
    assert not found.together
    changes = {
        "optimisation.micro_batch": lambda value: {"micro_batch": int(value), "accumulates": True},
        "optimisation.gradient_checkpointing": lambda _: {"gradient_checkpointing": True},
        "optimisation.autocast": lambda _: {"autocast": True},
        "optimisation.weights": lambda value: {"weights": value},
        "max_tokens": lambda value: {"tokens": int(value)},
    }
    assert {remedy.setting for remedy in found.remedies} == set(changes)
    for setting, value, saves_bytes in found.remedies:
        better = plan(work._replace(**changes[setting](value)), "cpu")
        assert better.fits
        assert usual.total_bytes - better.total_bytes == saves_bytes


def needs(work: Workload) -> int:
    """A made-up need: 10 for each row, half that with checkpointing, and 100 for weights or 20 with adapters."""
    rows = 10 * work.micro_batch * work.tokens // 512
    return (rows // 2 if work.gradient_checkpointing else rows) + (20 if work.lora_rank else 100)


MADE_UP = Workload(Path("nowhere"), "fused", 512, 16, accumulates=True)


def test_the_mildest_sufficient_value_is_named() -> None:
    # 16 rows need 260. With 8 rows it is 180, with 4 it is 140; with checkpointing 180; with adapters 180.
    found, together = find_remedies(MADE_UP, needs, 180)
    assert found == (
        Remedy("optimisation.micro_batch", "8", 80),
        Remedy("optimisation.gradient_checkpointing", "true", 80),
        Remedy("lora.rank", "16", 80),
        Remedy("max_tokens", "256", 80),
    )
    assert not together
    assert find_remedies(MADE_UP, needs, 179)[0] == (
        Remedy("optimisation.micro_batch", "4", 120),
        Remedy("max_tokens", "128", 120),
    )


def test_remedies_that_go_together_are_enough_in_their_order() -> None:
    # One row needs 110, with checkpointing 105, with adapters 25: all three are wanted for 25, one more than for 104.
    assert find_remedies(MADE_UP, needs, 104) == (
        (
            Remedy("optimisation.micro_batch", "1", 150),
            Remedy("optimisation.gradient_checkpointing", "true", 5),
            Remedy("lora.rank", "16", 80),
        ),
        True,
    )


def test_no_remedy_is_named_where_nothing_helps() -> None:
    assert find_remedies(MADE_UP, needs, 19) == ((), False)


def test_what_is_set_already_is_no_remedy() -> None:
    work = MADE_UP._replace(gradient_checkpointing=True, lora_rank=4, micro_batch=1)
    assert find_remedies(work, needs, 24) == ((Remedy("max_tokens", "256", 3),), False)


def test_max_tokens_holds_for_each_response_of_a_row() -> None:
    found, _ = find_remedies(MADE_UP._replace(responses_per_row=2), needs, 180)
    assert found[-1] == Remedy("max_tokens", "128", 80)


# What people see


def a_plan(available: int, **changes: Any) -> MemoryPlan:
    parts = dict.fromkeys(memory.PARTS, 0) | {"weights": 3_000_000_000, "activations": 80_000_000, "workspace": 10**9}
    return MemoryPlan(parts, available, 750_000_000, 750_000_000, **{"counted": True} | changes)


def test_rows_name_what_is_there_its_sum_and_what_is_available() -> None:
    assert a_plan(5 * 10**9).rows() == [
        ("weights", "3.0 GB"),
        ("activations", "80 MB"),
        ("workspace", "1.0 GB"),
        ("in all", "4.1 GB"),
        ("available", "5.0 GB"),
    ]


def test_a_plan_that_fits_passes_without_advice() -> None:
    found = a_plan(4_080_000_000)
    assert found.fits
    assert found.advice() == ""
    found.check()


def test_what_the_allocator_may_lose_is_no_reason_to_refuse() -> None:
    found = a_plan(3_080_000_000)
    assert not found.fits
    found.check()


def test_what_cannot_fit_is_an_error_that_says_what_would_help() -> None:
    remedies = (Remedy("optimisation.micro_batch", "4", 60_000_000), Remedy("lora.rank", "16", 2_000_000_000))
    with pytest.raises(ConfigError) as error:
        a_plan(3_079_999_999, remedies=remedies).check()
    assert str(error.value) == (
        "training takes at least 3.1 GB of memory, and 3.1 GB are available (weights 3.0 GB, activations 80 MB, "
        "workspace 1.0 GB); any one of these makes it fit: optimisation.micro_batch=4 (saves 60 MB), lora.rank=16 "
        "(saves 2.0 GB)"
    )
    with pytest.raises(ConfigError, match=r"all of these together make it fit: optimisation\.micro_batch=4"):
        a_plan(2 * 10**9, remedies=remedies, together=True).check()
    with pytest.raises(ConfigError, match="no setting makes it fit; take a smaller model or a larger machine"):
        a_plan(2 * 10**9).check()


def test_settings_become_a_workload(folder: Path) -> None:
    section = Optimisation(batch=32, micro_batch=8, gradient_checkpointing=True)
    on_cpu = workload(folder, "fused", 100, section, device="cpu", processes=2, responses_per_row=2, lora_rank=4)
    assert on_cpu == Workload(folder, "fused", 100, 8, 1, 2, accumulates=True, gradient_checkpointing=True, lora_rank=4)
    assert not workload(folder, "fused", 100, section, device="cpu", processes=4).accumulates
    assert workload(folder, "fused", 100, section, device="cuda").autocast
    assert not workload(folder, "fused", 100, section.model_copy(update={"autocast": False}), device="cuda").autocast


# Against what a real training takes


def measured(config: LlamaConfig, work: Workload) -> int:
    """The most that the resident set grows by in three steps of training in a process of its own, in bytes."""
    asked = {**work._asdict(), "folder": str(work.folder), "config": config.to_dict()}
    command = [sys.executable, "-W", "ignore", __file__, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return int(done.stdout.splitlines()[-1])


def planned_and_measured(folder: Path, shape: Mapping[str, int], changes: Mapping[str, Any]) -> tuple[int, int]:
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 4 * shape["hidden_size"]}
    config = llama(**heads, **shape)
    config.save_pretrained(folder)
    work = work_of(folder, **changes)
    return plan(work, "cpu").total_bytes, measured(config, work)


SMALL = {"hidden_size": 256, "num_hidden_layers": 4, "vocab_size": 2000}
WIDE = {"hidden_size": 512, "num_hidden_layers": 4, "vocab_size": 2000}
DEEP = {"hidden_size": 512, "num_hidden_layers": 8, "vocab_size": 2000}
WORDY = {"hidden_size": 512, "num_hidden_layers": 4, "vocab_size": 32_000}


def test_a_plan_is_near_what_training_takes(tmp_path: Path) -> None:
    # A wide band, since one process among many is noisy; the grid below has the narrow one.
    planned, took = planned_and_measured(tmp_path, SMALL, {"micro_batch": 8, "tokens": 256})
    assert 0.6 < planned / took < 1.6


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        (SMALL, {"micro_batch": 8, "tokens": 256}),
        (SMALL, {"micro_batch": 16, "tokens": 128, "head": "scalar"}),
        (SMALL, {"micro_batch": 8, "tokens": 256, "head": "fused"}),
        (SMALL, {"micro_batch": 8, "tokens": 256, "gradient_checkpointing": True}),
        (SMALL, {"micro_batch": 8, "tokens": 256, "autocast": True}),
        (SMALL, {"micro_batch": 8, "tokens": 256, "lora_rank": 16}),
        (SMALL, {"micro_batch": 8, "tokens": 256, "weights": "bfloat16"}),
        (WIDE, {"micro_batch": 8, "tokens": 512}),
        (WIDE, {"micro_batch": 4, "tokens": 128, "frozen_layers": 2}),
        (WORDY, {"micro_batch": 4, "tokens": 128}),
        (WORDY, {"micro_batch": 16, "tokens": 256}),
        (WORDY, {"micro_batch": 8, "tokens": 256, "head": "fused"}),
        (WORDY, {"micro_batch": 8, "tokens": 128, "head": "fused", "lora_rank": 16, "gradient_checkpointing": True}),
        (SMALL, {"micro_batch": 8, "tokens": 256, "lora_rank": 8, "gradient_checkpointing": True}),
        (DEEP, {"micro_batch": 8, "tokens": 256, "lora_rank": 16, "gradient_checkpointing": True}),
        (DEEP, {"micro_batch": 8, "tokens": 256, "lora_rank": 16}),
        (WIDE, {"micro_batch": 8, "tokens": 256, "head": "scalar", "lora_rank": 8, "gradient_checkpointing": True}),
        (WIDE, {"micro_batch": 8, "tokens": 256, "head": "fused", "gradient_checkpointing": True, "autocast": True}),
        (DEEP, {"micro_batch": 16, "tokens": 128}),
        (DEEP, {"micro_batch": 8, "tokens": 512, "gradient_checkpointing": True}),
        (DEEP, {"micro_batch": 8, "tokens": 512, "autocast": True}),
        (DEEP, {"micro_batch": 4, "tokens": 128, "accumulates": True}),
    ],
)
def test_plans_are_near_what_training_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: dict[str, int], changes: dict[str, Any]
) -> None:
    planned, took = planned_and_measured(tmp_path, shape, changes)
    with capsys.disabled():
        sys.stdout.write(f" {planned / 1e6:.0f} MB planned, {took / 1e6:.0f} MB taken: {planned / took:.2f} ")
    assert 0.75 < planned / took < 1.35


def train(config: LlamaConfig, work: Workload, steps: int) -> None:
    model = real_model(config, work)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], fused=True)
    ids = torch.randint(config.vocab_size, (work.micro_batch, work.tokens))
    mask = torch.ones_like(ids)
    mask[0, 0] = 0  # without padding there would be no mask of all pairs of tokens
    for _ in range(steps):
        for _ in range(2 if work.accumulates else 1):
            with torch.autocast("cpu", torch.bfloat16, enabled=work.autocast):
                loss = real_loss(model, work, ids, mask)
            loss.backward()
            del loss
        optimizer.step()
        optimizer.zero_grad()


def real_model(config: LlamaConfig, work: Workload) -> PreTrainedModel:
    config.num_labels, config.pad_token_id = 1, 0
    kind = AutoModelForSequenceClassification if work.head == "scalar" else AutoModelForCausalLM
    model = kind.from_config(config, dtype=getattr(torch, work.weights)).train()
    freeze_lower_layers(model, work.frozen_layers)
    if work.gradient_checkpointing:
        model.activation_checkpointing_enable()
    if work.head == "fused":
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model)
    adapters = Lora(rank=work.lora_rank).peft_config("SEQ_CLS" if work.head == "scalar" else "CAUSAL_LM")
    if adapters is not None:
        from peft import get_peft_model

        get_peft_model(model, adapters)
    return model


def real_loss(model: PreTrainedModel, work: Workload, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    if work.head == "fused":
        found = model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False, fused_lm_head=True)
        return -found.log_probs.float().mean()
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
    if work.head == "scalar":
        return logits.sum()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())


def main(asked: str) -> None:
    fields = json.loads(asked)
    config, work = LlamaConfig(**fields.pop("config")), Workload(**fields)
    # What the libraries load with their first step is no part of training.
    train(llama(num_hidden_layers=2), work._replace(micro_batch=2, tokens=32, frozen_layers=0), steps=2)
    # Not getrusage: a process inherits the peak of the one that started it, such as a test run of two gigabytes.
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, at what is resident now
    before = resident_peak()
    train(config, work, steps=3)
    sys.stdout.write(str(resident_peak() - before))


def resident_peak() -> int:
    """The most bytes that were resident, as Linux counts them for this program."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(sys.argv[1])
