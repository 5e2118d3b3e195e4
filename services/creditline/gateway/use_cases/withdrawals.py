"""Withdrawals: a work, or all works of a contributor, left out of every answer to come."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from dataclasses import dataclass

from creditline.api.answers import WithdrawalAnswer, WithdrawalStatus
from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import CreditlineError, InvalidInput, NotFound
from creditline.gateway.use_cases.catalog import Catalog
from creditline.gateway.use_cases.requests import shown
from creditline.gateway.withdrawals.enforcement import WithdrawalEnforcer
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.ledger import Ledger, Withdrawal, WithdrawalKind

MOST_LISTED = 1_000
# After this the wish is acknowledged as one that is still being carried out.
_PATIENCE_SECONDS = 5.0
_NAMED_ALIKE = 3
# What the ledger's numbers can come to.
_LAST_SEQUENCE = (1 << 31) - 1
_TOO_SLOW = f"Qdrant had not changed every collection within {_PATIENCE_SECONDS:g} s; it goes on"


@dataclass(frozen=True)
class WithdrawalRequest:
    """A wish as callers send it; `kind` is WORK or CONTRIBUTOR, `subject` an id or a name.

    `allow_unknown` allows a subject that the corpus does not hold.
    """

    kind: str
    subject: str
    reason: str = ""
    requested_by: str = ""
    allow_unknown: bool = False

    def checked_kind(self) -> WithdrawalKind:
        """Raises InvalidInput."""
        try:
            return WithdrawalKind(self.kind)
        except ValueError:
            raise InvalidInput(
                f"kind is {shown(self.kind)}; send WORK or CONTRIBUTOR", field="kind"
            ) from None


class Withdrawals:
    """The use cases behind the service `Withdrawals` and `/v1/withdrawals`.

    In this order: the ledger, which makes the wish durable; this gateway's memory, and with its next query
    every other gateway's; the index, in every collection. What fails after the ledger is tried again.
    """

    def __init__(
        self, ledger: Ledger, register: WithdrawnRegister, enforcer: WithdrawalEnforcer, catalog: Catalog
    ) -> None:
        self._ledger = ledger
        self._register = register
        self._enforcer = enforcer
        self._catalog = catalog

    async def withdraw(self, request: WithdrawalRequest) -> WithdrawalStatus:
        """Leave the subject out. Raises InvalidInput, NotFound for one that the corpus does not hold."""
        kind = request.checked_kind()
        if not request.allow_unknown:
            await asyncio.to_thread(self._refuse_unknown, kind, request.subject)
        return await self._record(self._ledger.withdraw, kind, request)

    async def revoke(self, request: WithdrawalRequest) -> WithdrawalStatus:
        """Undo a withdrawal. Raises InvalidInput, NotFound when there was none."""
        return await self._record(self._ledger.revoke, request.checked_kind(), request)

    async def listed(self, *, history: bool, after: int, limit: int) -> tuple[WithdrawalAnswer, ...]:
        """What is withdrawn now, or every wish ever, oldest first. Raises InvalidInput."""
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidInput(f"limit is {limit}; ask for 1 to {MOST_LISTED:,} withdrawals", field="limit")
        if not 0 <= after <= _LAST_SEQUENCE:
            raise InvalidInput(f"after is {after}; send the sequence of a listed withdrawal", field="after")
        return await asyncio.to_thread(self._listed, history, after, limit)

    def _listed(self, history: bool, after: int, limit: int) -> tuple[WithdrawalAnswer, ...]:
        if history:
            statuses = self._ledger.withdrawals_after(after, limit=limit)
        else:
            standing = self._ledger.standing_withdrawals()
            statuses = tuple(status for status in standing if status.is_withdrawn and status.sequence > after)
        return tuple(_answer(status) for status in statuses[:limit])

    async def _record(
        self, write: Callable[..., Withdrawal], kind: WithdrawalKind, request: WithdrawalRequest
    ) -> WithdrawalStatus:
        entry = await asyncio.to_thread(
            write, kind, request.subject, reason=request.reason, requested_by=request.requested_by
        )
        await self._register.as_of_now()
        pending = await self._carried_out()
        works = await asyncio.to_thread(self._catalog.count, _only(kind, request.subject))
        return WithdrawalStatus(_answer(entry), works, carried_out=not pending, pending=pending)

    async def _carried_out(self) -> str:
        """Wait for the index; what stands in the way, empty when nothing does."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._enforcer.carried_out()
        except TimeoutError:
            return _TOO_SLOW
        except CreditlineError as error:
            return error.message
        return ""

    def _refuse_unknown(self, kind: WithdrawalKind, subject: str) -> None:
        known = self._catalog.ids if kind is WithdrawalKind.WORK else self._catalog.contributors
        if subject in known or not subject.strip():
            return
        what, alike = kind.value.lower(), nearest(subject, known)
        hint = f"; did you mean {' or '.join(repr(name) for name in alike)}?" if alike else "."
        raise NotFound(
            f"{what} {shown(subject)} is not in corpus {self._catalog.name!r}{hint} For a {what} of a corpus "
            "to come, set allow_unknown (on the command line --not-in-corpus)",
            field="subject",
        )


def nearest(subject: str, known: frozenset[str]) -> list[str]:
    """The known names that look most like it, whatever their case."""
    folded = {name.casefold(): name for name in sorted(known)}
    alike = difflib.get_close_matches(subject.casefold(), folded, n=_NAMED_ALIKE)
    return [folded[name] for name in alike]


def _only(kind: WithdrawalKind, subject: str) -> Withdrawn:
    named = frozenset({subject})
    return Withdrawn(works=named) if kind is WithdrawalKind.WORK else Withdrawn(contributors=named)


def _answer(entry: Withdrawal) -> WithdrawalAnswer:
    return WithdrawalAnswer(
        sequence=entry.sequence,
        id=entry.id,
        created=entry.created,
        kind=entry.kind.value,
        subject=entry.subject,
        action=entry.action.name,
        reason=entry.reason,
        requested_by=entry.requested_by,
    )
