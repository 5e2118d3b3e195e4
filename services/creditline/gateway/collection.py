"""What is collected for metrics at intervals, in the background: never during a scrape or an answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from creditline.errors import CreditlineError
from creditline.gateway.broker import Broker
from creditline.jobs.tasks import QUEUES
from creditline.ledger import AuditState, Ledger
from creditline.ledger.statistics import COUNTED_TABLES, LedgerStatistics

if TYPE_CHECKING:
    from creditline.jobs.broker import WaitingJobs

_SOURCES = ("ledger", "redis")
_WAIT_BUCKETS_SECONDS = (
    0.0001,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    5.0,
    20.0,
)
_LAG_INTERVAL_SECONDS = 0.5
_log = logging.getLogger(__name__)


class BackgroundMetrics:
    """What is collected at intervals: ledger, queues and event loop.

    Args:
        registry: Registry of the gateway's metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, documentation: str, *labels: str) -> Gauge:
            return Gauge(f"creditline_gateway_{name}", documentation, labels, registry=registry)

        self._rows = gauge("ledger_rows", "Rows of the ledger.", "table")
        self._bytes = gauge("ledger_bytes", "Size of the ledger's database.")
        self._audits = gauge("audits", "Audits in the ledger.", "state")
        self._oldest = gauge(
            "oldest_audit_seconds", "Age of the oldest audit that is open, since it was queued.", "state"
        )
        self._expired = gauge(
            "expired_leases",
            "Running audits whose worker no longer renews its lease, and that no other took.",
        )
        self._unpublished = gauge("outbox_unpublished", "Jobs in the outbox that were never published.")
        self._oldest_unpublished = gauge("outbox_oldest_seconds", "Age of the oldest of these.")
        self._recall = gauge("audited_recall", "Mean recall of a release's audits.", "release")
        self._recall_low = gauge(
            "audited_recall_low", "Lower limit of the 95 % interval of that mean.", "release"
        )
        self._missed = gauge(
            "audited_missed_influence", "Mean influence that the audited lists missed.", "release"
        )
        self._audited = gauge("audited_answers", "Finished audits of a release.", "release")
        self._queued = gauge("jobs_queued", "Jobs in Redis that no worker has fetched.", "queue")
        self._unacknowledged = gauge(
            "jobs_unacknowledged", "Jobs in Redis that workers have fetched and not finished."
        )
        self._collected = gauge("collected_timestamp_seconds", "Time of the last collection.", "source")
        self._failures = Counter(
            "creditline_gateway_collection_failures",
            "Collections that failed.",
            ("source",),
            registry=registry,
        )
        self.write_wait = Histogram(
            "creditline_gateway_ledger_write_wait_seconds",
            "Time that a write to the ledger waited for a connection and for other writes.",
            buckets=_WAIT_BUCKETS_SECONDS,
            registry=registry,
        )
        self.loop_lag = Histogram(
            "creditline_gateway_event_loop_lag_seconds",
            "How late the event loop ran what was due, twice a second.",
            buckets=_WAIT_BUCKETS_SECONDS,
            registry=registry,
        )
        self._make_series()

    def _make_series(self) -> None:
        for table in COUNTED_TABLES:
            self._rows.labels(table)
        for state in AuditState:
            self._audits.labels(state)
        for state in (AuditState.QUEUED, AuditState.RUNNING):
            self._oldest.labels(state)
        for queue in QUEUES:
            self._queued.labels(queue)
        for source in _SOURCES:
            self._collected.labels(source)
            self._failures.labels(source)

    def ledger(self, statistics: LedgerStatistics) -> None:
        """Show size and state of the ledger."""
        for table, rows in statistics.rows.items():
            self._rows.labels(table).set(rows)
        self._bytes.set(statistics.size_bytes)
        for state, count in statistics.audits.items():
            self._audits.labels(state).set(count)
        for state, seconds in statistics.oldest_seconds.items():
            self._oldest.labels(state).set(seconds)
        self._expired.set(statistics.expired_leases)
        self._unpublished.set(statistics.unpublished)
        self._oldest_unpublished.set(statistics.oldest_unpublished_seconds)
        self._show_accuracy(statistics)

    def _show_accuracy(self, statistics: LedgerStatistics) -> None:
        shown = (self._recall, self._recall_low, self._missed, self._audited)
        for each in shown:
            each.clear()
        for release, found in statistics.accuracy.items():
            values = (found.recall, found.recall_low, found.missed_influence, found.audits)
            for each, value in zip(shown, values, strict=True):
                if value is not None:
                    each.labels(release).set(value)

    def jobs(self, waiting: WaitingJobs) -> None:
        """Show the jobs in Redis."""
        for queue, count in waiting.queued.items():
            self._queued.labels(queue).set(count)
        self._unacknowledged.set(waiting.unacknowledged)

    def collected(self, source: str) -> None:
        """Record that a source, one of `ledger` and `redis`, was collected now."""
        self._collected.labels(source).set(time.time())

    def failed(self, source: str) -> None:
        """Count a failed collection."""
        self._failures.labels(source).inc()


class Collection:
    """Fills metrics of the ledger, of the queues and of the event loop, as two tasks of the gateway.

    Args:
        ledger: Its size and the states of its audits are collected.
        broker: Its queues are counted.
        metrics: Where all of it is shown.
        interval_seconds: Time between two collections.
    """

    def __init__(
        self, ledger: Ledger, broker: Broker, metrics: BackgroundMetrics, interval_seconds: float
    ) -> None:
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        self._sources: dict[str, Callable[[], None]] = {
            "ledger": lambda: metrics.ledger(ledger.statistics()),
            "redis": lambda: metrics.jobs(broker.waiting_jobs()),
        }

    async def run(self) -> None:
        """Collect until the task is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_loop())
            for source, collect in self._sources.items():
                tasks.create_task(self._follow(source, collect))

    async def _follow(self, source: str, collect: Callable[[], None]) -> None:
        while True:
            try:
                await asyncio.to_thread(collect)
            except CreditlineError:
                # Readiness reports what is down.
                self._metrics.failed(source)
            except Exception:
                _log.exception("unhandled error while metrics of %s were collected; it is retried", source)
                self._metrics.failed(source)
            else:
                self._metrics.collected(source)
            await asyncio.sleep(self._interval_seconds)

    async def _watch_loop(self) -> None:
        """Measure how late the event loop runs what is due."""
        while True:
            due = time.perf_counter() + _LAG_INTERVAL_SECONDS
            await asyncio.sleep(_LAG_INTERVAL_SECONDS)
            self._metrics.loop_lag.observe(max(time.perf_counter() - due, 0.0))
