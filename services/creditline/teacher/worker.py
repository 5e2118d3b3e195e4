"""The worker process: its resources, and its run from the first check to a graceful stop."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from celery import Celery, signals

from creditline.credentials.expiry import expose_expiry
from creditline.devices import choose_device
from creditline.errors import CreditlineError, FingerprintMismatch, Unavailable
from creditline.jobs.broker import ping_broker
from creditline.ledger import Ledger
from creditline.observability.process_metrics import Build, expose_process
from creditline.teacher.audits.audit import Auditor, AuditPlan
from creditline.teacher.loading import Loader
from creditline.teacher.metrics import TeacherMetrics
from creditline.teacher.monitoring import Page, metrics_page, monitoring_server, report
from creditline.teacher.settings import TeacherSettings
from creditline.teacher.stopping import Stop

_log = logging.getLogger(__name__)


class AuditWorker:
    """The resources of a worker: device, ledger connection, models, metrics, and the auditor that uses them.

    Args:
        settings: the teacher's settings.

    Raises:
        NotReady: The device that the settings name is absent.
        Unavailable: The ledger does not answer.
    """

    def __init__(self, settings: TeacherSettings) -> None:
        self.device = choose_device(settings.device)
        self.metrics = TeacherMetrics()
        self.metrics.device.info(self.device.labels())
        expose_process(self.metrics.registry, Build("teacher", settings.commit))
        expose_expiry(
            self.metrics.registry,
            {
                "embedder": settings.tls_to_embedder,
                "qdrant": settings.qdrant_credentials.tls,
                "ledger": settings.tls_to_ledger,
                "redis": settings.tls_to_broker,
            },
        )
        self.loader = Loader(settings, self.metrics, device=self.device.name)
        self.stop = Stop(settings.teacher_stop_grace_seconds)
        self.consuming = threading.Event()
        self._settings = settings
        self._ledger = Ledger.open(settings.ledger_url)
        self.auditor = Auditor(self._ledger, self.loader, self.metrics, self.stop, self._plan())

    def _plan(self) -> AuditPlan:
        return AuditPlan(
            worker=f"{socket.gethostname()}:{os.getpid()}",
            lease_seconds=self._settings.teacher_lease_seconds,
            sampled_works=self._settings.teacher_sampled_works,
        )

    def load_early(self) -> None:
        """Load the models now, so that the first audit does not wait for them.

        A missing artifact is only logged: the worker starts, and audits fail with that error until the
        artifact exists.

        Raises:
            FingerprintMismatch: The generator, corpus and statistics do not belong together.
        """
        try:
            self.loader.get()
        except FingerprintMismatch:
            raise
        except CreditlineError as error:
            _log.warning("audits will fail until this is resolved: %s", error.message)

    def health(self) -> Page:
        """Liveness: status 200 if the process takes jobs, otherwise 503."""
        return self._report(None if self.consuming.is_set() else "the worker is starting")

    def readiness(self) -> Page:
        """Readiness: status 200 if an audit submitted now would run, otherwise 503 with the reason."""
        try:
            ping_broker(self._settings.broker_url)
            self._ledger.ping()
        except Unavailable as error:
            return self._report(error.message)
        if not self.loader.is_loaded:
            return self._report(
                "the generator, corpus or statistics are missing or do not match; see the worker's log"
            )
        return self.health()

    def _report(self, problem: str | None) -> Page:
        return report(problem, self.device.labels())

    def close(self) -> None:
        """Close the ledger's connection."""
        self._ledger.close()


@cache
def worker_of(settings: TeacherSettings) -> AuditWorker:
    """This process's worker, created on first use. Raises as `AuditWorker`."""
    return AuditWorker(settings)


def serve(app: Celery, settings: TeacherSettings) -> int:
    """Take jobs until the worker is stopped; returns the exit status.

    Raises:
        Unavailable: The ledger does not answer at the start.
        NotReady: The device is absent.
        FingerprintMismatch: The generator, corpus and statistics do not belong together.
    """
    worker = worker_of(settings)
    pages = {
        "/metrics": lambda accept: metrics_page(worker.metrics.exposition(accept)),
        "/healthz": lambda accept: worker.health(),
        "/readyz": lambda accept: worker.readiness(),
    }
    with monitoring_server(settings.teacher_host, settings.teacher_metrics_port, pages) as port:
        _log.info("metrics and health at http://%s:%d", settings.teacher_host, port)
        _log.info("models run on %s; CREDITLINE_DEVICE is %s", worker.device, settings.device)
        worker.load_early()
        status = _consume(app, worker, settings.queues)
    worker.close()
    return status


def _consume(app: Celery, worker: AuditWorker, queues: Sequence[str]) -> int:
    # One job at a time, in this process: the models are loaded once, and torch has its own threads.
    consumer = app.Worker(
        pool="solo",
        queues=list(queues),
        concurrency=1,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    with _connected_to_signals(worker):
        consumer.start()
    return int(consumer.exitcode or 0)


@contextmanager
def _connected_to_signals(worker: AuditWorker) -> Iterator[None]:
    """While open, Celery's signals update `worker.consuming` and `worker.stop`."""

    def on_ready(**_: object) -> None:
        worker.consuming.set()

    def on_stop(**_: object) -> None:
        worker.consuming.clear()
        worker.stop.request()

    signals.worker_ready.connect(on_ready)
    signals.worker_shutting_down.connect(on_stop)
    try:
        yield
    finally:
        signals.worker_ready.disconnect(on_ready)
        signals.worker_shutting_down.disconnect(on_stop)
