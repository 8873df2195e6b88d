"""The OpenAI protocol over real sockets: what is sent, how it is read, and what every kind of trouble becomes."""

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile
import pytest
from doubles import outcomes
from hostile import HostileServer

from rlaif.errors import CapabilityError, ConfigError, ModelError, ServiceError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.score import Scorer
from rlaif.llm.base import Answer, Choose, Generate, Request, Usage
from rlaif.llm.open import open_llm
from rlaif.llm.openai import OpenAILLM, Served, open_openai
from rlaif.llm.remote import Limits
from rlaif.records import Failure, Preference, Turn

PAIRS: list[dict[str, Any]] = [
    {"id": str(n), "query": f"Question {n}?", "response_1": f"good {n}", "response_2": f"bad {n}"} for n in range(40)
]
QUICK = Limits(timeout_s=0.4, retries=6, outage_patience_s=2)
# Where every delivery is counted, a busy machine must not look like a server that hangs.
STEADY = Limits(timeout_s=4, retries=6, outage_patience_s=2)


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    with HostileServer() as running:
        yield running


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "HANG_S", 0.8)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def choose(text: str = "Q", answers: tuple[str, ...] = ("1", "2")) -> Request:
    return Request((Turn(role="user", content=text),), Choose(answers))


def ask(server: HostileServer, *requests: Request, limits: Limits = QUICK, **options: Any) -> list[Any]:
    return outcomes(open_openai("judge", server.url, limits=limits, **options), requests)


def test_a_choice_is_one_token_with_its_likeliest_alternatives(server: HostileServer) -> None:
    (answer,) = ask(server, choose("Which?"))
    assert server.bodies[-1] == {
        "model": "judge",
        "messages": [{"role": "user", "content": "Which?"}],
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": 1,
        "logprobs": True,
        "top_logprobs": 20,
    }
    first = hostile.probability(server.bodies[-1])
    assert dict(answer.top) == pytest.approx(
        {"1": math.log(first), " 1": math.log(0.1), "2": math.log(0.85 - first), "The": math.log(0.05)}
    )
    assert (answer.version, answer.usage) == ("judge-1", Usage(4, 0, 1))


def test_a_plain_completion_goes_on_from_the_text(server: HostileServer) -> None:
    request = Request((Turn(role="user", content="A\n\nB"),), Choose(("1", "2")), continuation="Preferred response=")
    (answer,) = ask(server, request, endpoint="completions")
    assert server.bodies[-1]["prompt"] == "A\n\nB\n\nPreferred response="
    assert server.bodies[-1]["logprobs"] == 5
    assert [token for token, _ in answer.top] == ["1", " 1", "2", "The"]


def test_a_text_is_drawn_with_its_seed_temperature_and_stops(server: HostileServer) -> None:
    request = Request((Turn(role="user", content="Why?"),), Generate(50, 0.7, 11, ("\n",)))
    (answer,) = ask(server, request)
    body = server.bodies[-1]
    assert (body["max_tokens"], body["temperature"], body["seed"], body["stop"]) == (50, 0.7, 11, ["\n"])
    assert isinstance(answer, Answer)
    assert answer.finish_reason == "length"


def test_labels_are_what_the_servers_probabilities_say(server: HostileServer) -> None:
    llm = open_openai("judge", server.url, limits=QUICK)
    start = len(server.bodies)
    (label,) = PreferenceLabeler("helpfulness", llm).label(PAIRS[:1])
    bodies = sorted(server.bodies[start:], key=lambda body: "good" in body["messages"][0]["content"].split("2 - ")[-1])
    # "1" and " 1" are the same answer; "The" is unread; what is read is renormalised.
    first, second = ((hostile.probability(body) + 0.1) / 0.95 for body in bodies)
    assert label.method == "logprobs"
    assert (label.preference_12, label.preference_21) == pytest.approx((first, 1 - second))
    assert label.preference == pytest.approx((first + 1 - second) / 2)
    assert (label.unread_mass_12, label.unread_mass_21) == pytest.approx((0.05, 0.05))
    content = bodies[0]["messages"][0]["content"]
    assert content.endswith("Reply with 1 or 2, and with nothing else.\n\nPreferred response=")


