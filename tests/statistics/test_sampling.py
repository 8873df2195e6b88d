"""Stratified samples: by hand, against a slow oracle, and by drawing thousands of them."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from scipy import stats

from rlaif.statistics.sampling import LEAST, Stratum, allocate, draw, half_width, overall, stratified, temper

SIZES, SHARES = (100, 100), (0.5, 0.9)


def test_the_half_width_by_hand() -> None:
    # W = .5 and .5; variances .5 * .5 = .25 and .9 * .1 = .09
    # parts: .25 * (1 - 10/100) * .25/10 = .005625 and .25 * (1 - 6/100) * .09/6 = .003525; sum .00915
    # and 13.952 degrees of freedom, .00915^2 over .005625^2 / 9 + .003525^2 / 5
    reach = stats.t.ppf(0.975, 0.00915**2 / (0.005625**2 / 9 + 0.003525**2 / 5)) * math.sqrt(0.00915)
    assert half_width(SIZES, SHARES, (10, 6)) == pytest.approx(reach, rel=1e-12)
    assert half_width(SIZES, SHARES, SIZES) == 0


def test_neymans_allocation_by_hand() -> None:
    # N_h * sqrt(q_h * (1 - q_h)) is 50 and 30, so 16 pairs are 10 and 6, and 240 of larger strata 150 and 90.
    assert allocate(SIZES, SHARES, half_width(SIZES, SHARES, (10, 6))) == (10, 6)
    large = (10_000, 10_000)
    assert allocate(large, SHARES, half_width(large, SHARES, (150, 90))) == (150, 90)
    # Three times as many items with the same spread get three times as many.
    assert allocate((30_000, 10_000), (0.5, 0.5), half_width((30_000, 10_000), (0.5, 0.5), (150, 50))) == (150, 50)


def slow_allocation(sizes: Sequence[int], shares: Sequence[float], within: float) -> int:
    """The smallest total of all allocations, each total's best by its variance."""
    best: dict[int, tuple[float, float]] = {}
    for counts in product(*(range(min(size, LEAST), size + 1) for size in sizes)):
        parts = [
            (size / sum(sizes)) ** 2 * (1 - n / size) * share * (1 - share) / n
            for size, share, n in zip(sizes, shares, counts, strict=True)
        ]
        variance, below = sum(parts), sum(part**2 / max(n - 1, 1) for part, n in zip(parts, counts, strict=True))
        reach = stats.t.ppf(0.975, variance**2 / below) * math.sqrt(variance) if variance else 0.0
        best[sum(counts)] = min(best.get(sum(counts), (9.0, 9.0)), (variance, reach))
    return min(total for total, (_, reach) in best.items() if reach <= within)


@pytest.mark.parametrize("within", [0.03, 0.08, 0.12, 0.2])
@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ((30, 40), (0.5, 0.95)),
        ((3, 50, 20), (0.5, 0.9, 0.7)),
        ((12, 12, 12), (0.55, 0.75, 0.95)),
        ((33, 14), (0.9, 0.7)),
        ((60,), (0.8,)),
    ],
)
def test_no_allocation_is_smaller(sizes: tuple[int, ...], shares: tuple[float, ...], within: float) -> None:
    found = allocate(sizes, shares, within)
    assert sum(found) == slow_allocation(sizes, shares, within)
    assert half_width(sizes, shares, found) <= within
    assert all(min(size, LEAST) <= n <= size for size, n in zip(sizes, found, strict=True))


def test_small_strata_are_taken_whole_and_small_pools_too() -> None:
    assert allocate((3, 1, 5000), (0.5, 0.5, 0.95), 0.4) == (3, 1, 5)
    assert allocate((4, 5), (0.9, 0.6), 0.01) == (4, 5)
    assert sum(allocate((20, 20), (0.8, 0.8), 0.001)) == 40


def test_shares_are_tempered_only_downwards() -> None:
    assert temper((10, 10), (1.0, 0.4), 1.0) == (0.95, 0.5)
    assert temper((10, 10), (0.6, 0.8), 0.8) == (0.6, 0.8)
    lowered = temper((300, 100), (0.99, 0.7), 0.8)
    assert overall((300, 100), lowered) == pytest.approx(0.8)
    # Both by the same log-odds, from .95 and .7.
    odds = [before / (1 - before) * (1 - after) / after for before, after in zip((0.95, 0.7), lowered, strict=True)]
    assert odds[0] == pytest.approx(odds[1])
    assert odds[0] > 1
    assert temper((10, 10), (0.9, 0.8), 0.5) == (0.5, 0.5)
    # What cannot fall below .5 lets the others fall further.
    assert overall((100, 100), temper((100, 100), (0.52, 0.95), 0.6)) == pytest.approx(0.6)
    assert overall((30, 10), (0.5, 0.9)) == pytest.approx(0.6)


