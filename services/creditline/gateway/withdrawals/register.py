"""The gateway's copy in memory of the withdrawals and merged contributors that the ledger holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime

from creditline.corpus.identity import NO_BEARERS, Bearers, People, key_of, person_keys
from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.ledger import Ledger, Merge, Withdrawal, WithdrawalKind
from creditline.ledger.merges import people_of, standing_merges
from creditline.ledger.withdrawals import withdrawn_by


class WithdrawnRegister:
    """Copy of the ledger's withdrawals and merges, updated by their sequence numbers before every answer.

    All gateways on one ledger therefore agree, and none lists a work for a query that arrives after its
    withdrawal was acknowledged, whatever state the index is in. An object belongs to one event loop.

    Args:
        ledger: The ledger.
        bearers: Names and ids of the gateway's corpus, by which a name and an id are one person.
    """

    def __init__(self, ledger: Ledger, bearers: Bearers = NO_BEARERS) -> None:
        self._ledger = ledger
        self._bearers = bearers
        self._merges: dict[frozenset[str], Merge] = {}
        # Start of the withdrawal of each person's key.
        self._since: dict[str, datetime] = {}
        self.people = People(bearers)
        """Which names and ids are one person, at the last completed read."""
        # The latest request of each owner about each subject; and the start of each work's withdrawal.
        self._in_force: dict[tuple[WithdrawalKind, str, str], Withdrawal] = {}
        self._works_since: dict[str, datetime] = {}
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
        self._add(self._ledger.standing_withdrawals(), self._ledger.merges_after(0))

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
        self._add(*await self._ledger.threads.read(self._ledger.changes_after, *self._now.state))
        self._last_completed = number

    def since(self, work_id: str, *names: str, contributor_id: str = "") -> datetime | None:
        """Start of a work's withdrawal, by its id or through any of its people.

        Args:
            work_id: Id of the work.
            names: Names of all who may withdraw it.
            contributor_id: Id of its contributor; empty: none.

        Returns:
            The earliest start; None when the work is not withdrawn.
        """
        by_work = [self._works_since[work_id]] if work_id in self._works_since else []
        keys = person_keys(names, contributor_id)
        return min([*by_work, *(self._since[key] for key in keys if key in self._since)], default=None)

    def contributor_since(self, name: str, contributor_id: str = "") -> datetime | None:
        """Start of a contributor's withdrawal; None when they are not withdrawn."""
        return self._since.get(key_of(name, contributor_id))

    def _add(self, withdrawals: Iterable[Withdrawal], merges: Iterable[Merge]) -> None:
        """Add requests and records, oldest first.

        The newest of an owner about a subject is in force, and the newest about a pair.
        """
        new = {(each.kind, each.subject, each.owner): each for each in withdrawals}
        newly_merged = {each.pair: each for each in merges}
        if not new and not newly_merged:
            return
        self._in_force = {**self._in_force, **new}
        self._merges = {**self._merges, **newly_merged}
        standing = standing_merges(self._merges.values())
        self.people = people_of(standing, self._bearers)
        self._now = withdrawn_by(self._in_force.values(), standing, self.people)
        self._since, self._works_since = self._starts(), self._starts_of_works()

    def _starts(self) -> dict[str, datetime]:
        starts: dict[str, datetime] = {}
        for (kind, subject, _owner), request in self._in_force.items():
            if kind is not WithdrawalKind.WORK and request.is_withdrawn:
                for key in self.people.withdrawn_with(kind.key(subject)):
                    starts[key] = min(starts.get(key, request.created), request.created)
        return starts

    def _starts_of_works(self) -> dict[str, datetime]:
        starts: dict[str, datetime] = {}
        for (kind, work_id, _owner), request in self._in_force.items():
            if kind is WithdrawalKind.WORK and request.is_withdrawn:
                starts[work_id] = min(starts.get(work_id, request.created), request.created)
        return starts