def test_sampled_labels_need_no_log_probabilities(server: HostileServer) -> None:
    llm = open_openai("judge", server.url, limits=QUICK)
    start = len(server.bodies)
    (label,) = PreferenceLabeler("helpfulness", llm, method="sampled", draws=200).label(PAIRS[:1])
    asked = server.bodies[start:]
    assert len(asked) == 400
    assert all("logprobs" not in body and body["temperature"] == 1.0 for body in asked)
    low, high = label.interval
    exact = PreferenceLabeler("helpfulness", llm).label(PAIRS[:1])[0].preference
    # 400 draws have a standard error of at most .025.
    assert label.preference == pytest.approx(exact, abs=0.1)
    assert low < label.preference < high


def test_what_passes_by_itself_changes_no_label_and_no_account(
    server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile, "HANG_S", 6.0)
    clean = PreferenceLabeler("helpfulness", open_openai("judge", server.url, limits=STEADY)).label(PAIRS)
    for kind in hostile.TRANSIENT:
        with HostileServer(share=0.25, kinds=(kind,), seed=1) as faulty:
            llm = open_openai("judge", faulty.url, limits=STEADY)
            labels = PreferenceLabeler("helpfulness", llm).label(PAIRS)
        assert faulty.faults[kind] > 5
        assert [one.preference for one in labels] == [one.preference for one in clean], kind
        assert set(faulty.delivered.values()) == {1}, kind
        told = sum(one.input_tokens for one in labels), sum(one.output_tokens for one in labels)
        assert told == (faulty.input_tokens, faulty.output_tokens), kind


@pytest.mark.parametrize(
    ("kind", "failure", "detail"),
    [
        ("null-logprobs", "unreadable", "no log-probabilities came, though they were asked for"),
        ("off-menu", "unreadable", "0.9700 of the probability is on no offered answer"),
        ("filtered", "refused", "stopped by a content filter"),
    ],
)
def test_an_answer_without_a_verdict_is_a_failure_and_is_not_asked_again(kind: str, failure: str, detail: str) -> None:
    with HostileServer(share=0.1, kinds=(kind,), seed=3) as faulty:
        results = PreferenceLabeler("helpfulness", open_openai("judge", faulty.url, limits=QUICK)).label(PAIRS)
    failed = [one for one in results if isinstance(one, Failure)]
    assert faulty.faults[kind] > 2
    assert 0 < len(failed) <= faulty.faults[kind]
    assert {one.failure for one in failed} == {failure}
    assert all(detail in one.detail for one in failed)
    assert set(faulty.asked.values()) == {1}


def test_a_bad_request_is_the_items_failure_and_is_not_repeated() -> None:
    with HostileServer(share=0.2, kinds=("bad",), seed=2) as faulty:
        results = PreferenceLabeler("helpfulness", open_openai("judge", faulty.url, limits=QUICK)).label(PAIRS)
    failed = [one for one in results if isinstance(one, Failure)]
    assert failed
    assert {one.failure for one in failed} == {"refused"}
    assert set(faulty.asked.values()) == {1}


def test_a_run_of_which_every_request_is_bad_ends_at_once() -> None:
    with HostileServer(share=1.0, kinds=("bad",)) as faulty:
        labeler = PreferenceLabeler("helpfulness", open_openai("judge", faulty.url, limits=QUICK))
        with pytest.raises(ServiceError, match="openai:judge: the first 8 requests were bad: 400: wrong"):
            labeler.label(PAIRS * 5)
        assert sum(faulty.asked.values()) < 60


def test_a_server_without_log_probabilities_ends_the_run_with_the_remedy() -> None:
    with HostileServer(share=1.0, kinds=("null-logprobs",)) as faulty:
        labeler = PreferenceLabeler("helpfulness", open_openai("judge", faulty.url, limits=QUICK))
        with pytest.raises(CapabilityError, match="gives no log-probabilities, though they were asked for; use --meth"):
            labeler.label(PAIRS)


def test_an_empty_purse_ends_the_run() -> None:
    with HostileServer(share=1.0, kinds=("quota",)) as faulty:
        labeler = PreferenceLabeler("helpfulness", open_openai("judge", faulty.url, limits=QUICK))
        with pytest.raises(ServiceError, match="429: You exceeded your current quota"):
            labeler.label(PAIRS)


