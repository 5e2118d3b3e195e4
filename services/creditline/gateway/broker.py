"""The gateway's connection to the workers: jobs are sent by name, no module of the worker is imported."""

from __future__ import annotations

import threading
from collections.abc import Callable

from creditline.jobs.broker import (
    BROKER_ERRORS,
    WaitingJobs,
    broker_unavailable,
    ping_broker,
    waiting_jobs,
)
from creditline.jobs.celery_app import publisher_app
from creditline.ledger import OutboxEntry
from creditline.observability.tracing import span, trace_headers


class Broker:
    """Sends jobs to Redis. Calls block.

    Every call raises Unavailable when Redis does not answer, or has no memory left for a job.

    Args:
        url: URL of the Redis, or returns the one to use now.
    """

    def __init__(self, url: str | Callable[[], str]) -> None:
        self._url_now = url if callable(url) else lambda: url
        self._url = self._url_now()
        self._app = publisher_app(self._url)
        self._replacing = threading.Lock()

    def send(self, entry: OutboxEntry) -> None:
        """Publish a job. The task has the audit's id, so that a repeated job can be recognised."""
        self._follow()
        try:
            # The request that queued the job may have ended long ago: its trace is continued all the same.
            with span(f"publish {entry.task}", "producer", parent=entry.trace_parent):
                self._app.send_task(
                    entry.task,
                    kwargs=dict(entry.payload),
                    task_id=entry.audit_id,
                    headers=trace_headers(),
                    retry=False,
                )
        except BROKER_ERRORS as error:
            raise broker_unavailable(self._url, error) from error

    def ping(self) -> None:
        """Check that Redis is reachable."""
        ping_broker(self._url_now())

    def waiting_jobs(self) -> WaitingJobs:
        """The jobs that wait or run."""
        return waiting_jobs(self._url_now())

    def _follow(self) -> None:
        """Connect anew when the URL has changed."""
        with self._replacing:
            url = self._url_now()
            if url != self._url:
                self._app.close()
                self._url, self._app = url, publisher_app(url)

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
