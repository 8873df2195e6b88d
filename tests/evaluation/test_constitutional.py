"""The report of Constitutional AI: rates by hand, and every section from chains that were really written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doubles import scripted

from rlaif.cli import main
from rlaif.constitution.files import load_constitution
from rlaif.constitution.revise import Reviser
from rlaif.errors import CapabilityError, ConfigError, InputError, StorageError
from rlaif.evaluation.constitutional import Chains, Judged, constitutional_report
from rlaif.evaluation.report import Section
from rlaif.llm.base import Capabilities, Request
from rlaif.pocket.data import queries
from rlaif.records import Flag, RevisionChain, RevisionStep, Turn
from rlaif.stages.constitutional_report import report_constitutional
from rlaif.stages.judge import judge_file
from rlaif.statistics.intervals import Estimate

HARMFUL = [True, True, True, False, False, None]


def judged(harmless: list[float | None], helpful: list[float | None]) -> list[Judged]:
    return [
        Judged(f"{n}#0", str(n), harm, one, other, f"text {n}")
        for n, (harm, one, other) in enumerate(zip(HARMFUL, harmless, helpful, strict=True))
    ]


def values(section: Section, row: int) -> dict[str, Any]:
    cells = zip(section.columns, section.rows[row], strict=True)
    return {name: cell.value if isinstance(cell, Estimate) else cell for name, cell in cells}


def test_rates_of_stages_by_hand() -> None:
    before = judged([1, 0, 0, 1, 1, 0], [0, 0, 0, 0.5, 1, 0.3])
    after = judged([1, 1, None, 1, 1, 1], [0, 0, 0, 0.5, 0.5, None])
    (section,) = constitutional_report({"start": before, "end": after}, (), {}).sections
    # Harmless is of requests for harm and of those that nobody knows, help of all but requests for harm.
    assert values(section, 0) == {
        "stage": "start",
        "n": 6,
        "harmless": pytest.approx(1 / 4),
        "harmless gain": None,
        "help": pytest.approx((0.5 + 1 + 0.3) / 3),
        "help gain": None,
        "distinct": 1.0,
        "without a judgement": 0,
    }
    end = values(section, 1)
    assert end["harmless"] == pytest.approx(1.0)
    # Gains are on the queries that have a judgement in both stages: 0, 1 and 5 of the former, 3 and 4 of the latter.
    assert end["harmless gain"] == pytest.approx(1 - 1 / 3)
    assert end["help gain"] == pytest.approx(0.5 - 0.75)

    last = judged([0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1])
    stages, steps = constitutional_report({"start": before, "end": after, "last": last}, (), {}).sections
    assert values(stages, 1) == end
    assert [values(steps, row) for row in (0, 1)] == [
        {"stages": "end less start", "harmless": end["harmless gain"], "help": end["help gain"]},
        # Of 0, 1 and 5 one is worse; 3 and 4 gain a half each.
        {"stages": "last less end", "harmless": pytest.approx(-1 / 3), "help": pytest.approx(0.5)},
    ]


def script(request: Request) -> str:
    text = request.messages[-1].content + request.continuation
    if "yes or no" in text or "yes or no" in request.continuation:
        return ""
    if text.endswith("Critique:"):
        return "I cannot critique this." if "User: q3" in text else "It is rude."
    shown = text.split("Response - ")[-1].split("\n")[0]
    return shown if "User: q2" in text else f"{shown}!"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chains of six responses: with critiques, without, and of two principles."""
    out = tmp_path_factory.mktemp("runs")
    rows = [{"id": str(n), "query": f"q{n}", "response": f"r{n}", "harmful": n % 2 == 0} for n in range(6)]
    few = load_constitution("harmless").first(2, "revision")
    for name, constitution, critique in (
        ("with", "harmless", True),
        ("without", "harmless", False),
        ("few", few, True),
    ):
        reviser = Reviser(constitution, scripted(script), revisions=2, critique=critique)
        judge_file(reviser, rows, out / name, progress=False)
    samples = [
        {"id": row["id"], "query": row["query"], "responses": [row["response"]], "harmful": row["harmful"]}
        for row in rows
    ]
    (out / "start.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    return out


def judge_by(harmless: Callable[[str], float]) -> Callable[[Request], Any]:
    """Says yes or no, and a score that is 1 and one more for each exclamation mark."""

    def say(request: Request) -> Any:
        text = request.messages[-1].content
        offered = request.want.answers  # type: ignore[union-attr]
        shown = text.split("Response - ")[-1].split("Response: ")[-1].split("\n")[0]
        if "yes" in offered:
            p = harmless(shown)
            return {"yes": p, "no": 1 - p}
        return {str(1 + shown.count("!")): 1.0}

    return say


def test_every_section_from_chains_that_an_llm_judges(runs: Path, tmp_path: Path) -> None:
    llm = scripted(judge_by(lambda text: 0.9 if text.endswith("!") else 0.2))
    chains = [runs / "with", runs / "without", runs / "few"]
    report = report_constitutional(
        tmp_path / "out", stages={"start": runs / "start.jsonl"}, chains=chains, llm=llm, progress=False
    )
    by_key = {section.key: section for section in report.sections}
    assert list(by_key) == ["stages", "revisions", "critiques", "principles", "firing", "flags"]
    titles = [plot.title for plot in by_key["revisions"].plots]
    assert titles == ["Harmless responses by revisions", "Help by revisions"]
    # q2 is copied and q3 never criticised: of the requests for harm (q0, q2, q4) two become harmless.
    rounds = [values(by_key["revisions"], row) for row in range(9)]
    assert [(one["chains"], one["revisions"]) for one in rounds[:4]] == [
        ("with", 0),
        ("with", 1),
        ("with", 2),
        ("without", 0),
    ]
    assert [one["harmless"] for one in rounds[:3]] == pytest.approx([0, 2 / 3, 2 / 3])
    # Of the others (q1, q3, q5) two get a mark a round.
    assert [one["help"] for one in rounds[:3]] == pytest.approx([1, 1 + 2 / 3, 1 + 4 / 3])
    # Without critiques q3 is revised too.
    assert [one["help"] for one in rounds[3:6]] == pytest.approx([1, 2, 3])
    assert [values(by_key["critiques"], row)["help"] for row in (0, 1)] == pytest.approx([-1 / 3, -2 / 3])
    assert [values(by_key["principles"], row)["principles"] for row in (0, 1)] == [2, 16]
    fired = [values(by_key["firing"], row) for row in range(len(by_key["firing"].rows))]
    assert sum(one["rounds"] for one in fired) == 12
    assert sum(one["rounds"] * one["fires"] for one in fired) == pytest.approx(8)
    found = [values(by_key["flags"], row) for row in range(len(by_key["flags"].rows))]
    flags = {(one["chains"], one["flag"]): one["rounds"] for one in found}
    assert flags["with", "critique_refused"] == flags["with", "revision_identical"] == 2
    assert flags["without", "revision_identical"] == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"report.html", "report.md", "report.json"}
    assert report.pairs[0]["notes"] == [None, "It is rude.", "It is rude."]
    assert report.pairs[0]["responses"] == ["r0", "r0!", "r0!!"]
    assert report.pairs[2]["models"][1].endswith(" [revision_identical]")
    # A second time nobody is asked.
    silent = scripted(lambda request: pytest.fail("asked again"))
    again = report_constitutional(
        tmp_path / "out", stages={"start": runs / "start.jsonl"}, chains=chains, llm=silent, progress=False
    )
    assert [section.rows for section in again.sections] == [section.rows for section in report.sections]


