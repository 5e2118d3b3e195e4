"""A batch of points on its way to Qdrant: sent, and sent again until it is acknowledged."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from creditline.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from creditline.index.failures import QdrantAddress, translate_errors
from creditline.retries import RetryPolicy, any_of

_is_transient = any_of(Unavailable, DeadlineExceeded, ResourceExhausted)

NO_RETRY = RetryPolicy(max_attempts=1)
# Half of each delay is random: loaders that failed together must not come back together.
FIVE_MINUTES = RetryPolicy(max_seconds=300.0, jitter=0.5)


@dataclass
class Sending:
    """One upsert, which begins at once.

    Raises on acknowledgement what Qdrant answered, as a CreditlineError.
    """

    start: Callable[[], Any]
    """Makes the call and returns its future; making it twice has the same effect as making it once."""
    address: QdrantAddress
    collection: str
    retries: RetryPolicy
    """Used while Qdrant is unavailable, overloaded, full or too slow."""
    rng: random.Random
    """Source of the retries' jitter."""
    _call: Any = field(init=False)
    _failed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._call = self.start()

    def acknowledged(self) -> None:
        """Wait until Qdrant holds the batch durably.

        Raises:
            CreditlineError: the first error that is not transient, or the last one when the policy ends.
        """
        self.retries.call(self._attempt, transient=_is_transient, rng=self.rng)

    def cancel(self) -> None:
        """Cancel the call if it is under way."""
        self._call.cancel()

    def _attempt(self) -> None:
        if self._failed:
            self._call = self.start()
        self._failed = True
        with translate_errors(self.address, self.collection):
            self._call.result()
