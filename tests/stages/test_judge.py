"""Run folders: what they hold, how they grow, what they refuse."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from doubles import by_order, scripted

from rlaif.errors import ConfigError, InputError, RunFolderError
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.ranking import Ranker
from rlaif.labeling.score import Scorer
from rlaif.llm.base import NoAnswer, Request
from rlaif.llm.scripted import ScriptedLLM, hashed
from rlaif.stages.export import export
from rlaif.stages.judge import Summary, judge_file
from rlaif.stages.run_folder import RunFolder


def rows(n: int) -> list[dict[str, Any]]:
    return [{"id": str(i), "query": f"q{i}", "response_1": f"a{i}", "response_2": f"b{i}"} for i in range(n)]


def labeler(**settings: Any) -> PreferenceLabeler:
    return PreferenceLabeler("helpfulness", ScriptedLLM(hashed, "scripted:hashed"), **settings)


def run(data: Any, out: Path, judge: Any = None, **options: Any) -> Summary:
    return judge_file(judge or labeler(), data, out, progress=False, **options)


def ids(out: Path, name: str = "preferences.jsonl") -> list[str]:
    return [json.loads(line)["id"] for line in (out / name).read_text().splitlines()]


def test_records_and_failures_are_in_input_order(tmp_path: Path) -> None:
    data = rows(300)
    data[7]["response_2"], data[9]["response_1"], data[3]["query"] = "", "b9", 5
    summary = run(data, tmp_path / "run")
    assert ids(tmp_path / "run") == [str(n) for n in range(300) if n not in (3, 7, 9)]
    assert summary.failures == {"rejected": 3}
    failures = [json.loads(line) for line in (tmp_path / "run" / "failures.jsonl").read_text().splitlines()]
    assert [failure["where"] for failure in failures] == ["row 4", "row 8", "row 10"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        ".lock", "config.yaml", "failures.jsonl", "manifest.json", "preferences.jsonl", "work.sqlite"
    ]  # fmt: skip


def test_a_second_run_asks_nothing_and_changes_nothing(tmp_path: Path) -> None:
    run(rows(50), tmp_path / "run")
    before = (tmp_path / "run" / "preferences.jsonl").read_bytes()
    (tmp_path / "ledger.sqlite").unlink()
    never = PreferenceLabeler("helpfulness", scripted(lambda _: NoAnswer("unavailable", "asked")))
    never.llm.identity = labeler().llm.identity
    summary = run(rows(50), tmp_path / "run", never)
    assert (summary.totals.asked, summary.index.done_before) == (0, 50)
    assert (tmp_path / "run" / "preferences.jsonl").read_bytes() == before


def test_a_run_grows_with_its_limit_and_its_file(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(rows(50), out, limit=10).totals.asked == 20
    assert run(rows(50), out, limit=30).totals.asked == 40
    assert ids(out) == [str(n) for n in range(30)]
    changed = rows(60)
    changed[0]["response_1"] = "other"
    assert run(changed, out).totals.asked == 62
    assert ids(out) == [str(n) for n in range(60)]
    assert run(changed, out, limit=5).count == 5


def test_samples_nest_and_follow_the_seed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(rows(200), out, sample=20)
    small = ids(out)
    assert run(rows(200), out, sample=50).totals.asked == 60
    large = ids(out)
    assert (len(small), len(large)) == (20, 50)
    assert set(small) < set(large)
    assert large == sorted(large, key=int)
    # Another order of the file draws the same rows.
    run(rows(200)[::-1], tmp_path / "back", sample=50)
    assert set(ids(tmp_path / "back")) == set(large)
    run(rows(200), tmp_path / "seed", labeler(seed=1), sample=50)
    assert set(ids(tmp_path / "seed")) != set(large)
    assert run(rows(200), out, sample=20).count == 20
    assert ids(out) == small


def test_the_same_row_twice_is_read_once_and_the_same_id_twice_is_an_error(tmp_path: Path) -> None:
    data = rows(5)
    summary = run([*data, data[2]], tmp_path / "run")
    assert (summary.count, summary.index.duplicates) == (5, 1)
    with pytest.raises(InputError, match="row 6: id 2 was at row 3 with other content; ids must differ"):
        run([*data, {**data[2], "response_1": "x"}], tmp_path / "run")
    # The fault changed nothing that was there.
    assert run(data, tmp_path / "run").totals.asked == 0


def test_strict_stops_at_the_first_bad_row_before_anything_is_asked(tmp_path: Path) -> None:
    data = rows(5)
    data[3]["response_1"] = ""
    with pytest.raises(InputError, match="row 4: response_1 is empty"):
        run(data, tmp_path / "run", strict=True)
    assert not (tmp_path / "ledger.sqlite").exists()


def test_a_folder_refuses_another_run_and_names_the_difference(tmp_path: Path) -> None:
    run(rows(3), tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"holds another run \(settings.exemplars was 0 there and is 2 now\)"):
        run(rows(3), tmp_path / "run", labeler(exemplars=2))
    with pytest.raises(RunFolderError, match="stage was 'label' there and is 'score' now"):
        run(rows(3), tmp_path / "run", Scorer("helpfulness", labeler().llm))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="is not empty and holds no run"):
        run(rows(3), tmp_path / "other")
    # What only concerns the operation may change.
    assert run(rows(3), tmp_path / "run", limit=2).count == 2


def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    run(rows(1), tmp_path / "run")
    identity = {"stage": "label", "input_format": "auto", **labeler().identity}
    held = RunFolder(tmp_path / "run", "preferences", identity)
    with pytest.raises(RunFolderError, match="another process is working in this run folder"):
        run(rows(1), tmp_path / "run")
    held.close()
    run(rows(1), tmp_path / "run")


def test_an_item_answered_later_leaves_the_failures(tmp_path: Path) -> None:
    broken = [True]

    def script(request: Request) -> Any:
        return NoAnswer("unavailable", "down") if broken[0] else by_order(0.5, 0.5)(request)

    judge = PreferenceLabeler("helpfulness", scripted(script))
    assert run(rows(3), tmp_path / "run", judge).failures == {"unavailable": 3}
    assert ids(tmp_path / "run", "failures.jsonl") == ["0", "1", "2"]
    broken[0] = False
    assert run(rows(3), tmp_path / "run", judge).failures == {}
    assert ids(tmp_path / "run", "failures.jsonl") == []


def test_unreadable_answers_are_read_again_for_free(tmp_path: Path) -> None:
    judge = PreferenceLabeler("helpfulness", scripted(by_order(0.9, 0.4, unread=0.7)))
    assert run(rows(3), tmp_path / "run", judge).failures == {"unreadable": 3}
    patient = PreferenceLabeler("helpfulness", judge.llm, max_unread_mass=0.8)
    summary = run(rows(3), tmp_path / "patient", patient)
    assert (summary.count, summary.totals.asked, summary.totals.from_ledger) == (3, 0, 6)


def test_scores_and_rankings_have_run_folders_too(tmp_path: Path) -> None:
    assert run(rows(4), tmp_path / "s", Scorer("helpfulness", labeler().llm)).count == 8
    found = [json.loads(line) for line in (tmp_path / "s" / "scores.jsonl").read_text().splitlines()]
    assert [(one["id"], one["response_index"]) for one in found[:3]] == [("0", 0), ("0", 1), ("1", 0)]
    samples = [{"id": "x", "query": "q", "responses": list("abcd")}]
    assert run(samples, tmp_path / "r", Ranker("helpfulness", labeler().llm)).count == 1
    assert sorted(json.loads((tmp_path / "r" / "rankings.jsonl").read_text())["order"]) == [0, 1, 2, 3]


def test_the_manifest_says_where_the_records_come_from(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(4)))
    run(str(path), tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["data_sha256"] is not None
    assert manifest["records"] == 4
    assert manifest["invocations"][0]["asked"] == 8
    assert {"rlaif", "torch", "pydantic"} <= set(manifest["versions"])


def test_wrong_selections_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exclude one another"):
        run(rows(1), tmp_path / "run", limit=1, sample=1)
    with pytest.raises(ConfigError, match="at least 1"):
        run(rows(1), tmp_path / "run", limit=0)


def test_exported_preferences_train_elsewhere(tmp_path: Path) -> None:
    data = [{**row, "rating": number} for number, row in enumerate(rows(3))]
    for number, row in enumerate(data):
        row["response_1"], row["response_2"] = ("good", "bad") if number != 1 else ("bad", "good")
    out = tmp_path / "run"
    run(data, out, PreferenceLabeler("helpfulness", scripted(by_order(0.9, 0.4))))
    done = export(out, tmp_path / "trl.jsonl", "trl")
    trl = [json.loads(line) for line in (tmp_path / "trl.jsonl").read_text().splitlines()]
    assert (done.rows, done.ties) == (3, 0)
    assert set(trl[0]) == {"id", "prompt", "chosen", "rejected", "preference", "preference_logit"}
    assert trl[1]["chosen"] == [{"role": "assistant", "content": "good"}]
    assert trl[1]["preference"] == pytest.approx(0.75)
    # logit(.75) = ln 3 = 1.098612
    assert trl[1]["preference_logit"] == pytest.approx(1.098612, abs=1e-6)
    export(out, tmp_path / "margin.parquet", "trl", margin="rating")
    import pandas as pd

    assert list(pd.read_parquet(tmp_path / "margin.parquet")["margin"]) == [0.0, 1.0, 2.0]
    assert export(out, tmp_path / "folder").rows == 3
    import datasets

    assert datasets.load_from_disk(str(tmp_path / "folder")).num_rows == 3
    with pytest.raises(InputError, match="a margin is a number"):
        export(out, tmp_path / "x.jsonl", "trl", margin="topic")
    with pytest.raises(InputError, match="holds no records"):
        export(tmp_path, tmp_path / "x.jsonl")


def test_ties_are_dropped_and_counted_and_certainty_has_a_finite_logit(tmp_path: Path) -> None:
    judge = PreferenceLabeler("helpfulness", scripted(by_order(0.5, 0.5)))
    run(rows(3), tmp_path / "ties", judge)
    done = export(tmp_path / "ties", tmp_path / "ties.jsonl", "trl")
    assert (done.rows, done.ties) == (0, 3)
    sure = [{"id": "1", "query": "q", "response_1": "good", "response_2": "bad"}]
    run(sure, tmp_path / "sure", PreferenceLabeler("helpfulness", scripted(by_order(1.0, 0.0))))
    export(tmp_path / "sure", tmp_path / "sure.jsonl", "trl")
    row = json.loads((tmp_path / "sure.jsonl").read_text())
    assert row["preference"] == 1.0
    assert 36 < row["preference_logit"] < 37


def test_a_run_works_inside_a_running_event_loop(tmp_path: Path) -> None:
    async def notebook() -> Summary:
        return run(rows(3), tmp_path / "run")

    assert asyncio.run(notebook()).count == 3


def test_several_bad_items_of_one_row_are_all_counted(tmp_path: Path) -> None:
    samples = [{"id": "s", "query": "q", "responses": ["a", "a", "b", "b", "c", "d"]}]
    summary = run(samples, tmp_path / "run")
    assert (summary.count, summary.failures, summary.index.selected) == (1, {"rejected": 2}, 3)


def test_limits_and_samples_of_scores_count_rows(tmp_path: Path) -> None:
    scorer = Scorer("helpfulness", labeler().llm)
    assert run(rows(9), tmp_path / "limit", scorer, limit=3).count == 6
    assert run(rows(9), tmp_path / "sample", scorer, sample=3).count == 6
    found = ids(tmp_path / "sample", "scores.jsonl")
    assert len(set(found)) == 3
    assert run(rows(9), tmp_path / "sample", scorer, sample=5).count == 10
    assert set(found) < set(ids(tmp_path / "sample", "scores.jsonl"))


def test_a_column_that_is_no_json_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 1: a column cannot be written as JSON .* leave it out"):
        run([{**rows(1)[0], "image": b"\xff\xd8"}], tmp_path / "run")
