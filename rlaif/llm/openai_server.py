"""What a server of OpenAI's protocol is, as far as it can be asked: its models, its log-probabilities, its tokens."""

from typing import Any, Literal, NamedTuple

import httpx2
import openai

from rlaif.errors import ModelError, ServiceError
from rlaif.llm.service import detail

Endpoint = Literal["chat", "completions"]
Cut = Literal["whole", "split", "unknown"]
BEFORE = "="
"""Answers are tokenised as they are behind other text."""
_SAME = 1e-2


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


def look(client: Any, url: str, model: str, endpoint: Endpoint | None) -> Served:
    """Ask a server what it is, before anything is paid for.

    Args:
        client: a client of the SDK, not an asynchronous one.
        url: where it is, for errors.
        model: that is wanted.
        endpoint: which is wanted; if None, chat wherever the model has a chat template.

    Raises:
        ServiceError: nothing answers there, or not in this protocol.
        ModelError: it does not serve this model.
    """
    try:
        return _look(client, url, model, endpoint)
    except openai.APIStatusError as error:
        raise ServiceError(f"{url}: {detail(error)}") from error
    except openai.APIConnectionError as error:
        raise ServiceError(f"{url}: no server answers ({error.__cause__ or error})") from error
    except (ValueError, LookupError, TypeError) as error:
        raise ServiceError(f"{url}: answers, but not as OpenAI's protocol has it") from error


def _look(client: Any, url: str, model: str, endpoint: Endpoint | None) -> Served:
    listed = client.get("/models", cast_to=httpx2.Response).json()["data"]
    models = {str(one["id"]): one for one in listed}
    if model not in models:
        raise ModelError(f"{url} does not serve {model}; it serves {', '.join(sorted(models)) or 'nothing'}")
    if models[model].get("owned_by") != "vllm":
        return Served(False, endpoint or "chat")
    asked = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    try:
        client.post(tokenize_url(url), body=asked, cast_to=httpx2.Response)
        has_template = True
    except openai.APIStatusError:
        has_template = False
    context = models[model].get("max_model_len")
    return Served(True, endpoint or ("chat" if has_template else "completions"), context, _logprobs(client, model))


def _logprobs(client: Any, model: str) -> Literal["raw", "processed"]:
    """Whether a temperature moves vLLM's log-probabilities; at 1, which we send, both kinds are the same."""
    asked = {"model": model, "prompt": BEFORE, "max_tokens": 1, "logprobs": 1, "logprob_token_ids": [0]}
    asked |= {"return_tokens_as_token_ids": True}
    seen = []
    for temperature in (0.5, 2.0):
        answer = client.post("/completions", body=asked | {"temperature": temperature}, cast_to=httpx2.Response)
        seen.append(answer.json()["choices"][0]["logprobs"]["top_logprobs"][0]["token_id:0"])
    return "raw" if abs(seen[0] - seen[1]) < _SAME else "processed"


def tokenize_url(url: str) -> str:
    """Where vLLM tokenises, beside the protocol's own paths."""
    return str(httpx2.URL(url).join("/tokenize"))


async def tokens_of(client: Any, url: str, model: str, answers: tuple[str, ...]) -> list[tuple[int, ...]]:
    """The tokens of answers behind other text, by vLLM's tokenizer.

    Args:
        client: an asynchronous client of the SDK.
        url: where vLLM is.
        model: that it serves.
        answers: those offered.
    """

    async def tokens(text: str) -> list[int]:
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        return list((await client.post(tokenize_url(url), body=body, cast_to=httpx2.Response)).json()["tokens"])

    before = await tokens(BEFORE)
    return [tuple((await tokens(BEFORE + answer))[len(before) :]) for answer in answers]


async def how_it_cuts(client: Any, model: str, endpoint: Endpoint, text: str) -> Cut:
    """Whether a number is one token, found out by having it repeated; no server says it of itself.

    Args:
        client: an asynchronous client of the SDK.
        model: that is asked.
        endpoint: where.
        text: such as `10`.
    """
    body: dict[str, Any] = {"model": model, "max_tokens": 3, "temperature": 0.0}
    if endpoint == "chat":
        said = f"Repeat this number and write nothing else: {text}"
        body |= {"messages": [{"role": "user", "content": said}], "logprobs": True, "top_logprobs": 1}
        path = "/chat/completions"
    else:
        body |= {"prompt": " ".join([text] * 8), "logprobs": 1}
        path = "/completions"
    try:
        shown = (await client.post(path, body=body, cast_to=httpx2.Response)).json()["choices"][0]["logprobs"]
        tokens = [one["token"] for one in shown["content"]] if endpoint == "chat" else shown["tokens"]
    except (ValueError, KeyError, IndexError, TypeError):
        return "unknown"
    first = next((token.strip() for token in tokens if token.strip()), "")
    if first == text:
        return "whole"
    return "split" if first and text.startswith(first) else "unknown"
