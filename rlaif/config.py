"""Settings become frozen configs, with errors one can act on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from rlaif.errors import ConfigError, did_you_mean

ConfigT = TypeVar("ConfigT", bound="Config")


class Config(BaseModel):
    """Base of all configs: immutable, and no setting is silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def read(config: type[ConfigT], path: Path, overrides: Sequence[str] = ()) -> ConfigT:
    """Read a config from a YAML file.

    Args:
        config: the config's class.
        path: the file: nested mappings of settings.
        overrides: `section.key=value`, where a value is YAML and an item of a list is named by its number:
            `optimisation.learning_rate=1e-4`, `data.0.limit=100`.

    Raises:
        ConfigError: the file is missing or not YAML, or a setting is wrong; names it.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: holds no settings; write key: value, one on a line")
    for override in overrides:
        _set(settings, override)
    return build(config, settings, str(path))


def _set(settings: Any, override: str) -> None:
    """Change one setting; sections that are not there yet are made."""
    name, found, text = override.partition("=")
    if not found or not name:
        raise ConfigError(f"{override}: write section.key=value, for example optimisation.learning_rate=1e-4")
    *sections, last = name.split(".")
    try:
        value = yaml.safe_load(text)
        for place, section in enumerate(sections):
            if section.isdigit() and not isinstance(settings, list):
                name = ".".join(sections[:place])
                raise ConfigError(
                    f"{override}: {name} is no list that has a number {section}; give it whole: {name}=[…]"
                )
            settings = settings[int(section)] if isinstance(settings, list) else settings.setdefault(section, {})
        settings[int(last) if isinstance(settings, list) else last] = value
    except (ValueError, IndexError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError(f"{override}: cannot be set ({' '.join(str(error).split())})") from error


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
