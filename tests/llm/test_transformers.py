"""The local model behind the door: the same labels whatever the order, batches and neighbours."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import make_model
from doubles import outcomes

from rlaif.errors import CapabilityError, ModelError
from rlaif.llm.base import Answer, Choose, Generate, NoAnswer, Request
from rlaif.llm.open import open_llm
from rlaif.llm.transformers import TransformersLLM
from rlaif.prompting import Prompter, load_task
from rlaif.records import Turn


def requests(n: int, exemplars: int = 2, want: Choose | Generate | None = None) -> list[Request]:
    prompter = Prompter(load_task("helpfulness"), "preference", exemplars=exemplars)
    rng = random.Random(0)
    found = []
    for number in range(n):
        prompt = prompter.ask((Turn(role="user", content=f"Question {number}"),), "yes " * rng.randint(1, 40), "no")
        turn = Turn(role="user", content=prompt.shared + prompt.question)
        found.append(Request((turn,), want or Choose(("1", "2")), prompt.continuation, len(prompt.shared)))
    return found


def logprobs(found: list[object]) -> list[float]:
    return [chain.logprob for answer in found if isinstance(answer, Answer) for chain in answer.chains]


@pytest.mark.parametrize("model", ["tiny_model", "chat_model"])
def test_a_label_depends_on_nothing_but_its_item(model: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(model)
    asked = requests(40)
    whole = logprobs(outcomes(TransformersLLM(folder), asked))
    small = logprobs(outcomes(TransformersLLM(folder, batch_tokens=1), asked))
    back = outcomes(TransformersLLM(folder, batch_tokens=5000), asked[::-1])[::-1]
    assert len(whole) == 80
    for found in (small, logprobs(back)):
        assert np.exp(found) == pytest.approx(np.exp(whole), abs=1e-5)
        # A log-probability of -18 is known to float32 to seven digits, and which rows meet in a batch is chance.
        assert found == pytest.approx(whole, rel=1e-5, abs=1e-5)


def test_rationales_are_seeded_by_the_request_and_stop_at_the_stop_text(tiny_model: Path) -> None:
    base = requests(6, 0)
    asked = [
        Request(one.messages, Generate(20, 0.9, seed), one.continuation, one.shared_characters)
        for seed, one in enumerate(base)
    ]
    together = outcomes(TransformersLLM(tiny_model), asked)
    alone = [outcomes(TransformersLLM(tiny_model), [one])[0] for one in asked]
    assert [one.text for one in together] == [one.text for one in alone]
    assert len({one.text for one in together}) > 1
    text = together[0].text
    stop = text[3:5]
    want = Generate(20, 0.9, 0, (stop,))
    stopped = outcomes(TransformersLLM(tiny_model), [Request(asked[0].messages, want, asked[0].continuation)])[0]
    whole = outcomes(TransformersLLM(tiny_model), [Request(asked[0].messages, asked[0].want, asked[0].continuation)])[0]
    assert stopped.text == whole.text.split(stop)[0]
    assert stopped.finish_reason == ("stop" if stop in whole.text else "length")


def test_usage_counts_the_prefix_as_cached(tiny_model: Path) -> None:
    llm = TransformersLLM(tiny_model)
    (one,) = requests(1)
    answer = outcomes(llm, [one])[0]
    assert answer.usage.input_tokens == llm.count_tokens(one)
    assert 0 < answer.usage.cached_tokens < answer.usage.input_tokens
    assert answer.version == llm.version


def test_what_does_not_fit_is_too_long_and_its_neighbours_are_answered(tmp_path: Path) -> None:
    llm = TransformersLLM(make_model(tmp_path, context=700))
    prompts = [Turn(role="user", content="x" * length) for length in (10, 2000, 20)]
    found = outcomes(llm, [Request((turn,), Choose(("1", "2")), "=") for turn in prompts])
    assert [type(one) for one in found] == [Answer, NoAnswer, Answer]
    assert found[1].kind == "too_long"
    assert "the model takes 700" in found[1].detail


def test_the_identity_is_of_the_weights_and_not_of_the_path(tiny_model: Path, splitting_model: Path) -> None:
    assert TransformersLLM(tiny_model).identity != TransformersLLM(splitting_model).identity
    assert TransformersLLM(tiny_model).identity == TransformersLLM(tiny_model, name="another").identity
    assert TransformersLLM(tiny_model).identity != TransformersLLM(tiny_model, dtype="bfloat16").identity


def test_bfloat16_gives_probabilities_too(tiny_model: Path) -> None:
    answer = outcomes(TransformersLLM(tiny_model, dtype="bfloat16"), requests(1))[0]
    assert all(chain.logprob < 0 for chain in answer.chains)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("labeler-l", "labeler-l names no model"),
        ("pockets:labeler-l", "did you mean pocket"),
        ("pocket:labeler-xl", "pocket:labeler-xl is not a bundled model; did you mean labeler-l"),
        ("scripted:mine", "is not a script"),
        ("transformers:nobody/nothing", "nobody/nothing: no such folder, and the hub does not give it"),
    ],
)
def test_models_that_cannot_be_found_are_named(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_llm(spec)


def test_cuda_where_there_is_none_is_an_error(tiny_model: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(CapabilityError, match="there is no CUDA device here"):
            open_llm(f"transformers:{tiny_model}", device="cuda")
    else:
        assert open_llm(f"transformers:{tiny_model}", device="cuda").capabilities.exact


def test_answers_that_a_tokenizer_cannot_tell_apart_are_an_error(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="cannot tell the answers 1, 1 apart"):
        outcomes(TransformersLLM(tiny_model), [Request(requests(1)[0].messages, Choose(("1", "1")), "=")])


def test_a_broken_model_is_an_error_and_no_label(tmp_path: Path, tiny_model: Path) -> None:
    import torch
    from transformers import LlamaForCausalLM

    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    model = LlamaForCausalLM.from_pretrained(tmp_path)
    torch.nn.init.constant_(model.model.norm.weight, float("nan"))
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="NaN log-probabilities"):
        outcomes(TransformersLLM(tmp_path), requests(1))
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "llama"
