"""Labeled rows become examples: labels by column, mixtures with weights, rankings, margins, demonstrations."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rlaif.errors import InputError
from rlaif.pocket.paths import model_folder
from rlaif.training import losses
from rlaif.training.data import Margin, SFTSource, Source, read_demonstrations, read_examples
from rlaif.training.reward_model import example_losses
from rlaif.training.tokens import Tokenizer

ROW = {"id": "a", "query": "How do I bake bread?", "response_1": "Knead the dough.", "response_2": "No."}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(model_folder("policy"))


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_label_is_a_column_and_sources_mix_by_weight(tokenizer: Tokenizer, tmp_path: Path) -> None:
    ai = written(tmp_path / "ai.jsonl", ROW | {"preference": 0.8}, ROW | {"id": "b", "preference": 0.3})
    people = written(tmp_path / "people.jsonl", ROW | {"id": "c", "human_preference": 1, "preference": 0.1})
    sources = [Source(path=ai), Source(path=people, label="human_preference", weight=4.0)]
    found = read_examples(sources, tokenizer, 64)
    assert [row["preference"] for row in found.rows] == [0.8, 0.3, 1.0]
    # (1 + 1 + 4) / 3 = 2 is the mean: 1/2, 1/2, 4/2.
    assert [row["weight"] for row in found.rows] == [0.5, 0.5, 2.0]
    assert found.by_source == {str(ai): 2, str(people): 1}


def test_labels_can_be_in_a_file_of_their_own(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pairs = written(tmp_path / "pairs.jsonl", ROW | {"preference": 0.9}, ROW | {"id": "b", "preference": 0.9})
    beside = written(tmp_path / "calibrated.jsonl", {"id": "a", "calibrated_preference": 0.7})
    source = Source(path=pairs, label="calibrated_preference", labels=beside)
    found = read_examples([source], tokenizer, 64)
    assert [(row["id"], row["preference"]) for row in found.rows] == [("a", 0.7)]
    assert [(one.id, one.detail) for one in found.failures] == [
        ("b", "calibrated_preference is missing; it must be a number in [0, 1]")
    ]
    with pytest.raises(InputError, match=r"calibrated.jsonl:1: has no id with human_preference"):
        read_examples([source.model_copy(update={"label": "human_preference"})], tokenizer, 64)


def test_hard_labels_have_a_side(tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [ROW | {"id": str(p), "preference": p} for p in (0.2, 0.5, 0.51)]
    found = read_examples([Source(path=written(tmp_path / "x.jsonl", *rows))], tokenizer, 64, "hard")
    assert [row["preference"] for row in found.rows] == [0.0, 1.0]
    assert [one.detail for one in found.failures] == ["preference is 0.5; a tie has no side, and labels are hard"]


def test_a_response_is_encoded_as_it_is_sampled_with_its_end(tokenizer: Tokenizer, tmp_path: Path) -> None:
    found = read_examples([Source(path=written(tmp_path / "x.jsonl", ROW | {"preference": 1}))], tokenizer, 64)
    row = found.rows[0]
    chat = [{"role": "user", "content": ROW["query"]}, {"role": "assistant", "content": ROW["response_1"]}]
    whole = tokenizer.tokenizer.apply_chat_template(chat)["input_ids"]
    assert row["query"] + row["responses"][0] == whole


def test_rankings_are_examples_of_k_responses_best_first(tokenizer: Tokenizer, tmp_path: Path) -> None:
    ranked = {"id": "r", "query": "Hello?", "responses": ["no", "yes", "maybe"], "order": [1, 2, 0]}
    rows = [ranked, ranked | {"id": "s", "order": [1, 1, 0]}, ranked | {"id": "t", "order": [0, 1]}]
    source = Source(path=written(tmp_path / "x.jsonl", *rows), label="order")
    found = read_examples([source], tokenizer, 64)
    assert [tokenizer.tokenizer.decode(one[:-1]) for one in found.rows[0]["responses"]] == ["yes", "maybe", "no"]
    assert (found.rows[0]["ranked"], found.rows[0]["preference"]) == (1.0, 1.0)
    assert [one.detail[:22] for one in found.failures] == ["order is [1, 1, 0]; it", "order is [0, 1]; it mu"]


def test_margins_are_read_by_their_column(tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [ROW | {"id": str(n), "preference": 1, "rating": rating} for n, rating in enumerate(["sure", "hardly", "?"])]
    margin = Margin(values={"sure": 3, "hardly": 0})
    found = read_examples([Source(path=written(tmp_path / "x.jsonl", *rows))], tokenizer, 64, "hard", margin)
    assert [row["margin"] for row in found.rows] == [3.0, 0.0]
    assert found.failures[0].detail == "rating is '?'; margins are known for sure, hardly"


def test_each_kind_of_example_has_its_loss() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.5], [0.3, 0.9, 7.0]])
    inputs = {
        "preference": torch.tensor([1.0, 0.3]),
        "ranked": torch.tensor([1.0, 0.0]),
        "counts": torch.tensor([3, 2]),
        "margin": torch.tensor([0.0, 0.0]),
    }
    ranked = losses.k_wise_loss(scores[:1], torch.tensor([3]))
    pair = losses.bradley_terry_loss(scores[1:, 0], scores[1:, 1], torch.tensor([0.3]))
    torch.testing.assert_close(example_losses(scores, inputs, margins=False), torch.cat([ranked, pair]))


def test_margins_go_to_the_chosen_response_whichever_side_it_is_on() -> None:
    inputs = {"preference": torch.tensor([1.0, 0.0]), "margin": torch.tensor([0.5, 0.5])}
    found = example_losses(torch.tensor([[2.0, 1.0], [1.0, 2.0]]), inputs, margins=True)
    expected = losses.margin_loss(torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([0.5]))
    torch.testing.assert_close(found, expected.expand(2))


def test_demonstrations_come_in_the_usual_shapes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    user, assistant = {"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}
    rows = [
        {"query": "Hello?", "response": "Hi."},
        {"query": [user], "responses": ["Hi."]},
        {"prompt": "Hello?", "completion": "Hi."},
        {"prompt": [user], "completion": [assistant]},
        {"messages": [user, assistant]},
    ]
    bad = [{"query": "Hello?"}, {"messages": [user]}, {"query": "Hello?", "response": 7}]
    found = read_demonstrations([SFTSource(path=written(tmp_path / "x.jsonl", *rows, *bad))], tokenizer, 64)
    assert len(found.rows) == 5
    assert len({(*row["query"], *row["responses"][0]) for row in found.rows}) == 1
    assert [one.detail for one in found.failures] == [
        "has no response; it needs query and response, prompt and completion, or messages",
        "messages must be a list of at least two turns, the last of which is the response",
        "responses.0 is 7; it must be a string",
    ]
    assert [one.where.rpartition(":")[2] for one in found.failures if one.where] == ["6", "7", "8"]
