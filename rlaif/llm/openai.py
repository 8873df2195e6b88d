"""OpenAI, and every server that speaks its protocol: chat and plain completions.

    api.openai.com    log-probabilities of the twenty likeliest tokens
    vLLM              exact: its `logprob_token_ids` gives just the answers' tokens, whatever is likely
    others            what they deliver; what was asked for and does not come is an error, never a guess

Every field that could bend the distribution is sent, since a server's own default (a model's `generation_config`, a
processed log-probability) might: temperature 1, no truncation, no penalty.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, NamedTuple

import httpx2
import openai

from rlaif.errors import CapabilityError, ModelError, ServiceError
from rlaif.llm.base import Answer, Capabilities, Chain, Choose, Generate, NoAnswer, Outcome, Request, Usage
from rlaif.llm.catalog import entry
from rlaif.llm.gate import POSSIBLY_BILLED, Fault
from rlaif.llm.prices import price_of
from rlaif.llm.remote import Limits
from rlaif.llm.replies import start_of
from rlaif.llm.service import Service, detail

Endpoint = Literal["chat", "completions"]
SILENT_ANSWERS = 5
"""So many answers without log-probabilities, and none with, are a server that gives none."""
_PLAIN = {"temperature": 1.0, "top_p": 1.0}
_VLLM_PLAIN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
_BEFORE = "="
_SAME = 1e-2
_ROOM_TO_THINK = 4096


class Served(NamedTuple):
    """What is known of a server.

    Attributes:
        is_vllm: whether it is vLLM, which can do more than the protocol says.
        endpoint: which of its endpoints is asked.
        context_tokens: the longest request and answer; None if not known.
        logprobs: whether vLLM's are `raw`, or `processed` by the temperature; None where it was not asked.
    """

    is_vllm: bool = False
    endpoint: Endpoint = "chat"
    context_tokens: int | None = None
    logprobs: Literal["raw", "processed"] | None = None


class OpenAILLM(Service):
    """A model behind the OpenAI protocol."""

    provider: ClassVar[str] = "openai"
    official: ClassVar[str] = "https://api.openai.com/v1"
    key_variable: ClassVar[str] = "OPENAI_API_KEY"
    remaining: ClassVar[tuple[tuple[str, str], ...]] = tuple(
        (f"x-ratelimit-remaining-{what}", f"x-ratelimit-reset-{what}") for what in ("requests", "tokens")
    )

    def __init__(self, model: str, capabilities: Capabilities, *, served: Served | None = None, **about: Any) -> None:
        """Prepare; nothing is asked yet.

        Args:
            model: as the server calls it.
            capabilities: what it can do (see `catalog`).
            served: what is known of the server.
            **about: see `Service`.

        Raises:
            ConfigError: there is no key, or a cap on cost and no price.
        """
        self._served = served or Served()
        identity = {"endpoint": self._served.endpoint, "logprobs": self._served.logprobs}
        identity = {name: value for name, value in identity.items() if value is not None}
        super().__init__(model, capabilities, identity=identity, **about)
        self._answer_tokens: dict[tuple[str, ...], list[int]] = {}
        self._silent = 0

    @property
    def sdk(self) -> ModuleType:
        """Its errors are these."""
        return openai

    def connect(self) -> openai.AsyncOpenAI:
        """A client of the SDK, which closes with its block."""
        http = openai.DefaultAioHttpClient(**self._pool())
        return openai.AsyncOpenAI(api_key=self._key(), base_url=self._base_url, max_retries=0, http_client=http)

    def look(self, endpoint: Endpoint | None) -> Served:
        """Ask the server what it is, before anything is paid for.

        Args:
            endpoint: which is wanted; if None, chat wherever the model has a chat template.

        Raises:
            ServiceError: nothing answers there, or not in this protocol.
            ModelError: it does not serve this model.
        """
        url, model = self._base_url, self._model
        with openai.OpenAI(api_key=self._key(), base_url=url, max_retries=2, timeout=20.0) as client:
            try:
                listed = client.get("/models", cast_to=httpx2.Response).json()["data"]
                models = {str(one["id"]): one for one in listed}
            except openai.APIStatusError as error:
                raise ServiceError(f"{url}/models: {detail(error)}") from error
            except openai.APIConnectionError as error:
                raise ServiceError(f"{url}: no server answers ({error.__cause__ or error})") from error
            except (ValueError, KeyError, TypeError) as error:
                raise ServiceError(f"{url}/models: answers, but not as OpenAI's protocol has it") from error
            if model not in models:
                raise ModelError(f"{url} does not serve {model}; it serves {', '.join(sorted(models)) or 'nothing'}")
            if models[model].get("owned_by") != "vllm":
                return Served(False, endpoint or "chat")
            asked = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
            try:
                client.post(self._tokenize, body=asked, cast_to=httpx2.Response)
                has_template = True
            except openai.APIStatusError:
                has_template = False
            context = models[model].get("max_model_len")
            return Served(True, endpoint or ("chat" if has_template else "completions"), context, self._probe(client))

    def _probe(self, client: openai.OpenAI) -> Literal["raw", "processed"]:
        """Whether a temperature moves vLLM's log-probabilities; at 1, which we send, both kinds are the same."""
        asked = {"model": self._model, "prompt": _BEFORE, "max_tokens": 1, "logprobs": 1, "logprob_token_ids": [0]}
        asked |= {"return_tokens_as_token_ids": True}
        seen = []
        for temperature in (0.5, 2.0):
            answer = client.post("/completions", body=asked | {"temperature": temperature}, cast_to=httpx2.Response)
            seen.append(answer.json()["choices"][0]["logprobs"]["top_logprobs"][0]["token_id:0"])
        return "raw" if abs(seen[0] - seen[1]) < _SAME else "processed"

    @property
    def _tokenize(self) -> str:
        """Where vLLM tokenises, beside the protocol's own paths."""
        return str(httpx2.URL(self._base_url).join("/tokenize"))

    async def _prepare(self, client: openai.AsyncOpenAI, request: Request) -> None:
        """Ask vLLM once for the tokens of the offered answers, as they are behind other text."""
        if not isinstance(request.want, Choose) or not self.capabilities.exact:
            return
        answers = request.want.answers
        if answers in self._answer_tokens:
            return

        async def tokens(text: str) -> list[int]:
            body = {"model": self._model, "prompt": text, "add_special_tokens": False}
            return list((await client.post(self._tokenize, body=body, cast_to=httpx2.Response)).json()["tokens"])

        before = await tokens(_BEFORE)
        found = [(await tokens(_BEFORE + answer))[len(before) :] for answer in answers]
        split = [answer for answer, ids in zip(answers, found, strict=True) if len(ids) != 1]
        if split:
            raise CapabilityError(
                f"{self.name}: its tokenizer splits {', '.join(split)}, which one position cannot show; "
                "use --method sampled, or the same weights with transformers:"
            )
        self._answer_tokens[answers] = [ids[0] for ids in found]

    def render(self, request: Request) -> tuple[str, dict[str, Any]]:
        """Path and body, as the protocol has them."""
        body: dict[str, Any] = {"model": self._model}
        able, served = self.capabilities, self._served
        if served.endpoint == "completions":
            body["prompt"] = _plain_text(request)
        else:
            body["messages"] = [{"role": turn.role, "content": turn.content} for turn in request.messages]
            if request.continuation:
                body["messages"].append({"role": "assistant", "content": request.continuation})
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        if able.temperature:
            body |= _PLAIN
        if served.is_vllm:
            body |= _VLLM_PLAIN
        room = "max_completion_tokens" if self.is_official and served.endpoint == "chat" else "max_tokens"
        match request.want:
            case Choose(answers):
                body[room] = 1
                shown = len(answers) if able.exact else able.top_logprobs
                body |= {"logprobs": True, "top_logprobs": shown} if served.endpoint == "chat" else {"logprobs": shown}
                if able.exact:
                    body |= {"logprob_token_ids": self._answer_tokens[answers], "return_tokens_as_token_ids": True}
            case Generate(max_tokens, temperature, seed, stop):
                body[room] = max_tokens + self.room_to_think
                if able.temperature:
                    body["temperature"] = temperature
                if seed is not None and able.temperature:
                    body["seed"] = seed
                if stop and not self.room_to_think:
                    body["stop"] = list(stop[:4])
        return "/chat/completions" if served.endpoint == "chat" else "/completions", body

    def read(self, request: Request, body: Any) -> Outcome:
        """What a response says; raises `Fault` where it says nothing."""
        try:
            usage, version = _usage(body.get("usage") or {}), _version(body)
        except (KeyError, TypeError, AttributeError) as error:
            raise Fault(f"a broken response ({start_of(body)})", lost=POSSIBLY_BILLED) from error
        try:
            choice = body["choices"][0]
            reason = choice.get("finish_reason")
            message = choice["message"] if self._served.endpoint == "chat" else {"content": choice["text"]}
            text, refusal = message.get("content") or "", message.get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise Fault(f"a response without an answer ({start_of(body)})", lost=usage) from error
        if refusal or reason == "content_filter":
            return NoAnswer("refused", refusal or "stopped by a content filter", text, usage)
        match request.want:
            case Generate():
                return Answer(version, usage, text, "length" if reason == "length" else "stop")
            case Choose(answers):
                top = self._top(choice)
                if not self.capabilities.exact:
                    return Answer(version, usage, text, top=top)
                shown = dict(top)
                tokens = self._answer_tokens[answers]
                if any(f"token_id:{token}" not in shown for token in tokens):
                    raise Fault("log-probabilities of the answers did not come", lost=usage)
                return Answer(version, usage, text, chains=tuple(Chain((t,), shown[f"token_id:{t}"]) for t in tokens))

    def _top(self, choice: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
        """The likeliest first tokens."""
        shown = choice.get("logprobs") or {}
        try:
            if self._served.endpoint == "chat":
                first = (shown.get("content") or [{}])[0].get("top_logprobs") or []
                top = tuple((str(one["token"]), float(one["logprob"])) for one in first)
            else:
                top = tuple((str(token), float(value)) for token, value in (shown["top_logprobs"] or [{}])[0].items())
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            top = ()
        self._silent += not top
        if self._silent >= SILENT_ANSWERS and self._silent > self._answered:
            raise CapabilityError(
                f"{self.name} at {self._base_url} gives no log-probabilities, though they were asked for; "
                "use --method sampled"
            )
        return top


def open_openai(
    model: str,
    base_url: str | None = None,
    endpoint: Endpoint | None = None,
    key_variable: str | None = None,
    limits: Limits | None = None,
    prices: Path | None = None,
    batch: bool = False,
) -> OpenAILLM:
    """Open a model of OpenAI's, or of another server.

    Args:
        model: as the server calls it.
        base_url: of the server; `OPENAI_BASE_URL`, and else OpenAI's own, if None.
        endpoint: which is asked; as the catalog or the server says if None.
        key_variable: the environment variable with the key; for OpenAI's own server `OPENAI_API_KEY`.
        limits: how hard it is asked.
        prices: a file with prices (see `price_of`); for another server the only ones.
        batch: whether it will be asked by batch jobs, which have a price of their own.

    Raises:
        ConfigError: there is no key, or a cap on cost and no price.
        ServiceError: no server answers at `base_url`.
        ModelError: it does not serve the model.
    """
    url = (base_url or os.environ.get("OPENAI_BASE_URL") or OpenAILLM.official).rstrip("/")
    known, is_official = entry("openai", model), url == OpenAILLM.official
    able, room = known.capabilities, _ROOM_TO_THINK if known.thinks else 0
    about: dict[str, Any] = {"base_url": url, "key_variable": key_variable, "limits": limits}
    about["price"] = price_of("openai", model, prices, listed=is_official, batch=batch)
    if is_official:
        served = Served(endpoint=endpoint or known.endpoint)
    else:
        served = OpenAILLM(model, able, **about).look(endpoint)
        able = replace(able, batch_api=False, context_tokens=served.context_tokens)
    if served.is_vllm:
        able, room = replace(able, exact=True, continues=True, temperature=True), 0
    elif served.endpoint == "completions":
        able = replace(able, continues=True, top_logprobs=min(able.top_logprobs, 5))
    return OpenAILLM(model, able, served=served, room_to_think=room, **about)


def _plain_text(request: Request) -> str:
    """A dialogue as text to be continued: a single message without a label."""
    first, *rest = request.messages
    if not rest:
        return f"{first.content}\n\n{request.continuation}"
    turns = [first.content, *(f"{turn.role.capitalize()}: {turn.content}" for turn in rest)]
    return "\n\n".join([*turns, f"Assistant: {request.continuation}".rstrip()])


def _usage(told: Mapping[str, Any]) -> Usage:
    cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(told.get("prompt_tokens") or 0, cached, told.get("completion_tokens") or 0)


def _version(body: Mapping[str, Any]) -> str:
    return " ".join(str(part) for part in (body["model"], body.get("system_fingerprint")) if part)
