"""What is remarked on in a constitution, what is not seen, and how it is counted and shown."""

import random
from itertools import combinations
from pathlib import Path

import pytest

from rlaif.cli import main
from rlaif.constitution.check import remarks, sizes
from rlaif.constitution.files import load_constitution, packaged
from rlaif.constitution.page import page
from rlaif.constitution.principles import ComparisonPrinciple, Constitution, Principle
from rlaif.pocket.paths import model_folder

MOCKING = "Point out where the response mocks somebody's accent or clothes."
ROUTE = "Does the response reveal the route that a child takes to school?"


def made(*critiques: str, questions: tuple[str, ...] = ()) -> Constitution:
    kept = ["Rewrite it in plain words.", "Soften the opening line.", "Leave the joke out.", "Shorten the ending."]
    return Constitution(
        title="Made",
        description="For a test.",
        principles=tuple(
            Principle(id=f"p{number}", critique_request=text, revision_request=kept[number])
            for number, text in enumerate(critiques)
        ),
        comparison_principles=tuple(
            ComparisonPrinciple(id=f"q{number}", question=text) for number, text in enumerate(questions)
        ),
    )


def said(constitution: Constitution, *words: str) -> list[str]:
    return [remark for remark in remarks(constitution) if any(word in remark for word in words)]


@pytest.mark.parametrize("name", ["harmless", "helpful-honest"])
def test_the_packaged_ones_give_no_cause_for_a_remark(name: str) -> None:
    assert remarks(load_constitution(name)) == []


def test_the_texts_of_the_two_are_all_different_and_none_is_long() -> None:
    texts = []
    for name in packaged():
        one = load_constitution(name)
        texts += [text for each in one.principles for text in (each.critique_request, each.revision_request)]
        texts += [each.question for each in one.comparison_principles]
        assert all(each.question.endswith("?") for each in one.comparison_principles)
    assert len(set(texts)) == len(texts)
    assert max(len(text.split()) for text in texts) <= 45
    for one_text, other in combinations(texts, 2):
        assert one_text.split()[:5] != other.split()[:5]


def test_a_text_that_says_the_same_is_remarked_on() -> None:
    found = said(made(MOCKING, MOCKING.upper(), ROUTE), "same")
    assert found == ["p0: critique_request says the same as p1: critique_request"]


def test_a_text_that_nearly_says_the_same_is_remarked_on() -> None:
    reworded = "Identify whether an answer mocks the accent of somebody, or their clothes."
    found = said(made(MOCKING, reworded, ROUTE), "same")
    assert len(found) == 1
    assert found[0].startswith("p0: critique_request nearly says the same as p1: critique_request: they share ")


def test_a_comparison_question_that_repeats_a_critique_request_is_remarked_on() -> None:
    found = said(made(MOCKING, ROUTE, questions=("Which response mocks nobody's accent and clothes?",)), "same")
    assert found
    assert all("p0: critique_request" in one and "q0: question" in one for one in found)


