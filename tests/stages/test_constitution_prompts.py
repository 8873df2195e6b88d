"""`rlaif constitution prompts` shows what a run asks, to the letter."""

import json
from pathlib import Path
from typing import Any

import pytest
from doubles import scripted

from rlaif.cli import main
from rlaif.constitution.compare import PrincipleLabeler
from rlaif.constitution.files import load_constitution
from rlaif.constitution.revise import Reviser
from rlaif.llm.base import Request
from rlaif.stages.judge import judge_file
from rlaif.stages.show import comparison_prompts, revision_prompts

QUERY = [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Q"}]


def whole(request: Request) -> str:
    return request.messages[-1].content + "\n\n" + request.continuation


@pytest.mark.parametrize("critique", [True, False])
def test_the_first_round_is_shown_as_it_is_asked(critique: bool, tmp_path: Path) -> None:
    data, asked = tmp_path / "rows.jsonl", list[str]()
    data.write_text(json.dumps({"id": "a", "query": QUERY, "responses": ["R0", "R1"]}) + "\n")

    def script(request: Request) -> str:
        asked.append(whole(request))
        return "<critique>" if asked[-1].endswith("Critique:") else "R"

    reviser = Reviser("harmless", scripted(script), revisions=1, critique=critique, exemplars=2, seed=5)
    judge_file(reviser, data, tmp_path / "run", progress=False)
    shown = list(revision_prompts("harmless", str(data), 2, exemplars=2, critique=critique, seed=5))
    assert sorted(text for _, text in shown) == sorted(asked)
    assert len(shown) == 2 * (1 + critique)
    # The second response draws for itself.
    assert len({heading.partition(",")[0] for heading, _ in shown}) == 2


def test_the_first_principles_only_are_drawn_where_the_run_draws_them(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    row = {"query": "Q", "response": "R", "response_1": "R1", "response_2": "R2"}
    data.write_text("".join(json.dumps(row | {"id": str(number)}) + "\n" for number in range(20)))
    constitution = load_constitution("harmless")
    critiques = {heading.partition(",")[0] for heading, _ in revision_prompts("harmless", str(data), 20, principles=2)}
    assert critiques == {one.id for one in constitution.principles[:2]}
    questions = {
        heading.partition(" ")[0] for heading, _ in comparison_prompts("harmless", str(data), 20, principles=2)
    }
    assert questions == {one.id for one in constitution.comparison_principles[:2]}


@pytest.mark.parametrize("rationale", [True, False])
def test_a_comparison_is_shown_as_it_is_asked(rationale: bool, tmp_path: Path) -> None:
    data, asked = tmp_path / "pairs.jsonl", list[str]()
    data.write_text(json.dumps({"id": "a", "query": QUERY, "response_1": "R1", "response_2": "R2"}) + "\n")

    def script(request: Request) -> Any:
        asked.append(whole(request))
        return "<rationale>" if asked[-1].endswith("Rationale:") else {"A": 0.5, "B": 0.5}

    labeler = PrincipleLabeler("harmless", scripted(script), rationale=rationale, orders="one", seed=5)
    judge_file(labeler, data, tmp_path / "run", progress=False)
    ((heading, text),) = comparison_prompts("harmless", str(data), 9, rationale=rationale, seed=5)
    (record,) = (json.loads(line) for line in (tmp_path / "run" / "preferences.jsonl").read_text().splitlines())
    assert [heading.partition(" ")[0]] == record["principles"]
    assert text in asked or text.replace("(A) R1", "(A) R2").replace("(B) R2", "(B) R1") in asked


def test_what_is_not_there_yet_is_marked_and_what_cannot_be_shown_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"id": "a", "query": "Q"}\n{"id": "b", "query": "Q", "response_1": "R", "response_2": "R"}\n')
    with pytest.raises(SystemExit) as end:
        main(["constitution", "prompts", "harmless", str(data), "--show", "2"])
    assert end.value.code == 0
    out, _ = capsys.readouterr()
    assert "Response - <response>\n" in out
    assert "(rejected: holds a pair" in out
    for words in (["--rationale"], ["--kind", "comparison", "--no-critique"]):
        with pytest.raises(SystemExit) as end:
            main(["constitution", "prompts", "harmless", str(data), *words])
        assert end.value.code == 2
