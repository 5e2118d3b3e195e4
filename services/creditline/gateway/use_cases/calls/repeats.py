"""Requests that their callers may repeat: the same id gets the same answer, and one row in the ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from creditline.api.answers import AnswerForm, AttributionAnswer, WorkFilter
from creditline.api.attributions import attribution_message, read_attribution
from creditline.api.vectors import QueryVector
from creditline.errors import InvalidInput
from creditline.gateway.delivery import current_delivery
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.use_cases.filters import stored_filter
from creditline.gateway.use_cases.requests import AttributionRequest, quoted
from creditline.ledger import Ledger
from creditline.ledger.api.replies import MOST_REQUEST_ID_CHARACTERS, RequestKey
from creditline.v1.attribution_pb2 import AttributeResponse

REQUEST_ID = f"[!-~]{{1,{MOST_REQUEST_ID_CHARACTERS}}}"
"""Form of a request's id: visible ASCII."""
# Who asks and under which id is not what is asked.
_NOT_ASKED = {"caller", "request_id"}


class Repeats:
    """The answers of requests with an id, which the ledger keeps for a day.

    Requests with the same id that arrive at the same time wait for each other in one gateway. Several
    gateways compute the answer each, and the ledger takes the first. An object belongs to one event loop.

    Args:
        ledger: Ledger that keeps the answers.
        metrics: Counts repeated answers.
    """

    def __init__(self, ledger: Ledger, metrics: GatewayMetrics) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._turns: dict[tuple[str, str], _Turn] = {}

    async def answer(
        self, request: AttributionRequest, compute: Callable[[RequestKey], Awaitable[AttributionAnswer]]
    ) -> AttributionAnswer:
        """The answer that was given to the request before, or else a new one.

        Args:
            request: A request with an id.
            compute: Answers the request, and records it under the key with `replied`.

        Raises:
            InvalidInput: The id has not the form of one.
            Conflict: It was used for another request.
            Unavailable: The ledger does not answer.
        """
        key = request_key(request)
        async with self._turn(key):
            earlier = await self.earlier(key)
            if earlier is None:
                return await compute(key)
        self._metrics.repeated_answers.inc()
        current_delivery.get().repeats(earlier.attribution_id)
        return earlier

    async def earlier(self, key: RequestKey) -> AttributionAnswer | None:
        """The answer that was given under a key; None: none was. Raises Conflict and Unavailable."""
        reply = await self._ledger.threads.read(self._ledger.kept_reply, key)
        return None if reply is None else read_attribution(AttributeResponse.FromString(reply))

    @asynccontextmanager
    async def _turn(self, key: RequestKey) -> AsyncIterator[None]:
        """Let one task in at a time per id."""
        name = key.owner, key.request_id
        turn = self._turns.setdefault(name, _Turn())
        turn.tasks += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.tasks -= 1
            if not turn.tasks:
                del self._turns[name]


@dataclass
class _Turn:
    """The tasks that answer requests of one id."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the one that answers."""
    tasks: int = 0
    """How many there are."""


def reply_of(answer: AttributionAnswer) -> bytes:
    """An answer in the form that the ledger keeps: a serialized `creditline.v1.AttributeResponse`."""
    return attribution_message(answer).SerializeToString(deterministic=True)


def request_key(request: AttributionRequest) -> RequestKey:
    """What identifies a request with an id.

    Raises:
        InvalidInput: The id has not the form of one.
    """
    if not re.fullmatch(REQUEST_ID, request.request_id):
        raise InvalidInput(
            f"request_id is {quoted(request.request_id)}; send 1 to {MOST_REQUEST_ID_CHARACTERS} visible"
            " ASCII characters, such as a UUID4",
            field="request_id",
        )
    asked = {
        part.name: _plain(getattr(request, part.name))
        for part in fields(request)
        if part.name not in _NOT_ASKED
    }
    if request.form is AnswerForm.FAST:
        # As in requests of versions without forms, so that their ids hold on.
        del asked["form"]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return RequestKey(request.caller, request.request_id, digest)


def _plain(value: Any) -> Any:
    """A field's value in a form that JSON can hold, and that is the same however it was sent."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, QueryVector):
        return asdict(value)
    return stored_filter(value) if isinstance(value, WorkFilter) else value
