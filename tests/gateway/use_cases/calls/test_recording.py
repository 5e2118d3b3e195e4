"""Recording of an answer: what a failed one leaves behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from pathlib import Path

from creditline.api.answers import AttributionAnswer
from creditline.errors import Unavailable
from creditline.gateway.deadline import Deadline
from creditline.gateway.use_cases.calls.recording import Recording
from creditline.ledger import Ledger

_SECONDS = 5.0


class _Picture:
    """What an answer holds until it is recorded."""


def test_an_answer_that_cannot_be_recorded_frees_its_picture_without_a_garbage_collection(
    tmp_path: Path,
) -> None:
    async def main(ledger: Ledger) -> None:
        pictures = list[weakref.ref[_Picture]]()

        async def answer() -> None:
            picture = _Picture()
            pictures.append(weakref.ref(picture))

            def record(_own_id: str, _check: Callable[[], None]) -> AttributionAnswer:
                raise Unavailable(f"the ledger is down, so {picture} is lost", service="ledger")

            await Recording(ledger).run(record, Deadline.after(60.0))

        async def outcome() -> str:
            try:
                await answer()
            except Unavailable as error:
                return error.service
            return "recorded"

        gc.disable()
        try:
            assert await outcome() == "ledger"
            # The thread that recorded it leaves its own frames a moment later.
            async with asyncio.timeout(_SECONDS):
                while pictures[0]() is not None:
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()

    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        asyncio.run(main(ledger))
