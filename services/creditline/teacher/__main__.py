"""`python -m creditline.teacher`: one worker, set up by `CREDITLINE_*` environment variables."""

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
    """Take jobs until told to stop; 2 when the settings or what they name do not allow a start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        # Torch takes seconds to import, so what is wrong on the outside is said first.
        ping_broker(read_settings(TeacherSettings).broker_url)
        from creditline.teacher.app import app, settings
        from creditline.teacher.worker import serve

        return serve(app, settings)
    except CreditlineError as error:
        print(f"creditline teacher: {error.message}", file=sys.stderr)
        return 2


def leave(status: int) -> NoReturn:
    """End the process without taking its modules apart: with torch loaded that takes seconds, up to ten."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())
