"""Shared parts of the tests: tiny real models and a folder for the real human data."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

DATA = Path(__file__).parents[2] / "shared" / "data"
CHAT = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


LONGEST = (
    "test_package.py",
    "test_vllm.py",
    "test_services.py",
    "test_train.py",
    "test_train_online.py",
    "test_recipe.py",
)
"""Files that a test run begins with, so that no process is left with one of them when the others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def real_data(name: str) -> Path:
    """A file of the real human data; the test is skipped where the folder is absent."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here (the folder of real data lies beside the repository)")
    return path


def make_tokenizer(split_digits: bool, chat: bool) -> PreTrainedTokenizerFast:
    """A byte-level BPE; with `split_digits` "10" is two tokens, otherwise one."""
    bpe = Tokenizer(models.BPE())
    split = pre_tokenizers.Digits(individual_digits=True)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, level]) if split_digits else level
    bpe.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ["Response 1 - the response is good", "=10", "Score from 1 to 10=10", "Preferred response=2"] * 50
    bpe.train_from_iterator(texts, trainer)
    start = [("<s>", bpe.token_to_id("<s>"))]
    bpe.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", start)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    if chat:
        tokenizer.chat_template = CHAT
    return tokenizer


def make_model(
    folder: Path,
    *,
    split_digits: bool = False,
    chat: bool = False,
    context: int = 4096,
    seed: int = 0,
    hidden: int = 32,
    spread: float = 0.6,
) -> Path:
    """Save a random tiny Llama whose next-token probabilities are far from uniform."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(split_digits, chat)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=spread,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model in whose tokenizer "10" is one token."""
    return make_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def splitting_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose tokenizer splits "10"."""
    return make_model(tmp_path_factory.mktemp("splitting"), split_digits=True)


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with a chat template."""
    return make_model(tmp_path_factory.mktemp("chat"), chat=True)
