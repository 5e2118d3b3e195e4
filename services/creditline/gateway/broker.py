"""The gateway's way to the workers: jobs are sent by name, nothing of the worker is imported."""

from __future__ import annotations

from creditline.jobs.broker import BROKER_ERRORS, broker_unavailable, ping_broker
from creditline.jobs.celery_app import publisher_app
from creditline.ledger import OutboxEntry


class Broker:
    """Sends jobs to the Redis at `url`. Calls block; each raises Unavailable when it does not answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._app = publisher_app(url)

    def send(self, entry: OutboxEntry) -> None:
        """Publish a job; its audit's id is the task's id, so that a repeated one can be told."""
        try:
            self._app.send_task(entry.task, kwargs=dict(entry.payload), task_id=entry.audit_id, retry=False)
        except BROKER_ERRORS as error:
            raise broker_unavailable(self._url, error) from error

    def ping(self) -> None:
        """Check that Redis answers."""
        ping_broker(self._url)

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
