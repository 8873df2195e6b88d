"""Who won, whoever judged, and which way round."""

from typing import Any

import pytest

from rlaif.errors import InputError, RowError
from rlaif.evaluation.contests import Contest, Contests, query_of, read_contests


def rows(*fields: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(f"f.jsonl:{number}", row) for number, row in enumerate(fields, 1)]


def pair(one: str = "a", other: str = "b", **fields: Any) -> dict[str, Any]:
    return {"model_1": one, "model_2": other, **fields}


def only(contests: Contests, kind: str = "labeler") -> list[Contest]:
    return [one for one in contests.found if one.kind == kind]


def test_a_labelers_verdict_has_orders_words_and_a_cluster() -> None:
    label = pair(
        query="Q?", response_1="one two three", response_2="four", preference=0.7, preference_12=0.9, preference_21=0.5
    )
    (found,) = read_contests(rows(label | {"llm": "m"})).found
    assert found == Contest(("a", "b"), "Q?", "m", "labeler", 1.0, 0.7, 0.9, 0.5, None, (3, 1))
    # Seen from b its own response was shown first where a's was shown second.
    assert found.swapped() == Contest(
        ("b", "a"), "Q?", "m", "labeler", 0.0, pytest.approx(0.3), 0.5, pytest.approx(0.1), None, (1, 3)
    )


def test_people_are_a_majority_a_mean_and_each_annotator() -> None:
    found = read_contests(rows(pair(annotations=[1, 0.5, 1.0], annotators=["Ann", "Bob", "Cy"]))).found
    assert [(one.judge, one.kind, one.win, one.preference) for one in found] == [
        ("people", "people", 1.0, pytest.approx(5 / 6)),
        ("Ann", "annotator", 1.0, 1.0),
        ("Bob", "annotator", 0.5, 0.5),
        ("Cy", "annotator", 1.0, 1.0),
    ]
    # One for each side and a tie: no majority. A vote that was not given is none.
    (people, *others) = read_contests(rows(pair(annotations=[1, None, 0, 0.5]))).found
    assert (people.win, people.preference, len(others)) == (0.5, 0.5, 3)
    assert others[1].judge == "annotator 3"
    (people,) = read_contests(rows(pair(human_preference="0.25"))).found
    assert (people.win, people.preference) == (0.0, 0.25)


def test_labels_carry_people_along_unless_they_are_elsewhere() -> None:
    row = pair(preference=0.2, human_preference=1.0)
    assert [one.kind for one in read_contests(rows(row)).found] == ["labeler", "people"]
    assert [one.kind for one in read_contests(rows(row), people_beside=False).found] == ["labeler"]


def test_a_failure_is_that_of_the_only_labeler_in_its_source() -> None:
    failure = pair(failure="refused", detail="no")
    one = read_contests(rows(pair(preference=0.5, llm="m"), failure)).found
    assert [(each.judge, each.win, each.failure) for each in one] == [("m", 0.5, None), ("m", None, "refused")]
    beside = read_contests(rows(pair(preference=0.5, llm="m", annotations=[1]), failure)).found
    assert beside[-1].judge == "m"
    two = read_contests(rows(pair(preference=0.5, llm="m"), pair(preference=0.5, llm="n"), failure)).found
    assert two[-1].judge == "labeler"


def test_the_first_names_decide_which_way_round_unless_a_policy_or_baseline_does() -> None:
    contests = read_contests(
        rows(pair("a", "b", preference=1), pair("b", "a", preference=1), pair("c", "a", preference=0))
    )

    def wins(**which: str) -> dict[tuple[str, str], list[float | None]]:
        return {way: [one.win for one in by["labeler", "labeler"]] for way, by in contests.matchups(**which).items()}

    assert wins() == {("a", "b"): [1, 0], ("c", "a"): [0]}
    assert wins(policy="b") == {("b", "a"): [0, 1]}
    assert wins(baseline="a") == {("b", "a"): [0, 1], ("c", "a"): [0]}
    assert wins(policy="a") == {("a", "b"): [1, 0], ("a", "c"): [1]}
    assert wins(policy="a", baseline="c") == {("a", "c"): [1]}
    with pytest.raises(InputError, match="no row has the model bb; did you mean b"):
        contests.matchups(policy="bb")
    with pytest.raises(InputError, match="no row compares b with c; models are a, b, c"):
        contests.matchups("b", "c")


