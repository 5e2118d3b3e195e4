"""The Redis that carries the jobs: a reachability check, the jobs that wait in it, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kombu.connection import Connection
from kombu.exceptions import KombuError

from creditline.errors import Unavailable
from creditline.jobs.tasks import QUEUES

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
# Raised by connecting and sending. A connection that breaks in the middle of a command is an OSError.
BROKER_ERRORS: Final = (KombuError, OSError)
# Hash in which kombu keeps what workers have fetched.
_UNACKNOWLEDGED = "unacked"
# Part of Redis's own reply. kombu reports it as a failure of its first command, `LLEN`.
_OUT_OF_MEMORY = "used memory > 'maxmemory'"


def fail_fast() -> dict[str, Any]:
    """Options of kombu's Redis transport that limit waiting to a few seconds and switch retries off."""
    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "max_retries": 0,
    }


def ping_broker(url: str) -> None:
    """Check that Redis is reachable at `url`, on a connection that is closed afterwards.

    Raises:
        Unavailable: Nothing answers there within a few seconds, or the password is wrong.
    """
    try:
        with Connection(url, connect_timeout=CONNECT_SECONDS, transport_options=fail_fast()) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)
    except BROKER_ERRORS as error:
        raise broker_unavailable(url, error) from error


@dataclass(frozen=True)
class WaitingJobs:
    """Jobs in Redis at one moment."""

    queued: Mapping[str, int]
    """Jobs that no worker has fetched, by queue."""
    unacknowledged: int
    """Jobs that workers have fetched and not finished, of all queues."""


def waiting_jobs(url: str) -> WaitingJobs:
    """Count the jobs in Redis at `url`, on a connection that is closed afterwards.

    Raises:
        Unavailable: Nothing answers there within a few seconds, or the password is wrong.
    """
    try:
        with Connection(url, connect_timeout=CONNECT_SECONDS, transport_options=fail_fast()) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)
            client = connection.default_channel.client
            lengths = {queue: int(client.llen(queue)) for queue in QUEUES}
            return WaitingJobs(lengths, int(client.hlen(_UNACKNOWLEDGED)))
    except BROKER_ERRORS as error:
        raise broker_unavailable(url, error) from error


def broker_unavailable(url: str, error: Exception) -> Unavailable:
    """The error to raise when connecting or sending failed with `error`; its message holds no password."""
    address = _without_password(url)
    if _OUT_OF_MEMORY in str(error):
        return Unavailable(
            f"Redis at {address} is out of memory and accepts no more jobs; raise its maxmemory, or free"
            " memory in it",
            service="redis",
        )
    return Unavailable(
        f"Redis does not answer at {address} ({error}); start it with "
        "`creditline local up`, or correct CREDITLINE_BROKER_URL",
        service="redis",
    )


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