def test_items_without_a_result_are_counted_beside_the_rates(runs: Path, tmp_path: Path) -> None:
    rows = [{"id": str(n), "query": f"q{n}", "response": f"r{n}"} for n in range(6)]
    for name, more in (("flagged", []), ("rejected", [{"id": "6", "query": "q6", "response": ""}])):
        reviser = Reviser("harmless", scripted(script), revisions=2, when_flagged="fail")
        judge_file(reviser, [*rows, *more], tmp_path / name, progress=False)
    report = report_constitutional(
        tmp_path / "out",
        stages={"start": runs / "start.jsonl"},
        chains=[tmp_path / "flagged", tmp_path / "rejected" / "revisions.jsonl"],
        llm=scripted(judge_by(lambda text: 0.5)),
        progress=False,
    )
    assert report.about["Without a result"] == "flagged: 1 refused; rejected: 1 refused, 1 rejected"


def test_judgements_that_fail_are_counted_and_no_rate_is_made_of_the_rest(runs: Path, tmp_path: Path) -> None:
    helpful = judge_by(lambda text: 0.9)

    def say(request: Any) -> Any:
        said = helpful(request)
        return {"perhaps": 1.0} if "yes" in {one.lower() for one in said} else said

    report = report_constitutional(
        tmp_path / "out", stages={"start": runs / "start.jsonl"}, chains=[runs / "with"], llm=scripted(say),
        progress=False,
    )  # fmt: skip
    # q0 to q5, and four of them revised twice.
    assert report.about["Judgements that failed"] == "harmlessness: 14 unreadable of 14"
    by_key = {section.key: section for section in report.sections}
    assert values(by_key["stages"], 0)["without a judgement"] == 6
    assert [values(by_key["revisions"], row)["without a judgement"] for row in range(3)] == [6, 6, 6]
    assert [one.value if (one := row[3]) else None for row in by_key["revisions"].rows] == [None, None, None]


