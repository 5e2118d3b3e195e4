"""The gateway's copy in memory of the withdrawals that the ledger holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.index import Hit
from creditline.ledger import Ledger, Withdrawal, WithdrawalKind
from creditline.ledger.withdrawals import withdrawn_by


class WithdrawnRegister:
    """Follows the ledger's withdrawals by their sequence numbers; every answer reads the newest first.

    All gateways on one ledger therefore agree, and none shows a work to a query that came after its
    withdrawal was acknowledged, whatever Qdrant answers. To be used on one event loop.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._standing: dict[tuple[WithdrawalKind, str], Withdrawal] = {}
        self._now = NOTHING_WITHDRAWN
        self._reading = asyncio.Lock()
        self._reads_begun = 0
        self._last_completed = 0

    @property
    def now(self) -> Withdrawn:
        """What was withdrawn at the last completed read of the ledger; `as_of_now` makes a new one."""
        return self._now

    def load(self) -> None:
        """Read everything that stands. Blocks. Raises Unavailable."""
        self._take_in(self._ledger.standing_withdrawals())

    async def as_of_now(self) -> Withdrawn:
        """Everything that is withdrawn in the ledger at the moment of this call.

        Callers that wait at the same time share one read, which began after the last of them came. Only a
        read that completed is shared: when its caller is cancelled or it fails, the next of those who wait
        reads again.

        Raises:
            Unavailable: this caller's own read of the ledger failed.
        """
        # A read that has begun already may have missed what was acknowledged just before this call.
        begun_before = self._reads_begun
        async with self._reading:
            if self._last_completed <= begun_before:
                await self._read()
        return self._now

    async def _read(self) -> None:
        """Take in what is new. Nothing but a completed read counts as one; `_reading` must be held."""
        self._reads_begun += 1
        number = self._reads_begun
        later = await asyncio.to_thread(self._ledger.withdrawals_after, self._now.sequence)
        self._take_in(later)
        self._last_completed = number

    def since(self, work_id: str, *holders: str) -> datetime | None:
        """The time from which a work is withdrawn, by itself or by a rights holder; None when it is not."""
        subjects = [(WithdrawalKind.WORK, work_id)]
        subjects += [(WithdrawalKind.CONTRIBUTOR, name) for name in holders]
        standing = [self._standing[subject] for subject in subjects if subject in self._standing]
        return min((request.created for request in standing if request.is_withdrawn), default=None)

    def contributor_since(self, name: str) -> datetime | None:
        """The time from which a contributor is withdrawn; None when they are not."""
        standing = self._standing.get((WithdrawalKind.CONTRIBUTOR, name))
        return standing.created if standing is not None and standing.is_withdrawn else None

    def _take_in(self, withdrawals: Iterable[Withdrawal]) -> None:
        """Add withdrawals, oldest first, so that the newest about a subject stands."""
        new = {(each.kind, each.subject): each for each in withdrawals}
        if new:
            self._standing = {**self._standing, **new}
            self._now = withdrawn_by(self._standing.values())


def holders_of(hit: Hit) -> tuple[str, ...]:
    """The names of everyone who may withdraw a work that a search found."""
    return hit.people
