"""The public double fails as a model would, with and without latency."""

import pytest
from doubles import outcomes, scripted

from rlaif.llm.base import Answer, Choose, Request
from rlaif.records import Turn


@pytest.mark.parametrize("latency_s", [0.0, 0.01])
def test_a_script_that_raises_stops_the_run(latency_s: float) -> None:
    def broken(request: Request) -> str:
        raise ZeroDivisionError("in the script")

    asked = Request((Turn(role="user", content="q"),), Choose(("1", "2")))
    with pytest.raises(ZeroDivisionError, match="in the script"):
        outcomes(scripted(broken, latency_s=latency_s), [asked])


@pytest.mark.parametrize("latency_s", [0.0, 0.01])
def test_every_request_is_answered(latency_s: float) -> None:
    asked = [Request((Turn(role="user", content=str(n)),), Choose(("1", "2"))) for n in range(50)]
    found = outcomes(scripted(lambda _: {"1": 1.0}, latency_s=latency_s), asked)
    assert all(isinstance(one, Answer) for one in found)