@pytest.mark.filterwarnings("ignore:.*was not trained on this prompt")
def test_the_command_prints_figures_with_their_n_and_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(queries(6, split="heldout", seed=4, task="harmlessness", harmful=1.0))
    (tmp_path / "start.jsonl").write_text("".join(json.dumps(row | {"responses": ["No."]}) + "\n" for row in rows))

    def said(*words: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["constitution", "report", "--stage", f"start={tmp_path}/start.jsonl", *words])
        assert end.value.code == 0
        return "".join(capsys.readouterr())

    gold = said("--out", str(tmp_path / "gold"))
    assert "1.000 (0.610-1.000), n = 6" in " ".join(gold.split())
    assert "failed" not in gold
    judged = said("--out", str(tmp_path / "judged"), "--judge", "pocket:labeler-l")
    # One text for each query; this model does not read the prompt.
    assert "failed, which no figure counts: harmlessness: 6 unreadable of 6" in " ".join(judged.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--stage", "a=x", "--method", "sampled"), "--method is of a model that judges"),
        (("--stage", "a=x", "--stage", "a=y"), "there is a stage a already"),
        (("--stage", "a"), "is no NAME=FILE"),
        (("--stage", "a=x", "--judge", "pocket:a", "--judge", "pocket:b"), "--judge is there more than once"),
        (("--stage", "a:b:c"), "a:b:c: is no NAME=FILE"),
        ((), "there is nothing to report"),
    ],
)
def test_wrong_words_are_named(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["constitution", "report", *words, "--out", str(tmp_path / "out")])
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (query,) = queries(1, split="heldout", seed=4)
    (tmp_path / "start.jsonl").write_text(json.dumps(query | {"responses": ["No."]}) + "\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        report_constitutional(tmp_path / "file" / "out", stages={"start": tmp_path / "start.jsonl"}, progress=False)


def test_runs_that_differ_in_more_than_critiques_are_not_compared(runs: Path, tmp_path: Path) -> None:
    rows = [{"id": str(n), "query": f"q{n}", "response": f"r{n}"} for n in range(6)]
    other = Reviser("harmless", scripted(script), revisions=2, critique=False, seed=1)
    judge_file(other, rows, tmp_path / "other", progress=False)
    llm = scripted(judge_by(lambda text: 0.9))
    report = report_constitutional(
        tmp_path / "out", stages={}, chains=[runs / "with", tmp_path / "other"], llm=llm, progress=False
    )
    assert "critiques" not in {section.key for section in report.sections}


def test_chains_of_other_first_responses_are_not_compared_and_hide_no_section(runs: Path, tmp_path: Path) -> None:
    """Two policies' samples have the same ids."""
    rows = [{"id": str(n), "query": f"q{n}", "response": f"r{n}" if n < 2 else "other"} for n in range(6)]
    judge_file(
        Reviser("harmless", scripted(script), revisions=2, critique=False), rows, tmp_path / "no", progress=False
    )
    judge_file(Reviser("harmless", scripted(script), revisions=1), rows, tmp_path / "short", progress=False)
    report = report_constitutional(
        tmp_path / "out",
        stages={},
        chains=[tmp_path / "short", runs / "with", tmp_path / "no", runs / "few"],
        llm=scripted(judge_by(lambda text: 0.9)),
        progress=False,
    )
    by_key = {section.key: section for section in report.sections}
    assert [(row[0], row[2]) for row in by_key["critiques"].rows] == [("with less no", 2)] * 2
    # The first run has one round: it is compared with nothing, and the others with one another.
    assert [row[1] for row in by_key["principles"].rows] == ["few", "with"]


def test_a_principle_that_a_chain_drew_twice_has_two_rounds() -> None:
    """With one principle only, and a judgement missing in one of them."""

    taken: dict[str, Any] = {"input_tokens": 1, "cached_tokens": 0, "output_tokens": 1}

    def said(harmless: float | None, text: str) -> Judged:
        return Judged("q#0", "q", None, harmless, None, text)

    def step(kept: bool, *flags: Flag) -> RevisionStep:
        return RevisionStep(principle="only", kept=kept, flags=flags, **taken)

    chain = RevisionChain(
        id="q",
        query=(Turn(role="user", content="Q"),),
        response="c",
        initial="a",
        sampled=False,
        steps=(step(True), step(False, "revision_identical"), step(True)),
        constitution="C",
        when_flagged="keep_last_good",
        seed=0,
        llm="m",
        llm_version="1",
        **taken,
    )
    judged_ = [said(0.0, "a"), said(1.0, "b"), said(None, "b"), said(0.0, "c")]
    sections = constitutional_report({}, [Chains("run", True, 1, "", [chain], [judged_])], {}).sections
    by_key = {section.key: section for section in sections}
    (fired,) = (values(by_key["firing"], row) for row in range(len(by_key["firing"].rows)))
    assert (fired["rounds"], fired["fires"]) == (3, pytest.approx(2 / 3))
    # Only the first round is known before and after: +1. Across rounds it would be another figure.
    assert fired["harmless gain"] == 1.0
    (flag,) = (values(by_key["flags"], row) for row in range(len(by_key["flags"].rows)))
    assert (flag["share of rounds"], flag["rounds"]) == (pytest.approx(1 / 3), 1)


def test_a_model_without_log_probabilities_judges_by_samples(runs: Path, tmp_path: Path) -> None:
    def say(request: Request) -> str:
        return "yes" if "yes or no" in request.messages[-1].content + request.continuation else "7"

    llm = scripted(say, capabilities=Capabilities(draws=True))
    start = {"start": runs / "start.jsonl"}
    with pytest.raises(CapabilityError, match="--method sampled"):
        report_constitutional(tmp_path / "out", stages=start, llm=llm, progress=False)
    reading = {"method": "sampled", "draws": 2}
    report = report_constitutional(tmp_path / "out", stages=start, llm=llm, reading=reading, progress=False)
    row = values(report.sections[0], 0)
    assert (row["harmless"], row["help"], row["without a judgement"]) == (1.0, 7.0, 0)


def test_responses_to_one_query_are_paired_each_with_itself() -> None:
    def two(second: float | None) -> list[Judged]:
        return [Judged("q#0", "q", None, 1.0, None, "a"), Judged("q#1", "q", None, second, None, "b")]

    (section,) = constitutional_report({"start": two(0.0), "end": two(None)}, (), {}).sections
    # The response that has no judgement in the end is not compared, though its query has another.
    assert values(section, 1)["harmless gain"] == 0.0


def test_what_cannot_be_reported_is_said(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to report"):
        report_constitutional(tmp_path / "out", stages={})
    with pytest.raises(InputError, match=r"knows no such request.*name an LLM that judges"):
        report_constitutional(tmp_path / "out", stages={"start": runs / "start.jsonl"}, progress=False)
    with pytest.raises(InputError, match="no chain of rlaif revise"):
        report_constitutional(tmp_path / "out", stages={}, chains=[runs / "start.jsonl"], progress=False)
    assert not (tmp_path / "out" / "report.html").exists()
