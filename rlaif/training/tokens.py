"""Queries and responses as tokens, the same way for sampling, training and scoring."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from rlaif.encoding import Encoder, load_tokenizer
from rlaif.errors import ModelError, RowError
from rlaif.records import Turn


class Tokens(NamedTuple):
    """One query and its responses.

    Attributes:
        query: the dialogue up to where the policy speaks; never empty.
        responses: each with the end token behind it.
        dropped: how many tokens the query lost from its left.
    """

    query: list[int]
    responses: list[list[int]]
    dropped: int


class Tokenizer:
    """A model folder's tokenizer, with a padding token that is not the end token."""

    def __init__(self, folder: Path) -> None:
        """Load it.

        Args:
            folder: a model folder.

        Raises:
            ModelError: there is no tokenizer, or it knows no end token.
        """
        self.tokenizer = load_tokenizer(folder)
        if self.tokenizer.eos_token_id is None:
            raise ModelError(f"{folder}: its tokenizer has no end token, so that no response could ever end")
        self.eos: int = self.tokenizer.eos_token_id
        self.pad: int = _give_pad_token(self.tokenizer)
        self._encoder = Encoder(self.tokenizer)

    def query(self, query: Sequence[Turn]) -> list[int]:
        """Tokens of a dialogue, up to where the policy speaks.

        Args:
            query: the dialogue.
        """
        head, tail = self._encoder.prompt([(turn.role, turn.content) for turn in query], "", 0)
        return head + tail

    def encode(self, query: Sequence[Turn], responses: Sequence[str], max_tokens: int) -> Tokens:
        """Tokens of a query and its responses.

        Args:
            query: the dialogue.
            responses: what is said to it, one or more.
            max_tokens: the most tokens of the query with any one response; a longer query loses tokens from its
                left, the same for all responses.

        Raises:
            RowError: a response alone is too long.
        """
        whole = self.query(query)
        answers = [[*self._encoder.text(response), self.eos] for response in responses]
        longest = max(map(len, answers))
        if longest >= max_tokens:
            raise RowError(f"a response has {longest} tokens; with a query it must have at most {max_tokens}")
        kept = whole[-(max_tokens - longest) :]
        return Tokens(kept, answers, len(whole) - len(kept))


def _give_pad_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Choose the padding token. Were it the end token, the end of a response would count as padding.

    Where the tokenizer has none of its own it is another special token, or else the first of the vocabulary: padding
    is masked, and stands behind an end token wherever a class of transformers looks for the last real one.
    """
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return int(tokenizer.pad_token_id)
    others = [one for one in (tokenizer.unk_token_id, tokenizer.bos_token_id, 0, 1) if one is not None]
    pad = next(one for one in others if one != tokenizer.eos_token_id)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    return int(pad)