def test_the_order_of_ids_does_not_matter_and_the_seed_does() -> None:
    ids = [f"item-{n}" for n in range(200)]
    assert draw(ids, 20, 0) == draw(reversed(ids), 20, 0)
    assert draw(ids, 20, 0) == draw(ids, 40, 0)[:20]
    assert draw(ids, 20, 0) != draw(ids, 20, 1)
    assert len(set(draw(ids, 300, 3))) == 200
    chosen = np.mean([[one in drawn for one in ids] for drawn in (set(draw(ids, 20, seed)) for seed in range(500))], 0)
    # Each of 200 in 20 of 200 draws: .1, with a standard error of .0134 in 500.
    assert abs(chosen - 0.1).max() < 4 * 0.0134


def test_the_stratified_estimate_by_hand() -> None:
    # Of 60 items 16, of which 12 hit: mean .75, variance 16 * .75 * .25 / 15 = .2
    # Of 40 items 10, of which 5 hit: mean .5, variance 10 * .25 / 9 = .27778
    # .6 * .75 + .4 * .5 = .65
    # .36 * (1 - 16/60) * .2/16 = .0033 and .16 * (1 - 10/40) * .27778/10 = .0033333; sum .0066333
    # and 22.443 degrees of freedom, .0066333^2 over .0033^2 / 15 + .0033333^2 / 9
    found = stratified([Stratum(60, [1] * 12 + [0] * 4), Stratum(40, [1] * 5 + [0] * 5)])
    one, other = 0.0033, 0.01 / 3
    reach = stats.t.ppf(0.975, (one + other) ** 2 / (one**2 / 15 + other**2 / 9)) * math.sqrt(one + other)
    assert found.value == pytest.approx(0.65)
    assert (found.low, found.high) == (pytest.approx(0.65 - reach), pytest.approx(0.65 + reach))
    assert (found.n, found.clusters, found.interval) == (26, 26, "stratified")


def test_values_that_do_not_vary_are_no_certainty() -> None:
    # With one hit and one miss more, 5 hits of 5 are 6 of 7: a variance of 6/7 * 1/7.
    reach = stats.t.ppf(0.975, 4) * math.sqrt((1 - 5 / 500) * 6 / 49 / 5)
    found = stratified([Stratum(500, [1.0] * 5)])
    assert (found.value, found.low, found.high) == (1, pytest.approx(1 - reach), 1)
    # A single miss is 1 of 3 then: 2/9. Its stratum has .3 of all; the other is known whole and adds nothing.
    both = stratified([Stratum(3, [0.0]), Stratum(7, [1.0] * 7)])
    reach = stats.t.ppf(0.975, 1) * math.sqrt(0.09 * (1 - 1 / 3) * 2 / 9)
    assert both.value == pytest.approx(0.7)
    assert (both.low, both.high) == (max(0, 0.7 - reach), min(1, 0.7 + reach))
    # A single tie varies most.
    tie = stratified([Stratum(10, [0.5])] * 2)
    assert (tie.value, tie.low, tie.high) == (0.5, 0, 1)


def test_strata_without_a_value_are_left_out() -> None:
    assert stratified([Stratum(10, [])]).value is None
    assert stratified([]) == (None, None, None, 0, 0, "none")
    known = Stratum(50, [1.0, 0.0, 1.0])
    assert stratified([known, Stratum(500, [])]) == stratified([known])


def test_a_pool_that_is_known_whole_has_no_interval_to_speak_of() -> None:
    found = stratified([Stratum(3, [1, 0, 1]), Stratum(1, [0.5])])
    assert found.value == found.low == found.high == 0.625


POOL = {"flips": (240, 0.52), "low": (160, 0.57), "middle": (300, 0.75), "high": (300, 0.94)}


def test_estimates_of_many_plans_are_right_on_average_and_as_close_as_planned() -> None:
    generator = np.random.default_rng(5)
    sizes, shares = [size for size, _ in POOL.values()], [share for _, share in POOL.values()]
    # Exactly as many hits as expected, so that what is planned holds of this pool.
    pool = {
        name: dict(zip((f"{name}-{n}" for n in range(size)), generator.permutation(size) < size * share, strict=True))
        for name, (size, share) in POOL.items()
    }
    truth = sum(sum(hits.values()) for hits in pool.values()) / sum(sizes)
    within = 0.06
    counts = allocate(sizes, shares, within)
    values, plain, near, covered, runs = [], [], 0, 0, 800
    for seed in range(runs):
        drawn = [
            [float(hits[one]) for one in draw(hits, count, seed)]
            for hits, count in zip(pool.values(), counts, strict=True)
        ]
        found = stratified(map(Stratum, sizes, drawn))
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        values.append(found.value)
        plain.append(np.mean(np.concatenate(drawn)))
        near += abs(found.value - truth) <= within
        covered += found.low <= truth <= found.high
    error = np.std(values, ddof=1) / math.sqrt(runs)
    assert abs(np.mean(values) - truth) < 3 * error
    # Strata of which more is drawn are those with less agreement, so a plain mean is too low.
    assert truth - np.mean(plain) > 10 * error
    # The standard error of a share of .95 in 800 runs is .0077.
    assert near / runs == pytest.approx(0.95, abs=0.023)
    assert covered / runs == pytest.approx(0.95, abs=0.023)
    simple = allocate([sum(sizes)], [overall(sizes, shares)], within)[0]
    assert sum(counts) < simple
