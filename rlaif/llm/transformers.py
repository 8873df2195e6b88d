"""A local model through transformers: exact log-probabilities, one prefix pass, batches by length."""

import json
import math
import threading
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from rlaif import encoding, generation
from rlaif.encoding import Encoder
from rlaif.errors import CapabilityError, ConfigError, ModelError
from rlaif.generation import LocalModel, Prefix
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

_PREFIXES_KEPT = 4
_ENCODINGS_KEPT = 2048
_LONGEST_KEPT = 16_384


@dataclass(frozen=True, slots=True)
class _Job:
    """A request on its way through the model."""

    key: str
    request: Request
    prefix: tuple[int, ...]
    row: tuple[int, ...]


class TransformersLLM:
    """A causal language model in this process. Loaded when it is first needed."""

    def __init__(
        self,
        folder: Path,
        name: str | None = None,
        dtype: DType = "float32",
        device: str | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        """Check the folder; nothing is loaded yet.

        Args:
            folder: a model folder as transformers saves it.
            name: what the user calls it; `transformers:FOLDER` if None.
            dtype: of the weights; changes answers a little, so it is part of the identity.
            device: `cpu`, `cuda`, …; CUDA where there is one if None.
            batch_tokens: the most tokens in a batch, the shared prefix counted for each row;
                16,384 on a CPU and 131,072 on CUDA if None.

        Raises:
            ModelError: the folder lacks weights, configuration or tokenizer.
        """
        generation.check_folder(folder)
        self.name = name or f"transformers:{folder}"
        self.in_flight, self.trouble = 256, ""
        self._folder, self._dtype = folder, dtype
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._batch_tokens = batch_tokens or (16_384 if self._device == "cpu" else 131_072)
        self.version = generation.fingerprint(folder)
        self.identity: Mapping[str, Any] = {
            "provider": "transformers",
            "weights": self.version,
            "dtype": dtype,
        }
        self._context = generation.context_tokens(folder)
        self._prefixes: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()
        self._encoding = threading.Lock()
        self._encodings: OrderedDict[tuple[object, ...], tuple[tuple[int, ...], tuple[int, ...]]] = OrderedDict()

    @property
    def capabilities(self) -> Capabilities:
        """A local model shows all its log-probabilities and continues any text."""
        return Capabilities(exact=True, temperature=True, draws=True, continues=True, context_tokens=self._context)

    @cached_property
    def _local(self) -> LocalModel:
        model = generation.load_model(self._folder, self._dtype, self._device)
        return LocalModel(model, encoding.load_tokenizer(self._folder))

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(encoding.load_tokenizer(self._folder))

    @property
    def card(self) -> dict[str, object] | None:
        """The model card of a bundled model (`card.json`), or None."""
        path = self._folder / "card.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def count_tokens(self, request: Request) -> int:
        """How many tokens the model reads for a request.

        Args:
            request: the request.
        """
        prefix, row = self._encode(request)
        return len(prefix) + len(row)

    def _encode(self, request: Request) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens of the shared part and the rest; those of the last requests are remembered.

        Called from the event loop (to count) and from the model's thread (to ask).
        """
        known = (request.messages, request.continuation, request.shared_characters)
        with self._encoding:
            if known in self._encodings:
                self._encodings.move_to_end(known)
                return self._encodings[known]
            messages = [(turn.role, turn.content) for turn in request.messages]
            head, tail = self._encoder.prompt(messages, request.continuation, request.shared_characters)
            encoded = tuple(head), tuple(tail)
            if len(tail) <= _LONGEST_KEPT:
                self._encodings[known] = encoded
            if len(self._encodings) > _ENCODINGS_KEPT:
                self._encodings.popitem(last=False)
        return encoded

    def _answer_tokens(self, answers: Sequence[str]) -> list[tuple[int, ...]]:
        with self._encoding:
            tokens = [tuple(self._encoder.text(answer)) for answer in answers]
        if len(set(tokens)) < len(tokens) or not all(tokens):
            raise ModelError(f"{self.name}: its tokenizer cannot tell the answers {', '.join(answers)} apart")
        return tokens

    async def answer(self, requests: AsyncIterator[tuple[str, Request]]) -> AsyncIterator[tuple[str, Outcome]]:
        """Answer requests in batches of whatever is waiting; the model runs in a thread of its own."""
        async for pair in in_batches(requests, self._answers):
            yield pair

    def _answers(self, keyed: Sequence[tuple[str, Request]]) -> Iterator[list[tuple[str, Outcome]]]:
        for batch in self._plan(keyed):
            yield self._run(batch)

    def _plan(self, keyed: Sequence[tuple[str, Request]]) -> list[list[_Job]]:
        """Requests of one kind and prefix go together, in batches of like length."""
        jobs = [_Job(key, request, *self._encode(request)) for key, request in keyed]
        groups: defaultdict[tuple[object, ...], list[_Job]] = defaultdict(list)
        for job in jobs:
            groups[job.prefix, _alike(job.request)].append(job)
        batches: list[list[_Job]] = []
        for alike in groups.values():
            lengths = [len(job.row) for job in alike]
            for indices in generation.by_length(lengths, len(alike[0].prefix), self._batch_tokens):
                batches.append([alike[index] for index in indices])
        return batches

    def _run(self, batch: Sequence[_Job]) -> list[tuple[str, Outcome]]:
        fitting: list[_Job] = []
        outcomes: list[tuple[str, Outcome]] = []
        for job in batch:
            tokens, room = len(job.prefix) + len(job.row), self._room(job.request)
            if self._context is not None and tokens + room > self._context:
                detail = f"{tokens} tokens and {room} for the answer; the model takes {self._context}"
                outcomes.append((job.key, NoAnswer("too_long", detail)))
            else:
                fitting.append(job)
        if fitting:
            prefix = self._prefix(fitting[0].prefix)
            match fitting[0].request.want:
                case Choose(answers):
                    outcomes += self._choose(fitting, prefix, answers)
                case Generate() as want:
                    outcomes += self._generate(fitting, prefix, want)
        return outcomes

    def _room(self, request: Request) -> int:
        match request.want:
            case Choose(answers):
                return max(map(len, self._answer_tokens(answers)))
            case Generate():
                return 1

    def _prefix(self, tokens: tuple[int, ...]) -> Prefix:
        if tokens not in self._prefixes:
            self._prefixes[tokens] = generation.read_prefix(self._local.model, tokens)
            if len(self._prefixes) > _PREFIXES_KEPT:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(tokens)
        return self._prefixes[tokens]

    def _choose(self, jobs: list[_Job], prefix: Prefix, answers: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        tokens = self._answer_tokens(answers)
        model, tokenizer = self._local
        rows = [job.row for job in jobs]
        logprobs = generation.answer_logprobs(model, prefix, rows, tokens, generation.pad_id(tokenizer))
        for job, row in zip(jobs, logprobs.tolist(), strict=True):
            if any(value != value for value in row):
                raise ModelError(f"{self.name}: gives NaN log-probabilities; its weights or its dtype are broken")
            chains = tuple(Chain(token, value) for token, value in zip(tokens, row, strict=True))
            yield job.key, Answer(self.version, self._usage(job, 1), chains=chains)

    def _generate(self, jobs: list[_Job], prefix: Prefix, want: Generate) -> Iterator[tuple[str, Outcome]]:
        wants = [job.request.want for job in jobs if isinstance(job.request.want, Generate)]
        # Each text has the room that its own prompt leaves, whatever its neighbours.
        context = self._context or math.inf
        rooms = [int(min(want.max_tokens, context - len(prefix.tokens) - len(job.row))) for job in jobs]
        written = generation.generate(
            self._local,
            prefix,
            [job.row for job in jobs],
            max(rooms),
            [one.temperature for one in wants],
            [one.seed for one in wants],
            want.stop,
            [one.top_p for one in wants],
        )
        for job, room, found in zip(jobs, rooms, written, strict=True):
            cut_off = len(found.tokens) > room or not found.ended
            tokens = found.tokens[:room]
            whole = self._local.tokenizer.decode(tokens, skip_special_tokens=True)
            text = min((whole.split(stop)[0] for stop in want.stop), key=len, default=whole)
            cut_off = cut_off and len(text) == len(whole)
            usage = self._usage(job, len(tokens))
            yield job.key, Answer(self.version, usage, text, "length" if cut_off else "stop")

    @staticmethod
    def _usage(job: _Job, output_tokens: int) -> Usage:
        return Usage(len(job.prefix) + len(job.row), len(job.prefix), output_tokens)


def _alike(request: Request) -> tuple[object, ...]:
    """What must be the same for two requests to share a batch."""
    match request.want:
        case Choose(answers):
            return (answers,)
        case Generate(max_tokens=max_tokens, stop=stop):
            return (max_tokens, stop)


def open_transformers(
    model: str,
    name: str,
    dtype: DType = "float32",
    device: str | None = None,
    batch_tokens: int | None = None,
) -> TransformersLLM:
    """Open a local folder, or a model of the hub (which is downloaded, or found in the cache).

    Args:
        model: a folder, or `organisation/name`.
        name: what the user calls it.
        dtype: of the weights.
        device: see `TransformersLLM`.
        batch_tokens: see `TransformersLLM`.

    Raises:
        ModelError: there is no such folder, and the hub has no such model or cannot be reached.
        ConfigError: torch knows no such device.
        CapabilityError: CUDA was asked for where there is none.
    """
    try:
        torch.device(device or "cpu")
    except RuntimeError as error:
        raise ConfigError(f"device is {device!r}; write cpu, cuda or cuda:1") from error
    if device is not None and device.startswith("cuda") and not torch.cuda.is_available():
        raise CapabilityError(f"device {device}: there is no CUDA device here; use cpu")
    folder = Path(model)
    if not folder.is_dir():
        folder = _from_hub(model)
    return TransformersLLM(folder, name, dtype, device, batch_tokens)


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]
    try:
        return Path(snapshot_download(model, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).strip().split("\n")[0]
        raise ModelError(f"{model}: no such folder, and the hub does not give it ({first})") from error
