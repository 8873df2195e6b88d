"""Rollouts: rows for the model, seeds, the order of queries, and the sampler's log-probabilities."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_policy import tiny_policy
from transformers import AutoTokenizer
from transformers.cache_utils import DynamicLayer, StaticLayer

from rlaif.training.models import load_policy
from rlaif.training.policy_value import PolicyAndValue
from rlaif.training.rollout import TransformersRollout, batch_places, pad_rows, response_seed
from rlaif.training.settings import Lora

QUERIES = [[0, 3, 700, 4], [0, 3, *range(600, 617), 4], [0], [0, 3, 55, 56, 4]]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"))


def test_queries_are_padded_on_their_left_and_responses_on_their_right() -> None:
    rows = pad_rows([[5, 6, 7], [8]], [[9], [10, 11]], 2, torch.device("cpu"))
    assert rows.ids.tolist() == [[5, 6, 7, 9, 2], [2, 2, 8, 10, 11]]
    assert rows.mask.tolist() == [[True, True, True, True, False], [False, False, True, True, True]]
    assert rows.positions.tolist() == [[0, 1, 2, 3, 3], [0, 0, 0, 1, 2]]
    assert rows.query_tokens == 3
    assert rows.response_mask.tolist() == [[True, False], [True, True]]


def test_rows_of_empty_responses_have_a_place_that_does_not_count() -> None:
    rows = pad_rows([[5, 6], [7]], [[], []], 2, torch.device("cpu"))
    assert rows.response_mask.tolist() == [[False], [False]]


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 3))
def test_every_pass_takes_each_query_once_in_an_order_of_its_own(count: int, batch: int, seed: int) -> None:
    steps = -(-3 * count // batch)
    taken = [place for step in range(steps) for place in batch_places(count, batch, step, seed)]
    assert len(taken) == steps * batch
    for begin in range(0, 3 * count, count):
        assert sorted(taken[begin : begin + count]) == list(range(count))


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    first, second = batch_places(50, 50, 0, 0), batch_places(50, 50, 1, 0)
    assert first != second
    assert first != batch_places(50, 50, 0, 1)
    assert first == batch_places(50, 50, 0, 0)


def test_no_two_responses_share_their_draws() -> None:
    seeds = {response_seed(seed, step, place) for seed in range(3) for step in range(-1, 20) for place in range(-4, 20)}
    assert len(seeds) == 3 * 21 * 24
    assert all(0 <= one < 2**63 for one in seeds)


@pytest.mark.parametrize("rank", [0, 4])
def test_the_sampler_and_the_trainer_agree_on_every_token_and_the_end(policy: Path, rank: int) -> None:
    model = load_policy(policy, torch.float32)
    scorer = PolicyAndValue(model, None, None, Lora(rank=rank))
    if rank:
        with torch.no_grad():
            for name, one in model.named_parameters():
                if "lora_B" in name:
                    one.normal_(std=0.3)
    tokenizer = AutoTokenizer.from_pretrained(policy)
    # Random weights hardly ever draw the one end token; models may have several.
    ends = {1, *range(100, 300)}
    model.generation_config.eos_token_id = sorted(ends)
    rollout = TransformersRollout(model, tokenizer, 24, 0.7)
    queries = [query for query in QUERIES for _ in range(16)]
    written = rollout.generate(queries, list(range(len(queries))))
    responses = [[*one.tokens, *([one.end] if one.end is not None else [])] for one in written]
    assert {one.ended for one in written} == {True, False}
    assert all(one.ended == (one.end is not None) for one in written)
    assert {one.end for one in written if one.ended} <= ends
    assert not ends & {token for one in written for token in one.tokens}
    # What was cut has as many tokens as it may have; with an end token no response has more either.
    assert all(len(response) == 24 for response, one in zip(responses, written, strict=True) if not one.ended)
    assert max(map(len, responses)) == 24
    rows = pad_rows(queries, responses, 2, torch.device("cpu"))
    with torch.no_grad():
        found = scorer(rows, 0.7)
    for row, one in enumerate(written):
        assert len(one.logprobs) == len(responses[row])
        assert found.logprobs[row, : len(one.logprobs)].tolist() == pytest.approx(one.logprobs, abs=1e-4)
        assert found.logprobs[row, len(one.logprobs) :].abs().sum() == 0


def test_a_response_depends_on_its_query_and_seed_alone(policy: Path) -> None:
    rollout = TransformersRollout(load_policy(policy, torch.float32), AutoTokenizer.from_pretrained(policy), 8, 1.0)
    together = rollout.generate(QUERIES, [5, 6, 7, 8])
    for query, seed, one in zip(QUERIES, [5, 6, 7, 8], together, strict=True):
        assert rollout.generate([query], [seed])[0].tokens == one.tokens
    assert rollout.generate(QUERIES, [15, 16, 17, 18]) != together


def test_each_response_is_told_of_once_with_the_place_of_its_query(policy: Path) -> None:
    model, tokenizer = load_policy(policy, torch.float32), AutoTokenizer.from_pretrained(policy)
    model.generation_config.eos_token_id = list(range(1, 300))
    rollout = TransformersRollout(model, tokenizer, 8, 1e6)
    rollout._batch_tokens = 24
    queries, seeds = QUERIES * 4, list(range(16))
    told: list[tuple[int, Any]] = []
    written = rollout.generate(queries, seeds, lambda place, one: told.append((place, one)))
    assert any(one.ended for one in written)
    assert not all(one.ended for one in written)
    assert sorted(place for place, _ in told) == list(range(16))
    assert all(one == written[place] for place, one in told)
    assert rollout.generate(queries, seeds) == written


@pytest.mark.parametrize("autocast", [False, True])
def test_a_static_cache_draws_the_same(policy: Path, autocast: bool) -> None:
    model, tokenizer = load_policy(policy, torch.float32), AutoTokenizer.from_pretrained(policy)
    growing, whole = (
        TransformersRollout(model, tokenizer, 8, 1.0, static_cache=static, autocast=autocast)
        for static in (False, True)
    )
    seen: list[type] = []
    model.register_forward_pre_hook(
        lambda _model, _given, options: seen.append(type(options["past_key_values"].layers[0])), with_kwargs=True
    )
    drawn = growing.generate(QUERIES, [1, 2, 3, 4])
    assert all(issubclass(one, DynamicLayer) for one in seen)
    seen.clear()
    found = whole.generate(QUERIES, [1, 2, 3, 4])
    assert all(issubclass(one, StaticLayer) for one in seen)
    for one, other in zip(drawn, found, strict=True):
        assert one.tokens == other.tokens
        assert one.logprobs == pytest.approx(other.logprobs, abs=2e-2 if autocast else 1e-5)


def test_weights_that_are_loaded_are_drawn_from(policy: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(policy)
    one, other = load_policy(policy, torch.float32), load_policy(policy, torch.float32)
    with torch.no_grad():
        other.model.embed_tokens.weight.mul_(-1)
    before, wanted = (
        TransformersRollout(model, tokenizer, 8, 1.0).generate(QUERIES, [1, 2, 3, 4]) for model in (one, other)
    )
    rollout = TransformersRollout(one, tokenizer, 8, 1.0)
    rollout.load_weights(other)
    assert rollout.generate(QUERIES, [1, 2, 3, 4]) == wanted != before


def test_generating_leaves_a_model_in_the_mode_it_was_in(policy: Path) -> None:
    model: Any = load_policy(policy, torch.float32).train()
    TransformersRollout(model, AutoTokenizer.from_pretrained(policy), 2, 1.0).generate([[0, 3]], [1])
    assert model.training


def test_a_token_that_is_added_copies_no_keys_of_those_before(policy: Path) -> None:
    model, tokenizer = load_policy(policy, torch.float32), AutoTokenizer.from_pretrained(policy)
    places: list[tuple[int, int]] = []

    def look(_: Any, __: Any, options: Any) -> None:
        layer = options["past_key_values"].layers[0]
        if layer.is_initialized:
            places.append((layer.keys.data_ptr(), layer.values.data_ptr()))

    model.register_forward_pre_hook(look, with_kwargs=True)
    TransformersRollout(model, tokenizer, 8, 1.0).generate(QUERIES, [1, 2, 3, 4])
    assert len(places) == 7
    assert len(set(places)) == 1
