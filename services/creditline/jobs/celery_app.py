"""The Celery configuration of all processes: JSON only, one queue per kind of job, late acknowledgement."""

from __future__ import annotations

from typing import Any

from celery import Celery

from creditline.jobs.broker import CONNECT_SECONDS, fail_fast
from creditline.jobs.tasks import AUDIT_QUEUE, QUEUE_OF_TASK

VISIBILITY_SECONDS = 900
RESULT_SECONDS = 86_400
_NAME = "creditline"


def publisher_app(url: str) -> Celery:
    """The application of a process that sends jobs and does not wait for their results.

    Sending fails after a few seconds and is not retried: the caller keeps the job until it is published.

    Args:
        url: URL of the Redis that is the broker.
    """
    app = Celery(_NAME, broker=url, set_as_current=False)
    app.conf.update(
        _shared(),
        task_publish_retry=False,
        broker_connection_timeout=CONNECT_SECONDS,
        broker_transport_options=fail_fast(),
    )
    return app


def worker_app(
    url: str, *, visibility_seconds: int = VISIBILITY_SECONDS, result_seconds: int = RESULT_SECONDS
) -> Celery:
    """The application of a worker, and of a process that sends jobs and waits for their results.

    Args:
        url: URL of the Redis that is both broker and result backend.
        visibility_seconds: Time after which a fetched job that is not finished goes to another worker.
        result_seconds: Lifetime of a finished job's result.
    """
    app = Celery(_NAME, broker=url, backend=url)
    app.conf.update(
        _shared(),
        result_expires=result_seconds,
        broker_transport_options={
            "visibility_timeout": visibility_seconds,
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_keepalive": True,
        },
        # A worker checks the broker before it starts, for a clear error; later it waits without a limit.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def _shared() -> dict[str, Any]:
    """Options on which publishers and workers must agree."""
    return {
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_default_queue": AUDIT_QUEUE,
        "task_routes": {task: {"queue": queue} for task, queue in QUEUE_OF_TASK.items()},
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_track_started": True,
        "worker_prefetch_multiplier": 1,
    }