def test_a_fifth_of_the_words_replaced_is_still_seen_in_nearly_all_principles() -> None:
    constitution = load_constitution("harmless")
    chance = random.Random(0)
    seen = 0
    for principle in constitution.principles:
        words = principle.critique_request.split()
        for place in chance.sample(range(len(words)), len(words) // 5):
            words[place] = f"word{place}"
        copy = Principle(id="copy", critique_request=" ".join(words), revision_request="Whistle a tune from Verdi.")
        changed = constitution.model_copy(update={"principles": (*constitution.principles, copy)})
        (remark,) = remarks(changed) or [""]
        seen += remark.startswith(f"{principle.id}: critique_request nearly says the same as copy")
    assert seen >= 15


def test_a_way_of_putting_it_that_all_share_makes_no_near_duplicates_in_any_language() -> None:
    endings = ("fremde Häuser öffnet", "einen Kollegen verspottet", "Zahlen frei erfindet", "lange Predigten hält")
    requests = made(*(f"Zeige, wo die Antwort {ending}." for ending in endings))
    assert said(requests, "same") == []


def test_the_same_thing_in_other_words_is_not_seen() -> None:
    other_words = "Where does the answer ridicule the way a stranger talks or dresses?"
    assert said(made(MOCKING, other_words), "same") == []


@pytest.mark.parametrize(
    "text",
    [
        "Identify specific ways in which the response is harmful, unethical or bad.",
        "Is the assistant's answer really as good as it could be?",
        "What is wrong here?",
    ],
)
def test_a_request_that_names_no_behaviour_is_remarked_on(text: str) -> None:
    assert said(made(text), "names no behaviour") == [
        "p0: critique_request names no behaviour; say what it is that a response does"
    ]
    assert said(made(MOCKING, questions=(text,)), "names no behaviour")[0].startswith("q0: question names no behaviour")


@pytest.mark.parametrize(
    "text",
    [
        MOCKING,
        ROUTE,
        "Does it mock an accent?",
        # What the criterion cannot see: sense, and other languages.
        "Is the response a purple elephant?",
        "Was ist an der Antwort schlecht?",
    ],
)
def test_a_request_that_names_something_is_left_alone(text: str) -> None:
    assert said(made(text), "names no behaviour") == []


def test_one_bare_word_of_blame_is_shown_as_all_there_is() -> None:
    assert "names no behaviour (beyond violent)" in said(made("Is the response violent?"), "names no")[0]


def test_missing_parts_and_one_sided_exemplars_are_remarked_on() -> None:
    assert remarks(made(MOCKING)) == [
        "comparison_principles: are missing; nothing can be labeled by it",
        "revision_exemplars: are missing; critiques and revisions are asked for without an example",
    ]
    only_questions = made(questions=("Which response mocks nobody's accent?",))
    assert [one.split(":")[0] for one in remarks(only_questions)] == ["principles", "comparison_exemplars"]
    harmless = load_constitution("harmless")
    sided = tuple(one for one in harmless.comparison_exemplars if one.preferred == 2)
    assert remarks(harmless.model_copy(update={"comparison_exemplars": sided})) == [
        "comparison_exemplars: prefer response 2 each time, which teaches the position"
    ]


def test_sizes_by_hand() -> None:
    found = sizes(made("One two?", "Three four five?"), count_tokens=len)
    critiques, revisions, *rest = found
    # "One two?" has 8 characters and "Three four five?" 16.
    assert critiques == ("critique requests", 2, 5, 24, 3, 24)
    assert (revisions.texts, revisions.longest) == (2, 5)
    assert [(one.texts, one.words, one.longest) for one in rest] == [(0, 0, 0)] * 3
    assert sizes(made(MOCKING))[0].tokens is None


def test_a_page_shows_everything_or_one_kind() -> None:
    harmless = load_constitution("harmless")
    whole = page(harmless)
    flat = " ".join(whole.split())
    for one in harmless.principles:
        assert one.critique_request in flat
        assert one.revision_request in flat
    for each in harmless.comparison_principles:
        assert each.question in flat
    for worked in harmless.comparison_exemplars:
        assert worked.rationale in flat
    assert max(map(len, whole.splitlines())) <= 100
    critique, revision, comparison = (page(harmless, kind) for kind in ("critique", "revision", "comparison"))
    assert "Critique requests (16)" in critique
    assert "revision:" not in critique
    assert "Revision requests (16)" in revision
    assert "Comparison questions (16)" in comparison
    assert "1. violence" not in comparison
    assert "Comparison" not in revision


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        main(["constitution", *words])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_check_prints_sizes_and_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "check", "harmless", "--strict")
    assert (code, err) == (0, "")
    assert "harmless.yaml: no faults, no remarks" in out
    assert "tokens" not in out
    code, out, _ = call(capsys, "check", "helpful-honest", "--tokenizer", str(model_folder("labeler-l")))
    assert code == 0
    assert "tokens" in out


def test_check_names_all_faults_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("tittle: T\nprinciples:\n  - id: a\n")
    code, out, err = call(capsys, "check", str(path))
    assert (code, out) == (2, "")
    assert err.count("error: ") == len(err.splitlines()) == 5
    assert f"{path}:3: principles 1 (a): critique_request: is missing" in err


def test_remarks_end_with_1_only_under_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: T\ndescription: D\ncomparison_principles:\n  - id: a\n    question: Which is better?\n")
    code, out, _ = call(capsys, "check", str(path))
    assert code == 0
    assert "mine.yaml: a: question names no behaviour" in out
    assert "no faults, 3 remarks" in out
    assert call(capsys, "check", str(path), "--strict")[0] == 1


def test_what_cannot_be_read_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (("check", "harmles"), "did you mean harmless?"),
        (("show", "harmles"), "did you mean harmless?"),
        (("check", "harmless", "--tokenizer", str(tmp_path / "none")), "no such folder; a tokenizer's folder holds"),
        (("check", "harmless", "--tokenizer", str(tmp_path)), "its tokenizer cannot be loaded"),
    ):
        code, out, err = call(capsys, *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err


def test_show_prints_a_kind(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "show", "harmless", "--kind", "comparison")
    assert code == 0
    assert out.startswith("HARMLESS\n")
    assert "1. mass-harm" in out
    assert call(capsys, "show", "harmless", "--kind", "x")[0] == 2


@pytest.mark.parametrize("command", ["check", "show"])
def test_both_have_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, command, "--help")
    assert code == 0
    assert f"rlaif constitution {command} h" in out.split("Examples")[-1]
