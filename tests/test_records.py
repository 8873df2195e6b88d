"""Rows become records, or say what is wrong with them."""

from typing import Any

import pytest

from rlaif.errors import RowError
from rlaif.records import (
    Comparison,
    Preference,
    Response,
    Sample,
    Turn,
    check_comparison,
    check_response,
    check_sample,
    parse,
)

ROW: dict[str, Any] = {"query": "Hi", "response_1": "a", "response_2": "b"}


def test_a_plain_string_is_one_user_turn_and_other_columns_are_kept() -> None:
    comparison = parse(Comparison, {**ROW, "topic": "x", "rating": 3})
    assert comparison.query == (Turn(role="user", content="Hi"),)
    assert comparison.model_extra == {"topic": "x"}
    assert '"topic":"x"' in comparison.to_json()
    assert "human_preference" not in comparison.to_json()


def test_an_id_is_kept_or_made_of_the_content() -> None:
    assert parse(Comparison, {**ROW, "id": 7}).id == "7"
    made = parse(Comparison, ROW).id
    assert made == parse(Comparison, dict(reversed(ROW.items()))).id
    assert made != parse(Comparison, {**ROW, "response_2": "c"}).id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response_2": 4}, "response_2 is 4; it must be a string"),
        ({"response_2": None}, "response_2 is null; it must be a string"),
        ({"response_1": True}, "response_1 is true; it must be a string"),
        ({"human_preference": 1.5}, r"human_preference is 1.5; it must be in \[0, 1\]"),
        ({"human_preference": -0.1}, r"human_preference is -0.1; it must be in \[0, 1\]"),
        ({"human_preference": float("nan")}, r"human_preference is NaN"),
        ({"human_preference": True}, "human_preference is true; it must be a number"),
        ({"annotations": [1, 2]}, r"annotations.1 is 2; it must be in \[0, 1\]"),
        ({"query": []}, "query is empty; a query needs at least one turn"),
        ({"query": 3}, "query is 3; it must be a list"),
        ({"query": [{"role": "user"}]}, "query.0.content is missing"),
        ({"query": [{"role": "bot", "content": "x"}]}, 'query.0.role is "bot"'),
        ({"response_1": ["x" * 99]}, r"response_1 is \[\"x+\.\.\.; it must be a string"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_found_and_what_is_right(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError, match=message):
        parse(Comparison, {**ROW, **change})


def test_a_missing_field_is_named() -> None:
    with pytest.raises(RowError, match="response_2 is missing"):
        parse(Comparison, {"query": "Hi", "response_1": "a"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response_2": " \n"}, "response_2 is empty; a comparison needs two non-empty responses"),
        ({"response_2": "a"}, "identical; there is nothing to prefer"),
        ({"response_2": "a\0b"}, "response_2 holds a NUL character"),
        ({"query": "a\0b"}, "query.0.content holds a NUL character"),
        ({"response_1": "\ud800"}, "half of a surrogate pair"),
    ],
)
def test_what_cannot_be_sent_to_a_model_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError, match=message):
        check_comparison(parse(Comparison, {**ROW, **change}))


def test_responses_and_samples_are_checked_too() -> None:
    with pytest.raises(RowError, match="nothing to judge or revise"):
        check_response(parse(Response, {"query": "Hi", "response": ""}))
    for responses, message in [(["a"], "1 responses"), (["a"] * 2, "identical"), (["a", ""], r"responses.1 is empty")]:
        with pytest.raises(RowError, match=message):
            check_sample(parse(Sample, {"query": "Hi", "responses": responses}))


def test_a_record_reads_back_what_it_wrote() -> None:
    label = Preference(
        id="1", query=(Turn(role="user", content="é"),), response_1="a", response_2="b", preference=0.25,
        preference_12=0.25, method="exact", llm="m", llm_version="v", input_tokens=1, cached_tokens=0, output_tokens=1,
        rationales_12=("why",), topic="kept",
    )  # fmt: skip
    again = Preference.model_validate_json(label.to_json())
    assert again == label
    assert list(Preference.model_fields)[:4] == ["id", "query", "response_1", "response_2"]
