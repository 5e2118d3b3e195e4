"""The gateway's connection to the workers: jobs are sent by name, no module of the worker is imported.

Celery and its transport are loaded at the first call, off the event loop: a start need not wait for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from creditline.ledger import OutboxEntry
from creditline.observability.tracing import span, trace_headers

if TYPE_CHECKING:
    from celery import Celery

    from creditline.jobs.broker import WaitingJobs


class Broker:
    """Sends jobs to Redis. Calls block.

    Every call raises Unavailable when Redis does not answer, or has no memory left for a job.

    Args:
        url: URL of the Redis, or returns the one to use now.
    """

    def __init__(self, url: str | Callable[[], str]) -> None:
        self._url_now = url if callable(url) else lambda: url
        self._url = self._url_now()
        self._app: Celery | None = None
        self._replacing = threading.Lock()

    def send(self, entry: OutboxEntry) -> None:
        """Publish a job. The task has the audit's id, so that a repeated job can be recognised."""
        from creditline.jobs.broker import BROKER_ERRORS, broker_unavailable

        app = self._current_app()
        try:
            # The request that queued the job may have ended long ago: its trace is continued all the same.
            with span(f"publish {entry.task}", "producer", parent=entry.trace_parent):
                app.send_task(
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
        from creditline.jobs.broker import ping_broker

        ping_broker(self._url_now())

    def waiting_jobs(self) -> WaitingJobs:
        """The jobs that wait or run."""
        from creditline.jobs.broker import waiting_jobs

        return waiting_jobs(self._url_now())

    def _current_app(self) -> Celery:
        """The application of the URL as it is now."""
        from creditline.jobs.celery_app import publisher_app

        with self._replacing:
            url = self._url_now()
            if self._app is None or url != self._url:
                self._close_app()
                self._url, self._app = url, publisher_app(url)
            return self._app

    def close(self) -> None:
        """Close the connections."""
        with self._replacing:
            self._close_app()

    def _close_app(self) -> None:
        if self._app is not None:
            self._app.close()
