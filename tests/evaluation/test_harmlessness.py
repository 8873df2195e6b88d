"""Harmless rates by hand, by labelers and by people, and between policies."""

from typing import Any

import pytest

from rlaif.errors import ConfigError, InputError, RowError
from rlaif.evaluation.harmlessness import Rates, difference, harmless_rate, rates
from rlaif.evaluation.report import Report, Section
from rlaif.evaluation.responses import Judged, read_responses


def rows(*fields: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(f"f.jsonl:{number}", row) for number, row in enumerate(fields, 1)]


def of(policy: str, *said: float | None, start: int = 0) -> list[dict[str, Any]]:
    """Responses of a policy to queries q0, q1, …; None is a refusal of the judge."""
    return [
        {"id": f"{policy}{n}", "query": f"q{n}", "model": policy}
        | ({"failure": "refused"} if p is None else {"harmless": p, "llm": "m", "llm_version": "1"})
        for n, p in enumerate(said, start)
    ]


def report(*fields: dict[str, Any], **how: Any) -> Report:
    return harmless_rate(read_responses(("file", rows(*fields))), **how)


def section(found: Report, key: str) -> Section:
    return next(section for section in found.sections if section.key == key)


def test_the_rate_counts_from_the_threshold_on_and_failures_by_policy() -> None:
    # .9, .5, .2 and a refusal: 2 of 3 harmless, or 2 of 4; P(yes) 1.6 / 3, or 1.6 / 4.
    said = of("rl", 0.9, 0.5, 0.2, None)
    (row,) = report(*said).sections[0].rows
    assert [row[0], row[1], row[2].n, row[4]] == ["rl", "m", 3, "1 refused"]
    assert (row[2].value, row[3].value) == pytest.approx((2 / 3, 1.6 / 3))
    (row,) = report(*said, failures="harmful").sections[0].rows
    assert (row[2].value, row[3].value, row[2].n) == (pytest.approx(1 / 2), pytest.approx(0.4), 4)
    (row,) = report(*said, threshold=0.6).sections[0].rows
    assert row[2].value == pytest.approx(1 / 3)
    assert [each[3].value for each in section(report(*said), "policies").rows] == pytest.approx([2 / 3, 1 / 2])
    found = report(*said, threshold=0.6)
    assert (found.about["Harmless"], found.about["Failures"]) == ("from a P(yes) of 0.6 on", "drop: left out")


def test_differences_are_on_the_queries_that_both_answered() -> None:
    # On q1, q2: 1 and 0 against 0 and 0; q0 and q3 are of one policy only, q4 failed for the other.
    one, other = of("rl", 0.9, 0.8, 0.3, start=0), of("sft", 0.1, 0.2, 0.9, start=1)
    one += of("rl", 1.0, start=4)
    other += of("sft", None, start=4)
    (row,) = section(report(*one, *other), "differences").rows
    assert (row[0], row[1], row[2].n) == ("rl minus sft", "m", 2)
    assert row[2].value == pytest.approx(1 / 2)
    assert row[3].value == pytest.approx((0.8 + 0.3) / 2 - (0.1 + 0.2) / 2)
    # A judge's refusal that counts as harmful brings its query back: (1 + 0 + 1) / 3.
    (row,) = section(report(*one, *other, failures="harmful"), "differences").rows
    assert (row[2].value, row[2].n) == (pytest.approx(2 / 3), 3)


def test_a_difference_is_surer_than_the_rates_where_queries_decide_both() -> None:
    easy = [0.9, 0.1] * 50
    worse = [p - 0.05 for p in easy]
    mine, theirs = (
        Rates(read_responses(("f", rows(*of(name, *said)))).found, 0.5) for name, said in (("a", easy), ("b", worse))
    )
    _, gap = difference(mine, theirs, "drop", 500, 0)
    _, alone = rates(mine, "drop", 500, 0)
    assert gap.value == pytest.approx(0.05)
    assert gap.interval == "none" or gap.high - gap.low < 0.001
    assert alone.high - alone.low > 0.1
    back = difference(theirs, mine, "drop", 500, 0)[1]
    assert back.value == pytest.approx(-0.05)


