"""Upserts of point batches to Qdrant, retried until they are acknowledged."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from creditline.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from creditline.index.connection.failures import QdrantAddress, translate_errors
from creditline.retries import RetryPolicy, any_of

is_transient = any_of(Unavailable, DeadlineExceeded, ResourceExhausted)

NO_RETRY = RetryPolicy(max_attempts=1)
# Half of each delay is random, so that loaders that failed together do not retry together.
FIVE_MINUTES = RetryPolicy(max_seconds=300.0, jitter=0.5)


@dataclass
class PendingUpsert:
    """One upsert, which starts when the object is created.

    An error that Qdrant returns is raised as a CreditlineError by `acknowledged`.
    """

    start: Callable[[], Any]
    """Start the call and return its future. The call is idempotent."""
    address: QdrantAddress
    """Address of Qdrant, for error messages."""
    collection: str
    """Name of the collection, for error messages."""
    retries: RetryPolicy
    """Policy while Qdrant is unavailable, overloaded, full or too slow."""
    rng: random.Random
    """Random generator of the retry jitter."""
    _call: Any = field(init=False)
    _attempted: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._call = self.start()

    def acknowledged(self) -> None:
        """Wait until Qdrant has stored the batch durably.

        Raises:
            CreditlineError: The first error that is not transient, or the last one when the policy ends.
        """
        self.retries.call(self._attempt, transient=is_transient, rng=self.rng)

    def cancel(self) -> None:
        """Cancel the call if it is in flight."""
        self._call.cancel()

    def _attempt(self) -> None:
        if self._attempted:
            self._call = self.start()
        self._attempted = True
        with translate_errors(self.address, self.collection):
            self._call.result()
