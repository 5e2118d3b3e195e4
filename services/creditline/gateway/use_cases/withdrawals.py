"""Withdrawals: a work, or all works of a contributor, left out of all later answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from creditline.api.answers import WithdrawalAnswer, WithdrawalStatus
from creditline.corpus.identity import People
from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import CreditlineError, InvalidInput
from creditline.gateway.access.caller import Caller
from creditline.gateway.use_cases.catalog import Catalog
from creditline.gateway.use_cases.requests import quoted
from creditline.gateway.use_cases.subjects import Subjects
from creditline.gateway.withdrawals.enforcement import WithdrawalEnforcer
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.ledger import Ledger, Scope, Withdrawal, WithdrawalKind
from creditline.ledger.requests import check_request

MOST_LISTED = 1_000
# After this time a request is acknowledged as one that is still being carried out.
_INDEX_WAIT_SECONDS = 5.0
# The largest sequence number that the ledger can hold.
LAST_SEQUENCE = (1 << 31) - 1
_TOO_SLOW = f"Qdrant had not changed every collection within {_INDEX_WAIT_SECONDS:g} s; the work continues"


@dataclass(frozen=True)
class WithdrawalRequest:
    """A request to withdraw a subject, or to revoke its withdrawal."""

    kind: str
    """WORK, CONTRIBUTOR or CONTRIBUTOR_ID."""
    subject: str
    """Id of the work, or name or id of the contributor."""
    reason: str = ""
    """Reason for the request."""
    requested_by: str = ""
    """The requester."""
    allow_unknown: bool = False
    """Accept a subject that neither the corpus nor the live build holds."""

    def checked_kind(self) -> WithdrawalKind:
        """The kind as an enumeration. Raises InvalidInput."""
        try:
            return WithdrawalKind(self.kind)
        except ValueError:
            raise InvalidInput(
                f"kind is {quoted(self.kind)}; send WORK, CONTRIBUTOR or CONTRIBUTOR_ID", field="kind"
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
        subjects: Knows which works and people the corpus and the live build hold.
    """

    def __init__(
        self,
        ledger: Ledger,
        register: WithdrawnRegister,
        enforcer: WithdrawalEnforcer,
        catalog: Catalog,
        subjects: Subjects,
    ) -> None:
        self._ledger = ledger
        self._register = register
        self._enforcer = enforcer
        self._catalog = catalog
        self._subjects = subjects

    async def withdraw(self, request: WithdrawalRequest, caller: Caller) -> WithdrawalStatus:
        """Withdraw the subject under the caller's owner; a repeated request changes nothing.

        Raises:
            PermissionDenied: The caller may not withdraw.
            InvalidInput: A field of the request cannot be used.
            NotFound: Neither the corpus nor the live build holds the subject, and `allow_unknown` is not set.
            Unavailable: The ledger does not answer.
        """
        caller.require(Scope.WITHDRAW)
        kind = request.checked_kind()
        check_request(request.subject, request.reason, request.requested_by)
        if not request.allow_unknown:
            await self._subjects.refuse_unknown(kind, request.subject)
        withdraw = partial(self._ledger.withdraw, owner=caller.owner)
        return await self._record(withdraw, kind, request)

    async def revoke(self, request: WithdrawalRequest, caller: Caller) -> WithdrawalStatus:
        """Revoke the withdrawal of the caller's owner; an admin revokes those of all owners.

        Raises:
            PermissionDenied: The caller may not withdraw, or others have withdrawn the subject.
            InvalidInput: A field of the request cannot be used.
            NotFound: The subject was never withdrawn.
            Unavailable: The ledger does not answer.
        """
        caller.require(Scope.WITHDRAW)
        kind = request.checked_kind()
        check_request(request.subject, request.reason, request.requested_by)
        await self._register.as_of_now()
        revoke = partial(
            self._ledger.revoke,
            people=self._register.people,
            owner=caller.restricted_to,
            made_by=caller.owner,
        )
        return await self._record(revoke, kind, request)

    async def listed(
        self, caller: Caller, *, history: bool, after: int, limit: int
    ) -> tuple[WithdrawalAnswer, ...]:
        """List withdrawals of the caller's owner, or for an admin those of all owners, oldest first.

        Args:
            caller: Who asks.
            history: List all requests ever made, not only the withdrawals in force.
            after: Only requests after this sequence number.
            limit: Largest number of requests.

        Raises:
            PermissionDenied: The caller may neither read nor withdraw.
            InvalidInput: `after` or `limit` is out of range.
            Unavailable: The ledger does not answer.
        """
        caller.require(Scope.READ, Scope.WITHDRAW)
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidInput(f"limit is {limit}; request 1 to {MOST_LISTED:,} withdrawals", field="limit")
        if not 0 <= after <= LAST_SEQUENCE:
            raise InvalidInput(f"after is {after}; send the sequence of a listed withdrawal", field="after")
        return await self._ledger.threads.read(self._listed, caller.restricted_to, history, after, limit)

    def _listed(
        self, owner: str | None, history: bool, after: int, limit: int
    ) -> tuple[WithdrawalAnswer, ...]:
        if history:
            entries = self._ledger.withdrawals_after(after, limit=limit, owner=owner)
        else:
            in_force = self._ledger.standing_withdrawals()
            entries = tuple(
                entry
                for entry in in_force
                if entry.is_withdrawn and entry.sequence > after and owner in (None, entry.owner)
            )
        return tuple(_answer(entry) for entry in entries[:limit])

    async def _record(
        self, write: Callable[..., Withdrawal], kind: WithdrawalKind, request: WithdrawalRequest
    ) -> WithdrawalStatus:
        entry = await self._ledger.threads.write(
            write, kind, request.subject, reason=request.reason, requested_by=request.requested_by
        )
        await self._register.as_of_now()
        pending = await carried_out_in_time(self._enforcer)
        concerned = _only(kind, request.subject, self._register.people)
        works = await asyncio.to_thread(self._catalog.count, concerned)
        return WithdrawalStatus(_answer(entry), works, carried_out=not pending, pending=pending)


async def carried_out_in_time(enforcer: WithdrawalEnforcer) -> str:
    """Wait for some time until the index agrees with the ledger.

    Returns:
        The reason when it does not yet, else an empty string.
    """
    try:
        async with asyncio.timeout(_INDEX_WAIT_SECONDS):
            await enforcer.carried_out()
    except TimeoutError:
        return _TOO_SLOW
    except CreditlineError as error:
        return error.message
    return ""


def _only(kind: WithdrawalKind, subject: str, people: People) -> Withdrawn:
    """The withdrawal of one subject alone, under all names and ids of the person."""
    if kind is WithdrawalKind.WORK:
        return Withdrawn(works=frozenset({subject}))
    return Withdrawn(also=people.withdrawn_with(kind.key(subject)))


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
