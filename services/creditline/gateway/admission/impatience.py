"""Callers who come again before the time that a refusal named: their next refusal is delayed.

A refusal is cheap, but not free: a caller who sends the same picture again at once could keep the gateway
busy with refusals, and slow everybody's answers. Whoever waits as told, or was not told yet, is refused at
once.
"""

from __future__ import annotations

import asyncio

_DELAY_SECONDS = 1.0
# Part of the time that a caller gives its request for which the refusal is delayed at the most.
_MOST_OF_TIME_LEFT = 0.5
# Requests whose refusal is delayed at the same time; more are refused at once.
_MOST_DELAYED = 64
_MOST_REMEMBERED = 1_000


class Impatience:
    """Remembers until when callers were told to wait; to be created on a running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # By caller: when it was first refused, and until when it was told to wait since.
        self._told: dict[str, tuple[float, float]] = {}
        self._delayed = 0

    async def refused(self, caller: str, *, arrived: float, left: float, retry_after: float) -> None:
        """Note a refusal, and return when it may be sent.

        Args:
            caller: Whom the request counts for.
            arrived: Time at which the request came, on the clock of the event loop.
            left: Time until its caller gives up, in seconds.
            retry_after: Time after which the refusal says to come again, in seconds.
        """
        now = self._loop.time()
        first, until = self._told.get(caller, (now, now))
        is_impatient = first < arrived < until
        self._remember(caller, now if until <= now else first, max(until, now + retry_after))
        if is_impatient and self._delayed < _MOST_DELAYED:
            self._delayed += 1
            try:
                await asyncio.sleep(min(_DELAY_SECONDS, left * _MOST_OF_TIME_LEFT))
            finally:
                self._delayed -= 1

    def _remember(self, caller: str, first: float, until: float) -> None:
        if len(self._told) >= _MOST_REMEMBERED:
            now = self._loop.time()
            self._told = {each: told for each, told in self._told.items() if told[1] > now}
        if caller in self._told or len(self._told) < _MOST_REMEMBERED:
            self._told[caller] = (first, until)
