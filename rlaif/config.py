"""Settings become frozen configs, with errors one can act on."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rlaif.errors import ConfigError, did_you_mean

ConfigT = TypeVar("ConfigT", bound="Config")


class Config(BaseModel):
    """Base of all configs: immutable, and no setting is silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def build(config: type[ConfigT], settings: Mapping[str, Any], where: str) -> ConfigT:
    """Validate settings.

    Args:
        config: the config's class.
        settings: nested mappings of settings; what is missing takes its default.
        where: the file or call, for the message.

    Raises:
        ConfigError: a setting does not exist or its value will not do; names it.
    """
    try:
        return config.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _fields(config, first["loc"][:-1])
            raise ConfigError(
                f"{where}: {place} is not a setting{did_you_mean(str(first['loc'][-1]), known)}"
            ) from None
        if first["type"] == "missing":
            raise ConfigError(f"{where}: {place} is missing") from None
        message = first["msg"].removeprefix("Value error, ")
        found = f"{place} is {first['input']!r}: " if place else ""
        raise ConfigError(f"{where}: {found}{message}") from None


def _fields(config: type[BaseModel], sections: Sequence[int | str]) -> list[str]:
    for section in sections:
        annotation = config.model_fields[str(section)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        config = annotation
    return list(config.model_fields)
