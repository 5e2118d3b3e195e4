"""`python -m creditline.teacher`: one worker, configured by `CREDITLINE_*` environment variables."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from creditline.errors import CreditlineError
from creditline.jobs.broker import ping_broker
from creditline.settings import read_settings
from creditline.teacher.settings import TeacherSettings


def main() -> int:
    """Run a worker until it is stopped; returns its exit status, or 2 if it could not start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        # Checked before the import of torch, which takes seconds.
        ping_broker(read_settings(TeacherSettings).broker_url)
        from creditline.teacher.app import app, settings
        from creditline.teacher.worker import serve

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
