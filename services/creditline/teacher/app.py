"""The Celery application `creditline.teacher.app:app` and its tasks: `creditline.audit`,
`creditline.check_addition`, `creditline.label_shard` and `creditline.ingest_shard`.

A client that knows the broker's address can submit an audit by name:
`Celery(broker=URL, backend=URL).send_task("creditline.audit", kwargs={"attribution_id": ID})`.
"""

from __future__ import annotations

import logging
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

from celery import Task
from celery.exceptions import Reject

from creditline.api.audits import verdict_to_json
from creditline.errors import Unavailable
from creditline.jobs.celery_app import worker_app
from creditline.jobs.tasks import AUDIT_TASK, CHECK_ADDITION_TASK, INGEST_TASK, LABEL_TASK
from creditline.retries import RetryPolicy
from creditline.settings import read_settings
from creditline.teacher.audits.audit import Busy
from creditline.teacher.settings import TeacherSettings
from creditline.teacher.stopping import GivenBack
from creditline.teacher.worker import worker_of

# Delay after a lease should have expired until the audit is tried again.
_AFTER_LEASE_SECONDS = 1.0
_LEDGER_RETRY = RetryPolicy(initial_delay_seconds=10.0, max_delay_seconds=10.0, jitter=0.5)
_rng = random.Random()
_log = logging.getLogger(__name__)

settings = read_settings(TeacherSettings)
app = worker_app(
    settings.broker_url,
    visibility_seconds=settings.teacher_visibility_seconds,
    result_seconds=settings.teacher_result_seconds,
)


@app.task(name=AUDIT_TASK, bind=True, max_retries=None)
def audit(self: Task, attribution_id: str) -> dict[str, Any]:
    """Audit an attribution; a repeated delivery returns the same verdict.

    The task is retried while another worker holds the audit or the ledger does not answer, and goes back into
    the queue when this worker stops.

    Args:
        attribution_id: id of the attribution in the ledger.

    Returns:
        The verdict as protobuf JSON.

    Raises:
        NotFound: The ledger holds no such attribution.
        AuditFailed: The audit failed, now or before.
    """
    try:
        return verdict_to_json(worker_of(settings).auditor.audit(attribution_id))
    except GivenBack as stopping:
        raise Reject(stopping.message, requeue=True) from stopping
    except Busy as busy:
        raise self.retry(exc=busy, countdown=busy.seconds + _AFTER_LEASE_SECONDS) from busy
    except Unavailable as down:
        _log.warning("the audit of attribution %s is postponed: %s", attribution_id, down.message)
        raise self.retry(exc=down, countdown=_LEDGER_RETRY.delay(self.request.retries, _rng)) from down


@app.task(name=LABEL_TASK)
def label_shard(config: dict[str, Any], directory: str, shard: str, labels_round: int = 1) -> str:
    """Label one shard of a distillation; parts that exist already are kept.

    Args:
        config: the `RunConfig` as JSON.
        directory: the run's directory, which all workers must see.
        shard: the shard, such as `1/4` for the first of four.
        labels_round: number of the labelling round.

    Returns:
        The shard.
    """
    from creditline.distillation.labels.labelling import Shard
    from creditline.distillation.pipeline import Distillation
    from creditline.distillation.run_config import RunConfig

    device = worker_of(settings).device.name
    distillation = Distillation(RunConfig.model_validate(config), Path(directory), _log.info, device=device)
    distillation.label_shard(Shard.parse(shard), labels_round)
    return shard


@app.task(name=CHECK_ADDITION_TASK)
def check_addition(release: str, addition: str, queries: int, works: int) -> dict[str, Any]:
    """Compare the calibration with the teacher's labels for added works, and record the outcome.

    Args:
        release: name of the release.
        addition: id of the statement under which the works were added.
        queries: number of pictures that are generated of added works, and of the release's own.
        works: number of works of either kind that are labelled for each picture.

    Returns:
        The outcome as it is recorded, see `creditline.teacher.calibration_check.CalibrationOutcome`.

    Raises:
        NotFound: The ledger holds no such statement.
        FingerprintMismatch: The worker has another generator or release.
    """
    from creditline.index import QdrantSettings, WorkIndex
    from creditline.ledger import Ledger
    from creditline.teacher.calibration_check import CheckPlan, check_calibration

    qdrant, worker = read_settings(QdrantSettings), worker_of(settings)
    with (
        Ledger.open(settings.ledger_url) as ledger,
        WorkIndex.connect(
            qdrant.host,
            qdrant.grpc_port,
            qdrant.timeout_seconds,
            credentials=settings.qdrant_credentials,
        ) as index,
    ):
        plan = CheckPlan(settings.embedder_target, queries=queries, works=works, tls=settings.tls_to_embedder)
        outcome = check_calibration(worker.loader.get(), ledger, index, release, addition, plan)
    return asdict(outcome)


@app.task(name=INGEST_TASK)
def ingest_shard(**message: Any) -> dict[str, Any]:
    """Load one loader's share of a source into the index; completed parts are skipped.

    Args:
        message: an ingest job, as made by `IngestJob.message`.

    Returns:
        Number of works and of broken works over all runs of the ingest, of works written by this run, the
        numbers of this run's rows by outcome (`creditline.index.ingest.checkpoint.Counts`), and the parts
        that have changed.
    """
    from creditline.index import QdrantSettings, WorkIndex
    from creditline.ledger import Ledger
    from creditline.teacher.ingest_jobs import IngestJob

    qdrant = read_settings(QdrantSettings)
    with Ledger.open(settings.ledger_url) as ledger:
        withdrawn = ledger.withdrawn()
    with WorkIndex.connect(
        qdrant.host, qdrant.grpc_port, qdrant.timeout_seconds, credentials=settings.qdrant_credentials
    ) as index:
        report = IngestJob.from_message(message).run(index, withdrawn)
    return {
        "works": report.works,
        "broken": report.broken,
        "written": report.written,
        "run": asdict(report.run),
        "changed_parts": list(report.changed_parts),
    }
