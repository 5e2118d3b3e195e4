"""Names of the Celery tasks and of their queues."""

from __future__ import annotations

from types import MappingProxyType

AUDIT_TASK = "creditline.audit"
LABEL_TASK = "creditline.label_shard"
INGEST_TASK = "creditline.ingest_shard"
CHECK_ADDITION_TASK = "creditline.check_addition"

AUDIT_QUEUE, LABEL_QUEUE, INGEST_QUEUE = "celery", "labels", "ingest"
QUEUES = (AUDIT_QUEUE, LABEL_QUEUE, INGEST_QUEUE)
QUEUE_OF_TASK = MappingProxyType(
    {
        AUDIT_TASK: AUDIT_QUEUE,
        CHECK_ADDITION_TASK: AUDIT_QUEUE,
        LABEL_TASK: LABEL_QUEUE,
        INGEST_TASK: INGEST_QUEUE,
    }
)
