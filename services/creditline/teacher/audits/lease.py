"""The lease on an audit: renewed by a thread while the audit runs, and ended with it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from creditline.errors import Unavailable
from creditline.ledger import Ledger

_RENEWALS_PER_LEASE = 3
_log = logging.getLogger(__name__)


@contextmanager
def held_lease(
    ledger: Ledger,
    audit_id: str,
    worker: str,
    seconds: float,
    *,
    on_failure: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Renew a lease until the block ends, then end it at once, so that other workers need not wait.

    A killed worker's lease expires by itself. Once a verdict is written, the lease has no meaning.

    Args:
        ledger: the ledger with the lease.
        audit_id: the audit.
        worker: name of the worker that has taken the lease.
        seconds: length of the lease.
        on_failure: called when the lease could not be renewed while the block runs.
    """
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(seconds / _RENEWALS_PER_LEASE):
            if not _renewed(ledger, audit_id, worker, seconds):
                on_failure()

    renewal = threading.Thread(target=renew, name="lease", daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        _renewed(ledger, audit_id, worker, 0.0)


def _renewed(ledger: Ledger, audit_id: str, worker: str, seconds: float) -> bool:
    """Whether the lease was renewed: it was not if the ledger does not answer, or the worker lost it."""
    try:
        return ledger.renew_lease(audit_id, worker, seconds)
    except Unavailable as error:
        _log.warning("cannot renew the lease on audit %s: %s", audit_id, error.message)
        return False
