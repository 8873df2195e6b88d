"""The Anthropic protocol over real sockets: what is sent, how it is read, and what trouble becomes."""

from collections.abc import Iterator
from typing import Any

import hostile
import pytest
from doubles import outcomes
from hostile import HostileServer

from rlaif.errors import CapabilityError, ConfigError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.anthropic import open_anthropic
from rlaif.llm.base import Answer, Generate, Request, Usage
from rlaif.llm.open import open_llm
from rlaif.llm.remote import Limits
from rlaif.records import Failure, Turn

PAIRS: list[dict[str, Any]] = [
    {"id": str(n), "query": f"Question {n}?", "response_1": f"good {n}", "response_2": f"bad {n}"} for n in range(10)
]
QUICK = Limits(timeout_s=0.4, retries=8, outage_patience_s=5)
# Where every delivery is counted, a busy machine must not look like a server that hangs.
STEADY = Limits(timeout_s=4, retries=8, outage_patience_s=5)


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    with HostileServer() as running:
        yield running


@pytest.fixture(autouse=True)
def no_key_and_short_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "HANG_S", 0.8)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_what_many_requests_share_is_marked_for_the_cache_and_no_sampling_parameter_is_sent(
    server: HostileServer,
) -> None:
    messages = (Turn(role="system", content="Be fair."), Turn(role="user", content="Which?"))
    shared = Request((Turn(role="user", content="Rules. Which?"),), Generate(8, 1.0, 5, ("\n", "END")), "", 7)
    llm = open_anthropic("judge", server.url, limits=QUICK)
    outcomes(llm, [shared])
    assert server.bodies[-1] == {
        "model": "judge",
        "max_tokens": 8,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Rules. ", "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": "Which?"},
                ],
            }
        ],
        "stop_sequences": ["END"],
    }
    (answer,) = outcomes(llm, [Request(messages, Generate(8))])
    assert server.bodies[-1] == {
        "model": "judge", "max_tokens": 8, "system": "Be fair.", "messages": [{"role": "user", "content": "Which?"}],
    }  # fmt: skip
    assert isinstance(answer, Answer)
    assert answer.text.strip() in ("1", "2", "The")
    words = len(['[{"role":', '"user",', '"content":', '"Which?"}]'])
    assert (answer.version, answer.usage) == ("judge-1", Usage(words + 7, 5, 1))


def test_draws_of_one_request_are_asked_one_by_one_and_make_a_label(server: HostileServer) -> None:
    start = len(server.bodies)
    llm = open_anthropic("judge", server.url, limits=QUICK)
    (label,) = PreferenceLabeler("helpfulness", llm, method="sampled", draws=150).label(PAIRS[:1])
    asked = server.bodies[start:]
    assert len(asked) == 300
    by_text = {str(body["messages"]): hostile.probability(body) for body in asked}
    assert len(by_text) == 2
    shown_first = next(p for text, p in by_text.items() if "Response 1 - good 0" in text)
    shown_second = next(p for text, p in by_text.items() if "Response 1 - bad 0" in text)
    exact = ((shown_first + 0.1) / 0.95 + 1 - (shown_second + 0.1) / 0.95) / 2
    # 300 draws have a standard error of at most .029.
    assert label.preference == pytest.approx(exact, abs=0.12)
    assert label.method == "sampled"


def test_what_passes_by_itself_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "HANG_S", 6.0)
    for kind in hostile.TRANSIENT:
        with HostileServer(share=0.25, kinds=(kind,), seed=1) as faulty:
            llm = open_anthropic("judge", faulty.url, limits=STEADY)
            labels = PreferenceLabeler("helpfulness", llm, method="sampled", draws=3, max_unread_mass=0.9).label(PAIRS)
        assert faulty.faults[kind] > 5
        assert not [one for one in labels if isinstance(one, Failure)], kind
        assert sum(faulty.delivered.values()) == 60
        told = sum(one.input_tokens for one in labels), sum(one.output_tokens for one in labels)
        assert told == (faulty.input_tokens, faulty.output_tokens), kind


def test_a_refusal_is_a_draw_without_a_verdict_and_all_of_them_a_failure() -> None:
    with HostileServer(share=0.3, kinds=("filtered",), seed=1) as faulty:
        llm = open_anthropic("judge", faulty.url, limits=QUICK)
        labels = PreferenceLabeler("helpfulness", llm, method="sampled", draws=20, max_unread_mass=0.9).label(PAIRS)
        # .3 are refused, and .05 of the rest say "The": .335, with a standard error of .033 over 200 draws.
        assert sum(one.unread_mass_12 for one in labels) / len(labels) == pytest.approx(0.335, abs=0.14)
        faulty.share = 1.0
        (failed,) = PreferenceLabeler("helpfulness", llm, method="sampled", draws=2).label(PAIRS[:1])
    assert failed.failure == "refused"
    assert "the model's stop reason is a refusal" in failed.detail


def test_log_probabilities_and_what_else_it_lacks_are_errors_before_anything_is_asked(
    server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = open_anthropic("judge", server.url)
    with pytest.raises(CapabilityError, match=r"anthropic:judge gives no log-probabilities .*; use --method sampled"):
        PreferenceLabeler("helpfulness", llm)
    with pytest.raises(CapabilityError, match="takes no temperature; leave temperature at 0"):
        PreferenceLabeler("helpfulness", llm, method="sampled", rationale=True, temperature=0.7)
    with pytest.raises(ConfigError, match="variable ANTHROPIC_API_KEY holds no key"):
        open_llm("anthropic:claude-haiku-4-5")
    with pytest.raises(ConfigError, match="has one endpoint only"):
        open_llm("anthropic:judge", base_url=server.url, endpoint="chat")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-not-used")
    assert open_llm("anthropic:claude-haiku-4-5").capabilities.batch_api
