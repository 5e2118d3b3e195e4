"""Celery's broker, seen from the gateway: tasks are sent by name, nothing of the worker is imported."""

from __future__ import annotations

from celery import Celery
from kombu.exceptions import KombuError

from creditline.errors import InvalidInput, Unavailable
from creditline.ledger import OutboxEntry

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_SCHEMES = ("redis://", "rediss://", "redis+socket://")


class Broker:
    """Sends tasks to the broker at `url`. Calls block; each raises Unavailable when it does not answer."""

    def __init__(self, url: str) -> None:
        if not url.startswith(_SCHEMES):
            raise InvalidInput(
                f"CREDITLINE_BROKER_URL is {url!r}; it must start with {' or '.join(_SCHEMES)}",
                field="broker_url",
            )
        self._app = Celery("creditline.gateway", broker=url, set_as_current=False)
        self._app.conf.update(
            task_serializer="json",
            accept_content=["json"],
            task_publish_retry=False,
            broker_connection_timeout=_CONNECT_SECONDS,
            broker_transport_options={
                "socket_connect_timeout": _CONNECT_SECONDS,
                "socket_timeout": _ANSWER_SECONDS,
                "max_retries": 0,
            },
        )

    def send(self, entry: OutboxEntry) -> None:
        """Publish a job; its audit's id is the task's id, so that a repeated one can be told."""
        try:
            self._app.send_task(entry.task, kwargs=dict(entry.payload), task_id=entry.audit_id, retry=False)
        except (KombuError, OSError) as error:
            raise self._down(error) from error

    def ping(self) -> None:
        """Connect, and ask for nothing."""
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=_CONNECT_SECONDS)
        except (KombuError, OSError) as error:
            raise self._down(error) from error

    def close(self) -> None:
        """Close the connections."""
        self._app.close()

    def _down(self, error: Exception) -> Unavailable:
        where = self._app.connection_for_write().as_uri()
        return Unavailable(
            f"Redis does not answer at {where} ({error}); start it with `creditline local up`, or correct "
            "CREDITLINE_BROKER_URL",
            service="redis",
        )
