"""Queries with responses as tokens: a query that is too long keeps its right, the same for all responses."""

import pytest

from rlaif.errors import RowError
from rlaif.pocket.paths import model_folder
from rlaif.records import Turn
from rlaif.training.tokens import Tokenizer

QUERY = (
    Turn(role="user", content="Do you know how to bake bread?"),
    Turn(role="assistant", content="Yes."),
    Turn(role="user", content="Then tell me, step by step."),
)
RESPONSES = ["First wash your hands, then knead the dough.", "No."]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(model_folder("policy"))


@pytest.fixture(scope="module")
def whole(tokenizer: Tokenizer) -> list[int]:
    """The query's tokens by its chat template, up to where the policy speaks."""
    turns = [{"role": turn.role, "content": turn.content} for turn in QUERY]
    return list(tokenizer.tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"])


def longest(tokenizer: Tokenizer) -> int:
    return len(tokenizer.tokenizer(RESPONSES[0], add_special_tokens=False)["input_ids"]) + 1


def test_a_query_that_fits_loses_nothing(tokenizer: Tokenizer, whole: list[int]) -> None:
    for room in (0, 1, 100):
        found = tokenizer.encode(QUERY, RESPONSES, len(whole) + longest(tokenizer) + room)
        assert (found.query, found.dropped) == (whole, 0)


def test_a_query_that_is_too_long_keeps_its_right_beside_the_longest_response(
    tokenizer: Tokenizer, whole: list[int]
) -> None:
    uncut = tokenizer.encode(QUERY, RESPONSES, 500).responses
    for kept in range(1, len(whole)):
        found = tokenizer.encode(QUERY, RESPONSES, longest(tokenizer) + kept)
        assert found.query == whole[len(whole) - kept :]
        assert found.dropped == len(whole) - kept
        assert found.responses == uncut
    # "No." is three tokens and the end token: eight of the query's are left.
    text = tokenizer.tokenizer.decode(tokenizer.encode(QUERY, ["No."], 12).query)
    assert text == " tell me, step by step.<|assistant|>"


def test_a_response_leaves_room_for_one_token_of_its_query(tokenizer: Tokenizer) -> None:
    most = longest(tokenizer)
    with pytest.raises(RowError, match=f"a response has {most} tokens; with a query it must have at most {most}$"):
        tokenizer.encode(QUERY, RESPONSES, most)
    assert len(tokenizer.encode(QUERY, RESPONSES, most + 1).query) == 1
