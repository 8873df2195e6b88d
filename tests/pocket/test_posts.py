"""The summarization task: facts kept, lost and invented, by hand and for what the generator writes."""

import random
import statistics

import pytest

from rlaif.pocket.phrasing import SPLITS, TEMPLATES, drawn
from rlaif.pocket.posts import FACTS, SUMMARY_KINDS, judge_summary, summarize, told_in, write_post

POST = (
    "Here is what happened: my uncle sold my desk lamp at the market last Monday. It is a long story. "
    "I will have to pay forty dollars for it. I would be happy with an apology. Should I see a lawyer?"
)
CORE = "Last Monday my uncle sold my desk lamp at the market"
# Person, deed, thing, place, time, cost, wish, question.
TOLD = 8


def facts_of(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for fact in told_in(text):
        assert text[fact.start : fact.end].lower() in (fact.key, "$40", "40", "broken", "hidden")
        assert fact.told
        found.setdefault(fact.kind, set()).add(fact.key)
    return found


def test_facts_in_other_words() -> None:
    assert facts_of("My boss has broken my kettle and hidden my radio. It costs $40.") == {
        "person": {"boss"},
        "deed": {"broke", "hid"},
        "thing": {"kettle", "radio"},
        "cost": {"forty"},
    }
    assert judge_summary("It cost forty dollars.", "$40 for it.").kept == 1


def test_the_facts_of_a_post() -> None:
    assert facts_of(POST) == {
        "person": {"uncle"},
        "deed": {"sold"},
        "thing": {"desk lamp"},
        "place": {"market"},
        "time": {"monday"},
        "cost": {"forty"},
        "wish": {"apology"},
        "question": {"lawyer"},
    }


@pytest.mark.parametrize(
    ("summary", "kept", "invented", "quality"),
    [
        (f"{CORE} for forty dollars. I want an apology. Should I see a lawyer?", 8, 0, 10),
        ("My uncle sold my desk lamp, and I want an apology.", 4, 0, 1 + 9 * 4 / TOLD),
        ("My desk lamp was sold by my uncle.", 3, 0, 1 + 9 * 3 / TOLD),
        # Somebody else does it; it is denied.
        ("I sold the desk lamp of my uncle.", 2, 1, 1),
        ("My uncle sold my desk lamp, but I do not want an apology.", 3, 1, 1 + 9 * 3 / TOLD - 2.5),
        ("My uncle never sold my desk lamp.", 1, 2, 1),
        ("My aunt sold my desk lamp, and I want an apology.", 3, 1, 1 + 9 * 3 / TOLD - 2.5),
        # Nothing is kept, two are invented: not below 1.
        ("My aunt broke it.", 0, 2, 1),
        ("Somebody did something to me, and I want advice.", 0, 0, 1),
        ("", 0, 0, 1),
    ],
)  # fmt: skip
def test_summaries_by_hand(summary: str, kept: int, invented: int, quality: float) -> None:
    found = judge_summary(POST, summary)
    assert (found.told, found.kept, found.invented) == (TOLD, kept, invented)
    assert found.quality == pytest.approx(quality)


def test_a_copy_or_a_heap_of_words_is_no_summary() -> None:
    good = judge_summary(POST, "Last Monday my uncle sold my desk lamp at the market for forty dollars.").quality
    for bad in (
        POST,
        f"{POST} {POST}",
        "uncle sold desk lamp market Monday forty apology lawyer.",
        "uncle aunt boss cousin sold broke desk lamp kettle market lake Monday Tuesday forty fifty apology lawyer.",
    ):
        assert judge_summary(POST, bad).quality < good - 4


def test_kinds_are_worth_what_they_say() -> None:
    rng = random.Random(0)
    means = {}
    for kind in SUMMARY_KINDS:
        posts = [write_post(rng, "heldout") for _ in range(200)]
        means[kind] = statistics.fmean(
            judge_summary(post.text, summarize(rng, "heldout", post, kind)).quality for post in posts
        )
    order = ["keeps_all", "loses_some", "invents_one", "loses_most", "invents_more", "vague"]
    assert [means[kind] for kind in order] == sorted((means[kind] for kind in order), reverse=True)
    assert means["keeps_all"] > 9
    assert means["vague"] == 1
    assert means["other_post"] < 1.5


def test_the_generators_facts_are_those_that_are_read() -> None:
    rng = random.Random(1)
    for _ in range(300):
        post = write_post(rng, "train")
        assert facts_of(post.text) == {kind: {key} for kind, key in post.facts.items()}


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name.startswith("post") or "summary" in name])
def test_templates_tell_the_facts_that_are_put_into_them_and_no_others(name: str) -> None:
    rng = random.Random(0)
    values = dict.fromkeys(FACTS, "something") | {"when": "", "When": ""}
    for template in (one for split in SPLITS for one in TEMPLATES[name][split]):
        text = drawn(rng, template).format(**values)
        assert not told_in(text), text
        if name.endswith("mishap"):
            told = drawn(rng, template).format(person="uncle", deed="sold", thing="radio", when=" at Easter", When="")
            assert {fact.key for fact in told_in(told) if fact.told} >= {"uncle", "sold", "radio"}, told
