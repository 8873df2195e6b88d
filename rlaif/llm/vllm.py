"""vLLM in this process: exact log-probabilities of the offered answers, and its own batching and prefix cache.

The answers' tokens are asked for by number (`logprob_token_ids`), so that they come whatever is likely, and raw. Texts
become tokens as for `transformers:`, so that both read the same.
"""

import importlib.util
import json
import math
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from rlaif import encoding, generation
from rlaif.encoding import Encoder
from rlaif.errors import MissingExtraError, ModelError
from rlaif.llm.base import (
    Answer,
    Capabilities,
    Chain,
    Choose,
    DType,
    Generate,
    NoAnswer,
    Outcome,
    Request,
    Usage,
)
from rlaif.llm.stream import in_batches
from rlaif.pocket.paths import model_folder


class VLLM:
    """A model folder in vLLM's engine, which is started when it is first asked."""

    def __init__(self, folder: Path, name: str | None = None, dtype: DType = "float32") -> None:
        """Check the folder; nothing is loaded yet.

        Args:
            folder: a model folder as transformers saves it.
            name: what the user calls it; `vllm:FOLDER` if None.
            dtype: of the weights; changes answers a little, so it is part of the identity.

        Raises:
            ModelError: the folder lacks weights, configuration or tokenizer.
        """
        generation.check_folder(folder)
        self.name = name or f"vllm:{folder}"
        self.in_flight, self.trouble = 1024, ""
        self._folder, self._dtype = folder, dtype
        self.version = generation.fingerprint(folder)
        self.identity: Mapping[str, Any] = {"provider": "vllm", "weights": self.version, "dtype": dtype}
        self._context = generation.context_tokens(folder)

    @property
    def capabilities(self) -> Capabilities:
        """It shows the log-probability of any token, and continues any text."""
        return Capabilities(exact=True, temperature=True, draws=True, continues=True, context_tokens=self._context)

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(encoding.load_tokenizer(self._folder))

    @cached_property
    def _engine(self) -> Any:
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("DO_NOT_TRACK", "1")
        # A process of its own for the engine takes half a minute to start, and gains nothing here.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        import torch
        from vllm import LLM

        return LLM(
            model=str(self._folder),
            dtype=self._dtype,
            max_model_len=self._context,
            enable_prefix_caching=True,
            # On a CPU compiling takes longer than it saves.
            enforce_eager=not torch.cuda.is_available(),
            seed=0,
        )

    def count_tokens(self, request: Request) -> int:
        """How many tokens the model reads for a request.

        Args:
            request: the request.
        """
        return len(self._tokens(request))

    def _tokens(self, request: Request) -> list[int]:
        messages = [(turn.role, turn.content) for turn in request.messages]
        head, tail = self._encoder.prompt(messages, request.continuation, request.shared_characters)
        return head + tail

    async def answer(self, requests: AsyncIterator[tuple[str, Request]]) -> AsyncIterator[tuple[str, Outcome]]:
        """Answer whatever is waiting in one call of the engine, which batches it."""
        async for pair in in_batches(requests, self._answers):
            yield pair

    def _answers(self, keyed: Sequence[tuple[str, Request]]) -> Iterator[list[tuple[str, Outcome]]]:
        jobs, too_long = [], list[tuple[str, Outcome]]()
        for key, request in keyed:
            prompt = self._tokens(request)
            if self._context is not None and len(prompt) >= self._context:
                detail = f"{len(prompt)} tokens; the model takes {self._context} with its answer"
                too_long.append((key, NoAnswer("too_long", detail)))
            else:
                jobs.append((key, request, prompt))
        if too_long:
            yield too_long
        if not jobs:
            return
        # One call for everything: a verdict of several tokens has a prompt for each of its beginnings.
        asked = [ask for _, request, prompt in jobs for ask in self._asked(request, prompt)]
        told = iter(
            self._engine.generate(
                [{"prompt_token_ids": prompt} for prompt, _ in asked],
                [sampling for _, sampling in asked],
                use_tqdm=False,
            )
        )
        yield [(key, self._read(request, prompt, told)) for key, request, prompt in jobs]

    def _asked(self, request: Request, prompt: list[int]) -> list[tuple[list[int], Any]]:
        """The prompts of a request, each with how it is sampled."""
        from vllm import SamplingParams

        match request.want:
            case Choose(answers):
                return [
                    (
                        prompt + list(start),
                        SamplingParams(max_tokens=1, temperature=1.0, logprob_token_ids=following),
                    )
                    for start, following in self._starts(answers).items()
                ]
            case Generate(max_tokens, temperature, seed, stop, top_p):
                room = min(max_tokens, self._context - len(prompt)) if self._context else max_tokens
                drawn = {"temperature": temperature, "top_p": top_p, "seed": None if seed is None else seed % 2**63}
                return [(prompt, SamplingParams(max_tokens=room, stop=list(stop), **drawn))]

    def _starts(self, answers: tuple[str, ...]) -> dict[tuple[int, ...], list[int]]:
        """Every proper beginning of an answer's tokens, with the tokens that may follow."""
        starts: dict[tuple[int, ...], list[int]] = {}
        for tokens in self._answer_tokens(answers):
            for length in range(len(tokens)):
                following = starts.setdefault(tokens[:length], [])
                if tokens[length] not in following:
                    following.append(tokens[length])
        return starts

    def _answer_tokens(self, answers: tuple[str, ...]) -> list[tuple[int, ...]]:
        tokens = [tuple(self._encoder.text(answer)) for answer in answers]
        if len(set(tokens)) < len(tokens) or not all(tokens):
            raise ModelError(f"{self.name}: its tokenizer cannot tell the answers {', '.join(answers)} apart")
        return tokens

    def _read(self, request: Request, prompt: list[int], told: Iterator[Any]) -> Answer:
        """The outcome of a request, whose outputs are the next ones told."""
        match request.want:
            case Choose(answers):
                shown: dict[tuple[int, ...], float] = {}
                cached = 0
                for start in self._starts(answers):
                    output = next(told)
                    cached = max(cached, output.num_cached_tokens or 0)
                    for token, seen in output.outputs[0].logprobs[0].items():
                        shown[*start, token] = seen.logprob
                chains = tuple(
                    Chain(tokens, math.fsum(shown[tokens[: n + 1]] for n in range(len(tokens))))
                    for tokens in self._answer_tokens(answers)
                )
                return Answer(self.version, Usage(len(prompt), cached, 1), chains=chains)
            case Generate():
                output = next(told)
                written = output.outputs[0]
                usage = Usage(len(prompt), output.num_cached_tokens or 0, len(written.token_ids))
                cut_off = written.finish_reason == "length"
                return Answer(self.version, usage, written.text, "length" if cut_off else "stop")

    @property
    def card(self) -> dict[str, object] | None:
        """The model card of a bundled model (`card.json`), or None."""
        path = self._folder / "card.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def open_vllm(model: str, name: str, dtype: DType = "float32") -> VLLM:
    """Open a local folder, or the folder of a bundled model.

    Args:
        model: a folder, or `pocket:NAME`.
        name: what the user calls it.
        dtype: of the weights.

    Raises:
        ModelError: there is no such folder.
        MissingExtraError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError("vllm", "vllm")
    folder = model_folder(model.removeprefix("pocket:")) if model.startswith("pocket:") else Path(model)
    if not folder.is_dir():
        raise ModelError(f"{model}: no such folder; vllm: takes a model folder")
    return VLLM(folder, name, dtype)
