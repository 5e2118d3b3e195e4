"""The attempts of one call: how long each may take, and the delay before the next."""

from __future__ import annotations

import random
import time

import grpc

from creditline.client.errors import is_transient, translated
from creditline.retries import RetryPolicy


class Attempts:
    """The attempts of one call, which all share its deadline.

    Args:
        target: Address of the gateway, for errors.
        seconds: Longest duration of all attempts and delays.
        policy: Number of attempts, and the delays between them.
        repeatable: Whether the call may be sent more than once.
        rng: Source of the jitter.
    """

    def __init__(
        self, target: str, seconds: float, policy: RetryPolicy, *, repeatable: bool, rng: random.Random
    ) -> None:
        self._target = target
        self._ends = time.monotonic() + seconds
        self._policy = policy
        self._repeatable = repeatable
        self._rng = rng
        self._retries = 0

    @property
    def remaining_seconds(self) -> float:
        """Time that is left; never negative."""
        return max(self._ends - time.monotonic(), 0.0)

    def delay_after(self, failure: grpc.RpcError) -> float:
        """Seconds to wait before the next attempt.

        Args:
            failure: Failure of the last attempt.

        Raises:
            CreditlineError: The failure, translated: it is final, or no attempt is left in time.
        """
        error = translated(failure, self._target)
        if not (self._repeatable and is_transient(failure) and self._one_is_left()):
            raise error from failure
        # On top of the time that the gateway states, so that not all callers return at once.
        delay = (error.retry_after_seconds or 0.0) + self._policy.delay(self._retries, self._rng)
        if delay >= self.remaining_seconds:
            raise error from failure
        self._retries += 1
        return delay

    def _one_is_left(self) -> bool:
        return self._policy.max_attempts is None or self._retries + 1 < self._policy.max_attempts
