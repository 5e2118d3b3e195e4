"""The gateway's connection to the workers: jobs are sent by name, no module of the worker is imported."""

from __future__ import annotations

from creditline.jobs.broker import (
    BROKER_ERRORS,
    WaitingJobs,
    broker_unavailable,
    ping_broker,
    waiting_jobs,
)
from creditline.jobs.celery_app import publisher_app
from creditline.ledger import OutboxEntry


class Broker:
    """Sends jobs to Redis. Calls block.

    Every call raises Unavailable when Redis does not answer, or has no memory left for a job.

    Args:
        url: URL of the Redis.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._app = publisher_app(url)

    def send(self, entry: OutboxEntry) -> None:
        """Publish a job. The task has the audit's id, so that a repeated job can be recognised."""
        try:
            self._app.send_task(entry.task, kwargs=dict(entry.payload), task_id=entry.audit_id, retry=False)
        except BROKER_ERRORS as error:
            raise broker_unavailable(self._url, error) from error

    def ping(self) -> None:
        """Check that Redis is reachable."""
        ping_broker(self._url)

    def waiting_jobs(self) -> WaitingJobs:
        """The jobs that wait or run."""
        return waiting_jobs(self._url)

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
