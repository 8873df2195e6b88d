"""From `provider:model` to a model. No provider's library is imported before its model is asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from rlaif.errors import ConfigError, MissingExtraError, ModelError, did_you_mean
from rlaif.llm.base import LLM, DType

if TYPE_CHECKING:
    from rlaif.llm.prices import Budget
    from rlaif.llm.remote import Limits
    from rlaif.llm.service import Service

_PROVIDERS = {
    "pocket": "a bundled tiny model, such as pocket:labeler-l",
    "anthropic": "anthropic:claude-haiku-4-5, or a model of a server that speaks its protocol, by base_url",
    "openai": "openai:gpt-4.1-mini, or any model of a server that speaks its protocol, by base_url",
    "transformers": "a model folder or hub id, such as transformers:path/to/model",
    "vllm": "a model folder in vLLM's engine, such as vllm:path/to/model",
    "scripted": "scripted:hashed, a double that knows nothing, for dry runs",
}


def open_llm(
    spec: str,
    *,
    dtype: str = "float32",
    device: str | None = None,
    batch_tokens: int | None = None,
    base_url: str | None = None,
    endpoint: str | None = None,
    key_variable: str | None = None,
    limits: "Limits | None" = None,
    prices: Path | None = None,
    batch: Path | None = None,
    can: Mapping[str, Any] | None = None,
    budget: "Budget | None" = None,
) -> LLM:
    """Open a model by name.

    Args:
        spec: `provider:model`, or the folder of a model, such as a trained policy's.
        dtype: `float32`, `bfloat16` or `float16`; local models only.
        device: `cpu`, `cuda`, …; local models only; CUDA where there is one if None.
        batch_tokens: see `TransformersLLM`.
        base_url: another server of the provider's protocol.
        endpoint: `chat` or `completions`; as the catalog or the server says if None.
        key_variable: the environment variable that holds the key for `base_url`.
        limits: how hard a service is asked. With `max_cost_usd` the model has a cap of its own, over all that it is
            asked as long as it is open: another run, or `ask_again`, spends what the first has left.
        prices: a file with prices of a service's tokens (see `price_of`).
        batch: ask by batch jobs, at half the price and within a day, and keep their ids in this ledger.
        can: what a hosted model can do, where it is known better than by the catalog (`rlaif models`), such as
            `{"top_logprobs": 20}`.
        budget: a cap that a service shares with every other that is opened with the same one, as the models of a panel
            do: `budget = rlaif.llm.prices.Budget(5.0)`. It takes the place of `limits.max_cost_usd`.

    Returns:
        The model; a local one is loaded when first asked.

    Raises:
        ModelError: no such provider or model.
        ServiceError: a server does not answer.
        ConfigError: an option is not for this model, or its value will not do.
        MissingExtraError: the provider's library is not installed.
    """
    if Path(spec).is_dir():
        spec = f"transformers:{spec}"
    provider, colon, model = spec.partition(":")
    if not colon or provider not in _PROVIDERS or not model:
        known = "; ".join(_PROVIDERS.values())
        hint = did_you_mean(provider, _PROVIDERS) if provider not in _PROVIDERS else ""
        raise ModelError(f"{spec} names no model{hint} (write {known})")
    if dtype not in get_args(DType):
        raise ConfigError(f"dtype is {dtype!r}; known are {', '.join(get_args(DType))}")
    if provider == "openai":
        from rlaif.llm.openai import open_openai

        if endpoint not in (None, "chat", "completions"):
            raise ConfigError(f"endpoint is {endpoint!r}; known are chat and completions")
        openai = open_openai(
            model, base_url, cast(Any, endpoint), key_variable, limits, prices, batch is not None, can, budget
        )
        return _by_jobs(openai, batch) if batch else openai
    if endpoint:
        raise ConfigError(f"{spec} has one endpoint only; endpoint is for openai:")
    if provider == "anthropic":
        from rlaif.llm.anthropic import open_anthropic

        anthropic = open_anthropic(model, base_url, key_variable, limits, prices, batch is not None, can, budget)
        return _by_jobs(anthropic, batch) if batch else anthropic
    if batch:
        raise ConfigError(f"{spec} has no batch API; it is for openai: and anthropic:")
    if can:
        raise ConfigError(f"{spec} says itself what it can do; can is for openai: and anthropic:")
    if base_url or key_variable:
        raise ConfigError(f"{spec} is not behind a server; base_url and key_variable are for openai: and anthropic:")
    if provider == "scripted":
        from rlaif.llm.scripted import ScriptedLLM, hashed

        if model != "hashed":
            raise ModelError(f"{spec} is not a script; the command line knows scripted:hashed")
        return ScriptedLLM(hashed, spec)
    if provider == "pocket":
        from rlaif.pocket.paths import model_folder

        model = str(model_folder(model))
    return _open_local(provider, model, spec, cast(DType, dtype), device, batch_tokens)


def _by_jobs(service: "Service", ledger: Path) -> LLM:
    """The same model, asked by batch jobs."""
    from rlaif.llm.batch import BatchLLM
    from rlaif.llm.batch_apis import AnthropicBatches, OpenAIBatches

    return BatchLLM(service, OpenAIBatches() if service.provider == "openai" else AnthropicBatches(), ledger)


def _open_local(
    provider: str, model: str, spec: str, dtype: DType, device: str | None, batch_tokens: int | None
) -> LLM:
    """A model in this process."""
    extra = "vllm" if provider == "vllm" else "local"
    try:
        if provider == "vllm":
            from rlaif.llm.vllm import open_vllm

            return open_vllm(model, spec, dtype)
        from rlaif.llm.transformers import open_transformers

        return open_transformers(model, spec, dtype, device, batch_tokens)
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ("torch", "transformers", "vllm"):
            raise MissingExtraError(missing, extra) from error
        raise
