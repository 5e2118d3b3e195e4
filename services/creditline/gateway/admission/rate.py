"""What a gate has measured: answers per second while others wait, and the time that one answer takes."""

from __future__ import annotations

import math

# Weights of earlier measurements fall by e in this time.
_MEMORY_SECONDS = 5.0
# A shorter measurement says nothing: the embedder answers in batches.
_LEAST_SECONDS = 0.25
# Jacobson, "Congestion avoidance and control", 1988: gains of mean and deviation, and caution.
_MEAN_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4
_DEVIATIONS = 4


class ServiceRate:
    """Answers per second while requests wait, from the intervals between ends of answers.

    While nobody waits, answers end as callers ask, which says nothing about what is possible; the last
    measurement is kept then. Times are those of one monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self._ends = 0.0
        self._seconds = 0.0
        self._last: float | None = None

    def ended(self, now: float, *, others_wait: bool) -> None:
        """Count the end of an answer.

        Args:
            now: Time of the end.
            others_wait: Whether requests wait for their turn.
        """
        if self._last is not None:
            interval = max(now - self._last, 0.0)
            kept = math.exp(-interval / _MEMORY_SECONDS)
            self._ends = self._ends * kept + 1.0
            self._seconds = self._seconds * kept + interval
        self._last = now if others_wait else None

    def pause(self) -> None:
        """Nobody waits any more: the time until the next end does not count."""
        self._last = None

    def per_second(self, now: float) -> float:
        """Answers per second; infinite while too little was measured.

        Time since the last end counts as soon as it is longer than intervals are: a stall is noticed while
        it lasts.
        """
        if self._seconds < _LEAST_SECONDS and (self._last is None or now - self._last < _LEAST_SECONDS):
            return math.inf
        mean = self._seconds / self._ends if self._ends else 0.0
        stalled = max(now - self._last - mean, 0.0) if self._last is not None else 0.0
        return max(self._ends, 1.0) / max(self._seconds + stalled, 1e-9)


class ServiceTime:
    """Time that one answer takes from its turn on: running mean and mean deviation."""

    def __init__(self) -> None:
        self.mean = 0.0
        """Mean of late answers, in seconds; 0 before the first."""
        self._deviation = 0.0
        self._count = 0

    def took(self, seconds: float) -> None:
        """Count an answer."""
        self._count += 1
        # The first answers count fully, so that a slow start is soon forgotten.
        gain = max(1.0 / self._count, _MEAN_GAIN)
        error = seconds - self.mean
        if self._count > 1:
            self._deviation += max(1.0 / self._count, _DEVIATION_GAIN) * (abs(error) - self._deviation)
        self.mean += gain * error

    @property
    def cautious(self) -> float:
        """Time within which almost every answer is ready, in seconds."""
        return self.mean + _DEVIATIONS * self._deviation
