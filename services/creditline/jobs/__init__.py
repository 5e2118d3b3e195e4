"""Jobs for Celery workers: task and queue names, the broker's address, and Celery's configuration.

Public modules: `broker`, `celery_app`, `settings`, `tasks`.
"""
