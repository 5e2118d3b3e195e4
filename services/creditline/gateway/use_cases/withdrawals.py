"""Withdrawals: a work, or all works of a contributor, left out of all later answers."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from dataclasses import dataclass

from creditline.api.answers import WithdrawalAnswer, WithdrawalStatus
from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import CreditlineError, InvalidInput, NotFound
from creditline.gateway.use_cases.catalog import Catalog
from creditline.gateway.use_cases.requests import quoted
from creditline.gateway.withdrawals.enforcement import WithdrawalEnforcer
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.ledger import Ledger, Withdrawal, WithdrawalKind

MOST_LISTED = 1_000
# After this time a request is acknowledged as one that is still being carried out.
_INDEX_WAIT_SECONDS = 5.0
_MOST_SUGGESTIONS = 3
# The largest sequence number that the ledger can hold.
_LAST_SEQUENCE = (1 << 31) - 1
_TOO_SLOW = f"Qdrant had not changed every collection within {_INDEX_WAIT_SECONDS:g} s; the work continues"


@dataclass(frozen=True)
class WithdrawalRequest:
    """A request to withdraw a subject, or to revoke its withdrawal."""

    kind: str
    """WORK or CONTRIBUTOR."""
    subject: str
    """Id of the work, or name of the contributor."""
    reason: str = ""
    """Reason for the request."""
    requested_by: str = ""
    """The requester."""
    allow_unknown: bool = False
    """Accept a subject that the corpus does not hold."""

    def checked_kind(self) -> WithdrawalKind:
        """The kind as an enumeration. Raises InvalidInput."""
        try:
            return WithdrawalKind(self.kind)
        except ValueError:
            raise InvalidInput(
                f"kind is {quoted(self.kind)}; send WORK or CONTRIBUTOR", field="kind"
            ) from None


class Withdrawals:
    """The use cases behind the service `Withdrawals` and `/v1/withdrawals`.

    A request is applied in this order: in the ledger, which makes it durable; in this gateway's memory, and
    with its next query in every other gateway's; in every collection of the index. A step that fails after
    the ledger is retried.

    Args:
        ledger: Ledger that records requests.
        register: This gateway's copy of the withdrawals.
        enforcer: Carries withdrawals out in the index.
        catalog: Works and contributors of the corpus.
    """

    def __init__(
        self, ledger: Ledger, register: WithdrawnRegister, enforcer: WithdrawalEnforcer, catalog: Catalog
    ) -> None:
        self._ledger = ledger
        self._register = register
        self._enforcer = enforcer
        self._catalog = catalog

    async def withdraw(self, request: WithdrawalRequest) -> WithdrawalStatus:
        """Withdraw the subject; a repeated request changes nothing.

        Raises:
            InvalidInput: A field of the request cannot be used.
            NotFound: The corpus does not hold the subject, and `allow_unknown` is not set.
            Unavailable: The ledger does not answer.
        """
        kind = request.checked_kind()
        if not request.allow_unknown:
            await asyncio.to_thread(self._refuse_unknown, kind, request.subject)
        return await self._record(self._ledger.withdraw, kind, request)

    async def revoke(self, request: WithdrawalRequest) -> WithdrawalStatus:
        """Revoke a withdrawal.

        Raises:
            InvalidInput: A field of the request cannot be used.
            NotFound: The subject was never withdrawn.
            Unavailable: The ledger does not answer.
        """
        return await self._record(self._ledger.revoke, request.checked_kind(), request)

    async def listed(self, *, history: bool, after: int, limit: int) -> tuple[WithdrawalAnswer, ...]:
        """List withdrawals, oldest first.

        Args:
            history: List all requests ever made, not only the withdrawals in force.
            after: Only requests after this sequence number.
            limit: Largest number of requests.

        Raises:
            InvalidInput: `after` or `limit` is out of range.
            Unavailable: The ledger does not answer.
        """
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidInput(f"limit is {limit}; request 1 to {MOST_LISTED:,} withdrawals", field="limit")
        if not 0 <= after <= _LAST_SEQUENCE:
            raise InvalidInput(f"after is {after}; send the sequence of a listed withdrawal", field="after")
        return await asyncio.to_thread(self._listed, history, after, limit)

    def _listed(self, history: bool, after: int, limit: int) -> tuple[WithdrawalAnswer, ...]:
        if history:
            entries = self._ledger.withdrawals_after(after, limit=limit)
        else:
            in_force = self._ledger.standing_withdrawals()
            entries = tuple(entry for entry in in_force if entry.is_withdrawn and entry.sequence > after)
        return tuple(_answer(entry) for entry in entries[:limit])

    async def _record(
        self, write: Callable[..., Withdrawal], kind: WithdrawalKind, request: WithdrawalRequest
    ) -> WithdrawalStatus:
        entry = await asyncio.to_thread(
            write, kind, request.subject, reason=request.reason, requested_by=request.requested_by
        )
        await self._register.as_of_now()
        pending = await self._wait_for_index()
        works = await asyncio.to_thread(self._catalog.count, _only(kind, request.subject))
        return WithdrawalStatus(_answer(entry), works, carried_out=not pending, pending=pending)

    async def _wait_for_index(self) -> str:
        """Wait until the index agrees; returns the reason when it does not yet, else an empty string."""
        try:
            async with asyncio.timeout(_INDEX_WAIT_SECONDS):
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
        noun, similar = kind.value.lower(), similar_names(subject, known)
        hint = f"; did you mean {' or '.join(repr(name) for name in similar)}?" if similar else "."
        raise NotFound(
            f"{noun} {quoted(subject)} is not in corpus {self._catalog.name!r}{hint} For a {noun} of a "
            "future corpus, set allow_unknown (on the command line --not-in-corpus)",
            field="subject",
        )


def similar_names(subject: str, known: frozenset[str]) -> list[str]:
    """At most three known names that are similar to the subject, ignoring case; best first."""
    folded = {name.casefold(): name for name in sorted(known)}
    matches = difflib.get_close_matches(subject.casefold(), folded, n=_MOST_SUGGESTIONS)
    return [folded[name] for name in matches]


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
