"""The generated world: sense, balance, and parts that share neither combinations nor templates."""

import random
import re
from typing import Any

import pytest

from rlaif.pocket.data import TASKS, Task, comparisons, queries
from rlaif.pocket.gold import asked_for, judge
from rlaif.pocket.lexicon import ACTIONS, OBJECTS
from rlaif.pocket.phrasing import SPLITS, TEMPLATES, Split, drawn, pattern_of
from rlaif.pocket.reading import phrases_in
from rlaif.pocket.world import KINDS, activities, respond, situation
from rlaif.records import Turn


def rows(n: int, task: Task = "harmlessness", split: Split = "train", seed: int = 0) -> list[dict[str, Any]]:
    return list(comparisons(n, task=task, split=split, seed=seed))


# Lists of what is said in a query or a post, and how facts are told; the others make responses.
ASKING = {
    "asks",
    "reasons",
    "greetings",
    "openings",
    "earlier",
    "bridges",
    "asking back",
    "harmless circumstances",
    "harmful circumstances",
}
POSTS = {name for name in TEMPLATES if name.startswith("post") or "summary" in name}
# Whether it refuses, is kind, is rude; templates of other lists do nothing of that.
MANNERS = {
    "sorry": (True, True, False),
    "refuse flatly": (True, False, False),
    "insults": (False, False, True),
    "open warm": (False, True, False),
    "close warm": (False, True, False),
}


def test_rows_are_seeded_and_longer_runs_start_the_same() -> None:
    for task in TASKS:
        assert rows(20, task) == rows(60, task)[:20]
        assert rows(20, task) != rows(20, task, seed=1)
    assert len({row["id"] for row in rows(200)}) == 200


def test_the_parts_share_no_combination() -> None:
    asked = {
        split: {
            one.asked
            for harmful in (False, True)
            for group in activities(harmful, split)
            for one in group
            # Without an object an open action is told apart by its circumstances.
            if one.x or one.person
        }
        for split in SPLITS
    }
    assert not asked["train"] & asked["heldout"]
    assert len(asked["train"]) > 1000
    assert len(asked["heldout"]) > 300
    # Every action can be asked for in both parts, so that the held-out one needs no unheard-of step.
    for harmful in (False, True):
        actions = [{group[0].action.asked for group in activities(harmful, split) if group} for split in SPLITS]
        assert actions[0] == actions[1] == {action.asked for action in ACTIONS if action.harmful == harmful}


def test_nothing_held_out_is_told_in_training() -> None:
    rng = random.Random(0)
    heldout = {one for harmful in (False, True) for group in activities(harmful, "heldout") for one in group}
    told: set[str] = set()
    for number in range(1500):
        about = situation(rng, "train", harmful=number % 2 == 0)
        told |= {
            sentence
            for kind in ("wander_off", "full_help")
            for sentence in re.split(r"[.,:;] ", respond(rng, "train", about, kind))  # type: ignore[arg-type]
        }
    steps = {
        step
        for one in heldout
        for step, template in zip(one.steps, one.action.steps, strict=True)
        if "{x}" in template and (not one.person or "{p}" in template)
    }
    assert len(steps) > 300
    assert not {step for step in steps if any(sentence.endswith(step) for sentence in told)}


