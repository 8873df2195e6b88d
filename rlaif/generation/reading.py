"""How probable a model thinks answers are, along their own tokens.

Shapes: B rows of a batch, A answers.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from rlaif.generation.batches import left_pad
from rlaif.generation.cache import Prefix, serve


def reading_paths(answers: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The token paths behind which next-token probabilities are needed to know every answer's.

    Args:
        answers: the tokens of each offered answer.

    Returns:
        The longest proper starts of answers, such that every proper start of an answer starts one of them:
        [()] where each answer is one token; [(one,)] where "10" is "1" and "0".
    """
    starts = {tuple(answer[:-1]) for answer in answers}
    return sorted(one for one in starts if not any(one == other[: len(one)] and one != other for other in starts))


@torch.inference_mode()
def answer_logprobs(
    model: PreTrainedModel,
    prefix: Prefix,
    rows: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    pad: int,
) -> torch.Tensor:
    """How probable it is that the text goes on with each answer's tokens.

    Args:
        model: the model.
        prefix: what stands before every row.
        rows: B lists of token ids, none empty.
        answers: A lists of token ids, none empty.
        pad: a padding id.

    Returns:
        (B, A) log-probabilities in nats, float64: sums of conditionals along each answer's tokens.
    """
    found: dict[tuple[int, ...], torch.Tensor] = {}
    paths = reading_paths(answers)
    for path in paths:
        batch = left_pad([[*row, *path] for row in rows], len(prefix.tokens), pad, model.device)
        output = model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            past_key_values=serve(prefix, len(rows)),
            use_cache=True,
            logits_to_keep=len(path) + 1,
        )
        logprobs = torch.log_softmax(output.logits.float(), -1)
        for depth in range(len(path) + 1):
            start = path[:depth]
            following = [answer for answer in answers if len(answer) > depth and tuple(answer[:depth]) == start]
            for token in {answer[depth] for answer in following}:
                found[(*start, token)] = logprobs[:, depth, token].double()
    chains = [[found[tuple(answer[:end])] for end in range(1, len(answer) + 1)] for answer in answers]
    return torch.stack([torch.stack(chain).sum(0) for chain in chains], 1)
