"""Soft preference labels by hand: both orders, rationales, failures, long dialogues."""

import asyncio
import math
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from conftest import make_model
from doubles import PAIR, by_order, judge, refuse, scripted, shown_first

from rlaif.errors import CapabilityError, ConfigError, InputError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.base import Capabilities, Choose, Generate, NoAnswer, Request
from rlaif.llm.transformers import TransformersLLM
from rlaif.records import Comparison, Failure, Preference, parse

ITEM = parse(Comparison, PAIR)


def labeler(script: Any, **settings: Any) -> PreferenceLabeler:
    return PreferenceLabeler("helpfulness", scripted(script), **settings)


def test_the_label_is_the_mean_over_both_orders() -> None:
    # Good shown first: P("1") = .9, so .9. Good shown second: P("1") = .4, so it is preferred with 1 - .4 = .6.
    label = judge(labeler(by_order(0.9, 0.4)), ITEM)
    assert label.preference_12 == pytest.approx(0.9)
    assert label.preference_21 == pytest.approx(0.6)
    assert label.preference == pytest.approx(0.75)
    assert label.method == "exact"
    assert label.prompt_sha256_12 != label.prompt_sha256_21


def test_swapping_the_responses_mirrors_the_label() -> None:
    swapped = parse(Comparison, {**PAIR, "response_1": "bad", "response_2": "good"})
    label = judge(labeler(by_order(0.9, 0.4)), swapped)
    assert label.preference == pytest.approx(0.25)
    assert (label.preference_12, label.preference_21) == (pytest.approx(0.4), pytest.approx(0.1))


def test_unread_mass_is_recorded_and_renormalised_away() -> None:
    label = judge(labeler(by_order(0.9, 0.4, unread=0.3)), ITEM)
    assert label.preference == pytest.approx(0.75)
    assert label.unread_mass_12 == pytest.approx(0.3)
    failure = judge(labeler(by_order(0.9, 0.4, unread=0.3), max_unread_mass=0.2), ITEM)
    assert (failure.failure, failure.partial) == ("unreadable", None)
    assert "0.3000 of the probability is on no offered answer; max_unread_mass is 0.2" in failure.detail


def test_one_order_is_drawn_by_the_items_id() -> None:
    one = labeler(by_order(0.9, 0.4), orders="one")
    shown = [judge(one, ITEM.model_copy(update={"id": str(n)})).preference_12 is not None for n in range(60)]
    assert 15 < sum(shown) < 45
    label = judge(one, ITEM)
    assert label.one_order is True
    assert label.preference in (label.preference_12, label.preference_21)


def fails_second(request: Request) -> Any:
    return by_order(0.9, 0.4)(request) if shown_first(request) == "good" else refuse(request)


def test_a_pair_with_one_failed_order_is_a_failure_that_holds_the_other() -> None:
    failure = judge(labeler(fails_second), ITEM)
    assert isinstance(failure, Failure)
    assert (failure.failure, failure.detail, failure.exchange) == ("refused", "order 21: will not", "I can't.")
    assert failure.partial is not None
    assert failure.partial["preference_12"] == pytest.approx(0.9)
    kept = judge(labeler(fails_second, allow_one_order=True), ITEM)
    assert isinstance(kept, Preference)
    assert (kept.preference, kept.one_order, kept.preference_21) == (pytest.approx(0.9), True, None)


def test_with_a_rationale_the_verdict_is_read_behind_it() -> None:
    asked: list[Request] = []

    def script(request: Request) -> Any:
        asked.append(request)
        if isinstance(request.want, Generate):
            return "Because\nPreferred response=2"
        return {"1": 0.7, "2": 0.3}

    label = judge(labeler(script, rationale=True), ITEM)
    thoughts = [one for one in asked if isinstance(one.want, Generate)]
    verdicts = [one for one in asked if isinstance(one.want, Choose)]
    assert (len(thoughts), len(verdicts)) == (2, 2)
    assert all(one.continuation == "Rationale:" for one in thoughts)
    # What the rationale says of a verdict is data: it starts no line, and stands in front of the real ending.
    expected = "Rationale: Because Preferred response=2\n\nPreferred response="
    assert all(one.continuation == expected for one in verdicts)
    assert label.rationales_12 == ("Because\nPreferred response=2",)


