"""A policy with a value head and its reference: what is scored, what is trained, and what the reference stays."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_policy import tiny_policy

from rlaif.training.models import load_policy
from rlaif.training.policy_value import PolicyAndValue
from rlaif.training.rollout import Rows, pad_rows
from rlaif.training.settings import Lora

QUERIES = [[0, 3, 700, 4], [0, 3, *range(600, 617), 4], [0, 4]]
RESPONSES = [[501, 502, 1], [77], [9, 8, 7, 6, 5]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"))


def rows(queries: list[list[int]] = QUERIES, responses: list[list[int]] = RESPONSES, pad: int = 2) -> Rows:
    return pad_rows(queries, responses, pad, torch.device("cpu"))


def model_of(folder: Path, rank: int = 0, separate: bool = False) -> PolicyAndValue:
    torch.manual_seed(0)
    policy, trunk = (load_policy(folder, torch.float64) for _ in range(2))
    reference = None if rank else copy.deepcopy(policy)
    return PolicyAndValue(policy, reference, trunk if separate else None, Lora(rank=rank))


def alone(model: Any, query: list[int], response: list[int], temperature: float) -> tuple[list[float], list[float]]:
    """Log-probability and entropy of each token: one row, no padding, all logits."""
    logits = model(torch.tensor([query + response])).logits[0, len(query) - 1 : -1] / temperature
    every = torch.log_softmax(logits, -1)
    chosen = every[torch.arange(len(response)), torch.tensor(response)]
    return chosen.tolist(), torch.distributions.Categorical(logits=logits).entropy().tolist()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_padded_rows_are_scored_as_each_alone_with_all_logits(folder: Path, temperature: float) -> None:
    model = model_of(folder)
    with torch.no_grad():
        found = model(rows(), temperature, entropy=True)
        reference = model.reference_logprobs(rows(), temperature)
        for row, (query, response) in enumerate(zip(QUERIES, RESPONSES, strict=True)):
            logprobs, entropies = alone(model.policy, query, response, temperature)
            n = len(response)
            assert found.logprobs[row, :n].tolist() == pytest.approx(logprobs, abs=1e-9)
            assert found.entropies[row, :n].tolist() == pytest.approx(entropies, abs=1e-9)
            assert reference[row, :n].tolist() == pytest.approx(logprobs, abs=1e-9)
            assert found.logprobs[row, n:].abs().sum() == found.entropies[row, n:].abs().sum() == 0
    assert model(rows(), temperature).entropies.abs().sum() == 0


def test_values_begin_at_0_and_are_read_before_each_token(folder: Path) -> None:
    model = model_of(folder)
    assert model(rows(), 1.0).values.abs().sum() == 0
    with torch.no_grad():
        model.value_head.weight.normal_()
        model.value_head.bias.fill_(0.5)
        found = model(rows(), 1.0).values
        changed = model(rows(responses=[[501, 502, 99], [78], [9, 8, 7, 6, 4]]), 1.0).values
    for row, (query, response) in enumerate(zip(QUERIES, RESPONSES, strict=True)):
        hidden = model.policy.model(torch.tensor([query + response])).last_hidden_state[0, len(query) - 1 : -1]
        wanted = (hidden @ model.value_head.weight[0] + 0.5).tolist()
        assert found[row, : len(response)].tolist() == pytest.approx(wanted, abs=1e-9)
        assert found[row, len(response) :].abs().sum() == 0
    # V of a state knows nothing of the token that is drawn there.
    torch.testing.assert_close(found, changed, rtol=0, atol=0)


def test_the_padding_id_changes_nothing(folder: Path) -> None:
    model = model_of(folder)
    with torch.no_grad():
        for one, other in zip(model(rows(), 0.7), model(rows(pad=17), 0.7), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_only_tokens_that_are_counted_in_the_loss_have_a_gradient(folder: Path) -> None:
    gradients = []
    for responses in (RESPONSES, [[501, 502, 44], [77], [9, 8, 7, 6, 55]]):
        model = model_of(folder)
        found = model(rows(responses=responses), 1.0)
        counted = torch.zeros_like(found.logprobs, dtype=torch.bool)
        counted[0, :2], counted[2, :4] = True, True
        (found.logprobs + found.values).masked_fill(~counted, 0.0).sum().backward()
        gradients.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
    first, second = gradients
    assert first.keys() == second.keys()
    for name, one in first.items():
        torch.testing.assert_close(one, second[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 4])
def test_the_reference_stays_what_it_was_while_the_policy_moves(folder: Path, rank: int) -> None:
    model = model_of(folder, rank)
    before = model.reference_logprobs(rows(), 1.0)
    torch.testing.assert_close(model(rows(), 1.0).logprobs, before, rtol=0, atol=1e-12)
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(rows(), 1.0).logprobs.sum().backward()
        optimizer.step()
    assert (model(rows(), 1.0).logprobs - before).abs().max() > 1e-3
    torch.testing.assert_close(model.reference_logprobs(rows(), 1.0), before, rtol=0, atol=0)


def test_with_adapters_only_they_and_the_value_head_are_trained(folder: Path) -> None:
    model = model_of(folder, rank=4)
    names = [name for name, one in model.named_parameters() if one.requires_grad]
    assert names
    assert all("lora_" in name or name.startswith("value_head.") for name in names)
    assert {"value_head.weight", "value_head.bias"} < set(names)


def test_merged_adapters_say_what_the_adapted_policy_said(folder: Path) -> None:
    model = model_of(folder, rank=4)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if "lora_B" in name:
                one.normal_(std=0.1)
        adapted = model(rows(), 1.0).logprobs
        merged = model.merged()
        for row, (query, response) in enumerate(zip(QUERIES, RESPONSES, strict=True)):
            assert adapted[row, : len(response)].tolist() == pytest.approx(alone(merged, query, response, 1.0)[0])


def test_a_separate_trunk_takes_the_gradient_of_the_values(folder: Path) -> None:
    model = model_of(folder, separate=True)
    with torch.no_grad():
        model.value_head.weight.normal_()
    model(rows(), 1.0).values.sum().backward()
    # What reads no values has no gradient, or one of zeros (of the logits, of which nothing was wanted).
    assert all(one.grad is None or one.grad.abs().sum() == 0 for one in model.policy.parameters())
    assert sum(one.grad.abs().sum() for one in model.value_trunk.parameters() if one.grad is not None) > 0


@pytest.mark.parametrize("separate", [False, True])
def test_with_the_head_alone_the_values_move_nothing_beneath_it(folder: Path, separate: bool) -> None:
    model = model_of(folder, separate=separate)
    with torch.no_grad():
        model.value_head.weight.normal_()
    model(rows(), 1.0, value_head_alone=True).values.sum().backward()
    moved = {name for name, one in model.named_parameters() if one.grad is not None and one.grad.abs().sum() > 0}
    assert moved == {"value_head.weight", "value_head.bias"}


@pytest.mark.parametrize("rank", [0, 4])
def test_checkpointing_computes_activations_twice_and_changes_no_gradient(folder: Path, rank: int) -> None:
    gradients, calls = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        policy = load_policy(folder, torch.float64)
        reference = None if rank else copy.deepcopy(policy)
        model = PolicyAndValue(policy, reference, None, Lora(rank=rank), gradient_checkpointing=checkpointing)
        seen: list[int] = []
        policy.model.layers[0].self_attn.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        found = model(rows(), 0.7, entropy=True)
        (found.logprobs.sum() + found.values.sum() + found.entropies.sum()).backward()
        gradients.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
        calls.append(len(seen))
    assert calls == [1, 2]
    assert gradients[0].keys() == gradients[1].keys()
    for name, one in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], one, rtol=0, atol=1e-12)


def test_autocast_multiplies_in_bfloat16_and_keeps_weights_and_sums_wide(folder: Path) -> None:
    torch.manual_seed(0)
    policy = load_policy(folder, torch.float32)
    plain = PolicyAndValue(policy, copy.deepcopy(policy), None, Lora())
    model = PolicyAndValue(policy, copy.deepcopy(policy), None, Lora(), autocast=True)
    seen: list[torch.dtype] = []
    policy.model.layers[0].mlp.register_forward_hook(lambda _module, _given, out: seen.append(out.dtype))
    found, reference = model(rows(), 0.7, entropy=True), model.reference_logprobs(rows(), 0.7)
    assert seen == [torch.bfloat16]
    assert {one.dtype for one in (*found, reference)} == {torch.float32}
    found.logprobs.sum().backward()
    assert {one.dtype for one in model.parameters()} == {torch.float32}
    exact = plain(rows(), 0.7)
    assert seen[1:] == [torch.float32]
    assert 0 < (found.logprobs - exact.logprobs).abs().max() < 0.2


def test_dropout_is_off_in_training_too(folder: Path) -> None:
    policy = load_policy(folder, torch.float64)
    policy.model.layers[0].self_attn.attention_dropout = 0.5
    policy.model.layers[1].mlp.extra = torch.nn.Dropout(0.5)
    model = PolicyAndValue(policy, copy.deepcopy(policy), None, Lora(rank=4, dropout=0.5)).train()
    first, second = model(rows(), 1.0).logprobs, model(rows(), 1.0).logprobs
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert policy.model.layers[1].mlp.extra.p == 0


def test_adapters_have_no_dropout_in_the_training_mode_that_checkpointing_needs(folder: Path) -> None:
    torch.manual_seed(0)
    model = PolicyAndValue(
        load_policy(folder, torch.float32), None, None, Lora(rank=4, dropout=0.5), gradient_checkpointing=True
    )
    with torch.no_grad():
        for name, one in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(one, std=0.1)
        first, second = (model(rows(), 1.0).logprobs for _ in range(2))
    assert torch.equal(first, second)


def test_no_token_of_a_response_is_left_and_there_is_a_graph_all_the_same(folder: Path) -> None:
    model = model_of(folder)
    found = model(rows([[0, 3]], [[]]), 1.0)
    (found.logprobs.sum() + found.values.sum()).backward()
    assert found.logprobs.tolist() == found.values.tolist() == [[0.0]]
