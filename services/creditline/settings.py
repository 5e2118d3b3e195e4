"""Reading of a service's settings from the environment; errors name each wrong variable in one sentence."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from creditline.errors import InvalidInput

# A port to listen on or to connect to; 0 selects a free port.
Port = Annotated[int, Field(ge=0, le=65535)]
_Settings = TypeVar("_Settings", bound=BaseSettings)
# Up to the last @: a password may hold one, or a slash.
_CREDENTIALS = re.compile(r"://.*@")


class ServiceSettings(BaseSettings):
    """Base class of all settings classes; an empty environment variable means the default."""

    model_config = SettingsConfigDict(env_prefix="CREDITLINE_", env_ignore_empty=True, frozen=True)


def read_settings(kind: type[_Settings]) -> _Settings:
    """Read settings from the environment.

    Args:
        kind: Class of the settings.

    Raises:
        InvalidInput: A value is wrong; the message has one sentence for each. `field` is the first wrong
            field, or "settings" when the fields contradict each other.
    """
    try:
        return kind()
    except ValidationError as error:
        prefix, wrong = kind.model_config.get("env_prefix", ""), error.errors()
        sentences = "; ".join(_sentence(prefix, dict(each)) for each in wrong)
        location = wrong[0]["loc"]
        raise InvalidInput(sentences, field=str(location[0]) if location else "settings") from error


def _sentence(prefix: str, wrong: Mapping[str, Any]) -> str:
    message = str(wrong["msg"]).removeprefix("Value error, ")
    if not wrong["loc"]:
        return message
    name, value = f"{prefix}{wrong['loc'][0]}".upper(), wrong["input"]
    return f"{name} is {_without_credentials(value)!r}: {message}"


def _without_credentials(value: object) -> object:
    return _CREDENTIALS.sub("://***@", value) if isinstance(value, str) else value


def user_state_directory() -> Path:
    """The directory where this user's programs keep their state: XDG_STATE_HOME, or `~/.local/state`."""
    given = os.environ.get("XDG_STATE_HOME")
    return Path(given) if given else Path.home() / ".local" / "state"


def user_cache_directory() -> Path:
    """This user's directory for files that can be made again: XDG_CACHE_HOME, or `~/.cache`; ours in it."""
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "creditline"
