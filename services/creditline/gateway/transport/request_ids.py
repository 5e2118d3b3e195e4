"""Ids of requests: taken from the caller where usable, made up otherwise, and echoed on every response."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from contextvars import ContextVar

REQUEST_ID = "x-request-id"
_USABLE = re.compile(r"[A-Za-z0-9._:-]{1,64}")

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
"""Id of the request that is being answered; empty outside requests."""


def request_id_of(given: Iterable[str]) -> str:
    """The caller's id of a request, if it gave one that is safe to log; a random one otherwise.

    Args:
        given: Values of the request's `x-request-id` entries.
    """
    first = next(iter(given), "")
    return first if _USABLE.fullmatch(first) else uuid.uuid4().hex
