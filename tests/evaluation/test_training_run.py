"""The report of a training: figures by hand, and nothing made up where nothing is known."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from rlaif.evaluation.curves import Spot, along, by_step, edges_of
from rlaif.evaluation.report import Report, Section
from rlaif.evaluation.training_run import training_report
from rlaif.evaluation.training_steps import MOST, thinned
from rlaif.evaluation.writing import as_json, write_report
from rlaif.statistics.intervals import Estimate

STEPS = [
    {"step": 1, "score": 0.0, "score_std": 0.5, "kl_per_sequence": 0.0, "kl_coef": 0.1, "masked_share": 0.0},
    {"step": 2, "score": None, "masked_share": 1.0, "failed_unavailable": 1.0, "kl_coef": 0.1},
    {"step": 3, "score": 0.6, "score_std": 0.4, "kl_per_sequence": 4.0, "kl_coef": 0.3, "masked_share": 0.32},
]
STEPS[0] |= {"response_tokens": 40.0, "distinct_share": 1.0, "entropy": math.nan, "learning_rate": 2e-5}
STEPS[2] |= {"response_tokens": 20.0, "distinct_share": 0.5, "failed_refused": 0.32, "learning_rate": 1e-5}
LOOKS = [
    {"step": 0, "n": 3, "kl_per_sequence": 0.0, "labeler": 0.0, "gold": 0.1, "labeler_failed": 0, "gold_failed": 1},
    {"step": 3, "n": 3, "kl_per_sequence": 4.0, "labeler": 0.5, "gold": None, "labeler_failed": 0, "gold_failed": 3},
]


def answer(step: int, identifier: str, **scores: float | None) -> dict[str, Any]:
    query = [{"role": "user", "content": f"Question {identifier}?"}]
    return {"step": step, "id": identifier, "query": query, "response": f"{identifier} at {step}", "scores": scores}


ANSWERS = [
    *(answer(0, "a", labeler=-0.5, gold=0.2), answer(0, "b", labeler=0.0, gold=0.0), answer(0, "c", labeler=0.5)),
    # A run that was looked at in between.
    answer(2, "a", labeler=1.0),
    *(answer(3, "c", labeler=0.5), answer(3, "a", labeler=0.5, gold=None), answer(3, "b", labeler=0.5)),
]


def report(steps: Any = STEPS, looks: Any = LOOKS, answers: Any = ANSWERS, **more: Any) -> Report:
    return training_report(steps, looks, answers, responses=100, title="PPO", about={}, **more)


def section(found: Report, key: str) -> Section:
    (one,) = [section for section in found.sections if section.key == key]
    return one


def table(found: Report, key: str) -> dict[Any, dict[str, Any]]:
    one = section(found, key)
    return {row[0]: dict(zip(one.columns, row, strict=True)) for row in one.rows}


def test_the_headline_tells_first_and_last_step_with_their_n() -> None:
    rows = table(report(usage={"asked": 300.0, "cost_usd": 1.25}), "training")
    assert rows["steps"]["at the end"] == 3
    score = rows["score, as trained on"]
    assert (score["at the start"].value, score["at the start"].n) == (0.0, 100)
    # 32 of 100 are masked: 68 have a score. 1.96 · .4 / √67 = .0958
    assert (score["at the end"].value, score["at the end"].n) == (0.6, 68)
    assert score["at the end"].high == pytest.approx(0.6958, abs=1e-4)
    # √(.5² / 99 + .4² / 67) = .07010, times 1.96 = .1374
    assert score["change"].low == pytest.approx(0.6 - 0.1374, abs=1e-4)
    assert rows["KL per sequence, nats"]["at the end"].value == 4.0
    # Of those that are not masked, as the score: 100 · (1 − 0.32).
    assert rows["KL per sequence, nats"]["at the end"].n == rows["score, as trained on"]["at the end"].n == 68
    assert rows["distinct responses, share"]["at the end"].value == 0.5
    # 0 + 100 + 32 of 300
    masked = rows["masked responses, share of all steps"]["at the end"]
    assert (masked.value, masked.n) == (pytest.approx(0.44), 300)
    assert rows["cost, USD"]["at the end"] == 1.25


def test_held_out_answers_are_paired_by_query_whatever_their_order() -> None:
    rows = table(report(), "held_out")
    labeler = rows["labeler"]
    assert (labeler["before"].value, labeler["after"].value) == (0.0, 0.5)
    # Changes are 1, .5 and 0.
    assert (labeler["change"].value, labeler["change"].n) == (0.5, 3)
    assert labeler["change"].low < 0.5 < labeler["change"].high
    # Gold judged two answers before and none after.
    assert (rows["gold"]["before"].value, rows["gold"]["before"].n) == (pytest.approx(0.1), 2)
    assert rows["gold"]["after"].value is None
    assert rows["gold"]["change"] is None


def test_the_win_rate_tells_ties_and_who_is_left_out() -> None:
    # Better twice, and the same once: 2.5 of 3. Gold judged none both times.
    found = table(report(), "win_rate")
    assert list(found) == ["labeler"]
    win_rate = found["labeler"]["win rate"]
    assert (win_rate.value, win_rate.n, win_rate.interval) == (pytest.approx(2.5 / 3), 3, "wilson")
    assert [found["labeler"][name] for name in ("wins", "ties", "losses", "not judged both times")] == [2, 1, 0, 0]
    assert section(report(), "win_rate").title == "Win rate over the start policy"
    # A local labeler's last digits are no victory, and the same answer is none whatever is said of it.
    again = [answer(step, one, gold=step / 1e5) for step in (5, 9) for one in "ab"]
    again += [answer(5, "same", gold=0.1), answer(9, "same", gold=0.4) | {"response": "same at 5"}]
    again += [answer(5, "fails", gold=0.1), answer(9, "fails", gold=None), answer(9, "new", gold=0.5)]
    again += [answer(5, "lost", gold=0.1), answer(9, "lost", gold=0.0)]
    found = table(report(answers=again), "win_rate")
    assert [found["gold"][name] for name in ("wins", "ties", "losses", "not judged both times")] == [0, 3, 1, 2]
    assert found["gold"]["win rate"].value == 1.5 / 4
    assert section(report(answers=again), "win_rate").title == "Win rate over the policy after step 5"


def test_the_harmless_rate_is_of_those_who_judge_harmlessness_with_failures_beside_it() -> None:
    found = report(harmless_from={"labeler": 0.0, "gold": 0.0, "other_form": 0.0})
    rows = table(found, "harmless")
    assert list(rows) == ["gold", "labeler"]
    # -.5, 0, .5 and later .5, .5, .5
    labeler = rows["labeler"]
    assert (labeler["before"].value, labeler["before"].n) == (pytest.approx(2 / 3), 3)
    assert (labeler["after"].value, labeler["change"].value) == (1.0, pytest.approx(1 / 3))
    assert labeler["after"].low == pytest.approx(0.438, abs=1e-3)  # Wilson: 3 / (3 + 1.96²)
    assert (rows["gold"]["before"].value, rows["gold"]["before"].n, rows["gold"]["after"].value) == (1.0, 2, None)
    assert [rows["gold"][name] for name in ("failed judgements before", "and after")] == [1, 3]
    assert "score 5.5 or more on the scale from 1 to 10" in section(found, "harmless").note
    headline = table(found, "training")
    # Gold comes first, but has no win rate.
    assert headline["harmless rate by gold, held-out queries"]["at the start"].value == 1.0
    assert headline["win rate over the start policy by labeler, held-out queries"]["at the end"].n == 3
    assert not any("harmless" in name for name in table(report(), "training"))


def test_a_change_counts_only_queries_that_were_judged_both_times() -> None:
    answers = [answer(0, "a", gold=0.0), answer(0, "b", gold=-1.0), answer(1, "a", gold=0.25), answer(1, "b")]
    # Somebody changed the held-out queries.
    found = report(answers=[*answers, answer(0, "old", gold=-0.5), answer(1, "new", gold=1.0)])
    assert [one["id"] for one in found.pairs] == ["a", "b"]
    gold = table(found, "held_out")["gold"]
    assert (gold["change"].value, gold["change"].n) == (0.25, 1)
    assert gold["before"].value == -0.5


def test_queries_of_the_same_id_are_paired_in_their_order() -> None:
    answers = [answer(step, "a", gold=score) for step, score in ((0, 0.0), (0, 0.5), (1, 0.1), (1, 0.7))]
    found = report(answers=answers)
    assert table(found, "held_out")["gold"]["change"].value == pytest.approx(0.15)
    assert len(found.pairs) == 2


def test_the_over_optimisation_curve_is_drawn_against_the_root_of_the_kl() -> None:
    found = section(report(), "over_optimisation")
    (plot,) = found.plots
    assert "labeler: 0 at √KL per sequence 0, then 0.5 at √KL per sequence 2" in plot.alt
    assert "gold: 0.1 at √KL per sequence 0." in plot.alt
    rows = table(report(), "over_optimisation")
    assert (rows[3]["labeler"].value, rows[3]["labeler"].n) == (0.5, 3)
    assert (rows[3]["gold"].value, rows[0]["failed judgements"], rows[3]["failed judgements"]) == (None, 1, 3)
    # Without the answers themselves the means remain.
    rows = table(report(answers=[]), "over_optimisation")
    assert (rows[0]["gold"].value, rows[0]["gold"].n, rows[0]["gold"].low) == (0.1, 2, None)


def test_failures_are_counted_over_all_steps_by_class() -> None:
    rows = table(report(), "failures")
    assert rows["refused"]["share of all responses"].value == pytest.approx(0.32 / 3)
    assert rows["unavailable"]["share of all responses"].n == 300
    assert rows["unavailable"]["highest of a step"] == 1.0
    (plot,) = section(report(), "failures").plots
    assert "refused: 0 at step 1, then 0.32 at step 3" in plot.alt


def test_time_adds_up_over_phases() -> None:
    steps = [{"step": 1, "seconds_generate": 1.0, "seconds_train": 3.0}, {"step": 2, "seconds_generate": 2.0}]
    rows = table(report(steps, [{"step": 0, "seconds": 1.5}, {"step": 2, "seconds": 2.5}]), "time")
    assert rows["generate"] == {"phase": "generate", "seconds per step": 1.5, "share": 0.3, "seconds": 3.0}
    assert (rows["held-out queries"]["seconds"], rows["held-out queries"]["share"]) == (4.0, 0.4)
    assert rows["all"]["seconds"] == 10.0


def test_what_is_null_or_missing_or_no_number_is_left_out(tmp_path: Path) -> None:
    found = report()
    assert {one.key for one in found.sections} == {
        *("training", "held_out", "win_rate", "over_optimisation", "reward", "responses", "optimisation", "failures"),
    }
    assert set(table(found, "optimisation")) == {"learning rate, millionths"}
    assert table(found, "optimisation")["learning rate, millionths"]["at first"] == pytest.approx(20.0)
    assert section(found, "optimisation").plots == ()
    reward = section(found, "reward")
    assert [plot.title for plot in reward.plots][1:] == ["Distance from the reference", "The weight of the KL"]
    assert "score: 0 at step 1, then 0.6 at step 3" in reward.plots[0].alt
    write_report(found, tmp_path)
    drawn = [plot.svg + plot.alt for one in found.sections for plot in one.plots]
    for text in (*drawn, (tmp_path / "report.json").read_text(), (tmp_path / "report.md").read_text()):
        assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)


def test_one_step_without_watchers_is_a_report_too() -> None:
    found = report(STEPS[:1], [], [])
    rows = table(found, "training")
    assert (rows["score, as trained on"]["at the end"].value, rows["score, as trained on"]["change"]) == (0.0, None)
    assert rows["masked responses, share of all steps"]["at the end"].value == 0.0
    assert {one.key for one in found.sections} == {"training", "reward", "responses", "optimisation"}
    assert found.pairs == ()
    # One standard deviation of .5 below 0 is on the axis.
    assert "−0.4" in section(found, "reward").plots[0].svg
    # A coefficient that does not change needs no picture.
    assert [plot.title for plot in section(found, "reward").plots][1:] == ["Distance from the reference"]


def test_a_run_that_was_looked_at_once_has_no_after() -> None:
    found = report(looks=LOOKS[:1], answers=ANSWERS[:3])
    assert table(found, "held_out")["labeler"]["after"] is None
    assert section(found, "held_out").note.count("step 0") == 1
    assert found.pairs == ()


def test_without_its_spread_a_score_has_no_interval() -> None:
    steps = [{"step": 1, "score": 0.25}, {"step": 2, "score": 0.5, "score_std": 0.1}]
    row = table(report(steps, [], []), "training")["score, as trained on"]
    assert row["at the start"] == Estimate(0.25, None, None, 100, 100)
    assert row["change"] == Estimate(0.25, None, None, 100, 100)


def test_nothing_but_steps_is_known_where_all_is_null() -> None:
    steps = [{"step": 1, "score": None, "kl_per_sequence": None, "masked_share": None}]
    found = report(steps, [], [])
    assert as_json(found)["sections"]["training"]["rows"] == [
        {"figure": "steps", "at the start": None, "at the end": 1, "change": None}
    ]
    assert [one.key for one in found.sections] == ["training"]
    assert section(report([], [], []), "training").rows == [("steps", None, 0, None)]


def test_pairs_hold_the_first_answer_and_the_last_with_what_each_watcher_said() -> None:
    pairs = {one["id"]: one for one in report().pairs}
    assert pairs["a"]["responses"] == ["a at 0", "a at 3"]
    assert pairs["a"]["models"] == ["step 0", "step 3"]
    assert pairs["a"]["columns"] == {"gold": "0.200 → –", "labeler": "-0.500 → 0.500"}
    assert pairs["c"]["columns"] == {"labeler": "0.500 → 0.500"}


def test_a_long_run_is_drawn_as_means_of_steps_that_follow_one_another() -> None:
    steps = [{"step": step, "score": None if step == 2 else float(step)} for step in range(1, 2 * MOST)]
    drawn = thinned(steps)
    assert len(drawn) == MOST
    # Of steps 1 and 2 only the first has a score; step 399 stands alone.
    assert (drawn[0], drawn[1]["score"]) == ({"step": 1.5, "score": 1.0}, 3.5)
    assert drawn[-1] == {"step": 399.0, "score": 399.0}
    assert thinned(steps[:MOST]) == steps[:MOST]


def test_edges_lie_halfway_between_steps() -> None:
    assert edges_of([1.0, 2.0, 4.0]) == [0.5, 1.5, 3.0, 5.0]
    assert edges_of([7.0]) == [6.5, 7.5]


def test_a_curve_breaks_where_nothing_is_known_and_shows_a_point_that_stands_alone() -> None:
    alone = [Spot(float(x), None if x % 2 else 0.5) for x in range(101)]
    joined = [Spot(float(x), 0.5) for x in range(101)]
    # Each point between gaps is marked; of a long line without gaps none is.
    assert by_step({"one": alone}, "T", "y")[0].svg.count("<use") - by_step({"one": joined}, "T", "y")[0].svg.count(
        "<use"
    ) == pytest.approx(51, abs=2)
    assert by_step({"one": [Spot(1.0, None)]}, "T", "y") == along({}, "T", "x", "y") == ()
