"""Symmetric calibrators: by hand, against scikit-learn, at the edges, and on held-out items."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from rlaif.statistics.calibration import CLIP, log_loss
from rlaif.statistics.calibrators import STEEPEST, Calibrator, Isotonic, Platt, cross_validated
from rlaif.statistics.intervals import Floats

LABELS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from((0.0, 0.5, 1.0)), st.booleans(), st.integers(0, 5)), max_size=40
)
METHODS = pytest.mark.parametrize("method", [Platt, Isotonic])


def simulated(n: int, seed: int, slope: float, ties: float = 0.0) -> tuple[Floats, Floats]:
    """Labels, and people who prefer response 1 with odds of theirs to the power of `slope`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, n)
    y = (generator.random(n) < 1 / (1 + np.exp(-slope * logits))).astype(float)
    return 1 / (1 + np.exp(-logits)), np.where(generator.random(n) < ties, 0.5, y)


def test_platt_of_one_confidence_by_hand() -> None:
    # 7 of 10 labels of .9 are right: σ(slope · logit .9) = .7.
    p, y = [0.9] * 5 + [0.1] * 5, [1.0, 1, 1, 1, 0, 0, 0, 0, 1, 1]
    found = Platt.fit(p, y)
    assert found.slope == pytest.approx(math.log(7 / 3) / math.log(9))
    assert found([0.9, 0.1, 0.5]) == pytest.approx([0.7, 0.3, 0.5])
    # 1 of 2 right and a tie: nothing is known, so nothing is said.
    assert Platt.fit([0.9, 0.9, 0.9], [1, 0, 0.5]).slope == pytest.approx(0, abs=1e-9)
    assert Platt.fit([0.9] * 4, [1, 0, 0, 0]).slope == pytest.approx(-math.log(3) / math.log(9))


@pytest.mark.parametrize(("seed", "slope", "ties"), [(0, 0.4, 0), (1, 1.0, 0.2), (2, -0.5, 0.1), (3, 2.5, 0)])
def test_platt_is_scikit_learns_logistic_regression_without_intercept(seed: int, slope: float, ties: float) -> None:
    p, y = simulated(600, seed, slope, ties)
    logits = np.log(p / (1 - p))[:, None]
    # A tie is half an observation of each side.
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    model.fit(np.vstack([logits, logits]), np.repeat([1, 0], 600), sample_weight=np.concatenate([y, 1 - y]))
    assert Platt.fit(p, y).slope == pytest.approx(model.coef_[0, 0], abs=1e-5)


def test_platt_stays_within_its_bounds() -> None:
    assert Platt.fit([0.9, 0.2], [1, 0]) == Platt(STEEPEST)
    assert Platt.fit([0.9, 0.2], [0, 1]) == Platt(-STEEPEST)
    assert Platt.fit([1.0, 0.0], [1, 0]) == Platt(STEEPEST)
    assert Platt.fit([0.5, 0.5], [1, 0]) == Platt.fit([], []) == Platt(1.0)
    steep = Platt(STEEPEST)([0, 0.3, 0.5, 0.7, 1])
    assert steep == pytest.approx([CLIP, CLIP, 0.5, 1 - CLIP, 1 - CLIP])


def test_a_slope_of_1_changes_nothing_but_certainty() -> None:
    p = np.linspace(0, 1, 101)
    assert Platt()(p) == pytest.approx(np.clip(p, CLIP, 1 - CLIP), abs=1e-15)


def test_isotonic_by_hand() -> None:
    # Shares of hits at .6: 1 of 2, at .7: 0 of 1, at .9: 2 of 2. The first two pool to 1/3, which may not be below
    # .5; the last is pulled from 1 to 1 - 1 / (5 + 2). Between .7 and .9 lies a straight line.
    p, y = [0.6, 0.4, 0.7, 0.9, 0.1], [1.0, 1, 0, 1, 0]
    found = Isotonic.fit(p, y)
    assert found([0.5, 0.6, 0.7, 0.8, 0.9, 1.0]) == pytest.approx([0.5, 0.5, 0.5, (0.5 + 6 / 7) / 2, 6 / 7, 6 / 7])
    assert found([0.2, 0.1, 0.0]) == pytest.approx([1 - (0.5 + 6 / 7) / 2, 1 / 7, 1 / 7])


