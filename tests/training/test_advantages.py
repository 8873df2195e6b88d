"""From scores to advantages: the numbers of the papers by hand, and random masks against a slow loop."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlaif.training.advantages import (
    explained_variance,
    gae,
    kl_estimate,
    last_tokens,
    masked_mean,
    token_rewards,
    whiten,
)


def t(*numbers: float) -> torch.Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


def counted(*lengths: int, of: int) -> torch.Tensor:
    """Masks of responses that are padded on their right."""
    return torch.arange(of) < torch.tensor(lengths)[:, None]


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three tables of numbers of one shape, and a mask: of responses of any length, none too, or with gaps."""
    rows, tokens = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    first, second, third = torch.randn(3, rows, tokens, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):
        mask = counted(*torch.randint(tokens + 1, (rows,), generator=generator).tolist(), of=tokens)
    else:
        mask = torch.rand(rows, tokens, generator=generator) < 0.7
    return first, second, third, mask


def slow_advantages(
    rewards: list[float], values: list[float], mask: list[bool], gamma: float, lam: float
) -> list[float]:
    """The sum of the definition, δ by δ, over the stretch of counted tokens that each token begins."""
    found = []
    for start in range(len(mask)):
        total, place = 0.0, start
        while place < len(mask) and mask[place]:
            ahead = values[place + 1] if place + 1 < len(mask) and mask[place + 1] else 0.0
            total += (gamma * lam) ** (place - start) * (rewards[place] + gamma * ahead - values[place])
            place += 1
        found.append(total)
    return found


def test_generalised_advantages_and_returns_by_hand() -> None:
    mask = counted(3, of=3)
    # A₂ = 1 − .7 = .3; A₁ = .7 − .6 + .95·.3 = .385; A₀ = .6 − .5 + .95·.385 = .46575
    advantages, returns = gae(t(0, 0, 1), t(0.5, 0.6, 0.7), mask, gamma=1.0, lam=0.95)
    assert advantages[0].tolist() == pytest.approx([0.46575, 0.385, 0.3], abs=1e-12)
    assert returns[0].tolist() == pytest.approx([0.96575, 0.985, 1.0], abs=1e-12)


def test_with_lambda_0_an_advantage_looks_one_step_ahead() -> None:
    # 2 − 1, 3 − 2, 5 − 3
    advantages, _ = gae(t(0, 0, 5), t(1, 2, 3), counted(3, of=3), gamma=1.0, lam=0.0)
    assert advantages[0].tolist() == [1.0, 1.0, 2.0]


def test_the_discount_is_on_what_is_ahead_alone() -> None:
    # A₁ = 4 − 2 = 2; A₀ = 1 + .5·2 − 3 + .5·.5·2 = −.5
    advantages, returns = gae(t(1, 4), t(3, 2), counted(2, of=2), gamma=0.5, lam=0.5)
    assert advantages[0].tolist() == [-0.5, 2.0]
    assert returns[0].tolist() == [2.5, 4.0]


@given(batches(), st.floats(0.1, 1), st.floats(0, 1))
def test_advantages_are_those_of_a_slow_loop_under_any_mask(
    batch: tuple[torch.Tensor, ...], gamma: float, lam: float
) -> None:
    rewards, values, _, mask = batch
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    for row in range(len(mask)):
        wanted = slow_advantages(rewards[row].tolist(), values[row].tolist(), mask[row].tolist(), gamma, lam)
        assert advantages[row].tolist() == pytest.approx(wanted, abs=1e-9)
        both = [a + v if m else 0.0 for a, v, m in zip(wanted, values[row].tolist(), mask[row].tolist(), strict=True)]
        assert returns[row].tolist() == pytest.approx(both, abs=1e-9)


@given(batches())
def test_without_discount_and_lambda_the_return_is_the_sum_of_what_is_to_come(batch: tuple[torch.Tensor, ...]) -> None:
    rewards, values, _, mask = batch
    whole = counted(*mask.sum(1).tolist(), of=mask.shape[1])
    _, returns = gae(rewards, values, whole, 1.0, 1.0)
    kept = rewards.masked_fill(~whole, 0.0)
    torch.testing.assert_close(returns, kept.flip(1).cumsum(1).flip(1).masked_fill(~whole, 0.0), atol=1e-9, rtol=0)