def test_a_key_that_a_server_repeats_is_not_repeated_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE_API_KEY", "sk-very-secret-123")
    with HostileServer(share=1.0, kinds=("unauthorised",)) as faulty:
        llm = open_openai("judge", faulty.url, key_variable="MINE_API_KEY", limits=QUICK)
        with pytest.raises(ServiceError, match=r"401: wrong: Bearer \*\*\*"):
            PreferenceLabeler("helpfulness", llm).label(PAIRS)
        assert faulty.headers[0]["Authorization"] == "Bearer sk-very-secret-123"
    assert "secret" not in repr(llm) + str(vars(llm)) + json.dumps(dict(llm.identity))


def test_a_key_for_openai_goes_to_no_other_server(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-openai-only")
    ask(server, choose())
    assert "sk-for-openai-only" not in server.headers[-1]["Authorization"]


def test_an_overloaded_server_is_asked_less() -> None:
    with HostileServer(most=6, latency_s=0.01) as small:
        results = PreferenceLabeler("helpfulness", open_openai("judge", small.url, limits=QUICK)).label(PAIRS * 5)
    assert all(isinstance(one, Preference) for one in results)
    assert small.faults["429"] < sum(small.asked.values()) / 2


def test_an_outage_is_waited_for_and_then_ends_the_run_with_everything_kept(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with HostileServer(latency_s=0.005) as mortal:

        def label(**limits: Any) -> list[Any]:
            llm = open_openai("judge", mortal.url, limits=Limits(concurrency=4, **limits))
            return PreferenceLabeler("helpfulness", llm, ledger=ledger).label(PAIRS)

        async def die() -> None:
            while len(mortal.asked) < 30:
                await asyncio.sleep(0.001)
            mortal.is_down = True

        async def both() -> None:
            await asyncio.gather(die(), asyncio.to_thread(label, outage_patience_s=0.5))

        with pytest.raises(ServiceError, match="every answer that came is kept"):
            asyncio.run(both())
        mortal.is_down = False
        before = mortal.delivered.copy()
        assert all(isinstance(one, Preference) for one in label())
        assert set(mortal.delivered.values()) == {1}
        assert 0 < len(before) < len(mortal.delivered)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, "the environment variable OPENAI_API_KEY holds no key"),
        ({"base_url": "URL", "key_variable": "NOT_THERE"}, ConfigError, "variable NOT_THERE holds no key"),
        ({"base_url": "http://127.0.0.1:9/v1"}, ServiceError, "http://127.0.0.1:9/v1: no server answers"),
        ({"base_url": "URL/nowhere"}, ServiceError, "/nowhere: 404"),
        ({"base_url": "URL", "endpoint": "chatt"}, ConfigError, "endpoint is 'chatt'; known are chat and completions"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_asked(
    server: HostileServer, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {name: value.replace("URL", server.url) for name, value in options.items()}
    with pytest.raises(error, match=message):
        open_llm("openai:judge", **given)


def test_a_model_that_is_not_served_is_named_with_those_that_are(server: HostileServer) -> None:
    with pytest.raises(ModelError, match="does not serve judj; it serves judge"):
        open_llm("openai:judj", base_url=server.url)


def test_models_that_think_are_sampled_and_get_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-used")
    thinking = open_llm("openai:gpt-5-mini")
    with pytest.raises(CapabilityError, match=r"openai:gpt-5-mini gives no log-probabilities .*; use --method sampled"):
        PreferenceLabeler("helpfulness", thinking)
    assert PreferenceLabeler("helpfulness", thinking, method="sampled").config.method == "sampled"
    request = Request((Turn(role="user", content="?"),), Generate(8, 1.0, 3, ("x",)))
    _, body = thinking.render(request)  # type: ignore[attr-defined]
    assert body == {
        "model": "gpt-5-mini",
        "messages": [{"role": "user", "content": "?"}],
        "max_completion_tokens": 4104,
    }
    with pytest.raises(ConfigError, match="pocket:labeler-l is not behind a server"):
        open_llm("pocket:labeler-l", base_url="http://x/v1")


def test_a_user_may_know_better_than_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-used")
    known = open_llm("openai:gpt-5-mini", can={"top_logprobs": 5, "thinks": False})
    assert PreferenceLabeler("helpfulness", known).config.method == "logprobs"
    _, body = known.render(Request((Turn(role="user", content="?"),), Choose(("1", "2"))))  # type: ignore[attr-defined]
    assert (body["top_logprobs"], body["max_completion_tokens"]) == (5, 1)
    for can, said in (
        ({"top_logprob": 5}, "--can top_logprob: no such capability; did you mean top_logprobs"),
        ({"top_logprobs": -1}, "--can.*top_logprobs"),
    ):
        with pytest.raises(ConfigError, match=said):
            open_llm("openai:gpt-5-mini", can=can)
    with pytest.raises(ConfigError, match="pocket:labeler-l says itself what it can do"):
        open_llm("pocket:labeler-l", can={"top_logprobs": 5})


def test_scores_are_read_from_the_likeliest_tokens(server: HostileServer) -> None:
    rows = [{"id": "a", "query": "Q?", "response": "R"}]
    (score,) = Scorer("helpfulness", open_openai("judge", server.url, limits=QUICK)).score(rows)
    first = hostile.probability(server.bodies[-1])
    # Of the ten scores the server shows only 1 and 2.
    assert score.score == pytest.approx((first + 0.1 + 2 * (0.85 - first)) / 0.95)
    assert "Reply with 1, 2, 3, 4, 5, 6, 7, 8, 9 or 10, and" in server.bodies[-1]["messages"][0]["content"]


def test_a_ten_that_is_cut_is_asked_for_in_two_requests() -> None:
    rows = [{"id": "a", "query": "Q?", "response": "R"}]
    with HostileServer(cuts=True) as cutting:
        llm = open_openai("judge", cutting.url, endpoint="completions", limits=QUICK)
        (score,) = Scorer("helpfulness", llm).score(rows)
        probe, first, second = cutting.bodies
    assert probe["prompt"].startswith("10 10")
    assert second["prompt"] == first["prompt"] + "1"
    one = hostile.probability(first)
    # Behind "1" comes "0" in two cases of five; " 1", of which nobody asked how it goes on, is unread.
    assert score.distribution[9] == pytest.approx(0.4 * one)
    assert score.distribution[0] == pytest.approx(0.6 * one)
    assert score.distribution[1] == pytest.approx(0.85 - one)
    assert score.unread_mass == pytest.approx(0.15)
    words = [len(json.dumps(body["prompt"]).split()) for body in (first, second)]
    assert score.input_tokens == sum(words)


def test_faults_of_the_second_request_cost_what_the_first_did() -> None:
    rows = [{"id": str(n), "query": f"Q{n}?", "response": "R"} for n in range(40)]
    with HostileServer(cuts=True, share=0.2, kinds=("500", "truncated")) as cutting:
        llm = open_openai("judge", cutting.url, endpoint="completions", limits=QUICK)
        scores = Scorer("helpfulness", llm).score(rows)
        probes = sum(len(json.dumps(body["prompt"]).split()) for body in cutting.bodies if body["max_tokens"] == 3)
        told = sum(one.input_tokens for one in scores)
        assert all(one.distribution[9] > 0 for one in scores)
        # Every token that was delivered is told, but for those by which the tokenizer was found out.
        assert cutting.input_tokens - probes <= told <= cutting.input_tokens


def test_a_ten_that_is_cut_where_nothing_can_be_continued_is_an_error_before_the_run() -> None:
    rows = [{"id": "a", "query": "Q?", "response": "R"}]
    with HostileServer(cuts=True) as cutting:
        llm = open_openai("judge", cutting.url, limits=QUICK)
        with pytest.raises(CapabilityError, match=r"openai:judge: its tokenizer cuts 10, .*; use --method sampled"):
            Scorer("helpfulness", llm).score(rows)
        assert len(cutting.bodies) == 1
        # Preferences have no answer that begins with another, and nothing is probed.
        pair = {"id": "b", "query": "Q?", "response_1": "R", "response_2": "S"}
        assert PreferenceLabeler("helpfulness", llm).label([pair])[0].preference is not None
        assert len(cutting.bodies) == 3


def test_what_can_change_an_answer_is_the_models_identity() -> None:
    able = open_llm("scripted:hashed").capabilities
    one = OpenAILLM("m", able, base_url="http://a/v1", limits=Limits(concurrency=3))
    other = OpenAILLM("m", able, base_url="http://a/v1", served=Served(endpoint="completions"))
    assert one.identity == {"provider": "openai", "base_url": "http://a/v1", "model": "m", "endpoint": "chat"}
    assert one.identity != other.identity
