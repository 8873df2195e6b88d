"""Log loss, Brier score, reliability: by hand, against scikit-learn, and the same whichever response is the first."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from rlaif.statistics.calibration import CLIP, Bin, brier, clipped, log_loss, quality, reliability
from rlaif.statistics.folding import fold
from rlaif.statistics.intervals import Bootstrap, Floats, wilson

LABELS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from((0.0, 0.5, 1.0)), st.booleans(), st.integers(0, 5)), max_size=40
)


def arrays(labels: list[tuple[float, float, bool, int]]) -> tuple[Floats, Floats, Floats, Floats, list[int]]:
    """Preferences and targets, the same with the responses of some items swapped, and clusters."""
    p, y = (np.array([one[place] for one in labels], float) for place in (0, 1))
    swapped = np.array([one[2] for one in labels], bool)
    return p, y, np.where(swapped, 1 - p, p), np.where(swapped, 1 - y, y), [one[3] for one in labels]


def simulated(n: int, seed: int, slope: float = 1.0) -> tuple[Floats, Floats]:
    """Labels, and people who prefer response 1 with odds of theirs to the power of `slope`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, n)
    return 1 / (1 + np.exp(-logits)), (generator.random(n) < 1 / (1 + np.exp(-slope * logits))).astype(float)


def test_log_loss_by_hand() -> None:
    p = [0.8, 0.2, 0.8, 0.2, 0.8, 0.0, 1.0, 0.5]
    y = [1.0, 0.0, 0.0, 1.0, 0.5, 1.0, 1.0, 1.0]
    sure, wrong = -math.log(0.8), -math.log(0.2)
    # The two certainties count as 1 - 1e-6: 13.8 nats where wrong, 1e-6 where right.
    expected = [sure, sure, wrong, wrong, (sure + wrong) / 2, -math.log(CLIP), 1.0000005e-06, math.log(2)]
    assert log_loss(p, y) == pytest.approx(expected, rel=1e-9)
    assert clipped(p) == 2
    assert clipped([CLIP, 1 - CLIP, CLIP / 2, 0.5]) == 1


def test_brier_by_hand() -> None:
    # A certain label on a tie is half off; .5 is .25 from either side.
    assert brier([0.8, 0.8, 1, 0.5, 0.5], [1, 0, 0.5, 1, 0.5]) == pytest.approx([0.04, 0.64, 0.25, 0.25, 0])


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_scikit_learns(seed: int) -> None:
    p, y = simulated(500, seed, 0.6)
    p[:3] = 0, 1, 0.5
    assert log_loss(p, y).mean() == pytest.approx(sklearn_log_loss(y, np.clip(p, CLIP, 1 - CLIP)), rel=1e-9)
    assert brier(p, y).mean() == pytest.approx(brier_score_loss(y, p), rel=1e-12)


def test_a_preference_next_to_a_half_takes_the_same_side_both_ways() -> None:
    below = math.nextafter(0.5, 0)
    for p in (below, 1 - below, 0.5, math.nextafter(0.5, 1), 5e-324, 1e-17):
        one, other = fold([p, p], [1, 0]), fold([1 - p, 1 - p], [0, 1])
        assert one.confidence.tolist() == other.confidence.tolist()
        assert one.hit.tolist() == other.hit.tolist()
    assert fold([0.5], [1]).hit == 0.5
    assert fold([0.3, 0.7], [0, 0]).hit.tolist() == [1, 0]


def test_reliability_by_hand() -> None:
    # Folded: confidences .6 (hit), .6 (missed), .9 (hit), .9 (hit); two bins.
    found = reliability([0.6, 0.4, 0.9, 0.1], [1, 1, 1, 0], bins=2)
    low, high = wilson(1.0, 2)
    half = wilson(0.5, 2)
    expected = [
        Bin(0.1, 0.0, 2, 1 - high, 1 - low),
        Bin(0.4, 0.5, 2, *half),
        Bin(0.6, 0.5, 2, *half),
        Bin(0.9, 1.0, 2, low, high),
    ]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-12)


def test_a_bin_of_exact_halves_is_its_own_mirror_image() -> None:
    found = reliability([0.5, 0.5, 0.8], [1, 0, 1])
    assert [(one.confidence, one.n) for one in found] == [(pytest.approx(0.2), 1), (0.5, 2), (0.8, 1)]
    assert reliability([], []) == []


@given(LABELS)
def test_swapping_responses_changes_nothing(labels: list[tuple[float, float, bool, int]]) -> None:
    p, y, other_p, other_y, clusters = arrays(labels)
    assert log_loss(p, y).tolist() == log_loss(other_p, other_y).tolist()
    assert brier(p, y) == pytest.approx(brier(other_p, other_y), abs=1e-15)
    assert clipped(p) == clipped(other_p)
    assert reliability(p, y, 4) == reliability(other_p, other_y, 4)
    one, other = (quality(*said, Bootstrap(clusters, 50)) for said in ((p, y), (other_p, other_y)))
    assert (one.log_loss, one.error) == (other.log_loss, other.error)


def test_quality_holds_the_means_and_the_gain_over_other_preferences() -> None:
    p, y = simulated(400, 0, 0.3)
    calm = 0.5 + (p - 0.5) / 2
    found = quality(calm, y, Bootstrap(np.arange(400), 300), before=p)
    assert found.log_loss.value == pytest.approx(log_loss(calm, y).mean())
    assert found.brier.value == pytest.approx(brier(calm, y).mean())
    assert found.gain is not None
    assert found.gain.value == pytest.approx(log_loss(p, y).mean() - log_loss(calm, y).mean())
    assert found.gain.low is not None
    assert found.gain.low > 0
    assert {found.log_loss.n, found.brier.n, found.error.n} == {400}
    assert quality(p, y, Bootstrap(np.arange(400), 50)).gain is None


@pytest.mark.parametrize("n", [0, 1])
def test_of_no_item_or_one_there_is_no_interval(n: int) -> None:
    found = quality([0.8] * n, [1.0] * n, Bootstrap(["q"] * n), before=[0.5] * n)
    assert found.gain is not None
    assert (found.log_loss.value is None) == (n == 0)
    for one in (found.log_loss, found.brier, found.error, found.gain):
        assert one.low is None
        assert one.n == n


@pytest.mark.parametrize(("said", "loss"), [(0.5, 0.25), (1.0, 0.0)])
def test_what_is_the_same_on_every_item_has_no_interval(said: float, loss: float) -> None:
    found = quality([said] * 40, [1.0] * 40, Bootstrap(np.arange(40), 200))
    assert (found.brier.value, found.brier.low, found.brier.interval) == (loss, None, "none")
    assert found.log_loss.low is None
