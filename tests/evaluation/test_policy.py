"""What counts as agreement, by hand."""

import numpy as np
import pytest

from rlaif.errors import ConfigError
from rlaif.evaluation.policy import Policy

# Rows: people say response 2, tie, response 1; columns: the labeler says the same, and unread.
COUNTS = np.array([[30.0, 4.0, 6.0, 2.0], [3.0, 5.0, 2.0, 1.0], [8.0, 2.0, 35.0, 2.0]])


@pytest.mark.parametrize(
    ("ties", "unreadable", "agreement", "n"),
    [
        # Decided by people and read: 30 + 35 right, 4 + 2 ties at a half, of 40 + 45.
        ("drop", "drop", 68 / 85, 85),
        ("drop", "error", 68 / 89, 89),
        # The four unread ones count as ties: 2 more.
        ("drop", "tie", 70 / 89, 89),
        # With people's ties, each of the ten read ones at a half.
        ("half", "drop", (68 + 3 * 0.5 + 5 * 0.5 + 2 * 0.5) / 95, 95),
        ("half", "error", 73 / 100, 100),
        ("half", "tie", (73 + 5 * 0.5) / 100, 100),
        ("class", "drop", 70 / 95, 95),
        ("class", "error", 70 / 100, 100),
        ("class", "tie", 71 / 100, 100),
    ],
)
def test_agreement_under_every_policy_by_hand(ties: str, unreadable: str, agreement: float, n: int) -> None:
    policy = Policy(ties, unreadable)  # type: ignore[arg-type]
    assert float(policy.agreement(COUNTS)) == pytest.approx(agreement)
    assert policy.count(COUNTS) == n


def test_item_by_item_credit_sums_to_the_agreement_of_the_counts() -> None:
    people = np.repeat(np.arange(3), 4).repeat(COUNTS.ravel().astype(int))
    labeler = np.tile(np.arange(4), 3).repeat(COUNTS.ravel().astype(int))
    for policy in (Policy(), *Policy().others()):
        credit, counts = policy.credits(people, labeler)
        assert credit.sum() / counts.sum() == pytest.approx(float(policy.agreement(COUNTS)))


def test_there_are_nine_policies() -> None:
    assert len({Policy("half", "tie"), *Policy("half", "tie").others()}) == 9


def test_an_unknown_policy_is_an_error() -> None:
    with pytest.raises(ConfigError, match="ties is 'drp'; did you mean drop"):
        Policy("drp")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unreadable is 'wrong'"):
        Policy("drop", "wrong")  # type: ignore[arg-type]
