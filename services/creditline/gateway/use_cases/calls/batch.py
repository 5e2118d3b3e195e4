"""Several requests at once, each answered as if it was sent alone, and requests that keep coming."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from creditline.api.answers import AttributionAnswer
from creditline.errors import CreditlineError, InvalidInput
from creditline.gateway.access.caller import Caller
from creditline.ledger import Scope

MOST_IN_BATCH = 32
"""Largest number of requests in one call."""
MOST_UNANSWERED = 8
"""Requests of one stream that are answered at the same time; further ones are not read yet."""
Outcome = AttributionAnswer | CreditlineError
"""What became of one of several requests."""
Request = TypeVar("Request")
Answer = TypeVar("Answer")
_log = logging.getLogger(__name__)


async def batch(
    caller: Caller,
    answers: Sequence[Callable[[], Awaitable[AttributionAnswer]]],
    charge: Callable[..., Awaitable[None]],
) -> list[Outcome]:
    """The outcomes of several requests, in their order; one that fails leaves the others alone.

    Args:
        caller: Who asks.
        answers: Answers each of the requests.
        charge: Charges the caller for so many `attributions`: for all of the batch, or none.

    Raises:
        PermissionDenied: The caller may not attribute pictures.
        ResourceExhausted: The caller's rate or quota does not allow so many.
        InvalidInput: There are none, or more than `MOST_IN_BATCH`.
    """
    caller.require(Scope.ATTRIBUTE)
    if not 1 <= len(answers) <= MOST_IN_BATCH:
        raise InvalidInput(
            f"the batch has {len(answers):,} requests; send 1 to {MOST_IN_BATCH}", field="requests"
        )
    await charge(attributions=len(answers))
    return list(await asyncio.gather(*map(outcome, answers)))


async def outcome(answer: Callable[[], Awaitable[AttributionAnswer]]) -> Outcome:
    """The answer to one of several requests, or why there is none."""
    try:
        return await answer()
    except CreditlineError as error:
        return error
    except Exception:
        _log.exception("one of several requests failed")
        return CreditlineError("the gateway failed on this request; see its log for the reason")


async def as_ready(
    requests: AsyncIterator[Request], answer: Callable[[Request], Awaitable[Answer]], most: int
) -> AsyncIterator[Answer]:
    """Answers in the order in which they are ready.

    While `most` requests are unanswered, or the caller of this does not take an answer, no request is read.
    When it ends, however it does, nothing is answered any more.

    Args:
        requests: The requests, as they come.
        answer: Answers one.
        most: Largest number of requests that are answered at the same time.
    """
    reading: asyncio.Future[Request] | None = None
    answering: set[asyncio.Future[Answer]] = set()
    has_ended = False
    try:
        while True:
            if reading is None and not has_ended and len(answering) < most:
                reading = asyncio.ensure_future(anext(requests))
            running: set[asyncio.Future[Any]] = {*answering, *([reading] if reading else [])}
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if reading is not None and reading in done:
                try:
                    answering.add(asyncio.ensure_future(answer(reading.result())))
                except StopAsyncIteration:
                    has_ended = True
                reading = None
            for ready in done & answering:
                answering.discard(ready)
                yield ready.result()
    finally:
        left: list[asyncio.Future[Any]] = [*answering, *([reading] if reading else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
