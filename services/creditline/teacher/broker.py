"""Celery on Redis, configured so that no job is lost or run twice without need."""

from __future__ import annotations

import redis
from celery import Celery
from redis.backoff import NoBackoff
from redis.retry import Retry

from creditline.errors import Unavailable
from creditline.teacher.settings import TeacherSettings

LABEL_TASK, INGEST_TASK = "creditline.label_shard", "creditline.ingest_shard"
# Audits wait in the first; a worker may be told to take only one of them.
AUDIT_QUEUE, LABEL_QUEUE, INGEST_QUEUE = "celery", "labels", "ingest"
_CONNECT_SECONDS = 3.0


def make_app(settings: TeacherSettings) -> Celery:
    """The application: JSON only; a job is acknowledged when it has ended, and fetched one at a time."""
    app = Celery("creditline.teacher", broker=settings.broker_url, backend=settings.broker_url)
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        result_expires=settings.teacher_result_seconds,
        task_default_queue=AUDIT_QUEUE,
        task_routes={LABEL_TASK: {"queue": LABEL_QUEUE}, INGEST_TASK: {"queue": INGEST_QUEUE}},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_track_started=True,
        broker_transport_options={
            "visibility_timeout": settings.teacher_visibility_seconds,
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_keepalive": True,
        },
        # The service asks by itself, for an error that says what to do, and then waits for ever.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def ping_broker(url: str) -> None:
    """Raises Unavailable when no Redis answers at `url`."""
    try:
        with redis.Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        raise Unavailable(
            f"Redis does not answer at {_without_password(url)} ({error}); start it with "
            "`creditline local up`, or correct CREDITLINE_BROKER_URL",
            service="redis",
        ) from error


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
