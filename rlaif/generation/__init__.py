"""Local language models in torch: load, share a prefix, read log-probabilities, generate.

models    model folders, and a model with its tokenizer
batches   rows of like length, padded on the left
cache     keys and values of a prefix that all rows share, and of texts that grow
reading   how probable answers are
drawing   texts, each from numbers of its own

Masks are bool, True = counts.
"""

from rlaif.generation.batches import Batch, by_length, left_pad
from rlaif.generation.cache import Prefix, read_prefix
from rlaif.generation.drawing import Continuation, generate
from rlaif.generation.models import LocalModel, check_folder, context_tokens, fingerprint, load_model, pad_id
from rlaif.generation.reading import answer_logprobs, reading_paths

__all__ = [
    "Batch",
    "Continuation",
    "LocalModel",
    "Prefix",
    "answer_logprobs",
    "by_length",
    "check_folder",
    "context_tokens",
    "fingerprint",
    "generate",
    "left_pad",
    "load_model",
    "pad_id",
    "read_prefix",
    "reading_paths",
]
