"""OpenAI, and every server that speaks its protocol: chat and plain completions.

    api.openai.com    log-probabilities of the twenty likeliest tokens
    vLLM              exact: its `logprob_token_ids` gives just the answers' tokens, whatever is likely
    others            what they deliver; what was asked for and does not come is an error, never a guess

Every field that could bend the distribution is sent, since a server's own default (a model's `generation_config`, a
processed log-probability) might: temperature 1, no truncation, no penalty.
"""

import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import httpx2
import openai

from rlaif.errors import CapabilityError, ConfigError, ModelError, ServiceError
from rlaif.llm.base import Answer, Capabilities, Chain, Choose, Generate, NoAnswer, Outcome, Request, Usage
from rlaif.llm.catalog import entry
from rlaif.llm.gate import POSSIBLY_BILLED, Fault
from rlaif.llm.remote import Limits, Persistent
from rlaif.llm.replies import fault_of, retry_after_s
from rlaif.llm.stream import each

Endpoint = Literal["chat", "completions"]
OFFICIAL = "https://api.openai.com/v1"
SILENT_ANSWERS = 5
"""So many answers without log-probabilities, and none with, are a server that gives none."""
REFUSALS = 8
"""So many bad requests, and no answer, are a fault of the run and not of its items."""
_PLAIN = {"temperature": 1.0, "top_p": 1.0}
_VLLM_PLAIN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


class Served(NamedTuple):
    """What a server said of itself when it was asked.

    Attributes:
        is_vllm: whether it is vLLM, which can do more than the protocol says.
        endpoint: which of its endpoints is asked.
        context_tokens: the longest request and answer; None if not known.
    """

    is_vllm: bool
    endpoint: Endpoint
    context_tokens: int | None


