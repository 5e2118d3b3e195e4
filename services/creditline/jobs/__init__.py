"""Jobs on their way from whoever orders them to the workers.

Public: `tasks` (names of tasks and queues, without Celery), `broker` (the address of Redis, and whether it
answers) and `celery_app` (Celery's one configuration, for publishers and for workers). None imports torch.
"""
