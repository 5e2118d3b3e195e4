"""The lease on an audit: renewed by a thread while the audit runs, and ended with it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from creditline.errors import Unavailable
from creditline.ledger import Ledger

_RENEWALS_PER_LEASE = 3
_log = logging.getLogger(__name__)


@contextmanager
def held_lease(ledger: Ledger, audit_id: str, worker: str, seconds: float) -> Iterator[None]:
    """Renew a lease until the block ends, then end it at once, so that other workers need not wait.

    A killed worker's lease expires by itself. Once a verdict is written, the lease has no meaning.

    Args:
        ledger: the ledger with the lease.
        audit_id: the audit.
        worker: name of the worker that has taken the lease.
        seconds: length of the lease.
    """
    ended = threading.Event()
    renewal = threading.Thread(
        target=_renew, args=(ledger, audit_id, worker, seconds, ended), name="lease", daemon=True
    )
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        _renew_once(ledger, audit_id, worker, 0.0)


def _renew(ledger: Ledger, audit_id: str, worker: str, seconds: float, ended: threading.Event) -> None:
    while not ended.wait(seconds / _RENEWALS_PER_LEASE):
        _renew_once(ledger, audit_id, worker, seconds)


def _renew_once(ledger: Ledger, audit_id: str, worker: str, seconds: float) -> None:
    try:
        ledger.renew_lease(audit_id, worker, seconds)
    except Unavailable as error:
        _log.warning("cannot renew the lease on audit %s: %s", audit_id, error.message)
