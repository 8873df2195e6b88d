"""Labels and people's judgements are joined the right way round."""

from collections.abc import Iterable
from typing import Any

import pytest

from rlaif.errors import InputError, RowError
from rlaif.evaluation.items import Gathering, Items
from rlaif.evaluation.verdicts import ABSENT, FIRST, SECOND, TIE, UNREAD

Row = dict[str, Any]


def numbered(rows: Iterable[Row | RowError]) -> list[tuple[str, Row | RowError]]:
    return [(f"x.jsonl:{number}", row) for number, row in enumerate(rows, 1)]


def gathered(*labels: list[Row], people: list[Row] | None = None) -> Items:
    gathering = Gathering()
    for number, rows in enumerate(labels):
        gathering.add_labels(f"labeler {number}", numbered(rows))
    if people is not None:
        gathering.add_people("people.jsonl", numbered(people))
    return gathering.items()


def pair(identifier: str, **more: object) -> Row:
    return {"id": identifier, "query": f"Q{identifier}", "response_1": "one", "response_2": "two", **more}


JUDGED = pair("a", verdict=1)


def test_labels_and_people_are_joined_by_id() -> None:
    items = gathered(
        [pair("a", preference=0.9), pair("b", preference=0.2), pair("c", failure="refused", detail="no")],
        people=[
            {"id": 9, "human_preference": 1},
            {"id": "a", "human_preference": 1},
            {"id": "b", "annotations": [0, 1, 0]},
        ],
    )
    (labeler,) = items.labelers
    assert items.human.tolist() == [FIRST, SECOND, ABSENT]
    assert labeler.side.tolist() == [FIRST, SECOND, UNREAD]
    assert labeler.failures == {"refused": 1}
    assert items.annotations.tolist() == [[ABSENT] * 3, [SECOND, FIRST, SECOND], [ABSENT] * 3]


def test_rows_that_have_the_responses_the_other_way_round_are_turned() -> None:
    turned = {"id": "a", "query": "Qa", "response_1": "two", "response_2": "one", "model_1": "m2", "model_2": "m1"}
    items = gathered(
        [pair("a", preference=0.9, preference_12=0.8, preference_21=1.0)],
        [turned | {"preference": 0.3, "preference_12": 0.2, "preference_21": 0.4}],
        people=[turned | {"human_preference": 0, "annotations": [0, 0.5, 1]}],
    )
    first, second = items.labelers
    assert items.human.tolist() == [FIRST]
    assert items.annotations.tolist() == [[FIRST, TIE, SECOND]]
    assert (first.side.tolist(), second.side.tolist()) == ([FIRST], [FIRST])
    # Its order 12 showed "two" first, which is our response 2.
    assert second.preference_12.tolist() == pytest.approx([0.6])
    assert second.preference_21.tolist() == pytest.approx([0.8])
    assert items.items[0].columns["model_1"] == "m1"


def test_items_without_id_are_joined_by_content() -> None:
    bare = {name: value for name, value in pair("a").items() if name != "id"}
    items = gathered([bare | {"preference": 1}], people=[bare | {"human_preference": 1}])
    assert items.human.tolist() == [FIRST]


def test_clusters_are_queries_then_ids_or_a_column() -> None:
    rows = [pair("a", preference=1, query="same"), pair("b", preference=1, query="same"), {"id": "c", "preference": 1}]
    assert gathered(rows).clusters.tolist() == ["same", "same", "c"]
    gathering = Gathering()
    gathering.add_labels("x", numbered([pair("a", preference=1, topic=3), pair("b", preference=1, topic=3)]))
    assert gathering.items("topic").clusters.tolist() == ["3", "3"]


def test_a_column_of_labelers_tells_them_apart() -> None:
    items = gathered([pair("a", verdict=1, labeler="x"), pair("a", verdict=2, labeler="y")])
    assert [(one.name, one.side.tolist()) for one in items.labelers] == [("x", [FIRST]), ("y", [SECOND])]


def test_people_in_a_file_of_their_own_replace_those_beside_the_labels() -> None:
    gathering = Gathering(people_beside=False)
    gathering.add_labels("x", numbered([pair("a", preference=1, human_preference=0), pair("b", preference=1)]))
    gathering.add_people("people", numbered([{"id": "b", "human_preference": 0.5}]))
    assert gathering.items().human.tolist() == [ABSENT, TIE]


def test_odd_and_missing_texts_do_not_matter_and_unusable_rows_are_counted() -> None:
    gathering = Gathering()
    gathering.add_labels(
        "x", numbered([pair("a", preference=1, response_1=True), RowError("bad"), pair("b", verdict=2)])
    )
    assert gathering.unusable == {"x": 1}
    assert len(gathering.items().items) == 2


@pytest.mark.parametrize(
    ("labels", "people", "message"),
    [
        ([pair("a")], None, r"x.jsonl:1: holds no judgement; .* found id, query, .*; --map verdict="),
        ([pair("a", verdict=1), pair("a", verdict=1)], None, "x.jsonl:2: id a has a judgement by labeler 0 already"),
        ([pair("a", preference=7)], None, "x.jsonl:1: preference is 7; it must be a number in"),
        ([JUDGED], [{"id": "b", "human_preference": 1}], r"no id is that of a label \(ids there: b, …; of labels: a"),
        ([JUDGED], [{"id": "a"}], "people.jsonl: holds no label by people"),
        ([JUDGED], [{"id": "a", "human_preference": 2}], r"people's label is 2; it must be in \[0, 1\].* column map"),
        ([JUDGED], [{"id": "a", "human_preference": "A"}], "human_preference is 'A' and annotations are"),
        ([JUDGED], [pair("a", response_2="else", human_preference=1)], "id a has other responses than elsewhere"),
    ],
)
def test_files_that_do_not_fit_are_errors_that_say_where(
    labels: list[Row], people: list[Row] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        gathered(labels, people=people)


def test_what_a_table_without_types_says_of_costs_is_a_number() -> None:
    items = gathered([pair("a", preference="0.9", cost_usd="0.25"), pair("b", preference="0.9", cost_usd="")])
    assert items.labelers[0].cost_usd == 0.25
    for wrong in ("free", "nan"):
        with pytest.raises(InputError, match=f"x.jsonl:1: cost_usd is '{wrong}'; it must be a number of dollars"):
            gathered([pair("a", preference=1, cost_usd=wrong)])


def test_a_column_that_no_row_has_is_an_error_that_names_those_there_are() -> None:
    items = gathered([pair("a", preference=1, topic="x")])
    assert items.column("topic") == ["x"]
    with pytest.raises(InputError, match="there is no column topics; the rows have topic"):
        items.column("topics")
