"""How likely a policy finds given responses, without gradients.

Shapes: B rows of a batch, T tokens of the longest row, K tokens that logits are computed for, V vocabulary.
Rows are padded on the left, so that all responses end together and only the last K positions need logits.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from rlaif.errors import RowError
from rlaif.generation import by_length, left_pad
from rlaif.records import Turn
from rlaif.training.models import load_policy
from rlaif.training.tokens import Tokenizer

_MOST_LOGITS = 1 << 27
"""So many logits of a batch are held at once: 0.5 GB in float32, and as much again when they are normalised."""


class Likelihood(NamedTuple):
    """How likely a response is.

    Attributes:
        nats: log-probability of all its tokens, the end token included.
        tokens: how many these are, at least 1.
    """

    nats: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token, in nats."""
        return self.nats / self.tokens


class Policy:
    """A policy that is asked for likelihoods, in this process."""

    def __init__(self, folder: Path, *, device: str | None = None, dtype: torch.dtype = torch.float32) -> None:
        """Load a model folder.

        Args:
            folder: of a causal language model.
            device: `cpu`, `cuda`, …; CUDA where there is one if None.
            dtype: of the weights.

        Raises:
            ModelError: the folder holds no such model.
        """
        self._tokenizer = Tokenizer(folder)
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model = load_policy(folder, dtype).to(self._device).eval()
        config = self._model.config.get_text_config()
        self._max_tokens: int = config.max_position_embeddings
        tokens = 16_384 if self._device == "cpu" else 131_072
        self._batch_tokens = max(1, min(tokens, _MOST_LOGITS // config.vocab_size))

    def likelihoods(self, exchanges: Sequence[tuple[Sequence[Turn], str]]) -> list[Likelihood | RowError]:
        """How likely each response is after its query; a query that is too long loses its left.

        Args:
            exchanges: pairs of query and response.

        Returns:
            One for each, or why there is none: the response alone is longer than the model's context.
        """
        found: list[Likelihood | RowError] = []
        known: list[tuple[int, list[int], list[int]]] = []
        for place, (query, response) in enumerate(exchanges):
            try:
                tokens = self._tokenizer.encode(query, [response], self._max_tokens)
            except RowError as error:
                found.append(error)
                continue
            known.append((place, tokens.query, tokens.responses[0]))
            found.append(Likelihood(0.0, len(tokens.responses[0])))
        for batch in by_length([len(query) + len(response) for _, query, response in known], 0, self._batch_tokens):
            rows = [known[index] for index in batch]
            nats = response_nats(self._model, [(query, answer) for _, query, answer in rows], self._tokenizer.pad)
            for (place, _, answer), value in zip(rows, nats.tolist(), strict=True):
                found[place] = Likelihood(value, len(answer))
        return found


@torch.inference_mode()
def response_nats(model: PreTrainedModel, rows: Sequence[tuple[list[int], list[int]]], pad: int) -> torch.Tensor:
    """Log-probabilities of responses.

    Args:
        model: a causal language model.
        rows: B pairs of the token ids of a query and of a response, neither empty.
        pad: the padding id.

    Returns:
        (B,) nats, float64, summed over each response's tokens.
    """
    batch = left_pad([query + response for query, response in rows], 0, pad, model.device)
    lengths = torch.tensor([len(response) for _, response in rows], device=model.device)
    longest = int(lengths.max())
    logits = model(
        input_ids=batch.ids,
        attention_mask=batch.mask.long(),
        position_ids=batch.positions,
        logits_to_keep=longest + 1,
        use_cache=False,
    ).logits
    # What stands at one position predicts the token at the next.
    logprobs = torch.log_softmax(logits[:, :-1].float(), -1)
    tokens = logprobs.gather(2, batch.ids[:, -longest:, None])[..., 0].double()
    counts = torch.arange(longest, 0, -1, device=model.device) <= lengths[:, None]
    return tokens.masked_fill(~counts, 0.0).sum(1)
