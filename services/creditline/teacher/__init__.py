"""The teacher as a service: a Celery worker that audits served answers, labels and ingests shards.

Public modules: `ingest_jobs`, `settings`.
"""
