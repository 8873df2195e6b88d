"""Edits word by word, and by hand what a report makes of their changes."""

import math
from random import Random

import pytest

from rlaif.evaluation.alignment import Resampling
from rlaif.evaluation.edits import EDITS, OPPOSITES, edits_of
from rlaif.evaluation.sensitivity import Change, sensitivity, threshold
from rlaif.pocket.data import comparisons
from rlaif.statistics.intervals import Estimate


def every(kind: str, text: str) -> set[str | None]:
    """All that an edit can make of a text."""
    return {EDITS[kind].rewrite(text, Random(seed)) for seed in range(60)}


@pytest.mark.parametrize(
    ("kind", "text", "edited"),
    [
        ("not inserted", "It is safe.", {"It is not safe."}),
        ("not inserted", "You can go, I will.", {"You can not go, I will.", "You can go, I will not."}),
        ("not inserted", "It is not safe, you can't, a can of the will.", {None}),
        ("not inserted", "Is it? Can you?", {None}),
        ("not dropped", "I do not know.", {"I do know."}),
        ("not dropped", "Do not go, it cannot be.", {"Do go, it cannot be.", "Do not go, it can be."}),
        ("not dropped", "Won't you?", {"Will you?"}),
        ("not dropped", "I can’t. We shan't.", {"I can. We shan't.", "I can’t. We shall."}),
        ("not dropped", "They aren't here; it isn’t.", {"They are here; it isn’t.", "They aren't here; it is."}),
        ("not dropped", "Not now, not ever.", {None}),
        ("another number", "Take 8 eggs.", {f"Take {n} eggs." for n in (1, 2, 3, 4, 5, 6, 7, 9)}),
        ("another number", "1. Go\n 2) Stay", {None}),
        ("another number", "1. Add 0.5 l", {f"1. Add {n}.5 l" for n in range(1, 10)}),
        ("another number", "mp3 on the 3rd, one by one", {None}),
        ("an opposite", "Always stir before.", {"Never stir before.", "Always stir after."}),
        ("an opposite", "It is DANGEROUS", {"It is SAFE"}),
        ("an opposite", "unsafe, goodness", {None}),
        ("a doubled space", "a b c", {"a  b c", "a b  c"}),
        ("a doubled space", "a", {None}),
        ("a line break at the end", "a", {"a\n"}),
        ("other apostrophes", "It's Ann's", {"It’s Ann’s"}),
        ("other apostrophes", "It’s", {"It's"}),
        ("other apostrophes", "It is", {None}),
        ("cannot, can not", "I cannot.", {"I can not."}),
        ("cannot, can not", "Can not", {"Cannot"}),
    ],
)  # fmt: skip
def test_each_edit_makes_one_change_where_there_is_a_place(kind: str, text: str, edited: set[str | None]) -> None:
    assert every(kind, text) == edited


def test_another_number_word_is_another_one_in_the_same_case() -> None:
    made = every("another number", "Two eggs")
    assert len(made) > 8
    assert all(one is not None and one != "Two eggs" and one.endswith(" eggs") and one[0].isupper() for one in made)


def test_an_empty_text_has_no_place_for_anything() -> None:
    assert set(edits_of("", 0).values()) == {None}
    assert edits_of(" \n", 0)["a line break at the end"] is None


def test_edits_are_drawn_by_the_seed_and_differ_from_the_text() -> None:
    texts = [row["response_1"] for row in comparisons(50, task="helpfulness", split="heldout", seed=0)]
    first = [edits_of(text, 0) for text in texts]
    assert first == [edits_of(text, 0) for text in texts]
    assert first != [edits_of(text, 1) for text in texts]
    assert all(edited != text for text, every in zip(texts, first, strict=True) for edited in every.values())


def test_opposites_are_mutual() -> None:
    words = [word for pair in OPPOSITES for word in pair]
    assert len(set(words)) == len(words)
    for word in words:
        (other,) = every("an opposite", word)
        assert other is not None
        assert every("an opposite", other) == {word}


def moved(kind: str, change: float | None, preferred: bool | None = None, **more: bool) -> Change:
    moved.count += 1  # type: ignore[attr-defined]
    return Change(kind, str(moved.count), preferred, change, **more)  # type: ignore[attr-defined]


moved.count = 0  # type: ignore[attr-defined]


def test_an_edit_is_measured_against_the_controls_95th_percentile() -> None:
    # |Δ| of 21 controls is 0, .01, … .20; the 95th percentile of 21 values is the 20th: .19.
    controls = [moved("a doubled space", (-1) ** n * n / 100) for n in range(21)]
    assert threshold(controls) == pytest.approx(0.19)
    edits = [
        moved("not inserted", -0.3, True),
        moved("not inserted", 0.25, True),
        moved("not inserted", 0.1, False),
        moved("not inserted", -0.05, True),
        moved("not inserted", None),
        moved("not inserted", None, True, too_long=True),
    ]
    section = sensitivity([*controls, *edits], "people", Resampling(200))
    rows = {row[0]: row[1:] for row in section.rows}
    more, mean, falls, no_place, too_long = rows["not inserted"]
    # Two of four move by more than .19; (.3 + .25 + .1 + .05) / 4 = .175; two of three preferred ones fall.
    assert [(one.value, one.n) for one in (more, mean, falls)] == [  # type: ignore[union-attr]
        (0.5, 4),
        (pytest.approx(0.175), 4),
        (pytest.approx(2 / 3), 3),
    ]
    assert (no_place, too_long) == (1, 1)
    assert rows["all that change the meaning"][0] == more
    # Only .20 is more than .19.
    assert rows["a doubled space"][0].value == pytest.approx(1 / 21)  # type: ignore[union-attr]
    assert rows["an opposite"][:3] == (Estimate(None), Estimate(None), Estimate(None))


def test_rounding_is_no_change_and_without_controls_there_is_no_threshold() -> None:
    assert threshold([moved("a doubled space", 3e-6)]) == pytest.approx(1e-4)
    section = sensitivity([moved("not inserted", -3e-6, True)], "people", Resampling(100))
    (row,) = [row for row in section.rows if row[0] == "not inserted"]
    assert row[1] == Estimate(None)
    assert isinstance(row[3], Estimate)
    assert row[3].value == 0
    assert not math.isnan(row[2].value or 0)  # type: ignore[union-attr]
