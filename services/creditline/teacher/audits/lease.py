"""A lease on an audit: renewed by a thread while the audit runs, given back when it is broken off."""

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
    """Keep a lease that was taken. On the way out it ends at once, so that nobody waits for it to run out.

    It is of no more use once a verdict is written. A worker that is killed leaves it to run out.
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
        _log.warning("the lease on audit %s could not be renewed: %s", audit_id, error.message)
