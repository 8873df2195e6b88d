"""Texts to tokens for a local model: its chat template is markup, everything else is data."""

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rlaif.errors import ModelError

_MARK = "\ue000{}\ue001"


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load a model folder's tokenizer.

    Args:
        folder: a model folder.

    Raises:
        ModelError: transformers cannot load it.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"{folder}: its tokenizer cannot be loaded ({error})") from error


class Encoder:
    """Texts to tokens. What a text says is data: a control token spelled in it is spelled, not obeyed."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Prepare for one tokenizer.

        Args:
            tokenizer: any tokenizer of transformers.
        """
        self._tokenizer = tokenizer
        # Runs of spaces and line breaks are added tokens of some vocabularies; they control nothing.
        added = tokenizer.added_tokens_decoder.values()
        specials = {token.content for token in added if token.special or not token.content.isspace()}
        specials |= set(tokenizer.all_special_tokens)
        spelled = sorted((token for token in specials if len(token) > 1), key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, spelled))) if spelled else None
        self._start = [tokenizer.bos_token_id] if self._adds_bos() else []
        # SentencePiece tokenizers put a space before every text; behind an anchor they do not.
        pieces = tokenizer.convert_ids_to_tokens(self._plain("a"))
        self._anchor = "\n" if pieces and pieces[0].startswith("▁") else ""
        self._anchor_ids = self._plain(self._anchor) if self._anchor else []

    def _adds_bos(self) -> bool:
        bos = self._tokenizer.bos_token_id
        return bos is not None and self._tokenizer("a")["input_ids"][0] == bos

    def _plain(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def text(self, text: str) -> list[int]:
        """Tokens of a text that is data: no control token comes out of it.

        Args:
            text: any text.

        Returns:
            Its token ids.
        """
        found: list[int] = []
        start = 0
        while start < len(text):
            # Cut behind its first character, a control token falls apart; the search goes on from there.
            control = self._controls.search(text, start) if self._controls else None
            end = control.start() + 1 if control else len(text)
            found += self._piece(text[start:end])
            start = end
        return found

    def _piece(self, text: str) -> list[int]:
        if not self._anchor:
            return self._plain(text)
        whole, anchor = self._plain(self._anchor + text), self._anchor_ids
        return whole[len(anchor) :] if whole[: len(anchor)] == anchor else self._plain(text)

    def prompt(
        self, messages: Sequence[tuple[str, str]], continuation: str, shared_characters: int
    ) -> tuple[list[int], list[int]]:
        """Tokens of a prompt, in the two parts that a prefix cache needs.

        With a chat template its markup is the only source of control tokens; without one, the texts follow
        one another, a single message without a label.

        Args:
            messages: pairs of role and content.
            continuation: the start of the model's own text.
            shared_characters: how much of the first message belongs to the shared part.

        Returns:
            The tokens of the shared part and those of the rest, tokenised apart.

        Raises:
            ModelError: the chat template refuses the dialogue or loses a part of it.
        """
        first = messages[0][1]
        shared, rest = first[:shared_characters], first[shared_characters:]
        if not self._tokenizer.chat_template:
            return self._start + self.text(shared), self.text(self._unmarked(messages, rest, continuation))
        markup = self._markup([role for role, _ in messages])
        head = self._markup_ids(markup[0]) + self.text(shared)
        tail = self.text(rest) + self._markup_ids(markup[1])
        for (_, content), after in zip(messages[1:], markup[2:], strict=True):
            tail += self.text(content) + self._markup_ids(after)
        return head, tail + self.text(continuation)

    @staticmethod
    def _unmarked(messages: Sequence[tuple[str, str]], rest: str, continuation: str) -> str:
        if len(messages) == 1:
            return f"{rest}\n\n{continuation}"
        turns = [rest, *(f"{role.capitalize()}: {content}" for role, content in messages[1:])]
        return "\n\n".join([*turns, f"Assistant: {continuation}".rstrip()])

    def _markup(self, roles: Sequence[str]) -> list[str]:
        """The chat template's text before, between and after the messages' contents."""
        marks = [_MARK.format(number) for number in range(len(roles))]
        messages = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        try:
            text = str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise ModelError(f"the model's chat template refuses the dialogue ({error})") from error
        pieces = []
        for mark in marks:
            before, found, text = text.partition(mark)
            if not found or mark in text:
                raise ModelError("the model's chat template does not show every message exactly once")
            pieces.append(before)
        return [*pieces, text]

    def _markup_ids(self, markup: str) -> list[int]:
        return self._plain(markup)
