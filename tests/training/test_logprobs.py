"""Log-probabilities of response tokens, with few logits at a time and none of other positions."""

from pathlib import Path

import pytest
import torch
from tiny_policy import tiny_policy

from rlaif.training import logprobs
from rlaif.training.batches import IGNORED
from rlaif.training.logprobs import add_response_head, has_plain_logits, token_logprobs
from rlaif.training.models import load_policy


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"))


def test_only_labeled_positions_have_one_and_other_calls_are_as_before(policy: Path) -> None:
    model = load_policy(policy, torch.float32)
    ids = torch.tensor([[0, 3, 700, 4, 501, 1], [0, 3, 4, 502, 1, 2]])
    labels = torch.tensor([[IGNORED] * 4 + [501, 1], [IGNORED] * 3 + [502, 1, IGNORED]])
    before = model(ids).logits
    whole = torch.log_softmax(before, -1)[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
    add_response_head(model)
    found = model(input_ids=ids, response_labels=labels)
    torch.testing.assert_close(found, whole.masked_fill(labels[:, 1:] == IGNORED, 0.0))
    torch.testing.assert_close(model(ids).logits, before)


def test_rows_without_a_label_give_zeros_that_can_be_differentiated(policy: Path) -> None:
    model = load_policy(policy, torch.float32)
    add_response_head(model)
    found = model(input_ids=torch.tensor([[0, 3, 4]]), response_labels=torch.full((1, 3), IGNORED))
    found.sum().backward()
    assert found.tolist() == [[0.0, 0.0]]


def test_tiles_change_neither_values_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50, bias=False, dtype=torch.float64)
    labels = torch.randint(50, (23,))
    found = []
    for most in (1 << 20, 50 * 7):
        monkeypatch.setattr(logprobs, "_MOST_LOGITS", most)
        hidden = torch.linspace(-1, 1, 23 * 8, dtype=torch.float64).view(23, 8).requires_grad_()
        head.zero_grad()
        values = token_logprobs(hidden, labels, head)
        (values * torch.arange(23)).sum().backward()
        found.append((values.detach(), hidden.grad, head.weight.grad.clone()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_a_model_that_scales_its_logits_is_left_alone(policy: Path) -> None:
    model = load_policy(policy, torch.float32)
    assert has_plain_logits(model)
    model.config.final_logit_softcapping = 30.0
    assert not has_plain_logits(model)