@pytest.mark.parametrize(("seed", "slope"), [(0, 0.4), (1, 1.0), (2, -0.5), (3, 0.05)])
def test_isotonic_is_scikit_learns_on_mirrored_observations(seed: int, slope: float) -> None:
    p, y = simulated(400, seed, slope, 0.1)
    p = np.round(p, 2)
    away = 1 / 402
    model = IsotonicRegression(y_min=away, y_max=1 - away, out_of_bounds="clip")
    model.fit(np.round(np.concatenate([p, 1 - p]), 2), np.concatenate([y, 1 - y]))
    at = np.round(np.linspace(0, 1, 501), 3)
    assert Isotonic.fit(p, y)(at) == pytest.approx(model.predict(at), abs=1e-9)


@pytest.mark.parametrize(
    ("p", "y", "at_one"),
    [
        ([1.0, 0.0, 1.0], [1.0, 0.0, 1.0], 0.8),
        ([1.0, 0.0, 1.0], [0.0, 1.0, 0.0], 0.5),
        ([0.5, 0.5], [1.0, 0.0], 0.5),
        ([0.8, 0.3], [0.5, 0.5], 0.5),
        ([0.8], [1.0], 2 / 3),
        ([], [], 0.5),
    ],
    ids=["right and certain", "wrong and certain", "halves", "ties", "one item", "none"],
)
def test_isotonic_at_the_edges(p: list[float], y: list[float], at_one: float) -> None:
    found = Isotonic.fit(p, y)
    assert found([0.0, 0.5, 1.0]) == pytest.approx([1 - at_one, 0.5, at_one])


@METHODS
@given(labels=LABELS)
def test_swapping_responses_changes_nothing(
    method: type[Calibrator], labels: list[tuple[float, float, bool, int]]
) -> None:
    p, y = (np.array([one[place] for one in labels], float) for place in (0, 1))
    swapped = np.array([one[2] for one in labels], bool)
    clusters = [one[3] for one in labels]
    other_p, other_y = np.where(swapped, 1 - p, p), np.where(swapped, 1 - y, y)
    found = method.fit(p, y)
    assert found == method.fit(other_p, other_y)
    assert found(1 - p) == pytest.approx(1 - found(p), abs=1e-12)
    one, other = (cross_validated(method.fit, *said, clusters, 3) for said in ((p, y), (other_p, other_y)))
    assert other == pytest.approx(np.where(swapped, 1 - one, one), abs=1e-12)
    assert np.all((one > 0) & (one < 1))


@METHODS
def test_it_is_read_back_as_it_was(method: type[Calibrator]) -> None:
    found = method.fit(*simulated(200, 0, 0.5))
    assert method.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert Platt(0.5).to_dict() == {"slope": 0.5}


@METHODS
def test_overconfident_labels_get_a_lower_held_out_log_loss(method: type[Calibrator]) -> None:
    p, y = simulated(800, 1, 0.3)
    held_out = cross_validated(method.fit, p, y, np.arange(800))
    assert log_loss(held_out, y).mean() < log_loss(p, y).mean() - 0.05


def test_no_item_is_calibrated_by_what_its_cluster_said() -> None:
    clusters = np.array([f"q{number}" for number in np.random.default_rng(0).integers(12, size=100)])
    # Preferences tell the items; a "calibrator" gives back how many of its cluster were seen, and how many at all.
    p = np.arange(100) / 100
    seen: list[int] = []

    def fit(known: Floats, _: Floats) -> Calibrator:
        seen.append(len(known))
        told = {clusters[round(100 * one)] for one in known}

        def apply(new: Floats) -> Floats:
            return np.array([float(clusters[round(100 * one)] in told) for one in new])

        return apply  # type: ignore[return-value]

    assert not cross_validated(fit, p, p, clusters, folds=4).any()
    assert len(seen) == 4
    assert sum(100 - one for one in seen) == 100
    # No more folds than clusters, and of one cluster nothing is left to learn from.
    seen.clear()
    cross_validated(fit, p, p, clusters, folds=50)
    assert len(seen) == 12
    seen.clear()
    cross_validated(fit, p, p, ["q"] * 100)
    assert seen == [0]


def test_the_seed_deals_clusters_to_folds() -> None:
    p, y = simulated(60, 0, 1.0)
    first, again, other = (cross_validated(Platt.fit, p, y, np.arange(60), seed=seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()
