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
    """Copy of the ledger's withdrawals, updated by their sequence numbers before every answer.

    All gateways on one ledger therefore agree, and none lists a work for a query that arrives after its
    withdrawal was acknowledged, whatever state the index is in. An object belongs to one event loop.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._in_force: dict[tuple[WithdrawalKind, str], Withdrawal] = {}
        self._now = NOTHING_WITHDRAWN
        self._reading = asyncio.Lock()
        self._reads_begun = 0
        self._last_completed = 0

    @property
    def now(self) -> Withdrawn:
        """The withdrawals at the last completed read of the ledger; `as_of_now` reads it again."""
        return self._now

    def load(self) -> None:
        """Read all withdrawals in force. Blocks. Raises Unavailable when the ledger does not answer."""
        self._add(self._ledger.standing_withdrawals())

    async def as_of_now(self) -> Withdrawn:
        """The withdrawals in force in the ledger at the time of this call.

        Callers that wait at the same time share one read, which began after the last of their calls. Only a
        completed read is shared: when it fails or its caller is cancelled, the next waiting caller reads
        again.

        Raises:
            Unavailable: This caller's own read of the ledger failed.
        """
        # A read that has begun already may miss a withdrawal that was acknowledged just before this call.
        begun_before = self._reads_begun
        async with self._reading:
            if self._last_completed <= begun_before:
                await self._read()
        return self._now

    async def _read(self) -> None:
        """Add new withdrawals; only a completed read is counted. The caller must hold `_reading`."""
        self._reads_begun += 1
        number = self._reads_begun
        later = await asyncio.to_thread(self._ledger.withdrawals_after, self._now.sequence)
        self._add(later)
        self._last_completed = number

    def since(self, work_id: str, *holders: str) -> datetime | None:
        """Start of a work's withdrawal, by its id or by a rights holder.

        Args:
            work_id: Id of the work.
            holders: Names of all who may withdraw it.

        Returns:
            The earliest start; None when the work is not withdrawn.
        """
        subjects = [(WithdrawalKind.WORK, work_id)]
        subjects += [(WithdrawalKind.CONTRIBUTOR, name) for name in holders]
        requests = [self._in_force[subject] for subject in subjects if subject in self._in_force]
        return min((request.created for request in requests if request.is_withdrawn), default=None)

    def contributor_since(self, name: str) -> datetime | None:
        """Start of a contributor's withdrawal; None when they are not withdrawn."""
        request = self._in_force.get((WithdrawalKind.CONTRIBUTOR, name))
        return request.created if request is not None and request.is_withdrawn else None

    def _add(self, withdrawals: Iterable[Withdrawal]) -> None:
        """Add withdrawal requests, oldest first; the newest about a subject is in force."""
        new = {(each.kind, each.subject): each for each in withdrawals}
        if new:
            self._in_force = {**self._in_force, **new}
            self._now = withdrawn_by(self._in_force.values())


def holders_of(hit: Hit) -> tuple[str, ...]:
    """Names of all who may withdraw a work that a search returned."""
    return hit.people
