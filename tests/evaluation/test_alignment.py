"""Alignment, bias, slices and comparisons on small data, by hand."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, cohen_kappa_score, log_loss

from rlaif.evaluation.aligned import alignment
from rlaif.evaluation.alignment import Alignment, Resampling, ceiling, krippendorff
from rlaif.evaluation.bias import leaning, length_curve, measures, position
from rlaif.evaluation.comparison import matrix, paired
from rlaif.evaluation.items import Gathering, Items
from rlaif.evaluation.policy import Policy
from rlaif.evaluation.slices import slices
from rlaif.statistics.tests import mcnemar

QUICK = Resampling(200)


def items(*labelers: list[dict[str, Any]]) -> Items:
    gathering = Gathering()
    for number, rows in enumerate(labelers):
        numbered = [{"id": str(place), "query": f"q{place}", **row} for place, row in enumerate(rows)]
        gathering.add_labels(f"labeler {number}", [(f"row {row['id']}", row) for row in numbered])
    return gathering.items()


def random_rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        human = int(generator.random() < 0.5)
        first, second = np.clip(0.5 + (human - 0.5) * 0.6 + generator.normal(0, 0.3, 2), 0.01, 0.99)
        label = {"preference": (first + second) / 2, "preference_12": first, "preference_21": second}
        rows.append({**label, "human_preference": human})
    return rows


def test_probabilities_and_kappa_are_scikit_learns() -> None:
    rows = random_rows(200)
    found = items(rows)
    one = Alignment(found, found.labelers[0], QUICK)
    p, y = (np.array([row[name] for row in rows]) for name in ("preference", "human_preference"))
    quality = one.probabilities(Policy())
    assert quality.log_loss.value == pytest.approx(log_loss(y, p))
    assert quality.brier.value == pytest.approx(brier_score_loss(y, p))
    assert one.kappa(Policy()).value == pytest.approx(cohen_kappa_score(y, p > 0.5))
    assert one.agreement(Policy()).value == pytest.approx(((p > 0.5) == y).mean())
    assert one.agreement(Policy(), "soft").value == pytest.approx((p * y + (1 - p) * (1 - y)).mean())
    assert one.coin(Policy()).log_loss.value == pytest.approx(np.log(2))


def test_soft_and_hard_labels_are_told_apart() -> None:
    hard = [{"preference": 1.0, "human_preference": 1}, {"preference": 0.5, "human_preference": 1}]
    found = items(hard, random_rows(2))
    assert [Alignment(found, labeler, QUICK).is_hard for labeler in found.labelers] == [True, False]
    report = alignment(items(hard), resampling=QUICK)
    assert "probabilities" not in [section.key for section in report.sections]


def test_position_bias_by_hand() -> None:
    both = [
        (0.9, 0.8),  # response 1 twice
        (0.9, 0.2),  # the first position twice
        (0.7, 0.4),  # the first position twice
        (0.3, 0.8),  # the second position twice
        (0.1, 0.5),  # response 2, and a tie: neither the same position nor the same winner
    ]
    found = items([{"preference": (a + b) / 2, "preference_12": a, "preference_21": b} for a, b in both])
    one = position(found, found.labelers[0], Policy(), QUICK)
    assert one.same_winner.value == pytest.approx(1 / 5)
    assert one.same_position.value == pytest.approx(3 / 5)
    assert (one.both_first.value, one.both_second.value) == (pytest.approx(2 / 5), pytest.approx(1 / 5))
    # Of ten verdicts the first position has 1 + 0, 1 + 1, 1 + 1, 0 + 0, 0 + .5.
    assert one.first_wins.value == pytest.approx(5.5 / 10)
    # (P(first | 12) + P(first | 21)) / 2 - .5 is (p12 - p21) / 2: .05, .35, .15, -.25, -.2.
    assert one.shift.value == pytest.approx(0.1 / 5)


def test_an_unreadable_order_counts_by_policy() -> None:
    rows: list[dict[str, Any]] = [{"verdict_12": 1, "verdict_21": 1}, {"verdict_12": "?", "verdict_21": 1}]
    found = items(rows)
    by_policy = {
        name: position(found, found.labelers[0], Policy("drop", name), QUICK)  # type: ignore[arg-type]
        for name in ("drop", "error", "tie")
    }
    assert [(one.same_winner.value, one.same_winner.n) for one in by_policy.values()] == [(1, 1), (0.5, 2), (0.5, 2)]
    # Verdicts for the first position: 1 of 1 + 1; of 2 + 2 with the lost one wrong; with half of it.
    first = [one.first_wins.value for one in by_policy.values()]
    assert first == pytest.approx([1 / 3, 1 / 4, 1.5 / 4])


def test_a_labeler_that_likes_length_is_found_out_and_one_that_does_not_is_not() -> None:
    generator = np.random.default_rng(1)
    fond, fair = [], []
    for _ in range(400):
        words = generator.integers(5, 80, 2)
        human = int(generator.random() < 0.5)
        texts = {name: "w " * count for name, count in zip(("response_1", "response_2"), words, strict=True)}
        logit = 1.5 * (2 * human - 1)
        longer = np.log2(words[0] / words[1])
        for rows, weight in ((fond, 1.0), (fair, 0.0)):
            p = 1 / (1 + np.exp(-(logit + weight * longer)))
            rows.append({**texts, "human_preference": human, "preference": float(generator.random() < p)})
    found = items(fond, fair)
    results = []
    for labeler in found.labelers:
        more, known = measures(found, labeler)["longer (per doubling of words)"]
        results.append(leaning(found, labeler, more, known, QUICK))
    swayed, straight = results
    assert swayed.difference.low is not None
    assert swayed.difference.low > 0.1
    assert swayed.odds.low is not None
    assert swayed.odds.high is not None
    assert swayed.odds.low < 1.0 < swayed.odds.high
    assert straight.difference.low is not None
    assert straight.difference.high is not None
    assert straight.difference.low < 0 < straight.difference.high
    assert swayed.people == straight.people
    curve = length_curve(found, found.labelers[0].side)
    assert curve[0].confidence == pytest.approx(-curve[-1].confidence)
    assert curve[-1].share > 0.75 > 0.25 > curve[0].share


def test_leanings_by_hand_and_turned_round() -> None:
    texts = [
        ("- one\n- two", "plain", 1, 1),
        ("plain", "1. one\n2. two", 1, 0),
        ("plain", "* one", 0, 1),
        ("plain", "as plain", 1, 1),
    ]
    rows = [
        {"response_1": one, "response_2": two, "preference": said, "human_preference": human}
        for one, two, said, human in texts
    ]
    found = items(rows)
    more, known = measures(found, found.labelers[0])["has a list"]
    assert more.tolist() == [1, -1, -1, 0]
    one = leaning(found, found.labelers[0], more, known, QUICK)
    # The list wins with the labeler in 1 and 3 of the three pairs that differ, with people in 1 and 2.
    assert (one.labeler.value, one.people.value, one.labeler.n) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert one.difference.value == 0


def test_copied_text_formatting_and_own_model_are_measured() -> None:
    run = "the quick brown fox jumps over the dog"
    row = {"query": f"Say: {run}!".replace("!", ""), "response_1": f"So {run} then", "response_2": "**No**"}
    own = {"model_1": "gpt-4.1-mini", "model_2": "other", "labeler": "openai:gpt-4.1-mini", "preference": 1}
    found = items([row | own])
    said = {name: float(more[0]) for name, (more, known) in measures(found, found.labelers[0]).items() if known[0]}
    assert said["repeats 8 words of the query"] == 1
    assert said["has other formatting"] == -1
    assert said["has a list"] == 0
    assert said["written by the labeler's own model"] == 1


def test_people_are_measured_by_the_same_function() -> None:
    votes = [[1, 1, 0], [0, 0, 0], [1, 0.5, 1], [1, None, 1], [0, 1, 0]]
    found = items([{"preference": 0.9, "annotations": each} for each in votes])
    rows = {str(row[0]): row[1] for row in ceiling(found, Policy("class"), QUICK)}
    # Annotators 1 and 3 agree on all but the first; 1 and 2 on the first two of the four that both saw.
    assert [rows[f"annotators {pair}"].value for pair in ("1 and 3", "1 and 2")] == [0.8, 0.5]  # type: ignore[union-attr]
    assert rows["annotators 1 and 2"].n == 4  # type: ignore[union-attr]
    # Of the others of annotator 1 no majority on the first and the last, a tie on the third: right on 2 and 4.
    assert rows["annotator 1 with the others' majority"].value == pytest.approx(2 / 5)  # type: ignore[union-attr]
    assert krippendorff(found, QUICK).n == 5


def test_slices_by_hand() -> None:
    rows = [
        {"preference": said, "human_preference": 1, "topic": topic, "size": size}
        for size, (said, topic) in enumerate([(1, "a"), (1, "a"), (0, "b"), (1, "b"), (0, "b"), (0, None)] * 4)
    ]
    found = items(rows)
    by = {each.value: each for each in slices(found, found.labelers[0], ["topic"], Policy(), QUICK)}
    assert {name: (one.agreement.value, one.agreement.n) for name, one in by.items()} == {
        "a": (1, 8),
        "b": (pytest.approx(1 / 3), 12),
        "(none)": (0, 4),
    }
    # b: 4 of 12 right, all others 8 of 12.
    assert by["b"].difference.value == pytest.approx(4 / 12 - 8 / 12)
    assert all(one.p is not None and one.p <= 1 for one in by.values())
    quarters = slices(found, found.labelers[0], ["size"], Policy(), QUICK)
    assert [one.value for one in quarters] == ["0 to 5.75", "5.75 to 11.5", "11.5 to 17.25", "17.25 to 23"]
    assert sum(one.agreement.n for one in quarters) == 24


def test_many_slices_make_each_less_sure() -> None:
    generator = np.random.default_rng(2)
    rows = random_rows(300, seed=4)
    for row in rows:
        row |= {"half": int(generator.random() < 0.5), "topic": int(generator.integers(0, 10))}
    found = items(rows)
    alone, among = (
        slices(found, found.labelers[0], columns, Policy(), QUICK)[0].p for columns in (["half"], ["half", "topic"])
    )
    assert alone is not None
    assert among is not None
    # The two halves have the same p, twice as large among two; among twelve slices it is larger still, or 1.
    assert among > alone or among == 1
    assert 0 < alone < 1


def test_two_labelers_on_the_same_items() -> None:
    people = [1] * 12
    first = [
        {"preference": said, "human_preference": human} for said, human in zip([1] * 10 + [0] * 2, people, strict=True)
    ]
    second = [{"preference": said} for said in [1] * 4 + [0] * 7 + [1]]
    found = items(first, second)
    (pair,) = paired(found, Policy(), QUICK)
    # The first is right on 10, the second on 5; 6 only the first, 1 only the second.
    assert pair.difference.value == pytest.approx(5 / 12)
    assert (pair.one_ahead, pair.other_ahead) == (6, 1)
    assert pair.p == pytest.approx(mcnemar(6, 1))
    rows = matrix(found, QUICK)
    assert rows[0][1] is None
    assert rows[0][2] == rows[1][1]
    assert rows[0][2].value == pytest.approx(5 / 12)  # type: ignore[union-attr]


def test_more_labelers_than_tables_hold_are_said_not_to_be_compared() -> None:
    rows = [{"preference": 1, "human_preference": 1}, {"preference": 0, "human_preference": 1}]
    ten, eleven = (alignment(items(*[rows] * count), resampling=QUICK) for count in (10, 11))
    assert {"paired", "matrix"} <= {section.key for section in ten.sections}
    assert "Labelers side by side" not in ten.about
    assert not {"paired", "matrix"} & {section.key for section in eleven.sections}
    assert eleven.about["Labelers side by side"] == "left out: there are 11, and tables hold at most 10"


def test_swapping_the_names_of_all_responses_changes_no_figure() -> None:
    rows = random_rows(80, seed=9)
    for number, row in enumerate(rows):
        row |= {"response_1": "w " * (number % 13 + 1), "response_2": "w " * (number % 7 + 1)}
    turned = [
        {
            "response_1": row["response_2"],
            "response_2": row["response_1"],
            "preference": 1 - row["preference"],
            "preference_12": 1 - row["preference_21"],
            "preference_21": 1 - row["preference_12"],
            "human_preference": 1 - row["human_preference"],
        }
        for row in rows
    ]
    reports = [alignment(items(each), resampling=QUICK) for each in (rows, turned)]
    for one, other in zip(reports[0].sections, reports[1].sections, strict=True):
        if one.key in ("orders", "classes"):
            continue
        for row, mirrored in zip(one.rows, other.rows, strict=True):
            for cell, its in zip(row[1:], mirrored[1:], strict=True):
                value = getattr(cell, "value", cell)
                assert getattr(its, "value", its) == (pytest.approx(value) if isinstance(value, float) else value)