def test_what_is_left_out_is_counted() -> None:
    contests = read_contests(
        [*rows(pair(preference=1), pair("a", "a", preference=1), pair(topic="t")), ("x", RowError("is not JSON"))]
    )
    assert (len(contests.found), contests.itself, contests.silent, contests.unusable) == (1, 1, 1, 1)
    said = contests.about["Rows left out"]
    assert said == "1 cannot be read, 1 compare a model with itself, 1 hold no judgement"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([{"preference": "often"}], r"f\.jsonl:1: preference is 'often'; it must be a number in \[0, 1\]"),
        ([{"annotations": [1, 2]}], r"f\.jsonl:1: annotations holds 2; it must be a number in \[0, 1\]"),
        (
            [{"topic": "t"}, pair("a", "a", preference=1)],
            r"no row holds a judgement of two models \(1 compare a model with itself, 1 hold no judgement\); a row",
        ),
        ([], "no row holds a judgement"),
        (
            [{"id": "7", "preference": 1, "llm": "m"}] * 2,
            r"f\.jsonl:2: id 7 has a judgement of these models by m already; ids must differ",
        ),
    ],
)
def test_wrong_rows_are_named(fields: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_contests(rows(*fields))


def test_queries_are_the_same_as_texts_and_as_single_turns() -> None:
    assert query_of("w", {"query": "Q?"}) == "Q?"
    assert query_of("w", {"query": [{"role": "user", "content": "Q?"}]}) == "Q?"
    assert query_of("w", {"query": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A"}]}) != "Q?"
    assert query_of("w", {"query": "", "id": 5}) == "5"
    assert query_of("w", {}) == "w"


def test_the_page_is_given_what_it_shows() -> None:
    row = pair(id=3, query="Q?", response_1="x", response_2="y", preference=0.9, llm="m", annotations=[0.0])
    (shown,) = read_contests(rows(row)).pairs
    assert shown == {
        "id": "3", "query": "Q?", "models": ["a", "b"], "responses": ["x", "y"], "human": 0.0, "annotations": [0.0],
        "labels": [{"labeler": "m", "preference": 0.9, "agrees": False}],
    }  # fmt: skip


def test_people_in_a_file_of_their_own_are_beside_the_labels_on_the_page_the_same_way_round() -> None:
    texts = {"query": "Q?", "response_1": "x", "response_2": "y"}
    label = pair(id="1", **texts, llm="m", preference=0.7, preference_12=0.6, preference_21=0.8)
    turned = pair("b", "a", id="1", query="Q?", response_1="y", response_2="x")
    people = turned | {"human_preference": 0.0, "annotations": [0.0, 0.5, 0.0], "annotators": ["A", "B", "C"]}
    other = turned | {
        "llm": "n",
        "preference": 0.9,
        "preference_12": 1.0,
        "preference_21": 0.8,
        "rationales_12": ["y!"],
    }
    (shown,) = read_contests(rows(label), rows(other), rows(people)).pairs
    assert (shown["models"], shown["responses"]) == (["a", "b"], ["x", "y"])
    assert (shown["human"], shown["annotations"]) == (pytest.approx(5 / 6), [1.0, 0.5, 1.0])
    first, second = shown["labels"]
    assert first == {**{"labeler": "m", "preference": 0.7, "preference_12": 0.6, "preference_21": 0.8, "agrees": True}}
    # What n read first was y: in our names, its order 21.
    assert second == {
        **{"labeler": "n", "preference": pytest.approx(0.1), "preference_12": pytest.approx(0.2)},
        **{"preference_21": 0.0, "rationales_21": ["y!"], "agrees": False},
    }


def test_the_page_holds_numbers_and_names_the_labeler_of_a_failure() -> None:
    said = pair(id="1", llm="m", preference="0.9", preference_12="0.8", preference_21="1", human_preference="1")
    failed = pair(id="2", failure="refused", human_preference="")
    one, other = (shown["labels"] for shown in read_contests(rows(said, failed)).pairs)
    assert one == [{"labeler": "m", "preference": 0.9, "preference_12": 0.8, "preference_21": 1.0, "agrees": True}]
    assert other == [{"labeler": "m", "failure": "refused"}]


def test_rows_of_other_models_or_without_an_id_stay_pairs_of_their_own() -> None:
    one, other, third = pair(id="1", preference=1), pair("a", "c", id="1", preference=1), pair(preference=1)
    assert len(read_contests(rows(one, other, third, third)).pairs) == 4
