"""Merged contributors: records that two names or ids are one person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from creditline.api.answers import MergeAnswer, MergeStatus, Person
from creditline.api.pages import Contributor, ContributorPage
from creditline.corpus.identity import People, PersonReference
from creditline.errors import InvalidInput
from creditline.gateway.access.caller import Caller
from creditline.gateway.pages import PageRequest, PageTokens
from creditline.gateway.use_cases.catalog import Catalog
from creditline.gateway.use_cases.subjects import Subjects
from creditline.gateway.use_cases.withdrawals import LAST_SEQUENCE, MOST_LISTED, carried_out_in_time
from creditline.gateway.withdrawals.enforcement import WithdrawalEnforcer
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.ledger import Ledger, Merge, Scope, WithdrawalKind
from creditline.ledger.merges import check_merge, standing_merges

_TOKENS = PageTokens("contributors")


@dataclass(frozen=True)
class MergeRequest:
    """A request to merge two people, or to revoke that."""

    person: Person
    """The one under whom the works of both are credited."""
    other: Person
    """The other name or id."""
    reason: str = ""
    """Reason for the request."""
    requested_by: str = ""
    """The requester."""
    allow_unknown: bool = False
    """Accept people whom neither the corpus nor the live build names."""


class Contributors:
    """The use cases behind the service `Contributors`, `/v1/contributors` and `/v1/contributors/merges`.

    A record holds with the next answer of every gateway: shares are summed up per person, and a withdrawal
    under one name is one under all.

    Args:
        ledger: Ledger that holds the records.
        register: This gateway's copy of withdrawals and merges.
        enforcer: Carries withdrawals out in the index, which a merge extends.
        subjects: Knows which people the corpus and the live build name.
        catalog: Works of the corpus.
    """

    def __init__(
        self,
        ledger: Ledger,
        register: WithdrawnRegister,
        enforcer: WithdrawalEnforcer,
        subjects: Subjects,
        catalog: Catalog,
    ) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._register = register
        self._enforcer = enforcer
        self._subjects = subjects

    async def merge(self, request: MergeRequest, caller: Caller) -> MergeStatus:
        """Record that two names or ids are one person; a repeated request changes nothing.

        Raises:
            PermissionDenied: The caller is no admin: a merge changes what others are credited.
            InvalidInput: A field of the request cannot be used.
            NotFound: Neither the corpus nor the live build names one of them, and `allow_unknown` is not set.
            Unavailable: The ledger does not answer.
        """
        caller.require(Scope.ADMIN)
        person, other = _checked(request)
        if not request.allow_unknown:
            for field, one in (("person", person), ("other", other)):
                kind = WithdrawalKind.CONTRIBUTOR_ID if one.id else WithdrawalKind.CONTRIBUTOR
                await self._subjects.refuse_unknown(kind, one.id or one.name, field=field)
        return await self._record(self._ledger.merge, request)

    async def revoke(self, request: MergeRequest, caller: Caller) -> MergeStatus:
        """Revoke a merge.

        Raises:
            PermissionDenied: The caller is no admin.
            InvalidInput: A field of the request cannot be used.
            NotFound: The two were never merged with each other.
            Unavailable: The ledger does not answer.
        """
        caller.require(Scope.ADMIN)
        _checked(request)
        return await self._record(self._ledger.revoke_merge, request)

    async def listed(
        self, caller: Caller, *, history: bool, after: int, limit: int
    ) -> tuple[MergeAnswer, ...]:
        """List merges, oldest first.

        Args:
            caller: Who asks.
            history: List all records ever made, not only the merges in force.
            after: Only records after this sequence number.
            limit: Largest number of records.

        Raises:
            PermissionDenied: The caller is no admin: a record names its requester.
            InvalidInput: `after` or `limit` is out of range.
            Unavailable: The ledger does not answer.
        """
        caller.require(Scope.ADMIN)
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidInput(f"limit is {limit}; request 1 to {MOST_LISTED:,} merges", field="limit")
        if not 0 <= after <= LAST_SEQUENCE:
            raise InvalidInput(f"after is {after}; send the sequence of a listed merge", field="after")
        records = await self._ledger.threads.read(self._ledger.merges_after, 0)
        if not history:
            records = tuple(record for record in standing_merges(records) if record.is_merged)
        return tuple(_answer(record) for record in records if record.sequence > after)[:limit]

    async def people(self, page: PageRequest) -> ContributorPage:
        """A page of the contributors and rights holders of the corpus, each person once.

        Raises:
            InvalidInput: The size or the token of the page cannot be used.
            Unavailable: The ledger does not answer.
        """
        limit, last = page.limit, _TOKENS.last(page.token, str)
        await self._register.as_of_now()
        people = self._register.people
        works = await asyncio.to_thread(self._catalog.contributors_of, people)
        keys = [*works] if last is None else [key for key in works if key > last]
        listed = tuple(self._contributor(people, key, works[key]) for key in keys[:limit])
        return ContributorPage(listed, _TOKENS.token(keys[limit - 1]) if len(keys) > limit else "")

    def _contributor(self, people: People, key: str, works: int) -> Contributor:
        name, own_id = people.shown(key), people.shown_id(key)
        since = self._register.contributor_since(name, own_id)
        return Contributor(name, own_id, works, since is not None, since)

    async def _record(self, write: Callable[..., Merge], request: MergeRequest) -> MergeStatus:
        person, other = _checked(request)
        record = await self._ledger.threads.write(
            write, person, other, reason=request.reason, requested_by=request.requested_by
        )
        await self._register.as_of_now()
        pending = await carried_out_in_time(self._enforcer)
        return MergeStatus(_answer(record), carried_out=not pending, pending=pending)


def _checked(request: MergeRequest) -> tuple[PersonReference, PersonReference]:
    person, other = (PersonReference(one.name, one.id) for one in (request.person, request.other))
    check_merge(person, other, request.reason, request.requested_by)
    return person, other


def _answer(record: Merge) -> MergeAnswer:
    return MergeAnswer(
        sequence=record.sequence,
        id=record.id,
        created=record.created,
        person=Person(record.person.name, record.person.id),
        other=Person(record.other.name, record.other.id),
        action=record.action.name,
        reason=record.reason,
        requested_by=record.requested_by,
    )
