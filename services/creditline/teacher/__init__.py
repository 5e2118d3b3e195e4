"""The teacher as a service: a Celery worker that audits answers which were served.

Public modules: `ingest_jobs`, `settings`.
"""