def test_several_responses_to_one_query_belong_together() -> None:
    said = [
        {"id": str(n), "response_index": i, "query": f"q{n}", "harmless": n % 2, "llm": "p"}
        for n in range(8)
        for i in (0, 1)
    ]
    (row,) = report(*said).sections[0].rows
    assert (row[0], row[1]) == ("p", "labeler")
    assert (row[2].value, row[2].n, row[2].clusters) == (0.5, 16, 8)


def test_people_count_by_their_share_and_one_by_one() -> None:
    said = [
        {"id": "1", "query": "q", "model": "rl", "harmless": 2 / 3, "annotations": [1.0, 1.0, 0.0]},
        {"id": "2", "query": "r", "model": "rl", "annotations": ["no", "Yes", "no"], "annotators": ["A", "B", "C"]},
        {"id": "3", "query": "s", "model": "rl", "harmless": 0.0},
    ]
    found = harmless_rate(read_responses(people=[rows(*said)]))
    (row,) = found.sections[0].rows
    assert (row[0], row[1], row[2].n) == ("rl", "people", 3)
    assert (row[2].value, row[3].value) == pytest.approx((1 / 3, (2 / 3 + 1 / 3 + 0) / 3))
    assert {(each[1], each[2].value) for each in section(found, "annotators").rows} == {
        ("annotator 1", 1.0), ("annotator 2", 1.0), ("annotator 3", 0.0), ("A", 0.0), ("B", 1.0), ("C", 0.0),
    }  # fmt: skip


def test_whose_a_response_is() -> None:
    found = read_responses(
        (
            "file",
            rows(
                {"id": "1", "harmless": 1, "model": "m", "llm": "judge", "llm_version": "1"},
                {"id": "2", "harmless": 1, "llm": "judge", "llm_version": "1", "model_1": "x", "model_2": "y"},
                {"id": "2", "harmless": 0, "llm": "judge", "llm_version": "1", "model_2": "y", "response_index": 1},
                {"id": "3", "harmless": 1, "llm": "judge", "llm_version": "1"},
                {"id": "4", "failure": "refused", "llm": "policy"},
            ),
        )
    ).found
    assert [one.policy for one in found] == ["m", "x", "y", "file", "policy"]
    assert {one.judge for one in found} == {"judge"}
    assert found[4] == Judged("policy", "4", "judge", "labeler", None, "refused")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([{"harmless": "maybe"}], r"f\.jsonl:1: harmless holds 'maybe'; it must be a number in \[0, 1\], or yes or no"),
        ([{"response": "x"}], r"f\.jsonl:1: holds no harmless; give --task and --llm"),
        ([], "no row holds harmless"),
        ([{"id": "1", "harmless": 1}] * 2, r"f\.jsonl:2: id 1 is there before, of the same policy; ids must differ"),
    ],
)
def test_wrong_rows_are_named(fields: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        report(*fields)


def test_wrong_settings_and_rows_of_people_are_named() -> None:
    with pytest.raises(ConfigError, match="failures is 'loss'; known are drop, harmful"):
        report(*of("a", 1.0), failures="loss")
    with pytest.raises(ConfigError, match="threshold is 0; it must be above 0 and at most 1"):
        report(*of("a", 1.0), threshold=0)
    with pytest.raises(InputError, match="holds neither harmless nor annotations"):
        read_responses(people=[rows({"id": "1"})])
    with pytest.raises(InputError, match="annotations is 'yes'; it must be a list"):
        read_responses(people=[rows({"id": "1", "annotations": "yes"})])


@pytest.mark.parametrize(("said", "expected"), [([None], None), ([None, None], None), ([1.0], 1.0), ([0.1, 0.2], 0.0)])
def test_nothing_and_one_sided_samples_give_dashes_not_errors(said: list[Any], expected: float | None) -> None:
    found = report(*of("a", *said), *of("b", *said))
    for row in found.sections[0].rows:
        assert row[2].value == expected
    for each in found.sections:
        assert "nan" not in str(each.rows)


def test_rows_that_cannot_be_read_are_counted() -> None:
    found = harmless_rate(read_responses(("f", [*rows(*of("a", 1.0)), ("x", RowError("is not JSON"))])))
    assert found.about["Rows left out"] == "1 cannot be read"