def test_what_does_not_count_may_be_anything_and_comes_out_as_0() -> None:
    nan = math.nan
    mask = counted(2, 0, of=3)
    rewards = torch.tensor([[0.0, 1.0, nan], [nan, nan, nan]])
    values = torch.tensor([[0.5, 0.25, nan], [nan, nan, nan]], requires_grad=True)
    advantages, returns = gae(rewards, values, mask, 1.0, 1.0)
    # A₁ = 1 − .25; A₀ = .25 − .5 + .75
    assert advantages.tolist() == [[0.5, 0.75, 0.0], [0.0, 0.0, 0.0]]
    assert returns.tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert not advantages.requires_grad
    found = token_rewards(torch.tensor([2.0, 5.0]), torch.tensor([[1.0, 3.0, nan], [nan, nan, nan]]), mask, 0.5)
    assert found.tolist() == [[-0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    assert whiten(torch.tensor([[1.0, 3.0, nan], [nan, nan, nan]]), mask).tolist() == [[-1.0, 1.0, 0.0], [0.0] * 3]


def test_kl_estimates_by_hand() -> None:
    logprobs, reference = t(-1, -1, -1), t(0, -15, -30)
    assert kl_estimate(logprobs, reference, "k1")[0].tolist() == [-1.0, 14.0, 29.0]
    assert kl_estimate(logprobs, reference, "k2")[0].tolist() == [0.5, 98.0, 420.5]
    # e − 1 − 1 = .7183; e⁻¹⁴ − 1 + 14; e⁻²⁹ − 1 + 29
    assert kl_estimate(logprobs, reference, "k3")[0].tolist() == pytest.approx([math.e - 2, 13, 28], abs=1e-5)


def test_what_the_estimates_are_on_average_at_the_optimum_of_the_three_arms() -> None:
    start = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    best = start * torch.exp(torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64) / 0.5)
    best = best / best.sum()
    means = [
        float((best * kl_estimate(best.log(), start.log(), name)).sum()) for name in ("k1", "k2", "k3")
    ]  # KL = .915475, of which k1 and k3 are unbiased estimates
    assert means == pytest.approx([0.915475, 0.926209, 0.915475], abs=1e-6)


@given(batches())
def test_k3_is_never_negative_and_no_estimate_sees_a_difference_where_there_is_none(
    batch: tuple[torch.Tensor, ...],
) -> None:
    one, other, _, _ = batch
    assert (kl_estimate(one, other, "k3") >= 0).all()
    for name in ("k1", "k2", "k3"):
        assert kl_estimate(one, one, name).abs().sum() == 0


@given(batches(), st.floats(0, 2))
def test_the_score_is_at_the_last_token_and_the_kl_at_each(batch: tuple[torch.Tensor, ...], kl_coef: float) -> None:
    kl, scores, _, mask = batch
    found = token_rewards(scores[:, 0], kl, mask, kl_coef)
    for row in range(len(mask)):
        places = [place for place in range(mask.shape[1]) if mask[row, place]]
        wanted = [0.0] * mask.shape[1]
        for place in places:
            wanted[place] = -kl_coef * float(kl[row, place])
        if places:
            wanted[places[-1]] += float(scores[row, 0])
        assert found[row].tolist() == pytest.approx(wanted, abs=1e-12)


def test_the_last_token_is_found_behind_gaps_too() -> None:
    mask = torch.tensor([[True, True, False], [True, False, True], [False, False, False], [True, True, True]])
    assert last_tokens(mask).tolist() == [1, 2, 0, 2]


@given(batches())
def test_whitened_numbers_have_mean_0_and_variance_1_over_what_counts(batch: tuple[torch.Tensor, ...]) -> None:
    values, _, _, mask = batch
    found = whiten(values, mask)
    assert (found[~mask] == 0).all()
    kept = values[mask]
    if len(kept) and kept.std(correction=0) > 1e-3:
        assert found[mask].mean().item() == pytest.approx(0, abs=1e-9)
        assert found[mask].var(correction=0).item() == pytest.approx(1, abs=1e-9)
        # The order stays, which a wrong sign or a mean over the wrong tokens would not show in the moments.
        wanted = (kept - kept.sum() / len(kept)) / kept.std(correction=0)
        torch.testing.assert_close(found[mask], wanted)


def test_whitening_by_hand() -> None:
    # Of 1, 2, 3 the mean is 2 and the variance 2/3; the padding's 100 is nothing.
    found = whiten(t(1, 2, 3, 100), counted(3, of=4))
    assert found[0].tolist() == pytest.approx([-math.sqrt(1.5), 0, math.sqrt(1.5), 0], abs=1e-12)


def test_equal_numbers_become_0_and_stay_finite() -> None:
    assert whiten(t(0.1, 0.1, 0.1), counted(3, of=3))[0].tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert whiten(torch.full((1, 7), 0.1), counted(7, of=7)).abs().max() < 1e-6
    assert whiten(t(7, 8), counted(0, of=2)).tolist() == [[0.0, 0.0]]
    assert whiten(t(7, 8), counted(1, of=2)).tolist() == [[0.0, 0.0]]


def test_whitening_goes_over_all_processes_together() -> None:
    mine, others = t(1, 2), t(4, 9)
    # Of the others the sum is 13, and around the mean of all, 4, their squares add up to 0 + 25.
    sums = iter([torch.tensor([13.0, 2.0], dtype=torch.float64), torch.tensor([25.0, 2.0], dtype=torch.float64)])
    found = whiten(mine, counted(2, of=2), lambda own: own + next(sums))
    whole = whiten(torch.cat([mine, others], 1), counted(4, of=4))
    torch.testing.assert_close(found, whole[:, :2])


def test_a_mean_over_nothing_is_0_and_gaps_do_not_count() -> None:
    assert masked_mean(t(5, 6), counted(0, of=2)).item() == 0
    assert masked_mean(t(5, math.inf, 8), torch.tensor([[True, False, True]])).item() == 6.5


def test_explained_variance_by_hand() -> None:
    mask = counted(4, of=5)
    returns = t(1, 2, 3, 4, 99)
    # The returns' variance is 1.25. Values that are all right explain 1; a constant explains 0; half of each distance
    # leaves a quarter of the variance; the opposite leaves four times as much, 1 − 4 = −3.
    assert explained_variance(returns, returns, mask) == 1.0
    assert explained_variance(t(7, 7, 7, 7, 0), returns, mask) == 0.0
    assert explained_variance(returns / 2, returns, mask) == pytest.approx(0.75)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3.0)


