"""Address of the Redis that carries the jobs, as a setting; read without loading what connects to it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

DEFAULT_BROKER_URL = "redis://127.0.0.1:6379/0"
_SCHEMES = ("redis://", "rediss://", "redis+socket://")


def checked_broker_url(url: str) -> str:
    """The URL itself. Raises ValueError, without the password, when it is not one of Redis."""
    if not url.startswith(_SCHEMES):
        raise ValueError(f"it must start with {' or '.join(_SCHEMES)}")
    try:
        # Reading the port checks it. The clients of Redis do the same, but at their first use.
        _ = urlsplit(url).port
    except ValueError as error:
        # Whose message may hold a part of the password.
        raise ValueError(
            "its host and port cannot be read; in a password write / # ? [ ] as %2F %23 %3F %5B %5D"
        ) from error
    return url


# A field of a settings class: `broker_url: BrokerUrl = DEFAULT_BROKER_URL`.
BrokerUrl = Annotated[str, AfterValidator(checked_broker_url)]
