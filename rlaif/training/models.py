"""Model folders: where they are, what is loaded from them, which weights are trained, how they are written."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from rlaif.errors import ConfigError, ModelError, StorageError
from rlaif.generation import check_folder
from rlaif.io import writing
from rlaif.pocket.paths import model_folder
from rlaif.training.batches import can_share_query


def find_folder(model: str) -> Path:
    """The folder of a model that is to be trained or loaded.

    Args:
        model: a folder, or `pocket:NAME` for a bundled one.

    Raises:
        ModelError: there is no model.
    """
    if model.startswith("pocket:"):
        return model_folder(model.removeprefix("pocket:"))
    folder = Path(model.removeprefix("transformers:"))
    if not folder.is_dir():
        raise ModelError(f"{model}: is no folder; name a model folder, or pocket:policy")
    check_folder(folder)
    return folder


def load_policy(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """A causal language model, on the CPU.

    Args:
        folder: its folder.
        dtype: of all weights.

    Raises:
        ModelError: transformers cannot load it.
    """
    return _quietly(AutoModelForCausalLM, folder, dtype)


def shares_queries(folder: Path) -> bool:
    """Whether the folder's model can run a query once for all its responses; its weights are not read.

    Args:
        folder: a model folder.

    Raises:
        ModelError: transformers cannot build the model.
    """
    with torch.device("meta"):
        try:
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=False))
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelError(f"{folder}: cannot be built ({error})") from error
    return can_share_query(model)


def load_classifier(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """A model with a scalar head, on the CPU; the head is new where the folder has none.

    Args:
        folder: its folder.
        dtype: of all weights.

    Raises:
        ModelError: transformers has no such head for this architecture, or cannot load it.
    """
    return _quietly(AutoModelForSequenceClassification, folder, dtype, num_labels=1)


def head_from_policy(folder: Path, dtype: torch.dtype, pad: int) -> PreTrainedModel:
    """A policy's weights under a new scalar head, drawn with standard deviation 1/√(d + 1).

    Args:
        folder: the policy's model folder.
        dtype: of all weights.
        pad: the padding id.

    Returns:
        The model, on the CPU; the draw is torch's own, so seed it before.

    Raises:
        ModelError: transformers has no such head for this architecture, or cannot load it.

    Source: arXiv:2403.17031, detail 17 (of the reward models of arXiv:2009.01325).
    """
    model = load_classifier(folder, dtype)
    model.config.pad_token_id = pad
    torch.nn.init.normal_(model.score.weight, std=1 / math.sqrt(model.score.in_features + 1))
    return model


def _quietly(kind: type, folder: Path, dtype: torch.dtype, **options: object) -> PreTrainedModel:
    check_folder(folder)
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    # That a head is new, or that the policy's own is not used, is what is wanted, not news.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return kind.from_pretrained(folder, dtype=dtype, trust_remote_code=False, **options)  # type: ignore[attr-defined]
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: cannot be loaded ({error})") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def freeze_lower_layers(model: PreTrainedModel, layers: int) -> None:
    """Train the upper layers only: the embeddings and the lowest layers keep their weights.

    Args:
        model: the model.
        layers: how many of the lowest layers are frozen; with 0 nothing is, the embeddings neither.

    Raises:
        ConfigError: the model has not so many, or hides them.
    """
    if not layers:
        return
    stack = getattr(model.base_model, "layers", None)
    if stack is None:
        raise ConfigError(f"frozen_layers is {layers}, but {type(model).__name__} has no list of layers")
    if layers >= len(stack):
        raise ConfigError(f"frozen_layers is {layers}; the model has {len(stack)}, and one at least must be trained")
    for part in (model.get_input_embeddings(), *stack[:layers]):
        part.requires_grad_(False)


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Let a model compute activations twice instead of keeping them, from now on in training mode.

    Args:
        model: any.
    """
    # The newer name, where transformers has it: the older one warns there.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False, "preserve_rng_state": False})
    model.train()


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn what torch and safetensors say of a full disk into a `StorageError`, like what the system says of it.

    Args:
        path: what is written.

    Raises:
        StorageError: it cannot be.
    """
    with writing(path):
        try:
            yield
        except (RuntimeError, SafetensorError) as error:
            if any(said in str(error) for said in ("os error", "iostream", "No space left")):
                raise StorageError(f"{path}: cannot be written ({error}); what was saved before is kept") from error
            raise


def save_folder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model folder, whole or not at all.

    Args:
        model: the model, or adapters.
        tokenizer: its tokenizer.
        folder: where to; one that is there is replaced.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    draft = folder.with_name(f".{folder.name}.draft")
    logging.disable_progress_bar()
    shutil.rmtree(draft, ignore_errors=True)
    with saving(folder):
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
