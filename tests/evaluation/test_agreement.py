"""Agreement by hand."""

import pytest

from rlaif.evaluation.agreement import agreement
from rlaif.statistics.intervals import share, wilson


def test_agreement_by_hand() -> None:
    # Same side, other side, same side, and a tie of either, which counts half.
    found = agreement([(0.9, 0.6), (0.9, 0.1), (0.2, 0.4), (0.5, 0.9), (0.1, 0.5)])
    assert found is not None
    assert found.same_side == (0.6, *wilson(0.6, 5), 5, 5, "wilson")
    assert found.difference == pytest.approx((0.3 + 0.8 + 0.2 + 0.4 + 0.4) / 5)
    assert agreement([]) is None
    assert str(share(1, 4)) == "0.250 (0.046-0.699)"
