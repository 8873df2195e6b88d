"""β while training."""

import pytest

from rlaif.training.kl_control import KL, KLController


def after(kl_per_sequence: float, control: str = "adaptive") -> float:
    controller = KLController(KL(kl_coef=0.15, control=control, target=6.0, horizon=10_000))  # type: ignore[arg-type]
    controller.update(kl_per_sequence, 512)
    return controller.kl_coef


def test_an_adaptive_coefficient_moves_to_the_target_and_no_faster_than_a_fifth() -> None:
    # .15 · (1 + .2 · 512 / 10,000) = .151536, from a KL of 7.2 nats per sequence on; and as far down from 4.8 on
    assert after(7.2) == pytest.approx(0.151536, abs=1e-9)
    assert after(100.0) == pytest.approx(0.151536, abs=1e-9)
    assert after(3.0) == pytest.approx(0.148464, abs=1e-9)
    assert after(0.0) == pytest.approx(0.148464, abs=1e-9)


def test_nearer_to_the_target_it_moves_in_proportion() -> None:
    # (6.6 / 6 − 1) = .1 → .15 · (1 + .1 · .0512)
    assert after(6.6) == pytest.approx(0.150768, abs=1e-9)
    assert after(6.0) == 0.15


def test_a_fixed_coefficient_stays() -> None:
    assert after(100.0, "fixed") == 0.15
