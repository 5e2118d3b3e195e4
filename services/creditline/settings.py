"""Reads a service's settings from the environment; a wrong value becomes one sentence that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from creditline.errors import InvalidInput

_Settings = TypeVar("_Settings", bound=BaseSettings)


def read_settings(kind: type[_Settings]) -> _Settings:
    """`kind` filled from the environment. Raises InvalidInput with one sentence per wrong value."""
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        raise InvalidInput("; ".join(_sentence(prefix, dict(wrong)) for wrong in error.errors())) from error


def _sentence(prefix: str, wrong: Mapping[str, Any]) -> str:
    if not wrong["loc"]:
        return str(wrong["msg"]).removeprefix("Value error, ")
    name = f"{prefix}{wrong['loc'][0]}".upper()
    return f"{name} is {wrong['input']!r}: {wrong['msg']}"