def test_explained_variance_of_returns_that_do_not_vary_is_unknown() -> None:
    assert explained_variance(t(1, 2, 3), t(2, 2, 9), counted(2, of=3)) is None
    assert explained_variance(t(1, 2), t(2, 3), counted(1, of=2)) is None
    assert explained_variance(t(1, 2), t(2, 3), counted(0, of=2)) is None
    # Nor do the equal numbers whose mean is rounded.
    assert explained_variance(t(0, 0, 1), t(0.1, 0.1, 0.1), counted(3, of=3)) is None


def test_explained_variance_is_of_all_processes_together() -> None:
    values, returns = t(1, 1, 5, 2), t(1, 2, 3, 6)
    # The other process has returns 3 and 6: their sum is 9, and around the mean of all, 3, their squares are 0 + 9.
    # What is left is 0, 1 here and −2, 4 there: the sum there is 2, around .75 the squares are 7.5625 + 10.5625.
    others = iter(torch.tensor([one, 2.0], dtype=torch.float64) for one in (9.0, 9.0, 2.0, 18.125))
    found = explained_variance(values[:, :2], returns[:, :2], counted(2, of=2), lambda own: own + next(others))
    assert found == explained_variance(values, returns, counted(4, of=4))
    # The variances are 3.5 and (.5625 + .0625 + 18.125)/4 = 4.6875.
    assert found == pytest.approx(1 - 4.6875 / 3.5)
