"""Whether the caller of an HTTP request is still there: an answer that nobody waits for is not computed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from starlette.types import Message, Receive

_Answer = Callable[[Receive], Awaitable[None]]


async def answer_while_present(answer: _Answer, receive: Receive, is_sent: Callable[[], bool]) -> None:
    """Answer a request, and cancel that when its caller closes the connection.

    Args:
        answer: Answers the request; receives its body by the function that it is called with.
        receive: Receives the body, and then the end of the connection.
        is_sent: Whether the whole answer was sent, after which the end of the connection does not count.

    Raises:
        Exception: What `answer` raises.
    """
    body_ended = asyncio.Event()

    async def body() -> Message:
        if body_ended.is_set():
            # Only one task may wait for the end of the connection.
            await asyncio.Event().wait()
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            body_ended.set()
        return message

    async def gone() -> None:
        await body_ended.wait()
        while (await receive())["type"] != "http.disconnect":
            pass

    answering, leaving = asyncio.ensure_future(answer(body)), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done() or is_sent():
            await answering
        else:
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answering
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)
