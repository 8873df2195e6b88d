"""Other projects' rows become comparisons that keep who won."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import real_data

from rlaif.columns import ColumnMap
from rlaif.conventions import Format, majority, read_comparisons, read_drafts, read_responses, read_samples
from rlaif.errors import InputError, RowError
from rlaif.records import Comparison, Draft, check_comparison


def first(rows: list[dict[str, Any]], format: Format = "auto", columns: ColumnMap | None = None) -> Comparison:
    _, comparison = next(read_comparisons(rows, format, columns))
    assert isinstance(comparison, Comparison), comparison
    return comparison


def error(rows: list[dict[str, Any]], format: Format = "auto") -> str:
    (_, wrong), *_ = read_comparisons(rows, format)
    assert isinstance(wrong, RowError)
    return str(wrong)


def winner(comparison: Comparison) -> str:
    return comparison.response_1 if comparison.human_preference == 1.0 else comparison.response_2


HH = {
    "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: good",
    "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: bad",
}


def test_hh_dialogues_become_turns() -> None:
    comparison = first([HH])
    assert [(turn.role, turn.content) for turn in comparison.query] == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ]
    assert winner(comparison) == "good"


def test_the_chosen_response_stands_on_either_side_by_a_seeded_coin() -> None:
    rows = [{"prompt": f"q{n}", "chosen": "good", "rejected": "bad"} for n in range(400)]
    sides = [c.human_preference for _, c in read_comparisons(rows) if isinstance(c, Comparison)]
    # 200 ± 5 standard deviations of a fair coin thrown 400 times (10 each).
    assert 150 < sides.count(1.0) < 250
    assert sides == [c.human_preference for _, c in read_comparisons(rows) if isinstance(c, Comparison)]
    other = [c.human_preference for _, c in read_comparisons(rows, seed=1) if isinstance(c, Comparison)]
    assert other != sides
    assert all(winner(c) == "good" for _, c in read_comparisons(rows) if isinstance(c, Comparison))


def test_hh_faults_are_row_faults() -> None:
    assert "differ before the last turn" in error([{**HH, "rejected": "\n\nHuman: x\n\nAssistant: bad"}])
    assert "does not start with" in error([{**HH, "rejected": "hello\n\nAssistant: x"}])
    assert "does not end with" in error([{**HH, "chosen": "\n\nHuman: a"}])
    assert "chosen is int" in error([{**HH, "chosen": 3}], "hh-rlhf")


def test_trl_rows_may_be_texts_or_messages_with_or_without_prompt() -> None:
    question, good, bad = (
        {"role": r, "content": c} for r, c in [("user", "q"), ("assistant", "g"), ("assistant", "b")]
    )
    for row in (
        {"prompt": "q", "chosen": "g", "rejected": "b"},
        {"prompt": [question], "chosen": [good], "rejected": [bad]},
        {"chosen": [question, good], "rejected": [question, bad]},
    ):
        comparison = first([row])
        assert [turn.content for turn in comparison.query] == ["q"]
        assert winner(comparison) == "g"
    assert "differ" in error([{"chosen": [question, good], "rejected": [good, bad]}])


@pytest.mark.parametrize(("preference", "mine"), [(1, 1.0), (2, 0.0), (1.5, 0.5), (0, 0.5), (1.25, 0.75)])
def test_alpaca_eval_counts_from_one_to_two(preference: float, mine: float) -> None:
    row = {"instruction": "q", "input": "i", "output_1": "a", "output_2": "b", "preference": preference}
    comparison = first([{**row, "generator_1": "m"}])
    assert (comparison.human_preference, comparison.model_1) == (mine, "m")
    assert comparison.query[0].content == "q\n\ni"
    # With an annotator's name it was a model that judged, not a person.
    by_model = first([{**row, "annotator": "gpt"}])
    assert by_model.human_preference is None
    assert by_model.model_extra == {"annotator": "gpt", "annotator_preference": mine}
    assert "alpaca-eval writes 1 to 2" in error([{**row, "preference": 3}])


def test_pandalm_votes_become_annotations_and_their_majority() -> None:
    row = {"idx": 0, "instruction": "q", "input": "", "response1": "a", "response2": "b"}
    comparison = first([{**row, "annotator1": 1, "annotator2": 0, "annotator3": 1}])
    assert (comparison.id, comparison.annotations, comparison.human_preference) == ("0", (1.0, 0.5, 1.0), 1.0)
    assert first([{**row, "annotator1": 1, "annotator2": 0, "annotator3": 2}]).human_preference == 0.5


def test_samples_are_compared_in_pairs_and_scored_one_by_one() -> None:
    rows = [{"id": "s", "query": "q", "responses": ["a", "b", "c", "d", "e"]}]
    pairs = [c for _, c in read_comparisons(rows) if isinstance(c, Comparison)]
    assert [(c.id, c.response_1, c.response_2) for c in pairs] == [("s/1", "a", "b"), ("s/2", "c", "d")]
    assert [(r.response_index, r.response) for _, r in read_responses(rows)] == list(enumerate("abcde"))  # type: ignore[union-attr]
    assert [len(s.responses) for _, s in read_samples(rows)] == [5]  # type: ignore[union-attr]


def test_comparisons_are_scored_response_by_response() -> None:
    rows = [{"id": "c", "query": "q", "response_1": "a", "response_2": "b"}, {"query": "q", "response": "x"}]
    found = [(r.id, r.response_index, r.response) for _, r in read_responses(rows[:1])]  # type: ignore[union-attr]
    assert found == [("c", 0, "a"), ("c", 1, "b")]
    assert next(read_responses(rows[1:]))[1].response == "x"  # type: ignore[union-attr]


def test_columns_can_be_mapped_on_the_command_line_and_by_a_file(tmp_path: Path) -> None:
    row = {"prompt": "q", "a": "x", "b": "y", "label": "A", "topic": "t"}
    words = ["query=prompt", "response_1=a", "response_2=b"]
    assert first([row], columns=ColumnMap.from_words(words)).model_extra == {"label": "A", "topic": "t"}
    path = tmp_path / "map.yaml"
    path.write_text(
        "columns: {query: prompt, response_1: a, response_2: b, human_preference: label}\n"
        "values: {human_preference: {A: 1, B: 0, tie: 0.5}}\n"
    )
    mapped = ColumnMap.from_words([str(path)])
    assert first([row], columns=mapped).human_preference == 1.0
    (_, wrong), *_ = read_comparisons([{**row, "label": "C"}], columns=mapped)
    assert "the column map knows A, B, tie" in str(wrong)


def test_wrong_maps_and_columns_are_faults_of_the_file(tmp_path: Path) -> None:
    for words, message in [
        (["query"], "write field=column"),
        (["qery=a"], "did you mean query"),
        (["none.yaml"], "no such file"),
    ]:
        with pytest.raises(InputError, match=message):
            ColumnMap.from_words(words)
    (tmp_path / "m.yaml").write_text("- a")
    with pytest.raises(InputError, match="a column map is"):
        ColumnMap.from_words([str(tmp_path / "m.yaml")])
    with pytest.raises(InputError, match="there is no column promt; did you mean prompt"):
        first([{"prompt": "q"}], columns=ColumnMap({"query": "promt"}))
    with pytest.raises(InputError, match="there is no column response_2, which comparisons has"):
        first([{"query": "q", "response_1": "a"}], "comparisons")
    with pytest.raises(InputError, match="are those of no known format"):
        first([{"x": 1}])


def test_text_in_cells_becomes_numbers_where_numbers_are_meant() -> None:
    row = {"query": "q", "response_1": "a", "response_2": "b"}
    assert first([{**row, "human_preference": "0.25", "rating": ""}]).human_preference == 0.25
    assert "must be a number" in error([{**row, "human_preference": "yes"}])


def count(name: str, columns: ColumnMap | None = None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for _, item in read_comparisons(real_data(name), columns=columns):
        try:
            if isinstance(item, RowError):
                raise item
            check_comparison(item)
            counts["good"] += 1
        except RowError as wrong:
            words = ("empty", "differ", "must be a string")
            counts[next((word for word in words if word in str(wrong)), str(wrong))] += 1
    return counts


def test_real_data_has_the_bad_rows_that_it_is_known_to_have() -> None:
    assert count("hh_rlhf_harmless_test.jsonl.gz") == {"good": 2303, "empty": 4, "differ": 5}
    assert count("pandalm_testset.json.gz") == {"good": 939, "empty": 54, "must be a string": 6}
    columns = ColumnMap({"query": "instruction", "response_1": "output_1", "response_2": "output_2"})
    assert count("llmbar_pairs.jsonl.gz", columns) == {"good": 166}


def test_pandalm_majorities_are_those_that_are_known() -> None:
    votes = Counter(
        row.human_preference
        for _, row in read_comparisons(real_data("pandalm_testset.json.gz"))
        if isinstance(row, Comparison)
    )
    # Known over all 999: 105 ties, 422, 472. The six rows with a boolean as response are not among these.
    assert sum(votes.values()) == 993
    assert abs(votes[0.5] - 105) + abs(votes[1.0] - 422) + abs(votes[0.0] - 472) == 6


def test_an_id_of_zero_is_an_id() -> None:
    assert first([{"id": 0, "prompt": "q", "chosen": "a", "rejected": "b"}]).id == "0"


@pytest.mark.parametrize("content", [b"columns: {query: a}\nvalues: [1]", b"\xff\xfe", b"a: [", b"values: {query: 3}"])
def test_a_column_map_that_is_none_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.yaml: "):
        ColumnMap.from_words([str(tmp_path / "m.yaml")])


@pytest.mark.parametrize(
    ("annotations", "most"),
    [
        ([1], 1),
        ([1, 0], 0.5),
        ([1, 1, 0], 1),
        ([0, 0.5, 0], 0),
        ([1, 0.5, 0], 0.5),
        ([1, 0.5], 0.5),
        ([0.9, 0.6, 0], 1),
    ],
)
def test_the_majority_is_more_than_half_of_all(annotations: list[float], most: float) -> None:
    assert majority(annotations) == most


@pytest.mark.parametrize("read", [read_drafts, read_responses])
def test_responses_of_a_csv_keep_their_numbers(read: Any, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("id,query,response,response_index\na,Q?,R0,0\na,Q?,R1,1\nb,Q?,R,\nc,Q?,R,first\n")
    *responses, (_, wrong) = read(data)
    found = [(one.id, one.response, one.response_index) for _, one in responses if not isinstance(one, RowError)]
    assert found == [("a", "R0", 0), ("a", "R1", 1), ("b", "R", 0)]
    assert str(wrong) == 'response_index is "first"; it must be a whole number'


def test_a_pair_is_nothing_to_revise_until_one_of_it_is_named() -> None:
    rows = [{"id": "a", "query": "Q?", "response_1": "R1", "response_2": "R2"}]
    ((_, wrong),) = read_drafts(rows)
    assert isinstance(wrong, RowError)
    assert "holds a pair (response_1, response_2); name the one to revise" in str(wrong)
    ((_, found),) = read_drafts(rows, ColumnMap.from_words(["response=response_2"]))
    assert isinstance(found, Draft)
    assert found.response == "R2"
