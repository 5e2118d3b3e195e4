"""What a gate has measured: answers per second while others wait, and the time that one answer takes."""

from __future__ import annotations

import math

# Weights of earlier measurements fall by e in this time.
_MEMORY_SECONDS = 10.0
# A shorter measurement says nothing: the embedder answers in batches.
_LEAST_SECONDS = 0.25
# A pause is a stall once it is so many times as long as pauses are.
_STALL_PAUSES = 2.0
# Variation of the length of pauses, as a part of their mean.
_VARIATION = 0.5
# Jacobson, "Congestion avoidance and control", 1988: gains of mean and deviation.
_MEAN_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4


class ServiceRate:
    """Answers per second while requests wait, from the intervals between ends of answers.

    While nobody waits, answers end as callers ask, which says nothing about what is possible; the last
    measurement is kept then. Times are those of one monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self._ends = 0.0
        self._seconds = 0.0
        self._squares = 0.0
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
            self._squares = self._squares * kept + interval**2
        self._last = now if others_wait else None

    def pause(self) -> None:
        """Nobody waits any more: the time until the next end does not count."""
        self._last = None

    def per_second(self, now: float) -> float:
        """Answers per second; infinite while too little was measured.

        Time since the last end counts as soon as it is much longer than pauses are, which are the times
        between batches: a stall is noticed while it lasts.
        """
        if self._seconds < _LEAST_SECONDS and (self._last is None or now - self._last < _LEAST_SECONDS):
            return math.inf
        waited = now - self._last if self._last is not None else 0.0
        stalled = max(waited - _STALL_PAUSES * self._pause, 0.0)
        return max(self._ends, 1.0) / max(self._seconds + stalled, 1e-9)

    def hopeful(self, now: float) -> float:
        """Answers per second, with what the measurement may be too low by: much after few batches."""
        pauses = self._seconds / self._pause if self._pause else 1.0
        return self.per_second(now) * (1.0 + _VARIATION / math.sqrt(max(pauses, 1.0)))

    @property
    def _pause(self) -> float:
        """Length of the pause that a random moment falls into, in seconds."""
        return self._squares / self._seconds if self._seconds else 0.0


class ServiceTime:
    """Time that one answer takes from its turn on, for each answer that is computed at that moment.

    Services take one batch of answers after the other, so that time grows with the number in flight: in a
    burst the last of 48 takes 48 times as long as each takes on its own.
    """

    def __init__(self) -> None:
        self._each = 0.0
        self._deviation = 0.0
        self._count = 0

    def took(self, seconds: float, in_flight: int) -> None:
        """Count an answer.

        Args:
            seconds: Time from its turn to its end.
            in_flight: Number of answers that were computed when its turn came, with itself.
        """
        each = seconds / in_flight
        self._count += 1
        # The first answers count fully, so that a slow start is soon forgotten.
        error = each - self._each
        if self._count > 1:
            self._deviation += max(1 / self._count, _DEVIATION_GAIN) * (abs(error) - self._deviation)
        self._each += max(1 / self._count, _MEAN_GAIN) * error

    def expected(self, in_flight: int, *, deviations: float = 0.0) -> float:
        """Time of an answer whose turn comes now, in seconds; 0 before the first was counted.

        Args:
            in_flight: Number of answers that are computed then, with itself.
            deviations: How many mean deviations to add, for caution.
        """
        return in_flight * (self._each + deviations * self._deviation)