def test_self_consistency_is_the_mean_over_seeded_rationales() -> None:
    seeds: list[int | None] = []

    def script(request: Request) -> Any:
        if isinstance(request.want, Generate):
            seeds.append(request.want.seed)
            return str(request.draw)
        # P("1") by the number of the draw: .2, .5, .8 with mean .5 in either order.
        return {"1": [0.2, 0.5, 0.8][request.draw], "2": 1 - [0.2, 0.5, 0.8][request.draw]}

    settings = {"rationale": True, "self_consistency": 3, "temperature": 0.7}
    label = judge(labeler(script, **settings), ITEM)
    assert label.preference_12 == pytest.approx(0.5)
    assert label.rationales_12 == ("0", "1", "2")
    assert len(set(seeds)) == 6
    again = list(seeds)
    judge(labeler(script, **settings), ITEM)
    assert sorted(seeds[6:], key=str) == sorted(again, key=str)
    judge(labeler(script, **settings, seed=1), ITEM)
    assert not set(seeds[12:]) & set(again)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exemplar": 2}, "exemplar is not a setting; did you mean exemplars"),
        ({"max_unread_mass": 2}, "max_unread_mass is 2: .* less than or equal to 1"),
        ({"self_consistency": 2}, "needs rationale"),
        ({"self_consistency": 2, "rationale": True}, "needs a temperature above 0"),
        ({"orders": "three"}, "orders is 'three'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        labeler(by_order(0.5, 0.5), **settings)


def test_what_a_model_lacks_is_said_before_it_is_asked() -> None:
    for able, settings, message in [
        (Capabilities(), {}, "gives no log-probabilities of whole answers; use --method sampled"),
        (Capabilities(top_logprobs=5), {"method": "exact"}, "whole answers; use --method logprobs"),
        (Capabilities(exact=True), {"method": "logprobs"}, "does not show its likeliest tokens; use --method exact"),
        (Capabilities(draws=True), {"method": "logprobs"}, "does not show its likeliest tokens; use --method sampled"),
        (Capabilities(exact=True, continues=True), {"rationale": True, "temperature": 0.5}, "takes no temperature"),
    ]:
        with pytest.raises(CapabilityError, match=message):
            PreferenceLabeler("helpfulness", scripted(refuse, capabilities=able), **settings)


def test_a_long_dialogue_loses_its_oldest_turns_the_same_in_both_orders(tmp_path: Path) -> None:
    llm = TransformersLLM(make_model(tmp_path, context=1024))
    turns = [{"role": role, "content": f"{n} " + "word " * 30} for n in range(12) for role in ("user", "assistant")]
    item = parse(Comparison, {"query": turns[:-1], "response_1": "good", "response_2": "bad"})
    labeler = PreferenceLabeler("helpfulness", llm, preamble="base", max_unread_mass=1.0)
    label = judge(labeler, item)
    assert isinstance(label, Preference)
    assert label.dropped_turns is not None
    assert 0 < label.dropped_turns < 23
    short = judge(labeler, parse(Comparison, {**PAIR, "query": turns[label.dropped_turns : -1]}))
    assert short.prompt_sha256_12 == label.prompt_sha256_12
    assert short.prompt_sha256_21 == label.prompt_sha256_21
    longer = judge(labeler, parse(Comparison, {**PAIR, "query": turns[label.dropped_turns - 1 : -1]}))
    assert longer.dropped_turns == 1
    first_prompts = (label.input_tokens + (label.dropped_tokens or 0) * 2) / 2
    assert first_prompts > 1024


@pytest.mark.parametrize("rationale", [False, True])
def test_whatever_its_length_a_dialogue_is_cut_to_leave_room_for_the_answer(rationale: bool) -> None:
    context, tokens = 700, 300 if rationale else 0
    asked: list[int] = []

    def script(request: Request) -> Any:
        asked.append(llm.count_tokens(request))
        return "" if isinstance(request.want, Generate) else {"1": 0.5, "2": 0.5}

    able = Capabilities(exact=True, continues=True, context_tokens=context)
    llm = scripted(script, capabilities=able)
    labeler = PreferenceLabeler("helpfulness", llm, rationale=rationale, max_rationale_tokens=300)
    dropped = set()
    for words in range(1, 120):
        turns = [{"role": "user", "content": "word " * words} for _ in range(9)]
        label = judge(labeler, parse(Comparison, {**PAIR, "query": turns}))
        dropped.add(label.dropped_turns)
        # The longest prompt leaves room, and one turn more would not.
        assert max(asked) + tokens <= context - 8
        if label.dropped_turns:
            assert max(asked) + tokens + 2 * words + 9 > context - 8
        asked.clear()
    assert len(dropped) > 4


def test_a_response_of_a_megabyte_is_too_long_when_the_query_is_gone(tmp_path: Path) -> None:
    llm = TransformersLLM(make_model(tmp_path, context=1024))
    labeler = PreferenceLabeler("helpfulness", llm)
    failure = judge(labeler, parse(Comparison, {**PAIR, "response_1": "long " * 200_000}))
    assert failure.failure == "too_long"
    assert "without any of the query" in failure.detail


ROWS = [{**PAIR, "id": str(n), "topic": "t"} for n in range(5)] + [
    {**PAIR, "id": "bad", "topic": "t", "response_1": ""}
]


def test_a_list_comes_back_as_a_list_in_its_order() -> None:
    found = labeler(by_order(0.9, 0.4)).label(ROWS)
    assert [record.id for record in found] == ["0", "1", "2", "3", "4", "bad"]
    assert [type(record) for record in found] == [Preference] * 5 + [Failure]
    assert found[0].model_extra == {"topic": "t"}


def test_a_data_frame_comes_back_row_by_row() -> None:
    frame = pd.DataFrame(ROWS, index=list("abcdef"))
    found = labeler(by_order(0.9, 0.4)).label(frame)
    assert list(found.index) == list("abcdef")
    assert list(found["topic"]) == ["t"] * 6
    assert found["preference"].iloc[0] == pytest.approx(0.75)
    assert math.isnan(found["preference"].iloc[5])
    assert found["failure"].iloc[5] == "rejected"
    assert pd.isna(found["failure"].iloc[0])


def test_a_dataset_comes_back_as_a_dataset() -> None:
    found = labeler(by_order(0.9, 0.4)).label(datasets.Dataset.from_list(ROWS))
    assert isinstance(found, datasets.Dataset)
    assert found["preference"][5] is None
    assert found["preference"][0] == pytest.approx(0.75)


def test_a_file_comes_back_as_files(tmp_path: Path) -> None:
    out = labeler(by_order(0.9, 0.4)).label(ROWS, out=tmp_path / "labels.parquet")
    assert list(pd.read_parquet(out)["preference"]) == pytest.approx([0.75] * 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.failures.jsonl", "labels.parquet"]
    again = labeler(by_order(0.9, 0.4)).label(out, out=tmp_path / "again.jsonl")
    assert again.read_text().count("\n") == 5
    with pytest.raises(InputError, match="give out=FILE"):
        labeler(by_order(0.9, 0.4)).label(str(out))


def test_labeling_works_inside_a_running_event_loop() -> None:
    async def notebook() -> Any:
        return labeler(by_order(0.9, 0.4)).label(ROWS[:1])

    assert asyncio.run(notebook())[0].preference == pytest.approx(0.75)

    async def failing() -> Any:
        def broken(request: Request) -> Any:
            raise ZeroDivisionError("a user's bug")

        return labeler(broken).label(ROWS[:1])

    with pytest.raises(ZeroDivisionError, match="a user's bug"):
        asyncio.run(failing())


def test_columns_are_mapped_by_keyword() -> None:
    rows = [{"prompt": "Q?", "a": "good", "b": "bad"}]
    columns = {"query": "prompt", "response_1": "a", "response_2": "b"}
    assert labeler(by_order(0.9, 0.4)).label(rows, columns=columns)[0].preference == pytest.approx(0.75)


def test_a_ledger_answers_the_second_time(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    first = labeler(by_order(0.9, 0.4), ledger=path).label(ROWS)
    never = labeler(lambda _: NoAnswer("unavailable", "asked again"), ledger=path).label(ROWS)
    assert [one.to_json() for one in never] == [one.to_json() for one in first]


def test_a_row_that_cannot_be_read_keeps_its_id_and_columns() -> None:
    rows = [{**PAIR, "topic": "t"}, {**PAIR, "id": "mine", "topic": "t", "human_preference": 2}]
    found = labeler(by_order(0.9, 0.4)).label(pd.DataFrame(rows))
    assert list(found["id"]) == ["p", "mine"]
    assert list(found["topic"]) == ["t", "t"]
    assert list(found["failure"].fillna("-")) == ["-", "rejected"]


def test_a_file_that_cannot_be_written_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    def never(request: Request) -> Any:
        raise AssertionError("asked")

    with pytest.raises(InputError, match="cannot write this kind of file"):
        labeler(never).label(ROWS, out=tmp_path / "labels.txt")


def test_what_was_judged_is_kept_where_it_cannot_be_converted(tmp_path: Path) -> None:
    rows = [{**PAIR, "id": "1", "mixed": "text"}, {**PAIR, "id": "2", "mixed": ["list"]}]
    with pytest.raises(InputError, match=r"what was judged is in .*labels\.parquet\.unconverted\.jsonl"):
        labeler(by_order(0.9, 0.4)).label(rows, out=tmp_path / "labels.parquet")
    assert (tmp_path / "labels.parquet.unconverted.jsonl").read_text().count("\n") == 2


def test_two_files_in_one_folder_have_failures_of_their_own(tmp_path: Path) -> None:
    labeler(by_order(0.9, 0.4)).label(ROWS, out=tmp_path / "hh.gpt.jsonl")
    labeler(by_order(0.9, 0.4)).label(ROWS[:2], out=tmp_path / "hh.claude.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "hh.claude.jsonl", "hh.gpt.failures.jsonl", "hh.gpt.jsonl"
    ]  # fmt: skip


def test_a_rationale_of_many_lines_takes_no_more_room_than_it_was_given(tmp_path: Path) -> None:
    prompter = labeler(by_order(0.9, 0.4), rationale=True).prompter
    first = prompter.ask(ITEM.query, "a", "b")
    many = prompter.conclude(first, "a\n\nb\n" * 100)
    assert many.continuation.count("\n") == prompter.conclude(first, "a").continuation.count("\n")
    assert many.continuation.startswith("Rationale: a b a b")
