"""How often 95 % intervals hold the truth, by seeded simulation of clustered data whose truth is known."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
from scipy import special

from rlaif.evaluation.policy import Policy
from rlaif.statistics.agreement import one_hot
from rlaif.statistics.calibration import brier
from rlaif.statistics.intervals import Bootstrap, Estimate, ratio

DATASETS = 2000
Draw = Callable[[np.random.Generator], Estimate]

Population = tuple[np.ndarray, np.ndarray, np.ndarray]


def population(seed: int, skill: float, spread: float, ties: float = 0.0, size: int = 400_000) -> Population:
    """Items whose clusters share a difficulty: people's side, the labeler's preference, and the cluster."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 5, size)
    clusters = np.repeat(np.arange(size), sizes)
    easy = skill + spread * generator.standard_normal(size)[clusters]
    people = np.where(generator.random(len(clusters)) < 0.5, 2, 0)
    people = np.where(generator.random(len(clusters)) < ties, 1, people)
    towards = np.where(people == 2, 1.0, np.where(people == 0, -1.0, 0.0))
    preference = special.expit(easy * towards + 1.5 * generator.standard_normal(len(clusters)))
    return people, preference, clusters


def resample(all_of_it: Population, clusters: int, generator: np.random.Generator) -> Population:
    """A data set: clusters drawn from the population."""
    people, preference, of = all_of_it
    starts = np.searchsorted(of, np.arange(of[-1] + 2))
    drawn = generator.integers(of[-1] + 1, size=clusters)
    rows = np.concatenate([np.arange(starts[one], starts[one + 1]) for one in drawn])
    names = np.repeat(np.arange(clusters), starts[drawn + 1] - starts[drawn])
    return people[rows], preference[rows], names


def confusion_columns(people: np.ndarray, preference: np.ndarray) -> np.ndarray:
    return one_hot(people * 4 + np.where(preference > 0.5, 2, 0), 12)


def of_policy(name: str, policy: Policy) -> Callable[[Population, int], Estimate]:
    measure = getattr(policy, name)

    def estimate(data: Population, samples: int) -> Estimate:
        people, preference, clusters = data
        sums = Bootstrap(clusters, samples).sums(confusion_columns(people, preference))
        return sums.estimate(
            lambda s: measure(s.reshape(*s.shape[:-1], 3, 4)), len(people), proportion=name == "agreement"
        )

    return estimate


def of_mean(
    values: Callable[[np.ndarray, np.ndarray], np.ndarray], *, proportion: bool
) -> Callable[[Population, int], Estimate]:
    def estimate(data: Population, samples: int) -> Estimate:
        people, preference, clusters = data
        columns = np.stack([values(people, preference), np.ones(len(people))], 1)
        sums = Bootstrap(clusters, samples).sums(columns)
        return sums.estimate(lambda s: ratio(s[..., 0], s[..., 1]), len(people), proportion=proportion)

    return estimate


def won(people: np.ndarray, preference: np.ndarray) -> np.ndarray:
    """A policy's wins, where people's choice is the order in which it stands, and close calls are ties."""
    return np.where(np.abs(preference - 0.5) < 0.1, 0.5, preference > 0.5)


DESIGNS = {
    "agreement": (of_policy("agreement", Policy()), 1.2, 1.0, 0.1),
    "agreement near 1": (of_policy("agreement", Policy()), 3.0, 0.7, 0.1),
    "kappa": (of_policy("kappa", Policy("class")), 1.5, 1.0, 0.0),
    "kappa with ties": (of_policy("kappa", Policy("half")), 1.5, 1.0, 0.2),
    "win rate": (of_mean(won, proportion=True), 0.8, 1.2, 0.1),
    "Brier score": (of_mean(lambda people, p: brier(p, people / 2), proportion=True), 1.2, 1.0, 0.1),
}


@pytest.mark.acceptance
@pytest.mark.parametrize("clusters", [50, 200])
@pytest.mark.parametrize("design", DESIGNS)
def test_intervals_hold_the_truth_in_95_of_100_data_sets(
    design: str, clusters: int, capsys: pytest.CaptureFixture[str]
) -> None:
    estimate, skill, spread, ties = DESIGNS[design]
    everything = population(7, skill, spread, ties)
    truth = estimate(everything, 0).value
    assert truth is not None
    generator = np.random.default_rng(11)
    held = known = 0
    for _ in range(DATASETS):
        one = estimate(resample(everything, clusters, generator), 1000)
        if one.low is not None and one.high is not None:
            known += 1
            held += one.low <= truth <= one.high
    with capsys.disabled():
        sys.stdout.write(
            f"\n{design}, {clusters} clusters: the truth {truth:.4f} was in {held / known:.4f} of {known:,}\n"
        )
    assert known == DATASETS
    assert 0.92 <= held / known <= 0.98
