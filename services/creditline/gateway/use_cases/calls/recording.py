"""Recording of an answer for a caller who may leave, or run out of time, at any moment."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable

from creditline.api.answers import AttributionAnswer
from creditline.errors import DeadlineExceeded, Unavailable
from creditline.gateway.deadline import Deadline
from creditline.gateway.delivery import current_delivery
from creditline.ledger import Ledger

_STUCK_SECONDS = 5.0
_RETRY_SECONDS = 2.0
Record = Callable[[str, Callable[[], None]], AttributionAnswer]
"""Records an answer under an id, unless a check inside the transaction raises; blocks."""


class Recording:
    """Records answers in the ledger, in its own threads.

    What nobody waits for any more is not recorded: the write is dropped while it waits for its turn, and
    rolled back inside its transaction. What was committed all the same is marked as undelivered.

    Args:
        ledger: The ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def run(self, record: Record, deadline: Deadline) -> tuple[AttributionAnswer, bool]:
        """Record an answer.

        Args:
            record: Records it.
            deadline: Time limit of the request.

        Returns:
            The answer with the id under which it is recorded, and whether that was before: where the request
            repeats another, nothing is recorded, and the id is that of the earlier answer.

        Raises:
            DeadlineExceeded: The deadline passed before it was committed.
            Unavailable: The ledger does not answer, or not in time.
        """
        wanted, own_id, delivery = _Wanted(deadline), uuid.uuid4().hex, current_delivery.get()
        queued = self._ledger.threads.submit_write(lambda: record(own_id, wanted.check))
        writing = asyncio.wrap_future(queued)

        def committed(done: asyncio.Future[AttributionAnswer]) -> None:
            if done.cancelled() or done.exception() is not None or done.result().attribution_id != own_id:
                return
            if wanted.ended:
                delivery.lost(own_id)
            else:
                delivery.recorded(own_id)

        writing.add_done_callback(committed)
        try:
            async with asyncio.timeout(_STUCK_SECONDS):
                # A write that runs cannot be stopped from here; its end is awaited by `committed`.
                answer = await asyncio.shield(writing)
                return answer, answer.attribution_id != own_id
        except TimeoutError as error:
            raise Unavailable(
                f"the answer was not recorded within {_STUCK_SECONDS:g} s; the ledger's database is"
                " overloaded, or another process holds a lock in it",
                service="ledger",
                retry_after_seconds=_RETRY_SECONDS,
            ) from error
        finally:
            wanted.end()
            queued.cancel()
            # Their error refers to this frame: without them in it, all go at once.
            del queued, writing


class _Wanted:
    """Whether an answer is still waited for; read in the thread that records it."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._ended = threading.Event()

    @property
    def ended(self) -> bool:
        """Whether nobody waits any more."""
        return self._ended.is_set()

    def end(self) -> None:
        """Nobody waits any more."""
        self._ended.set()

    def check(self) -> None:
        """Raise DeadlineExceeded if nobody waits any more."""
        if self._ended.is_set():
            raise DeadlineExceeded("the caller left before the answer was recorded")
        self._deadline.remaining("recording the answer")
