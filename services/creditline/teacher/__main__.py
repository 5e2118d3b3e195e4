"""`python -m creditline.teacher`: one worker, configured by `CREDITLINE_*` environment variables."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from creditline.errors import CreditlineError
from creditline.jobs.broker import ping_broker
from creditline.observability.logs import configure_logging
from creditline.observability.tracing import trace_tasks, tracing
from creditline.settings import read_settings
from creditline.teacher.settings import TeacherSettings


def main() -> int:
    """Run a worker until it is stopped; returns its exit status, or 2 if it could not start."""
    try:
        # Checked before the import of torch, which takes seconds.
        settings = read_settings(TeacherSettings)
        configure_logging("teacher", settings.log_format)
        ping_broker(settings.broker_url)
        with tracing("teacher", settings):
            from creditline.teacher.app import app
            from creditline.teacher.worker import serve

            trace_tasks()
            return serve(app, settings)
    except CreditlineError as error:
        print(f"creditline teacher: {error.message}", file=sys.stderr)
        return 2


def exit_at_once(status: int) -> NoReturn:
    """End the process without unloading its modules, which takes up to ten seconds with torch loaded."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    exit_at_once(main())
