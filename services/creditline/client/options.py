"""Options of both clients: deadlines, retries, hedging, and keepalive of the connection."""

from __future__ import annotations

from dataclasses import dataclass

from creditline.errors import InvalidInput
from creditline.retries import RetryPolicy

RETRIES = RetryPolicy(initial_delay_seconds=0.1, max_delay_seconds=5.0, jitter=0.5, max_attempts=4)
"""The default: three retries, within the call's deadline."""
NO_RETRIES = RetryPolicy(max_attempts=1)
"""Each call is sent once."""
STREAM_SECONDS = 600.0
"""Longest duration of a call with a stream of queries, by default."""
# The gateway ends connections that ping more often.
_LEAST_KEEPALIVE_SECONDS = 10.0
_KEEPALIVE_TIMEOUT_MS = 10_000
_MOST_MESSAGE_BYTES = 64 << 20


@dataclass(frozen=True)
class CallOptions:
    """How calls are sent.

    Raises:
        InvalidInput: A value is out of range.
    """

    timeout_seconds: float = 10.0
    """Longest duration of a call with all its retries. Withdrawal requests and merges have 30 seconds."""
    retries: RetryPolicy = RETRIES
    """Retries of calls that may be repeated, when the gateway does not answer or states when to try again.
    A delay is at least the one that the gateway states."""
    hedge_after_seconds: float | None = None
    """Time without an answer after which a call is sent a second time; the first answer wins. It trades load
    for latency: reasonable is a time that one call in a hundred exceeds. None: never."""
    keepalive_seconds: float = 30.0
    """Interval, at least 10 seconds, at which the connection is checked while a call waits: a gateway that
    vanished without closing it is noticed at most 10 seconds later."""

    def __post_init__(self) -> None:
        hedge_after = self.hedge_after_seconds
        valid = {
            "timeout_seconds": self.timeout_seconds > 0.0,
            "hedge_after_seconds": hedge_after is None or hedge_after >= 0.0,
            "keepalive_seconds": self.keepalive_seconds >= _LEAST_KEEPALIVE_SECONDS,
        }
        for name, is_valid in valid.items():
            if not is_valid:
                raise InvalidInput(
                    f"{name} of a client is {getattr(self, name)}, which is out of range", field=name
                )

    @property
    def channel(self) -> tuple[tuple[str, int], ...]:
        """Options of the gRPC channel."""
        return (
            ("grpc.max_send_message_length", _MOST_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", _MOST_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", round(self.keepalive_seconds * 1e3)),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            # Without this, grpcio 1.85.1 waits a minute for the answer, whatever the line above says.
            ("grpc.http2.ping_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            # By default a connection that failed is tried again after a second: later than a retry.
            ("grpc.initial_reconnect_backoff_ms", 100),
            # This is also the time limit of one attempt to connect.
            ("grpc.min_reconnect_backoff_ms", 5_000),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            # Otherwise a new channel shares the back-off of one that failed just before.
            ("grpc.use_local_subchannel_pool", 1),
        )


def authorization(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata with which a key is sent.

    Args:
        api_key: The key; None or empty: there is none.

    Raises:
        InvalidInput: The key has characters that gRPC cannot send, or blanks.
    """
    if not api_key:
        return ()
    if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise InvalidInput(
            "the API key has characters that no key has: blanks, line ends, or letters outside ASCII; copy it"
            " again",
            field="api_key",
        )
    return (("authorization", f"Bearer {api_key}"),)
