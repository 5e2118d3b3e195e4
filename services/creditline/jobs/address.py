"""Address of the Redis that carries the jobs, as a setting; read without loading what connects to it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

DEFAULT_BROKER_URL = "redis://127.0.0.1:6379/0"
_SCHEMES = ("redis://", "rediss://", "redis+socket://")


def with_known_scheme(url: str) -> str:
    """The URL itself. Raises ValueError when it is not one of Redis."""
    if not url.startswith(_SCHEMES):
        raise ValueError(f"it must start with {' or '.join(_SCHEMES)}")
    return url


# A field of a settings class: `broker_url: BrokerUrl = DEFAULT_BROKER_URL`.
BrokerUrl = Annotated[str, AfterValidator(with_known_scheme)]
