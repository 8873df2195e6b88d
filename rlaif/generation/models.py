"""Model folders: what is in them, what they are loaded as, and what a model's texts are padded with."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from rlaif.errors import ModelError

_WEIGHTS = ("*.safetensors", "*.bin")


class LocalModel(NamedTuple):
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def fingerprint(folder: Path) -> str:
    """A hash of everything in a model folder that can change an answer.

    Args:
        folder: a model folder.

    Returns:
        The first 16 hexadecimal digits of a SHA-256 over configuration, tokenizer and weights.
    """
    whole = hashlib.sha256()
    files = [path for pattern in ("*.json", "*.model", "*.jinja", "*.txt", *_WEIGHTS) for path in folder.glob(pattern)]
    for path in sorted(files):
        if path.name != "card.json":
            with path.open("rb") as file:
                whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]


def check_folder(folder: Path) -> None:
    """See that a folder holds a model, before anything is loaded.

    Args:
        folder: a model folder.

    Raises:
        ModelError: says what is missing.
    """
    if not (folder / "config.json").is_file() and (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder}: holds adapters only; merge them into the weights (lora.merge=true in training)")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: holds no model (there is no config.json)")
    if not any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        raise ModelError(f"{folder}: holds no weights (*.safetensors)")
    tokenizers = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt")
    if not any((folder / name).is_file() for name in tokenizers):
        raise ModelError(f"{folder}: holds no tokenizer (tokenizer.json); save it beside the model")


def load_model(folder: Path, dtype: str = "float32", device: str = "cpu") -> PreTrainedModel:
    """Load a causal language model; code that comes with a model is never run.

    Args:
        folder: a model folder.
        dtype: of the weights, as torch names it.
        device: `cpu`, `cuda`, `cuda:1`, …

    Raises:
        ModelError: transformers cannot load it.
    """
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: cannot be loaded ({error})") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    return model.to(device).eval()


def context_tokens(folder: Path) -> int | None:
    """The longest sequence a model folder's configuration allows, or None.

    Raises:
        ModelError: the configuration cannot be read.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder / 'config.json'}: is not JSON ({error})") from error
    text = config.get("text_config", config)
    found = text.get("max_position_embeddings") or text.get("n_positions")
    return int(found) if found else None


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """A padding id; padding is masked, so a tokenizer without one may use its end token or any other."""
    for candidate in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if isinstance(candidate, int):
            return candidate
    return 0
