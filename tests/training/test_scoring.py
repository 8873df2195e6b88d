"""A reward model's folder: normalised scores, the same by plain transformers but for a constant."""

import math
from pathlib import Path

import pytest
import torch
from tiny_policy import tiny_policy
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlaif.errors import ConfigError, ModelError, RowError
from rlaif.records import Turn
from rlaif.training.models import (
    find_folder,
    freeze_lower_layers,
    head_from_policy,
    load_classifier,
    save_folder,
)
from rlaif.training.scoring import RewardModel, normalise, score_rows
from rlaif.training.tokens import Tokenizer

QUERY = (Turn(role="user", content="How do I bake bread?"),)
RESPONSES = ["Knead the dough.", "No.", "I will not tell you.", "First wash your hands, then knead the dough."]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_policy(tmp_path_factory.mktemp("policy"), hidden=48)


@pytest.fixture
def reward_model(policy: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = Tokenizer(policy)
    model = head_from_policy(policy, torch.float32, tokenizer.pad)
    tokens = [tokenizer.encode(QUERY, [one], 64) for one in RESPONSES]
    raw = score_rows(model, [one.query + one.responses[0] for one in tokens], tokenizer.pad, 64)
    normalise(model, raw, 64)
    save_folder(model, tokenizer.tokenizer, tmp_path / "reward")
    (tmp_path / "raw").write_text(" ".join(map(repr, raw)))
    return tmp_path / "reward"


def test_a_score_that_is_no_number_is_an_error_and_no_score(reward_model: Path) -> None:
    model = load_classifier(reward_model, torch.float32)
    torch.nn.init.constant_(model.score.weight, math.nan)
    model.save_pretrained(reward_model)
    broken = RewardModel(reward_model)
    with pytest.raises(ModelError, match="score of a response is nan, which is no number"):
        broken.outcomes([(QUERY, "No.")])
    with pytest.raises(ModelError, match="is no number"):
        score_rows(model, [[5, 6, 1]], 2, 64)


def test_a_folder_of_adapters_says_that_it_is_one(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"holds adapters only; merge them .*lora\.merge=true"):
        RewardModel(tmp_path)


def test_the_new_head_has_the_standard_deviation_of_its_width(policy: Path) -> None:
    torch.manual_seed(0)
    heads = torch.cat([head_from_policy(policy, torch.float32, 2).score.weight.flatten() for _ in range(40)])
    # 40·48 draws: the relative standard error of a standard deviation is 1/√(2·1920) = 1.6 %.
    assert heads.std().item() == pytest.approx(1 / math.sqrt(49), rel=0.06)


def test_scores_have_mean_0_and_variance_1_on_the_reference_and_carry_the_logit(reward_model: Path) -> None:
    model = RewardModel(reward_model)
    scores = model.scores([(QUERY, one) for one in RESPONSES])
    raw = [float(one) for one in (reward_model.parent / "raw").read_text().split()]
    assert sum(scores) / 4 == pytest.approx(0, abs=1e-6)
    assert sum(one * one for one in scores) / 4 == pytest.approx(1, abs=1e-5)
    assert [one * model.score_scale + model.score_shift for one in scores] == pytest.approx(raw, abs=1e-5)


def test_plain_transformers_gives_the_score_and_a_constant(reward_model: Path) -> None:
    model = RewardModel(reward_model)
    ours = model.scores([(QUERY, one) for one in RESPONSES])
    plain = AutoModelForSequenceClassification.from_pretrained(reward_model)
    tokenizer = AutoTokenizer.from_pretrained(reward_model)
    chats = [
        [{"role": "user", "content": QUERY[0].content}, {"role": "assistant", "content": one}] for one in RESPONSES
    ]
    batch = tokenizer.apply_chat_template(chats, padding=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        theirs = plain(**batch).logits[:, 0].tolist()
    shift = model.score_shift / model.score_scale
    assert [one - shift for one in theirs] == pytest.approx(ours, abs=1e-5)


def test_scores_depend_on_no_batch(reward_model: Path) -> None:
    together = RewardModel(reward_model, dtype=torch.float64).scores([(QUERY, one) for one in RESPONSES])
    alone = RewardModel(reward_model, dtype=torch.float64, batch_tokens=1)
    assert [alone.scores([(QUERY, one)])[0] for one in RESPONSES] == pytest.approx(together, abs=1e-9)


def test_long_queries_are_cut_from_the_left_and_counted_and_long_responses_say_so(reward_model: Path) -> None:
    model = RewardModel(reward_model, dtype=torch.float64)
    long = (Turn(role="user", content="word " * 100 + QUERY[0].content),)
    cut, whole = model.scores([(long, "No."), (QUERY, "No.")])
    assert (model.shortened, cut == pytest.approx(whole)) == (1, False)
    with pytest.raises(RowError, match=r"exchange 1: a response has \d+ tokens; with a query it must have at most 64"):
        model.scores([(QUERY, "No."), (QUERY, "word " * 100)])
    kept, why = model.outcomes([(QUERY, "No."), (QUERY, "word " * 100)])
    assert kept == pytest.approx(whole)
    assert isinstance(why, RowError)


def test_what_is_no_reward_model_says_what_it_is(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a LlamaForCausalLM, not a reward model; rlaif train reward makes one"):
        RewardModel(policy)
    with pytest.raises(ModelError, match="is no folder; name a model folder"):
        find_folder(str(tmp_path / "nowhere"))
    model = head_from_policy(policy, torch.float32, 2)
    with pytest.raises(ModelError, match=r"the scores of 3 reference responses have a spread of 0\.0"):
        normalise(model, [1.0, 1.0, 1.0], 64)


def test_frozen_layers_keep_their_weights_and_one_must_learn(policy: Path) -> None:
    model = load_classifier(policy, torch.float32)
    freeze_lower_layers(model, 1)
    learn = {name for name, one in model.named_parameters() if one.requires_grad}
    assert all(name.startswith(("model.layers.1.", "model.norm", "score")) for name in learn)
    assert len(learn) == 11
    with pytest.raises(ConfigError, match="frozen_layers is 2; the model has 2"):
        freeze_lower_layers(model, 2)


def test_a_tokenizer_without_a_padding_token_gets_one_that_is_not_the_end_token(policy: Path, tmp_path: Path) -> None:
    bare = AutoTokenizer.from_pretrained(policy)
    for pad in (None, bare.eos_token):
        bare.pad_token = pad
        folder = tmp_path / str(pad).strip("</>")
        bare.save_pretrained(folder)
        found = Tokenizer(folder)
        assert (found.pad, found.tokenizer.pad_token_id) == (bare.bos_token_id, bare.bos_token_id)
        assert found.pad != found.eos
    bare.eos_token = None
    bare.save_pretrained(tmp_path / "endless")
    with pytest.raises(ModelError, match="has no end token"):
        Tokenizer(tmp_path / "endless")
