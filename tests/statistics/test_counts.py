"""Agreement statistics by hand, and against independent libraries."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests

from rlaif.statistics.agreement import agreement, alpha, coincidences, f1, kappa, one_hot, precision, recall
from rlaif.statistics.tests import holm, mcnemar

CODES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


def confusion(pairs: list[tuple[int, int]]) -> np.ndarray:
    table = np.zeros((3, 3))
    for one, other in pairs:
        table[one, other] += 1
    return table


def test_kappa_by_hand() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed .7, by chance .5 * .6 + .5 * .4 = .5; (.7 - .5) / .5 = .4.
    table = np.array([[20.0, 5.0], [10.0, 15.0]])
    assert float(agreement(table, np.eye(2))) == pytest.approx(0.7)
    assert float(kappa(table, np.eye(2))) == pytest.approx(0.4)
    # One category only: chance gives all agreement there is.
    assert np.isnan(kappa(np.array([[5.0, 0.0], [0.0, 0.0]]), np.eye(2)))
    assert np.isnan(agreement(np.zeros((2, 2)), np.eye(2)))


@given(CODES)
def test_kappa_and_f1_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    table = confusion(pairs)
    one, other = (list(side) for side in zip(*pairs, strict=True))
    mine = float(kappa(table, np.eye(3)))
    if not np.isnan(mine):
        assert mine == pytest.approx(cohen_kappa_score(one, other, labels=[0, 1, 2]), abs=1e-12)
    theirs = precision_recall_fscore_support(one, other, labels=[0, 1, 2], zero_division=np.nan)
    for ours, their in zip((precision(table), recall(table), f1(table)), theirs, strict=False):
        np.testing.assert_allclose(ours, their, atol=1e-12)


@given(st.lists(st.lists(st.sampled_from([0, 1, 2, None]), min_size=4, max_size=4), min_size=2, max_size=30))
def test_alpha_is_that_of_the_krippendorff_package(votes: list[list[int | None]]) -> None:
    counts = np.array([[row.count(side) for side in range(3)] for row in votes], float)
    mine = float(alpha(coincidences(counts).sum(0).reshape(3, 3)))
    if np.isnan(mine):
        used = {vote for row in votes for vote in row if len(row) - row.count(None) > 1 and vote is not None}
        assert len(used) < 2
    else:
        assert mine == pytest.approx(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"), abs=1e-9)


def test_everything_is_computed_for_many_resamples_at_once() -> None:
    tables = np.random.default_rng(0).integers(1, 9, (7, 3, 3)).astype(float)
    for measure in (lambda t: kappa(t, np.eye(3)), lambda t: agreement(t, np.eye(3)), f1, precision, recall, alpha):
        np.testing.assert_allclose(measure(tables), [measure(table) for table in tables])


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_that_of_statsmodels(b: int, c: int) -> None:
    their = their_mcnemar([[3, b], [c, 4]], exact=True).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(their)


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))
    assert holm([]) == []


def test_one_hot_columns_sum_to_counts() -> None:
    assert one_hot([0, 2, 2], 3).sum(0).tolist() == [1, 0, 2]
