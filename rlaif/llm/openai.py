"""OpenAI, and every server that speaks its protocol: chat and plain completions.

    api.openai.com    log-probabilities of the twenty likeliest tokens
    vLLM              exact: its `logprob_token_ids` gives just the answers' tokens, whatever is likely
    others            what they deliver; what was asked for and does not come is an error, never a guess

Every field that could bend the distribution is sent, since a server's own default (a model's `generation_config`, a
processed log-probability) might: temperature 1, no truncation, no penalty.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import openai

from rlaif.errors import CapabilityError
from rlaif.llm.base import Answer, Capabilities, Chain, Choose, Generate, NoAnswer, Outcome, Request, Usage
from rlaif.llm.catalog import entry
from rlaif.llm.gate import POSSIBLY_BILLED, Fault
from rlaif.llm.openai_server import Endpoint, Served, how_it_cuts, look, tokens_of
from rlaif.llm.prices import Budget, price_of
from rlaif.llm.remote import Limits
from rlaif.llm.replies import start_of
from rlaif.llm.service import Service
from rlaif.llm.splits import Splits, joined, possible_splits

SILENT_ANSWERS = 5
"""So many answers without log-probabilities, and none with, are a server that gives none."""
_PLAIN = {"temperature": 1.0, "top_p": 1.0}
_VLLM_PLAIN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
_ROOM_TO_THINK = 4096
_CUT = (
    "{name}: its tokenizer cuts {answer}, or it cannot be found out, and one position cannot show that; use --method "
    "sampled, --endpoint completions, or the same weights with transformers:"
)


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
        self._splits: dict[tuple[str, ...], Splits] = {}
        self._finding_out: dict[tuple[str, ...], asyncio.Future[Splits]] = {}
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
        """Ask the server what it is, before anything is paid for (see `openai_server.look`)."""
        with openai.OpenAI(api_key=self._key(), base_url=self._base_url, max_retries=2, timeout=20.0) as client:
            return look(client, self._base_url, self._model, endpoint)

    async def _prepare(self, client: openai.AsyncOpenAI, request: Request) -> None:
        """Find out, once, how the server's tokenizer cuts the offered answers."""
        if not isinstance(request.want, Choose):
            return
        answers = request.want.answers
        if answers in self._splits:
            return
        if answers not in self._finding_out:
            self._finding_out[answers] = asyncio.ensure_future(self._find_out(client, answers))
        try:
            self._splits[answers] = await self._finding_out[answers]
        finally:
            self._finding_out.pop(answers, None)

    async def prepare_for_batch(self, client: openai.AsyncOpenAI, request: Request) -> None:
        """Find out whether one request is enough: an answer that the tokenizer cuts takes a second one."""
        await self._prepare(client, request)
        if isinstance(request.want, Choose) and (splits := self._splits[request.want.answers]):
            cut = max((answer for rests in splits.values() for answer in rests), key=len)
            raise CapabilityError(
                f"{self.name}: its tokenizer cuts {cut}, or it cannot be found out, which takes a second request, "
                "and a batch job asks but once; leave --batch out, or use --method sampled"
            )

    async def _find_out(self, client: openai.AsyncOpenAI, answers: tuple[str, ...]) -> Splits:
        """How the tokenizer cuts answers.

        Raises:
            CapabilityError: in a way that this model cannot be asked around.
        """
        if self.capabilities.exact:
            tokens = await tokens_of(client, self._base_url, self._model, answers)
            self._answer_tokens[answers] = [ids[0] for ids in tokens]
            whole = {ids[0]: answer for ids, answer in zip(tokens, answers, strict=True) if len(ids) == 1}
            splits: dict[str, dict[str, str]] = {}
            for ids, answer in zip(tokens, answers, strict=True):
                start = whole.get(ids[0], "")
                if len(ids) > 1 and not (start and answer.startswith(start) and self.capabilities.continues):
                    raise CapabilityError(_CUT.format(name=self.name, answer=answer))
                if len(ids) > 1:
                    splits.setdefault(start, {})[answer] = answer.removeprefix(start)
            return splits
        possible = possible_splits(answers)
        if not possible or self.is_official:
            return {}
        longest = max((answer for rests in possible.values() for answer in rests), key=len)
        cut = await how_it_cuts(client, self._model, self._served.endpoint, longest)
        if cut != "whole" and not self.capabilities.continues:
            raise CapabilityError(_CUT.format(name=self.name, answer=longest))
        return {} if cut == "whole" else possible

    async def _send(self, client: openai.AsyncOpenAI, request: Request) -> Outcome:
        """One try of one request; a second one where the tokenizer cuts an answer."""
        outcome = await super()._send(client, request)
        want = request.want
        if not isinstance(want, Choose):
            return outcome
        for start, rests in self._splits.get(want.answers, {}).items():
            if isinstance(outcome, NoAnswer):
                break
            behind = replace(request, want=Choose(tuple(rests.values())), continuation=request.continuation + start)
            try:
                second = await self._send(client, behind)
            except Fault as fault:
                fault.lost += outcome.usage
                raise
            if isinstance(second, NoAnswer):
                return replace(second, usage=outcome.usage + second.usage)
            outcome = joined(outcome, second, want.answers, start, rests)
        return outcome

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
            case Generate(max_tokens, temperature, seed, stop, top_p):
                body[room] = max_tokens + self.room_to_think
                if able.temperature:
                    body |= {"temperature": temperature, "top_p": top_p}
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
    can: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
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
        can: capabilities that the user knows better than the catalog.
        budget: that it spends from, with whoever else has it; one of its own, as the limits say, if None.

    Raises:
        ConfigError: there is no key, a cap on cost and no price, two caps, or no such capability.
        ServiceError: no server answers at `base_url`.
        ModelError: it does not serve the model.
    """
    url = (base_url or os.environ.get("OPENAI_BASE_URL") or OpenAILLM.official).rstrip("/")
    known, is_official = entry("openai", model, can), url == OpenAILLM.official
    able, room = known.capabilities, _ROOM_TO_THINK if known.thinks else 0
    about: dict[str, Any] = {"base_url": url, "key_variable": key_variable, "limits": limits, "budget": budget}
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
