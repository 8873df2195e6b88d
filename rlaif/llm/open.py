"""From `provider:model` to a model. No provider's library is imported before its model is asked for."""

from typing import cast, get_args

from rlaif.errors import ConfigError, MissingExtraError, ModelError, did_you_mean
from rlaif.llm.base import LLM, DType

_PROVIDERS = {
    "pocket": "a bundled tiny model, such as pocket:labeler-l",
    "transformers": "a model folder or hub id, such as transformers:path/to/model",
    "scripted": "scripted:hashed, a double that knows nothing, for dry runs",
}


def open_llm(spec: str, *, dtype: str = "float32", device: str | None = None, batch_tokens: int | None = None) -> LLM:
    """Open a model by name.

    Args:
        spec: `provider:model`.
        dtype: `float32`, `bfloat16` or `float16`; local models only.
        device: `cpu`, `cuda`, …; local models only; CUDA where there is one if None.
        batch_tokens: see `TransformersLLM`.

    Returns:
        The model; a local one is loaded when first asked.

    Raises:
        ModelError: no such provider or model.
        MissingExtraError: the provider's library is not installed.
    """
    provider, colon, model = spec.partition(":")
    if not colon or provider not in _PROVIDERS or not model:
        known = "; ".join(_PROVIDERS.values())
        hint = did_you_mean(provider, _PROVIDERS) if provider not in _PROVIDERS else ""
        raise ModelError(f"{spec} names no model{hint} (write {known})")
    if dtype not in get_args(DType):
        raise ConfigError(f"dtype is {dtype!r}; known are {', '.join(get_args(DType))}")
    if provider == "scripted":
        from rlaif.llm.scripted import ScriptedLLM, hashed

        if model != "hashed":
            raise ModelError(f"{spec} is not a script; the command line knows scripted:hashed")
        return ScriptedLLM(hashed, spec)
    if provider == "pocket":
        from rlaif.pocket.paths import model_folder

        model = str(model_folder(model))
    try:
        from rlaif.llm.transformers import open_transformers
    except ImportError as error:
        if error.name and error.name.split(".")[0] in ("torch", "transformers"):
            raise MissingExtraError(error.name.split(".")[0], "local") from error
        raise
    return open_transformers(model, spec, cast(DType, dtype), device, batch_tokens)
