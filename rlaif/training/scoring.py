"""Reward models that are trained: normalised, loaded, and asked.

A score is normalised: mean 0 and variance 1 on a reference set. The division by σ (`score_scale`) is folded into the
head's weight; the subtraction of μ (`score_shift`) cannot be, since the head has no bias, so it stays in the
configuration and is applied here. Plain transformers therefore gives score + μ/σ: the same but for a constant.
The logit that training saw is score · `score_scale` + `score_shift`.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedModel

from rlaif.errors import ModelError, RowError
from rlaif.generation import by_length, check_folder, fingerprint
from rlaif.records import Turn
from rlaif.training.models import load_classifier
from rlaif.training.tokens import Tokenizer


class RewardModel:
    """A reward model in this process."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: torch.dtype = torch.float32,
        batch_tokens: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """Load a model folder.

        Args:
            folder: as `rlaif train reward` writes it, or any sequence classifier with one label.
            device: `cpu`, `cuda`, …; CUDA where there is one if None.
            dtype: of the weights.
            batch_tokens: the most tokens of a batch; 16,384 on a CPU and 131,072 on CUDA if None.
            max_tokens: the most tokens of query and response; what it was trained with, or else its context, if None.

        Raises:
            ModelError: the folder holds no reward model.
        """
        check_folder(folder)
        config = AutoConfig.from_pretrained(folder)
        if not any("ForSequenceClassification" in name for name in config.architectures or ()):
            found = " or a ".join(config.architectures or ["model of no known kind"])
            raise ModelError(f"{folder}: is a {found}, not a reward model; rlaif train reward makes one")
        if config.num_labels != 1:
            raise ModelError(f"{folder}: has {config.num_labels} outputs; a reward model has one")
        self.tokenizer = Tokenizer(folder)
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._batch_tokens = batch_tokens or (16_384 if self._device == "cpu" else 131_072)
        self._model = load_classifier(folder, dtype).to(self._device).eval()
        self._model.config.pad_token_id = self.tokenizer.pad
        self.version = fingerprint(folder)
        self.score_scale: float = getattr(config, "score_scale", 1.0)
        self.score_shift: float = getattr(config, "score_shift", 0.0)
        trained: int = getattr(config, "score_max_tokens", None) or config.get_text_config().max_position_embeddings
        self.max_tokens = max_tokens or trained
        self.shortened = 0

    def scores(self, exchanges: Sequence[tuple[Sequence[Turn], str]]) -> list[float]:
        """Score responses.

        Args:
            exchanges: pairs of query and response.

        Returns:
            A normalised score for each.

        Raises:
            RowError: a response alone is longer than `max_tokens`.
            ModelError: the model gives something that is no finite number.
        """
        found = []
        for number, score in enumerate(self.outcomes(exchanges)):
            if isinstance(score, RowError):
                raise RowError(f"exchange {number}: {score}")
            found.append(score)
        return found

    def outcomes(self, exchanges: Sequence[tuple[Sequence[Turn], str]]) -> list[float | RowError]:
        """Score the responses that can be scored; queries that had to lose tokens are counted in `shortened`.

        Args:
            exchanges: pairs of query and response.

        Returns:
            For each a normalised score, or why there is none.

        Raises:
            ModelError: the model gives something that is no finite number.
        """
        found: list[float | RowError] = []
        rows = []
        for query, response in exchanges:
            try:
                tokens = self.tokenizer.encode(query, [response], self.max_tokens)
            except RowError as error:
                found.append(error)
                continue
            self.shortened += tokens.dropped > 0
            found.append(math.nan)
            rows.append([*tokens.query, *tokens.responses[0]])
        scores = iter(score_rows(self._model, rows, self.tokenizer.pad, self._batch_tokens))
        shift = self.score_shift / self.score_scale
        return [one if isinstance(one, RowError) else next(scores) - shift for one in found]


def score_rows(model: PreTrainedModel, rows: Sequence[Sequence[int]], pad: int, batch_tokens: int) -> list[float]:
    """What the head says of rows of tokens, as plain transformers does.

    Args:
        model: a sequence classifier with one output.
        rows: token ids, each row with its end token last.
        pad: the padding id.
        batch_tokens: the most tokens of a batch, padding included.

    Raises:
        ModelError: a score is no finite number.
    """
    found = [0.0] * len(rows)
    for indices, values in _batches(model, rows, pad, batch_tokens):
        for index, value in zip(indices, values.tolist(), strict=True):
            if not math.isfinite(value):
                raise ModelError(
                    f"the reward model's score of a response is {value}, which is no number to go on with; its weights "
                    f"({model.dtype}) are broken, or need float32"
                )
            found[index] = value
    return found


@torch.inference_mode()
def _batches(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], pad: int, batch_tokens: int
) -> Iterator[tuple[list[int], torch.Tensor]]:
    for indices in by_length([len(row) for row in rows], 0, batch_tokens):
        longest = len(rows[indices[0]])
        ids = torch.tensor([[*rows[i], *[pad] * (longest - len(rows[i]))] for i in indices], device=model.device)
        lengths = torch.tensor([len(rows[i]) for i in indices], device=model.device)
        mask = torch.arange(longest, device=model.device) < lengths[:, None]
        yield indices, model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits[:, 0].float()


def normalise(model: PreTrainedModel, scores: Sequence[float], max_tokens: int) -> tuple[float, float]:
    """Give a trained head mean 0 and variance 1 on reference scores.

    Args:
        model: the model; its head and configuration are changed.
        scores: what it says of a reference set, at least two that differ.
        max_tokens: what it was trained with, for those who load it.

    Returns:
        `score_scale` (σ) and `score_shift` (μ).

    Raises:
        ModelError: all scores are the same, or one is no number.
    """
    values = torch.tensor(scores, dtype=torch.float64)
    scale, shift = values.std(correction=0).item(), values.mean().item()
    if not (math.isfinite(scale) and scale > 0):
        raise ModelError(
            f"the scores of {len(scores)} reference responses have a spread of {scale}; there is nothing to normalise"
        )
    with torch.no_grad():
        model.score.weight.div_(scale)
    keep_scale(model, scale, shift, max_tokens)
    return scale, shift


def keep_scale(model: PreTrainedModel, scale: float, shift: float, max_tokens: int) -> None:
    """Write into a model's configuration what its scores mean, in place of what an earlier training left there.

    Args:
        model: the model; its configuration is changed.
        scale: `score_scale`; 1 where nothing was normalised.
        shift: `score_shift`; 0 where nothing was normalised.
        max_tokens: what it was trained with, for those who load it.
    """
    model.config.score_scale, model.config.score_shift = scale, shift
    model.config.score_max_tokens = max_tokens
