"""Which principle an item gets: uniform, independent, and a matter of seed, item and round alone."""

import random
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from rlaif.constitution.files import load_constitution
from rlaif.constitution.principles import ComparisonPrinciple, Constitution, Principle, RevisionExemplar, draw
from rlaif.errors import ConfigError

HARMLESS = load_constitution("harmless")
ITEMS = [f"item-{number}" for number in range(10_000)]


def ids(kind: str, *where: object, k: int = 1, of: Constitution = HARMLESS) -> tuple[str, ...]:
    return tuple(one.id for one in draw(of, kind, *where, k=k))  # type: ignore[call-overload]


def small(*names: str) -> Constitution:
    principles = [Principle(id=name, critique_request="Is it loud?", revision_request="Be quiet.") for name in names]
    return Constitution(title="Small", description="A few.", principles=tuple(principles))


def p_of_uniform(counts: Counter[object], cells: int) -> float:
    observed = [*counts.values(), *[0] * (cells - len(counts))]
    return float(stats.chisquare(observed).pvalue)


@pytest.mark.parametrize("kind", ["revision", "comparison"])
@pytest.mark.parametrize("seed", [0, 1])
def test_ten_thousand_draws_are_uniform(kind: str, seed: int) -> None:
    counts: Counter[object] = Counter(ids(kind, seed, item, 1)[0] for item in ITEMS)
    # 15 degrees of freedom, 625 expected in each of 16 cells.
    assert p_of_uniform(counts, 16) > 0.001


def test_rounds_of_one_item_are_uniform_too() -> None:
    counts: Counter[object] = Counter(ids("revision", 0, "one item", round)[0] for round in range(10_000))
    assert p_of_uniform(counts, 16) > 0.001


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("revision", 0, 1), ("revision", 0, 2)),
        (("revision", 0, 1), ("revision", 0, 4)),
        (("revision", 0, 1), ("revision", 1, 1)),
        (("comparison", 0, 1), ("comparison", 0, 2)),
    ],
)
def test_rounds_and_seeds_are_independent(first: tuple[str, int, int], second: tuple[str, int, int]) -> None:
    place = {name: number for number, name in enumerate(sorted({*ids("revision", 0, "x", 0, k=16)}))}
    if first[0] == "comparison":
        place = {name: number for number, name in enumerate(sorted({*ids("comparison", 0, "x", 0, k=16)}))}
    table = np.zeros((16, 16))
    for item in ITEMS:
        one, other = (ids(kind, seed, item, round)[0] for kind, seed, round in (first, second))
        table[place[one], place[other]] += 1
    # 225 degrees of freedom, about 39 expected in each cell.
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_kinds_are_independent_where_ids_are_the_same() -> None:
    both = Constitution(
        title="Both",
        description="The same ids in both lists.",
        principles=small("a", "b").principles,
        comparison_principles=tuple(ComparisonPrinciple(id=name, question="Which is loud?") for name in "ab"),
    )
    same = sum(ids("revision", 0, item, 1, of=both) == ids("comparison", 0, item, 1, of=both) for item in ITEMS)
    # Half of them, with a standard deviation of 50.
    assert abs(same - 5_000) < 150


def test_the_order_of_items_and_of_principles_does_not_matter() -> None:
    before = {item: ids("revision", 3, item, 2) for item in ITEMS[:500]}
    shuffled = random.Random(0).sample(ITEMS[:500], 500)
    turned = HARMLESS.model_copy(update={"principles": HARMLESS.principles[::-1]})
    assert {item: ids("revision", 3, item, 2) for item in shuffled} == before
    assert {item: ids("revision", 3, item, 2, of=turned) for item in shuffled} == before


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    assert [ids("revision", 0, item, 1) for item in ITEMS[:8]] == [ids("revision", 0, item, 1) for item in ITEMS[:8]]
    # On record: a change of the hash would change every run that is resumed.
    assert ids("revision", 0, "item-0", 1, k=3) == REVISION_ON_RECORD
    assert ids("comparison", 0, "item-0", 1, k=3) == COMPARISON_ON_RECORD
    assert [ids("revision", 0, item, 1) for item in ITEMS[:50]] != [ids("revision", 1, item, 1) for item in ITEMS[:50]]


REVISION_ON_RECORD = ("crime", "violence", "dangerous-advice")
COMPARISON_ON_RECORD = ("minors", "good-faith", "animals")


def test_several_are_drawn_without_replacement_and_begin_with_the_same_ones() -> None:
    for item in ITEMS[:200]:
        drawn = ids("comparison", 0, item, 1, k=16)
        assert len(set(drawn)) == 16
        assert ids("comparison", 0, item, 1, k=4) == drawn[:4]


def test_every_ordered_pair_is_drawn_equally_often() -> None:
    five = small("a", "b", "c", "d", "e")
    counts: Counter[object] = Counter(ids("revision", 0, item, 1, k=2, of=five) for item in ITEMS)
    assert set(counts) == set(permutations("abcde", 2))
    # 19 degrees of freedom, 500 expected in each of 20 cells.
    assert p_of_uniform(counts, 20) > 0.001


def test_a_new_principle_takes_its_share_and_leaves_the_rest() -> None:
    old, new = small("a", "b", "c", "d"), small("a", "b", "c", "d", "e")
    moved = [item for item in ITEMS if ids("revision", 0, item, 1, of=old) != ids("revision", 0, item, 1, of=new)]
    assert {ids("revision", 0, item, 1, of=new) for item in moved} == {("e",)}
    # A fifth of 10,000, with a standard deviation of 40.
    assert abs(len(moved) - 2_000) < 120


def test_ids_of_items_may_hold_anything() -> None:
    odd = ["", "\0", "a\0b", "ü", "\ud800", "1\0violence", "x" * 10_000]
    assert all(len(ids("revision", 0, item, 1)) == 1 for item in odd)
    assert len({ids("revision", 0, item, 1, k=16) for item in odd}) == len(odd)


def test_more_than_there_are_or_none_is_an_error() -> None:
    with pytest.raises(ConfigError, match="Harmless: 17 principles were asked for at once, of 16; ask for 1 to 16"):
        draw(HARMLESS, "revision", 0, "x", 1, k=17)
    with pytest.raises(ConfigError, match="0 comparison_principles were asked for"):
        draw(HARMLESS, "comparison", 0, "x", 1, k=0)
    with pytest.raises(ConfigError, match=r"of 0; add some under comparison_principles, or name a constitution"):
        draw(small("a"), "comparison", 0, "x", 1)


def test_texts_are_stripped_so_that_prompts_do_not_end_in_a_space() -> None:
    assert Principle(id="a", critique_request=" Is it loud?\n", revision_request="x").critique_request == "Is it loud?"


def test_records_are_frozen_and_consistent_however_they_are_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        HARMLESS.title = "x"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="is a, as that of number 1"):
        small("a", "a")
    with pytest.raises(ValidationError, match="holds no principles"):
        small()
    worked = RevisionExemplar.model_validate(
        {"principle": "b", "query": "q", "response": "r", "critique": "c", "revision": "v"}
    )
    with pytest.raises(ValidationError, match="is b, which is none of the principles"):
        Constitution(title="t", description="d", principles=small("a").principles, revision_exemplars=(worked,))
    with pytest.raises(ValidationError, match=r"an id has letters"):
        small("a\0b")