def test_posts_of_the_parts_share_no_person_deed_and_thing() -> None:
    told = {
        split: {row["query"][0]["content"] for row in rows(500, "summarization", split)}
        for split in ("train", "heldout")
    }
    mishap = re.compile(
        r"my ([a-z-]+(?: teacher)?) (\w+) my ([a-z -]+?)(?: at| in| on| by| last| yesterday|\.)", re.IGNORECASE
    )
    seen = {
        split: {match.groups() for text in texts if (match := mishap.search(text))} for split, texts in told.items()
    }
    assert min(map(len, seen.values())) > 200
    assert not seen["train"] & seen["heldout"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_parts_share_no_template(name: str) -> None:
    rng = random.Random(0)
    templates = TEMPLATES[name]
    everyone = [one for split in SPLITS for one in templates[split]]
    assert len(everyone) == len(set(everyone)), "a template stands twice in its list"
    # Not even the words of a template, whatever is drawn for its groups.
    train, heldout = ({drawn(rng, one) for one in templates[split] for _ in range(300)} for split in SPLITS)
    assert train
    assert heldout
    assert not train & heldout


def test_groups_of_a_template_are_drawn_one_by_one() -> None:
    rng = random.Random(0)
    texts = {drawn(rng, "[a|b] c[| d] {s}") for _ in range(100)}
    assert texts == {"a c {s}", "b c {s}", "a c d {s}", "b c d {s}"}


def test_a_pattern_finds_whatever_is_drawn_of_a_template() -> None:
    rng = random.Random(0)
    template = "My {p} [is|was] here[| once], [and|or] not."
    found = re.compile(pattern_of(template).replace(r"\{p\}", "boss"))
    assert all(found.fullmatch(drawn(rng, template).format(p="boss").lower()) for _ in range(100))
    assert not found.search("my boss is here twice, and not.")


def test_there_are_thousands_of_queries_and_tens_of_thousands_of_texts() -> None:
    asked = {str(row["query"]) for split in ("train", "heldout") for row in queries(4000, split=split, seed=0)}
    assert len(asked) > 6000
    texts = {row[side] for task in TASKS for row in rows(3000, task) for side in ("response_1", "response_2")}
    assert len(texts) > 14_000


def test_queries_come_in_one_turn_and_in_more_and_end_with_the_person() -> None:
    found = [row["query"] for row in queries(500, split="heldout", seed=0)]
    lengths = [len(query) for query in found]  # type: ignore[arg-type]
    assert set(lengths) == {1, 3}
    assert 0.2 < lengths.count(3) / 500 < 0.5
    assert all(query[-1]["role"] == "user" for query in found)  # type: ignore[index]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("task", ["helpfulness", "harmlessness"])
def test_length_place_and_harm_say_little(task: Task, split: Split) -> None:
    found = rows(3000, task, split)
    assert all((row["gold_1"] > row["gold_2"]) == (row["gold_preference"] == 1.0) for row in found)
    assert all(abs(row["gold_1"] - row["gold_2"]) > 0.98 for row in found)
    assert all(1 <= row["gold_1"] <= 10 for row in found)
    longer = [
        (len(row["response_1"].split()) > len(row["response_2"].split())) == bool(row["gold_preference"])
        for row in found
    ]
    # 3,000 rows have a standard error of .009. Help in four steps is a little longer than the rest.
    assert 0.46 < sum(longer) / len(longer) < 0.58
    assert abs(sum(row["gold_preference"] for row in found) / len(found) - 0.5) < 0.045
    wanted = {"helpfulness": 0.25, "harmlessness": 0.6}[task]
    assert abs(sum(row["harmful"] for row in found) / len(found) - wanted) < 0.045


def test_some_requests_sound_better_or_worse_than_they_are() -> None:
    rng = random.Random(0)
    drawn = [situation(rng, "heldout", harmful) for harmful in (False, True) for _ in range(500)]
    for harmful in (False, True):
        mine = [one.activity.action for one in drawn if one.harmful == harmful]
        assert sum(action.misleading for action in mine) > 50
        assert sum(action.open for action in mine) > 20


def test_gold_reads_from_the_text_what_was_asked_for() -> None:
    rng = random.Random(1)
    for number in range(1500):
        about = situation(rng, ("train", "heldout")[number % 2], harmful=number % 4 < 2)  # type: ignore[arg-type]
        assert asked_for(about.query) == about.activity


def test_texts_are_clean() -> None:
    rng = random.Random(2)
    for number in range(1200):
        split: Split = "train" if number % 2 else "heldout"
        about = situation(rng, split, harmful=number % 4 < 2)
        text = respond(rng, split, about, KINDS[number % 10])
        for one in (text, *(turn.content for turn in about.query)):
            assert not re.search(r"[][{}|/\n]|  | [.,?!]|\.\.|\bmy my\b|\byour your\b|\ba [aeio]", one), one
            assert one[0].isupper()
            assert one[-1] in ".?!"


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name not in ASKING | POSTS])
def test_gold_sees_in_templates_what_they_are_for(name: str) -> None:
    rng = random.Random(0)
    refuses, kind, rude = MANNERS.get(name, (False, False, False))
    for template in (one for split in SPLITS for one in TEMPLATES[name][split]):
        for _ in range(20):
            text = re.sub(r"\{\w+\}", "something", drawn(rng, template))
            found = judge((Turn(role="user", content="How do I grow a healthy orchid?"),), text)
            assert (found.refuses, found.rude) == (refuses, rude), text
            # How a kind refusal ends may be kind or neutral.
            assert found.kind == kind or name == "comfort", text
            assert not phrases_in(text), f"a template that reads as a step: {text}"


def test_every_step_is_told_apart_from_every_other() -> None:
    rng = random.Random(0)
    seen = 0
    for split in SPLITS:
        for harmful in (False, True):
            for group in activities(harmful, split):
                one = rng.choice(group)
                for step, template in zip(one.steps, one.action.steps, strict=True):
                    (found,) = phrases_in(f"You could {step}.")
                    assert (found.share, found.phrase.template) == (1.0, template)
                    seen += 1
    assert seen == 2 * 5 * len(ACTIONS)


def test_every_step_fits_its_frame() -> None:
    for action in ACTIONS:
        assert len(action.steps) == len(set(action.steps)) == 5
        assert bool(action.alternatives) == action.harmful
        for phrase in (*action.steps, *action.alternatives):
            assert not re.search(r"[.,;:!?]", phrase)
            assert ("{x}" in phrase or "{part}" in phrase) <= (action.takes in OBJECTS)
            assert ("{p}" in phrase) <= action.person


def test_turns_are_plain_records() -> None:
    for row in rows(3):
        assert [Turn.model_validate(turn) for turn in row["query"]]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_harmful_requests_can_be_set(share: float) -> None:
    asked = list(queries(20, split="train", seed=1, task="helpfulness", harmful=share))
    pairs = list(comparisons(20, split="train", seed=1, task="helpfulness", harmful=share))
    assert {row["harmful"] for row in (*asked, *pairs)} == {share == 1}
    # Other rows have other ids, and without a share they are what they always were.
    plain = {row["id"] for row in comparisons(20, split="train", seed=1, task="helpfulness")}
    assert not plain & {row["id"] for row in pairs}
