"""Answers over HTTP are computed as long as their callers are there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from creditline.gateway.transport.presence import answer_while_present

_Message = dict[str, Any]
_BODY: _Message = {"type": "http.request", "body": b"all", "more_body": False}
_GONE: _Message = {"type": "http.disconnect"}


def _receiving(*messages: _Message) -> tuple[Callable[[], Awaitable[_Message]], asyncio.Event]:
    """A connection that gives these messages, and its end once the event is set."""
    left, given = asyncio.Event(), list(messages)

    async def receive() -> _Message:
        if given:
            return given.pop(0)
        await left.wait()
        return _GONE

    return receive, left


async def _run(*, leaves: bool, sent_before: bool = False) -> list[str]:
    happened: list[str] = []
    receive, left = _receiving({**_BODY, "body": b"a part", "more_body": True}, _BODY)
    sent = False

    async def answer(body: Callable[[], Awaitable[_Message]]) -> None:
        nonlocal sent
        while (await body())["more_body"]:
            happened.append("a part")
        sent = sent_before
        if leaves:
            left.set()
        try:
            await asyncio.sleep(0.05)
            happened.append("answered")
        except asyncio.CancelledError:
            happened.append("cancelled")
            raise

    await asyncio.wait_for(answer_while_present(answer, receive, lambda: sent), 5)
    return happened


def test_an_answer_is_cancelled_when_its_caller_leaves_and_only_then() -> None:
    assert asyncio.run(_run(leaves=False)) == ["a part", "answered"]
    assert asyncio.run(_run(leaves=True)) == ["a part", "cancelled"]


def test_who_leaves_with_the_whole_answer_cancels_nothing() -> None:
    assert asyncio.run(_run(leaves=True, sent_before=True)) == ["a part", "answered"]


def test_errors_of_the_answer_are_raised() -> None:
    async def fail(body: Callable[[], Awaitable[_Message]]) -> None:
        await body()
        raise ValueError("wrong")

    async def run() -> None:
        receive, _ = _receiving(_BODY)
        await answer_while_present(fail, receive, lambda: False)

    with pytest.raises(ValueError, match="wrong"):
        asyncio.run(run())
