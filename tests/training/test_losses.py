"""The losses against arithmetic by hand, closed forms and slow loops."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlaif.training import losses


def t(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=True)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_soft_bradley_terry_by_hand() -> None:
    score_1, score_2, label = t(0.9), t(0.5), torch.tensor([0.6], dtype=torch.float64)
    loss = losses.bradley_terry_loss(score_1, score_2, label)
    # Δ = .4: −.6·log σ(.4) − .4·log σ(−.4) = .6·.513015 + .4·.913015
    assert loss.item() == pytest.approx(0.673015, abs=1e-6)
    loss.sum().backward()
    # σ(.4) − .6 = .598688 − .6
    assert score_1.grad.item() == pytest.approx(-0.001312, abs=1e-6)
    assert score_2.grad.item() == pytest.approx(0.001312, abs=1e-6)


def test_soft_bradley_terry_is_least_at_the_logit_where_it_is_the_labels_entropy() -> None:
    label = torch.tensor([0.6], dtype=torch.float64)
    delta = t(math.log(0.6 / 0.4))
    assert delta.item() == pytest.approx(0.405465, abs=1e-6)
    loss = losses.bradley_terry_loss(delta, torch.zeros_like(delta), label)
    assert loss.item() == pytest.approx(0.673012, abs=1e-6)
    loss.sum().backward()
    assert delta.grad.item() == pytest.approx(0.0, abs=1e-12)


@given(st.floats(-30, 30), st.floats(-30, 30), st.floats(0, 1))
def test_swapping_the_responses_and_the_label_changes_no_pair_loss(one: float, other: float, p: float) -> None:
    first, second, label = t(one), t(other), torch.tensor([p], dtype=torch.float64)
    for loss in (
        losses.bradley_terry_loss,
        lambda a, b, q: losses.dpo_loss(a, b, q, 0.3),
        lambda a, b, q: losses.ipo_loss(a, b, q, 0.3),
        lambda a, b, q: losses.cpl_loss(a, b, q, 0.7),
    ):
        assert loss(first, second, label).item() == pytest.approx(loss(second, first, 1 - label).item(), abs=1e-9)


def test_a_margin_asks_for_more_than_being_ahead() -> None:
    # 1.5 − .5 − 1 = 0 → log 2;  1.5 − .5 − 3 = −2 → log(1 + e²)
    found = losses.margin_loss(t(1.5, 1.5), t(0.5, 0.5), t(1.0, 3.0))
    assert found.tolist() == pytest.approx([math.log(2), math.log(1 + math.exp(2))], abs=1e-12)


@pytest.mark.parametrize("counts", [[4, 4], [2, 4], [3, 2]])
def test_k_wise_loss_is_the_mean_over_all_pairs_of_a_query(counts: list[int]) -> None:
    scores = torch.tensor([[2.0, 1.0, -0.5, 0.3], [0.1, 0.4, 0.2, -1.0]], dtype=torch.float64, requires_grad=True)
    found = losses.k_wise_loss(scores, torch.tensor(counts))
    for row, count in enumerate(counts):
        pairs = list(itertools.combinations(range(count), 2))
        mean = sum(-math.log(sigmoid((scores[row, i] - scores[row, j]).item())) for i, j in pairs) / len(pairs)
        assert found[row].item() == pytest.approx(mean, abs=1e-12)
    found.sum().backward()
    assert scores.grad[0, counts[0] :].abs().sum() == 0
    assert torch.isfinite(scores.grad).all()


def test_what_is_behind_the_count_may_be_anything_and_of_two_responses_it_is_the_pair_loss() -> None:
    scores = torch.tensor([[1.0, 0.2, float("nan")]], dtype=torch.float64, requires_grad=True)
    found = losses.k_wise_loss(scores, torch.tensor([2]))
    found.sum().backward()
    pair = losses.bradley_terry_loss(t(1.0), t(0.2), torch.tensor([1.0], dtype=torch.float64))
    assert found.item() == pytest.approx(pair.item(), abs=1e-12)
    assert torch.isfinite(scores.grad).all()


def test_centring_is_the_squared_sum_of_a_querys_scores() -> None:
    scores = torch.tensor([[1.0, -3.0, 9.0], [2.0, 0.5, 1.0]], dtype=torch.float64)
    counted = torch.tensor([[True, True, False], [True, True, True]])
    # (1 − 3)² = 4; (2 + .5 + 1)² = 12.25
    assert losses.centring_loss(scores, counted).tolist() == [4.0, 12.25]


def test_dpo_and_its_variants_by_hand() -> None:
    # Δ = (−10 + 11) − (−12 + 11.5) = 1.5; β·Δ = .15
    ratios = t(1.0), t(-0.5)
    one = torch.ones(1, dtype=torch.float64)
    assert losses.dpo_loss(*ratios, one, 0.1).item() == pytest.approx(0.620957, abs=1e-6)
    conservative = losses.smoothed(one, 0.1)
    assert losses.dpo_loss(*ratios, conservative, 0.1).item() == pytest.approx(0.635957, abs=1e-6)
    assert losses.dpo_loss(*ratios, 0.6 * one, 0.1).item() == pytest.approx(0.680957, abs=1e-6)
    assert losses.ipo_loss(*ratios, one, 0.1).item() == pytest.approx(12.25, abs=1e-12)


def test_smoothing_a_soft_label_flips_a_share_of_it() -> None:
    # .9·.3 + .1·.7 = .34
    assert losses.smoothed(torch.tensor([0.3, 1.0, 0.0]), 0.1).tolist() == pytest.approx([0.34, 0.9, 0.1])


@given(st.floats(-20, 20), st.floats(0, 1), st.floats(0.05, 2))
def test_soft_ipo_has_the_gradient_of_its_expectation_over_the_label(delta: float, p: float, beta: float) -> None:
    ratio = t(delta)
    zero, label = torch.zeros(1, dtype=torch.float64), torch.tensor([p], dtype=torch.float64)
    losses.ipo_loss(ratio, zero, label, beta).sum().backward()
    # d/dΔ of p(Δ − 1/2β)² + (1−p)(Δ + 1/2β)²
    expected = 2 * p * (delta - 1 / (2 * beta)) + 2 * (1 - p) * (delta + 1 / (2 * beta))
    assert ratio.grad.item() == pytest.approx(expected, abs=1e-9)


def test_cpl_by_hand() -> None:
    advantages, second = (t(-0.2), t(0.3)), torch.zeros(1, dtype=torch.float64)
    assert losses.cpl_loss(*advantages, second, 1.0).item() == pytest.approx(0.474077, abs=1e-6)
    assert losses.cpl_loss(*advantages, second, 0.5).item() == pytest.approx(0.513015, abs=1e-6)


@given(st.floats(-9, 9), st.floats(-9, 9), st.floats(0, 1), st.floats(0.01, 1))
def test_cpl_of_one_step_on_log_ratios_is_dpo(one: float, other: float, p: float, beta: float) -> None:
    label = torch.tensor([p], dtype=torch.float64)
    mask = torch.tensor([[True]])
    advantages = [losses.discounted_advantage(t(x)[None], mask, beta, 0.9) for x in (one, other)]
    dpo = losses.dpo_loss(t(one), t(other), label, beta)
    assert losses.cpl_loss(*advantages, label).item() == pytest.approx(dpo.item(), abs=1e-9)


def test_the_discount_counts_from_the_first_step_that_counts() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -3.0, -9.0], [-9.0, -1.0, -2.0, -3.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False], [False, True, True, True]])
    # .1·(−1 − .5·2 − .25·3) = −.275
    found = losses.discounted_advantage(logprobs, mask, 0.1, 0.5)
    assert found.tolist() == pytest.approx([-0.275, -0.275], abs=1e-12)


def test_the_clipped_objective_by_hand() -> None:
    advantages = torch.tensor([1.0, -1.0, 2.0], dtype=torch.float64)
    logprobs = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64).log().requires_grad_()
    found = losses.clipped_policy_loss(logprobs, torch.zeros_like(advantages), advantages, 0.2)
    # Unclipped −ρA = [−.5, 1, −3], clipped [−.8, 1, −2.4]; the larger of both: [−.5, 1, −2.4]
    assert found.tolist() == pytest.approx([-0.5, 1.0, -2.4], abs=1e-12)
    found.sum().backward()
    # d(−ρA)/d log π = −ρA; nothing where the ratio gains no more.
    assert logprobs.grad.tolist() == pytest.approx([-0.5, 1.0, 0.0], abs=1e-12)


def test_a_ratio_that_went_the_wrong_way_is_pulled_back_wholly() -> None:
    advantages = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    logprobs = torch.tensor([0.1, 3.0, 0.5], dtype=torch.float64).log().requires_grad_()
    found = losses.clipped_policy_loss(logprobs, torch.zeros_like(advantages), advantages, 0.2)
    # −min(.1, .8) = −.1;  −min(−3, −1.2) = 3;  −min(−.5, −.8) = .8
    assert found.tolist() == pytest.approx([-0.1, 3.0, 0.8], abs=1e-12)
    found.sum().backward()
    assert logprobs.grad.tolist() == pytest.approx([-0.1, 3.0, 0.0], abs=1e-12)


def test_it_is_the_old_policy_from_which_a_ratio_is_taken() -> None:
    old = torch.tensor([0.5], dtype=torch.float64).log()
    new = torch.tensor([0.55], dtype=torch.float64).log()
    found = losses.clipped_policy_loss(new, old, torch.tensor([2.0], dtype=torch.float64), 0.2)
    assert found.item() == pytest.approx(-2.2, abs=1e-12)


def test_the_clipped_value_loss_by_hand() -> None:
    values, old, returns = t(1.0, 0.3, -1.0, 0.1), t(0.0, 0.0, 0.0, 0.0), t(2.0, 0.1, 2.0, 0.4)
    found = losses.clipped_value_loss(values, old, returns, 0.2)
    # max((1 − 2)², (.2 − 2)²)/2 = 1.62; max(.2², .1²)/2 = .02; max(3², 2.2²)/2 = 4.5; unclipped (.3)²/2 = .045
    assert found.tolist() == pytest.approx([1.62, 0.02, 4.5, 0.045], abs=1e-12)
    found.sum().backward()
    # V − return, and nothing where it has gone further to its return than a step allows.
    assert values.grad.tolist() == pytest.approx([0.0, 0.2, -3.0, -0.3], abs=1e-12)
    # It is from the old value that it may move: max((1.5 − 2)², (1.2 − 2)²)/2 = .32
    assert losses.clipped_value_loss(t(1.5), t(1.0), t(2.0), 0.2).item() == pytest.approx(0.32)
    wide = losses.clipped_value_loss(t(5.0), t(0.0), t(1.0), math.inf)
    assert wide.item() == pytest.approx(8.0)


@pytest.mark.parametrize("factor", [1.0, 2.0, 0.5])
def test_reinforce_moves_a_token_by_how_much_likelier_it_is_now_than_it_was_drawn(factor: float) -> None:
    old = torch.tensor([-1.0, -3.0], dtype=torch.float64)
    logprobs = (old + math.log(factor)).requires_grad_()
    advantages = torch.tensor([2.0, -0.5], dtype=torch.float64)
    losses.reinforce_loss(logprobs, old, advantages).sum().backward()
    assert logprobs.grad is not None
    # ∇ of −r·A is −r·A·∇ log π; where the policy itself drew, r = 1 and it is that of −A·log π.
    torch.testing.assert_close(logprobs.grad, -factor * advantages, rtol=1e-12, atol=0)
