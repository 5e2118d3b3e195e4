"""Jobs on their way to Celery workers: names, queues, the broker, and Celery's one configuration.

Public modules: `broker`, `celery_app`, `tasks`.
"""