class OpenAILLM:
    """A model behind the OpenAI protocol. Keys are read from the environment, and kept by the SDK alone."""

    def __init__(
        self,
        model: str,
        capabilities: Capabilities,
        *,
        base_url: str = OFFICIAL,
        key_variable: str = "OPENAI_API_KEY",
        served: Served | None = None,
        limits: Limits | None = None,
        room_to_think: int = 0,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            model: as the server calls it.
            capabilities: what it can do (see `catalog`).
            base_url: of the server.
            key_variable: the environment variable that holds the key.
            served: what the server said of itself.
            limits: how hard it is asked.
            room_to_think: tokens that a reasoning model may use before its answer.

        Raises:
            ConfigError: there is no key.
        """
        served = served or Served(False, "chat", None)
        self.name = f"openai:{model}"
        self.capabilities = capabilities
        self.limits = limits or Limits()
        self.in_flight = self.limits.concurrency
        self.identity: Mapping[str, Any] = {
            "provider": "openai",
            "base_url": base_url,
            "endpoint": served.endpoint,
            "model": model,
        }
        self._model, self._base_url, self._served, self._thinks = model, base_url, served, room_to_think
        self._key = key_variable
        key(base_url, key_variable)
        self._answer_tokens: dict[tuple[str, ...], list[int]] = {}
        self._gate_of: Persistent | None = None
        self._answered = self._silent = self._bad = 0

    @property
    def trouble(self) -> str:
        """What a person who waits should know now; empty while all is well."""
        return self._gate_of.gate.trouble if self._gate_of else ""

    def count_tokens(self, request: Request) -> int | None:
        """Not known beforehand: the server has the tokenizer."""
        return None

    async def answer(self, requests: AsyncIterator[tuple[str, Request]]) -> AsyncIterator[tuple[str, Outcome]]:
        """Answer every request, within the limits."""
        async with _client(self._base_url, self._key, self.limits) as client:

            async def send(request: Request) -> Outcome:
                return await self._send(client, request)

            self._gate_of = Persistent(send, self.limits)
            async for keyed in each(requests, self._gate_of.answer):
                yield keyed

    async def _send(self, client: openai.AsyncOpenAI, request: Request) -> Outcome:
        """One try of one request."""
        path = "/chat/completions" if self._served.endpoint == "chat" else "/completions"
        if isinstance(request.want, Choose) and self.capabilities.exact:
            await self._find_tokens(client, request.want.answers)
        try:
            # The SDK's own classes cost more time than all the rest, and lose fields that they do not know.
            response = await client.post(path, body=self._body(request), cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            return self._refused(error)
        except openai.APITimeoutError as error:
            raise Fault(f"no answer within {self.limits.timeout_s:g} s", lost=POSSIBLY_BILLED) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            lost = None if _never_sent(cause) else POSSIBLY_BILLED
            raise Fault(f"connection failed ({cause})", lost=lost) from error
        self._hold_if_asked(response.headers)
        outcome = self._read(request, response)
        self._answered += 1
        return outcome

    def _refused(self, error: openai.APIStatusError) -> NoAnswer:
        """A bad request is the item's failure, unless every request is bad; the rest ends the run or is a fault."""
        detail = _detail(error)
        fault = fault_of(error.status_code, error.response.headers, detail)
        if fault is not None and error.code != "insufficient_quota":
            raise fault from error
        if error.status_code not in (400, 413, 422):
            raise ServiceError(f"{self.name} at {self._base_url}: {detail}") from error
        self._bad += 1
        if self._bad >= REFUSALS and not self._answered:
            raise ServiceError(f"{self.name}: the first {self._bad} requests were bad: {detail}") from error
        too_long = error.code == "context_length_exceeded" or "context length" in detail or error.status_code == 413
        return NoAnswer("too_long" if too_long else "refused", detail)

    def _hold_if_asked(self, headers: Mapping[str, str]) -> None:
        """Where the headers say that nothing is left, wait until there is."""
        for what in ("requests", "tokens"):
            if headers.get(f"x-ratelimit-remaining-{what}") == "0" and self._gate_of is not None:
                self._gate_of.gate.hold(retry_after_s(headers.get(f"x-ratelimit-reset-{what}")) or 0.0)

    def _body(self, request: Request) -> dict[str, Any]:
        """The request as the protocol has it."""
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
        room = "max_completion_tokens" if self._base_url == OFFICIAL and served.endpoint == "chat" else "max_tokens"
        match request.want:
            case Choose(answers):
                body[room] = 1
                shown = len(answers) if able.exact else able.top_logprobs
                body |= {"logprobs": True, "top_logprobs": shown} if served.endpoint == "chat" else {"logprobs": shown}
                if able.exact:
                    body |= {"logprob_token_ids": self._answer_tokens[answers], "return_tokens_as_token_ids": True}
            case Generate(max_tokens, temperature, seed, stop):
                body[room] = max_tokens + self._thinks
                if able.temperature:
                    body["temperature"] = temperature
                if seed is not None and able.temperature:
                    body["seed"] = seed
                if stop and not self._thinks:
                    body["stop"] = list(stop[:4])
        return body

    async def _find_tokens(self, client: openai.AsyncOpenAI, answers: tuple[str, ...]) -> None:
        """Ask vLLM once for the tokens of the offered answers, as they are behind other text."""
        if answers in self._answer_tokens:
            return
        url = httpx2.URL(self._base_url).join("/tokenize")

        async def tokens(text: str) -> list[int]:
            body = {"model": self._model, "prompt": text, "add_special_tokens": False}
            return list((await client.post(str(url), body=body, cast_to=httpx2.Response)).json()["tokens"])

        before = await tokens(_BEFORE)
        found = [(await tokens(_BEFORE + answer))[len(before) :] for answer in answers]
        split = [answer for answer, ids in zip(answers, found, strict=True) if len(ids) != 1]
        if split:
            raise CapabilityError(
                f"{self.name}: its tokenizer splits {', '.join(split)}, which one position cannot show; "
                "use --method sampled, or the same weights with vllm: or transformers:"
            )
        self._answer_tokens[answers] = [ids[0] for ids in found]

    def _read(self, request: Request, response: httpx2.Response) -> Outcome:
        """What a response says; raises `Fault` where it says nothing."""
        said = repr(response.content[:80].decode("utf-8", "replace"))
        try:
            body = json.loads(response.content)
            usage, version = _usage(body.get("usage") or {}), _version(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Fault(f"a broken response ({said})", lost=POSSIBLY_BILLED) from error
        try:
            choice = body["choices"][0]
            reason = choice.get("finish_reason")
            message = choice["message"] if self._served.endpoint == "chat" else {"content": choice["text"]}
            text, refusal = message.get("content") or "", message.get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise Fault(f"a response without an answer ({said})", lost=usage) from error
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


_BEFORE = "="
_ROOM_TO_THINK = 4096


def key(base_url: str, variable: str) -> str:
    """The key from the environment.

    Args:
        base_url: of the server; one of the user's own may do without a key.
        variable: where the key is.

    Raises:
        ConfigError: OpenAI's own server needs one, or the variable that was named is empty.
    """
    found = os.environ.get(variable, "").strip()
    if not found and (base_url == OFFICIAL or variable != "OPENAI_API_KEY"):
        raise ConfigError(f"the environment variable {variable} holds no key; export {variable}=… and run again")
    # A key for OpenAI is for OpenAI: another server gets one only where its variable was named.
    return found if base_url == OFFICIAL or variable != "OPENAI_API_KEY" else "none"


def look_at(base_url: str, model: str, key_variable: str, endpoint: Endpoint | None) -> Served:
    """Ask a server what it is, before anything is paid for.

    Args:
        base_url: of the server.
        model: as the server calls it.
        key_variable: the environment variable that holds the key.
        endpoint: which is wanted; if None, chat wherever the model has a chat template.

    Raises:
        ServiceError: nothing answers there, or not in this protocol.
        ModelError: it does not serve this model.
    """
    with openai.OpenAI(api_key=key(base_url, key_variable), base_url=base_url, max_retries=2, timeout=20.0) as client:
        try:
            listed = client.get("/models", cast_to=httpx2.Response).json()["data"]
            models = {str(one["id"]): one for one in listed}
        except openai.APIStatusError as error:
            raise ServiceError(f"{base_url}/models: {_detail(error)}") from error
        except openai.APIConnectionError as error:
            raise ServiceError(f"{base_url}: no server answers ({error.__cause__ or error})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(f"{base_url}/models: answers, but not as OpenAI's protocol has it") from error
        if model not in models:
            raise ModelError(f"{base_url} does not serve {model}; it serves {', '.join(sorted(models)) or 'nothing'}")
        if models[model].get("owned_by") != "vllm":
            return Served(False, endpoint or "chat", None)
        url = str(httpx2.URL(base_url).join("/tokenize"))
        asked = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        try:
            client.post(url, body=asked, cast_to=httpx2.Response)
            has_template = True
        except openai.APIStatusError:
            has_template = False
        return Served(True, endpoint or ("chat" if has_template else "completions"), models[model].get("max_model_len"))


def open_openai(
    model: str,
    base_url: str | None = None,
    endpoint: Endpoint | None = None,
    key_variable: str | None = None,
    limits: Limits | None = None,
) -> OpenAILLM:
    """Open a model of OpenAI's, or of another server.

    Args:
        model: as the server calls it.
        base_url: of the server; `OPENAI_BASE_URL`, and else OpenAI's own, if None.
        endpoint: which is asked; as the catalog or the server says if None.
        key_variable: the environment variable with the key; for OpenAI's own server `OPENAI_API_KEY`.
        limits: how hard it is asked.

    Raises:
        ConfigError: there is no key.
        ServiceError: no server answers at `base_url`.
        ModelError: it does not serve the model.
    """
    url = (base_url or os.environ.get("OPENAI_BASE_URL") or OFFICIAL).rstrip("/")
    variable = key_variable or "OPENAI_API_KEY"
    known = entry("openai", model)
    able = known.capabilities
    if url == OFFICIAL:
        served = Served(False, endpoint or known.endpoint, None)
    else:
        served = look_at(url, model, variable, endpoint)
        able = replace(able, batch_api=False, context_tokens=served.context_tokens)
    if served.is_vllm:
        able = replace(able, exact=True, continues=True, temperature=True)
    elif served.endpoint == "completions":
        able = replace(able, continues=True, top_logprobs=min(able.top_logprobs, 5))
    return OpenAILLM(
        model,
        able,
        base_url=url,
        key_variable=variable,
        served=served,
        limits=limits,
        room_to_think=_ROOM_TO_THINK if known.thinks and not served.is_vllm else 0,
    )


def _client(base_url: str, key_variable: str, limits: Limits) -> openai.AsyncOpenAI:
    connections = httpx2.Limits(max_connections=limits.concurrency, max_keepalive_connections=limits.concurrency)
    http = openai.DefaultAioHttpClient(timeout=limits.timeout_s, limits=connections)
    return openai.AsyncOpenAI(api_key=key(base_url, key_variable), base_url=base_url, max_retries=0, http_client=http)


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


def _detail(error: openai.APIStatusError) -> str:
    """Status and message, without any key that a server repeats."""
    body = error.body
    message = body.get("message") if isinstance(body, Mapping) else None
    text = str(message or error.response.text[:200] or error.message)
    held = [value for name, value in os.environ.items() if name.endswith("_API_KEY") and len(value) > 8]
    for secret in held:
        text = text.replace(secret, "***")
    return f"{error.status_code}: {' '.join(text.split())[:300]}"


def _never_sent(cause: BaseException) -> bool:
    """Whether a connection failed before anything could be asked."""
    return isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
