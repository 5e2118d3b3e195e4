"""A batch of points on its way to Qdrant: sent, and sent again until it is acknowledged."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from creditline.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from creditline.index.failures import QdrantAddress, explained

_PASSING = (Unavailable, DeadlineExceeded, ResourceExhausted)
_GROWTH = 2.0


@dataclass(frozen=True)
class Patience:
    """How long a Qdrant that is away or overloaded is waited for, and how often it is asked, in seconds."""

    seconds: float = 300.0
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 5.0


PATIENT = Patience()
IMPATIENT = Patience(seconds=0.0)


@dataclass
class Sending:
    """One upsert. `start` makes the call; sending it twice does what sending it once does."""

    start: Callable[[], Any]
    works: int
    address: QdrantAddress
    collection: str
    patience: Patience
    _call: Any = field(init=False)

    def __post_init__(self) -> None:
        self._call = self.start()

    def acknowledged(self) -> int:
        """Wait until Qdrant holds the batch durably; returns its works.

        What may pass (away, overloaded, full, too slow) is tried again until the patience ends, and is raised
        then; everything else is raised at once.
        """
        ends, pause = time.monotonic() + self.patience.seconds, self.patience.first_pause_seconds
        while True:
            try:
                return self._awaited()
            except _PASSING:
                if time.monotonic() + pause > ends:
                    raise
            # Loaders that failed together shall not come back together.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * _GROWTH, self.patience.longest_pause_seconds)
            self._call = self.start()

    def _awaited(self) -> int:
        with explained(self.address, self.collection):
            self._call.result()
        return self.works
