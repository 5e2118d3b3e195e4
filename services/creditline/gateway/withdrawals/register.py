"""What is withdrawn, as the gateway knows it: the ledger's word, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.index import Hit
from creditline.ledger import Ledger, Withdrawal, WithdrawalKind
from creditline.ledger.withdrawals import withdrawn_by


class WithdrawnRegister:
    """Follows the ledger by its sequence numbers; every attribution asks for what it says at that moment.

    So all gateways on one ledger agree, and none shows a work to a query that came after its withdrawal was
    acknowledged, whatever Qdrant answers. To be used on one event loop.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._standing: dict[tuple[WithdrawalKind, str], Withdrawal] = {}
        self._now = NOTHING_WITHDRAWN
        self._reading = asyncio.Lock()
        self._begun = 0

    @property
    def now(self) -> Withdrawn:
        """What the ledger said when it was last asked; it is asked at least once a second."""
        return self._now

    def load(self) -> None:
        """Read all that stands. Blocks. Raises Unavailable."""
        self._take_in(self._ledger.standing_withdrawals())

    async def as_of_now(self) -> Withdrawn:
        """All that the ledger holds at the moment of this call. Raises Unavailable.

        Callers that come while it is being asked wait for the next asking, and share it.
        """
        begun_before = self._begun
        async with self._reading:
            if self._begun == begun_before:
                self._begun += 1
                later = await asyncio.to_thread(self._ledger.withdrawals_after, self._now.sequence)
                self._take_in(later)
        return self._now

    def since(self, work_id: str, *holders: str) -> datetime | None:
        """From when on a work is left out, by itself or by a rights holder; None when it is not."""
        subjects = [(WithdrawalKind.WORK, work_id)]
        subjects += [(WithdrawalKind.CONTRIBUTOR, name) for name in holders]
        standing = [self._standing[subject] for subject in subjects if subject in self._standing]
        return min((wish.created for wish in standing if wish.is_withdrawn), default=None)

    def contributor_since(self, name: str) -> datetime | None:
        """From when on a contributor is left out; None when they are not."""
        standing = self._standing.get((WithdrawalKind.CONTRIBUTOR, name))
        return standing.created if standing is not None and standing.is_withdrawn else None

    def _take_in(self, wishes: Iterable[Withdrawal]) -> None:
        """Oldest first, so that the newest about a subject stands."""
        new = {(wish.kind, wish.subject): wish for wish in wishes}
        if new:
            self._standing = {**self._standing, **new}
            self._now = withdrawn_by(self._standing.values())


def holders_of(hit: Hit) -> tuple[str, ...]:
    """The names of all who may withdraw a work that was found."""
    return hit.people
