"""Whether a response is harmless: what is asked, how it is read, and what goes wrong."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles import judge, refuse, scripted
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlaif.errors import CapabilityError, ConfigError, PromptError
from rlaif.labeling.harmlessness import HarmlessJudge
from rlaif.llm.base import Answer, Capabilities, Choose, Request, Usage
from rlaif.llm.open import open_llm
from rlaif.prompting import Prompter, Task, load_task, packaged_folder
from rlaif.records import Response, Turn, parse
from rlaif.statistics.intervals import wilson

ITEM = parse(Response, {"id": "r", "query": "How?", "response": "No.", "response_index": 2, "topic": "t", "llm": "rl"})


def test_the_answer_is_the_share_of_yes_among_yes_and_no() -> None:
    # .6 on yes and .2 on no, .2 unread: .6 / .8.
    found = judge(HarmlessJudge("harmlessness", scripted(lambda _: {"yes": 0.6, "no": 0.2})), ITEM)
    assert found.harmless == pytest.approx(0.75)
    assert found.unread_mass == pytest.approx(0.2)
    assert (found.method, found.llm, found.response_index) == ("exact", "scripted:test", 2)
    # Who wrote it is kept apart from who judged it.
    assert found.model_extra == {"topic": "t", "model": "rl"}
    named = ITEM.model_copy(update={"model": "mine"})
    assert judge(HarmlessJudge("harmlessness", scripted(lambda _: {"yes": 1})), named).model_extra["model"] == "mine"


def test_the_question_is_the_tasks_with_the_sample_of_its_scores() -> None:
    asked: list[Request] = []

    def script(request: Request) -> Any:
        asked.append(request)
        return {"yes": 1.0}

    judge(HarmlessJudge("harmlessness", scripted(script)), ITEM)
    (request,) = asked
    text = request.messages[-1].content
    assert text.startswith("You will be given a conversation and one response to its last message.")
    assert text.endswith("\n\nUser: How?\n\nResponse - No.")
    assert request.continuation == "Harmless, yes or no="
    assert request.want == Choose(("yes", "no"))


def test_the_reading_is_that_of_a_real_models_tokens(tiny_model: Path) -> None:
    # The product of the conditionals of an answer's tokens behind the whole prompt, by the model itself.
    llm = open_llm(f"transformers:{tiny_model}")
    found = judge(HarmlessJudge("harmlessness", llm, max_unread_mass=1), ITEM)
    prompt = Prompter(load_task("harmlessness"), "harmless").ask(ITEM.query, ITEM.response).text
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_model), AutoModelForCausalLM.from_pretrained(tiny_model)
    probabilities = []
    for answer in ("yes", "no"):
        start, end = tokenizer(prompt).input_ids, tokenizer(answer, add_special_tokens=False).input_ids
        with torch.no_grad():
            logprobs = model(torch.tensor([start + end])).logits[0].log_softmax(-1)
        probabilities.append(math.exp(sum(float(logprobs[len(start) - 1 + n, token]) for n, token in enumerate(end))))
    assert found.harmless == pytest.approx(probabilities[0] / sum(probabilities), abs=1e-4)
    assert found.unread_mass == pytest.approx(1 - sum(probabilities), abs=1e-6)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("yes", 1),
        ("Yes.", 1),
        ("**No**", 0),
        (" NO, because", 0),
        ("Harmless, yes or no=yes", 1),
        ("not harmless", None),
        ("yes or no", None),
        ("yes/no", None),
        ("yesterday", None),
        ("I think yes", None),
        ("", None),
    ],
)
def test_drawn_answers_are_read_behind_the_ending(text: str, share: float | None) -> None:
    found = judge(HarmlessJudge("harmlessness", scripted(lambda _: text), method="sampled", draws=4), ITEM)
    assert getattr(found, "harmless", None) == share
    if share is None:
        assert found.failure == "unreadable"


def test_drawn_answers_are_counted_with_their_interval() -> None:
    said = iter(["Yes", "no", "YES", "yes", "maybe"])
    found = judge(HarmlessJudge("harmlessness", scripted(lambda _: next(said)), method="sampled", draws=5), ITEM)
    assert found.harmless == pytest.approx(3 / 4)
    assert (found.unread_mass, found.draws) == (pytest.approx(1 / 5), 4)
    assert found.interval == pytest.approx(wilson(3 / 4, 4))


def test_the_likeliest_tokens_are_read_in_any_case() -> None:
    class Top:
        """Shows only its likeliest tokens."""

        name, in_flight, trouble, identity = "top:test", 8, "", {"provider": "top"}
        capabilities = Capabilities(exact=False, top_logprobs=5, continues=False)

        def count_tokens(self, request: Request) -> int:
            return 1

        async def answer(self, requests: Any) -> Any:
            async for key, _ in requests:
                top = (("Yes", math.log(0.5)), (" no", math.log(0.2)), ("yes", math.log(0.1)), ("The", math.log(0.1)))
                yield key, Answer("1", Usage(), top=top)

    found = judge(HarmlessJudge("harmlessness", Top()), ITEM)
    assert (found.method, found.harmless) == ("logprobs", pytest.approx(0.75))
    assert found.unread_mass == pytest.approx(0.2)


def test_a_refusal_is_a_failure_with_its_index() -> None:
    failure = judge(HarmlessJudge("harmlessness", scripted(refuse)), ITEM)
    assert (failure.failure, failure.response_index, failure.exchange) == ("refused", 2, "I can't.")


def test_lists_are_judged_and_empty_responses_rejected() -> None:
    found = HarmlessJudge("harmlessness", scripted(lambda _: {"yes": 1.0})).judge_all(
        [{"query": "q", "responses": ["a", ""]}, {"query": "q", "response": "c"}]
    )
    assert [getattr(one, "failure", one.harmless if hasattr(one, "harmless") else None) for one in found] == [
        1.0,
        "rejected",
        1.0,
    ]


def test_what_the_question_cannot_do_is_said() -> None:
    llm = scripted(lambda _: {"yes": 1.0})
    with pytest.raises(ConfigError, match="HarmlessJudge: exemplars is 2"):
        HarmlessJudge("harmlessness", llm, exemplars=2)
    with pytest.raises(ConfigError, match="HarmlessJudge: rationale is True"):
        HarmlessJudge("harmlessness", llm, rationale=True)
    with pytest.raises(ConfigError, match="verbalized asks how probable a preference is"):
        HarmlessJudge("harmlessness", llm, method="verbalized")
    with pytest.raises(CapabilityError, match="answers alike every time"):
        HarmlessJudge("harmlessness", scripted(refuse, capabilities=Capabilities(exact=True)), method="sampled")
    with pytest.raises(PromptError, match="has no exemplars or rationale"):
        Prompter(load_task("harmlessness"), "harmless", exemplars=1)


def test_a_task_without_the_question_says_which_file_to_add(tmp_path: Path) -> None:
    with pytest.raises(
        PromptError, match=r"helpfulness/harmless_question\.j2: is missing.*add the file, as .*harmless"
    ):
        HarmlessJudge("helpfulness", scripted(refuse))
    folder = Path(shutil.copytree(packaged_folder("prompts") / "helpfulness", tmp_path / "mine"))
    before = Prompter(Task(folder), "score").sha256
    question = folder / "harmless_question.j2"
    question.write_text("Safe?\n\nSafe (yes/no): ")
    prompter = Prompter(Task(folder), "harmless")
    prompt = prompter.ask((Turn(role="user", content="Q"),), "R")
    assert (prompter.shared, prompter.ending) == ("Safe?\n\n", "Safe (yes/no): ")
    assert prompt.text == "Safe?\n\nUser: Q\n\nResponse - R\n\nSafe (yes/no): "
    assert prompter.pattern.findall("Safe (yes/no): No") == ["No"]
    # The other prompts of the task ask what they asked.
    assert Prompter(Task(folder), "score").sha256 == before == Prompter(load_task("helpfulness"), "score").sha256
    for content, message in (("Safe?", "has only one line"), ("{{ query }}\nSafe?", "query is not a variable")):
        question.write_text(content)
        with pytest.raises(PromptError, match=rf"harmless_question\.j2: {message}"):
            HarmlessJudge(str(folder), scripted(refuse))


def test_bundled_models_say_that_they_were_not_trained_on_this() -> None:
    with pytest.warns(UserWarning, match="was not trained on this prompt .task harmlessness, harmless, 0 exemplars"):
        (found,) = HarmlessJudge("harmlessness", "pocket:labeler-xs", max_unread_mass=1).judge_all([ITEM])
    assert 0 <= found.harmless <= 1
