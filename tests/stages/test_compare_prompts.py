"""Prompts are compared on the same items, resumed at no cost, and as far as the money goes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from doubles import shown_first

from rlaif.errors import BudgetError, ConfigError, InputError
from rlaif.evaluation.alignment import Resampling
from rlaif.evaluation.prompts import PromptSettings
from rlaif.evaluation.report import Report
from rlaif.llm.base import Choose, Generate, Request
from rlaif.llm.scripted import ScriptedLLM
from rlaif.stages.compare_prompts import Grid, compare_prompts

QUICK = Resampling(200)


def write(path: Path, n: int = 40, **more: Any) -> Path:
    texts = {"response_1": "good", "response_2": "bad"}
    rows = [{"id": str(i), "query": f"Q{i}", **texts, "human_preference": 1.0, **more} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Judge(ScriptedLLM):
    """Right on three of four items with the base preamble, and on all with the detailed one."""

    def __init__(self, name: str = "scripted:judge", broke_at: str | None = None) -> None:
        self.asked = 0
        self._broke_at = broke_at
        super().__init__(self._say, name)

    def _say(self, request: Request) -> str | Mapping[str, float]:
        self.asked += 1
        text = request.messages[-1].content
        if self._broke_at is not None and self._broke_at in text:
            raise BudgetError("the cap is reached")
        if isinstance(request.want, Generate):
            return "It is better."
        assert isinstance(request.want, Choose)
        number = int(text.rsplit("User: Q", 1)[1].split("\n")[0])
        right = "A helpful response" in text or number % 4 != 0
        good_first = shown_first(request) == "good"
        return {"1": 0.9, "2": 0.1} if right == good_first else {"1": 0.1, "2": 0.9}


def rows(report: Report, key: str) -> list[dict[str, Any]]:
    (section,) = [section for section in report.sections if section.key == key]
    return [dict(zip(section.columns, row, strict=True)) for row in section.rows]


def test_the_grid_and_what_each_part_does(tmp_path: Path) -> None:
    llm, data = Judge(), write(tmp_path / "pairs.jsonl")
    choices = Grid(exemplars=(0, 1), rationales=(False, True))
    report = compare_prompts("helpfulness", [llm], data, tmp_path / "out", choices, resampling=QUICK, progress=False)
    found = {
        (row["preamble"], row["exemplars"], row["rationales"]): row["agreement"] for row in rows(report, "prompts")
    }
    assert len(found) == 8
    assert {key: one.value for key, one in found.items()} == {key: 1 if key[0] == "detailed" else 0.75 for key in found}
    effects = {row["change"]: (row["pairs of prompts"], row["difference"].value) for row in rows(report, "effects")}
    assert effects == {
        "detailed instead of base preamble": (4, 0.25),
        "1 exemplars instead of 0": (4, 0),
        "a rationale first": (4, 0),
    }
    asked = llm.asked
    again = compare_prompts("helpfulness", [llm], data, tmp_path / "out", choices, resampling=QUICK, progress=False)
    assert llm.asked == asked
    assert rows(again, "prompts") == rows(report, "prompts")


def test_several_models_and_a_sample(tmp_path: Path) -> None:
    llms, data = [Judge("scripted:one"), Judge("scripted:two")], write(tmp_path / "pairs.jsonl")
    choices = Grid(("base",), (0,), (False,))
    report = compare_prompts(
        "helpfulness", llms, data, tmp_path / "out", choices, sample=10, resampling=QUICK, progress=False
    )
    assert [(row["model"], row["agreement"].n) for row in rows(report, "prompts")] == [
        ("scripted:one", 10),
        ("scripted:two", 10),
    ]
    assert report.about["Sample"] == "10 random items"
    assert not [section for section in report.sections if section.key == "effects"]


def test_where_the_money_ends_what_is_done_is_reported_and_the_rest_is_named(tmp_path: Path) -> None:
    llm, data = Judge(broke_at="### Example 1"), write(tmp_path / "pairs.jsonl")
    choices = Grid(("base",), (0, 1), (False,))
    report = compare_prompts("helpfulness", [llm], data, tmp_path / "out", choices, resampling=QUICK, progress=False)
    assert [row["exemplars"] for row in rows(report, "prompts")] == [0]
    assert report.about["Not done, since the money ran out"] == "scripted:judge base + 1-shot"
    with pytest.raises(BudgetError):
        compare_prompts("helpfulness", [llm], data, tmp_path / "none", Grid(("base",), (1,), (False,)), progress=False)


def test_data_that_people_did_not_label_and_empty_grids_are_errors_before_anything_is_asked(tmp_path: Path) -> None:
    llm = Judge()
    with pytest.raises(InputError, match="people labeled none of it"):
        compare_prompts("helpfulness", [llm], write(tmp_path / "x.jsonl", human_preference=None), tmp_path / "out")
    choices = Grid(rationales=(False,), self_consistency=(4,))
    with pytest.raises(ConfigError, match="the grid is empty"):
        compare_prompts("helpfulness", [llm], write(tmp_path / "y.jsonl"), tmp_path / "out", choices)
    assert llm.asked == 0


def test_self_consistency_goes_with_rationales_only() -> None:
    prompts = list(Grid(("base",), (0,), (False, True), (1, 4)).prompts("x"))
    assert [str(one) for one in prompts] == [
        "x base + 0-shot",
        "x base + 0-shot + rationale",
        "x base + 0-shot + 4 rationales",
    ]
    assert prompts[-1] == PromptSettings("x", "base", 0, True, 4)
