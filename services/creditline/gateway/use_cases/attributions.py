"""Recorded answers: as they were served, with marks on works and contributors withdrawn since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from functools import partial
from typing import Any

from creditline.api.answers import (
    AttributionAnswer,
    CreditedContributor,
    CreditedHolder,
    CreditedWork,
    PictureAloneRecall,
    RecordedAttribution,
    ReleaseSummary,
    Timings,
)
from creditline.api.pages import AttributionPage, AttributionSummary
from creditline.calibration.concentration import equal_parts
from creditline.corpus.works import Work
from creditline.errors import NotFound
from creditline.gateway.access.caller import Caller
from creditline.gateway.pages import PageRequest, PageTokens
from creditline.gateway.use_cases.audits import audit_answer
from creditline.gateway.use_cases.catalog import Catalog
from creditline.gateway.use_cases.filters import read_stored_filter
from creditline.gateway.use_cases.releases import Releases
from creditline.gateway.use_cases.requests import checked_ledger_id
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.index import Hit
from creditline.ledger import FROM_PICTURE_ALONE, RERANKED_WORKS, Ledger, Scope, StoredAttribution

# Former names of the release's fields, in answers recorded before version 0.2.
_FORMER_NAMES = {"width": "dimension"}
# What is true when an answer is read, and not part of what was served.
_MARKS = [
    field.name
    for field in {*fields(CreditedWork), *fields(CreditedContributor)}
    if field.name.startswith("withdrawn")
]


class Attributions:
    """The use cases behind `Attribution.GetAttribution`, `ListAttributions` and `GET /v1/attributions`."""

    def __init__(
        self, ledger: Ledger, releases: Releases, register: WithdrawnRegister, catalog: Catalog
    ) -> None:
        self._ledger = ledger
        self._releases = releases
        self._register = register
        self._catalog = catalog

    async def get(self, attribution_id: str, caller: Caller) -> RecordedAttribution:
        """Read a recorded answer; its withdrawal marks are current.

        Raises:
            PermissionDenied: The caller may not read answers.
            InvalidInput: `attribution_id` is not an id of the ledger.
            NotFound: The ledger holds no such answer, or it is another owner's.
            Unavailable: The ledger does not answer.
        """
        stored = await self._stored(attribution_id, caller)
        await self._register.as_of_now()
        works = stored.answer.get("works", ())
        described = await self._catalog.described(
            work_id for work in works for work_id in (work["id"], *work["copies"])
        )
        return await self._ledger.threads.read(self._recorded, stored, described)

    async def listed(self, page: PageRequest, caller: Caller) -> AttributionPage:
        """A page of the caller's owner's answers, for an admin those of all owners, newest first.

        Raises:
            PermissionDenied: The caller may not read answers.
            InvalidInput: The size or the token of the page cannot be used.
            Unavailable: The ledger does not answer.
        """
        caller.require(Scope.READ)
        owner, limit = caller.restricted_to, page.limit
        tokens = PageTokens("attributions", owner)
        last = tokens.last(page.token, int)
        # One more than asked for shows whether there is another page.
        read = partial(self._ledger.attributions_before, limit=limit + 1, owner=owner)
        found = await self._ledger.threads.read(read, last)
        summaries = tuple(
            AttributionSummary(
                each.id, each.created, each.release, each.generator, each.prompt, each.k, each.undelivered
            )
            for each in found[:limit]
        )
        is_last = len(found) <= limit
        return AttributionPage(summaries, "" if is_last else tokens.token(str(found[limit - 1].sequence)))

    async def picture(self, attribution_id: str, caller: Caller) -> bytes:
        """The picture of a recorded answer's query, as a file (see `creditline.pictures.queries.media_type`).

        Errors are those of `get`; an answer of private mode has no picture, which is NotFound.
        """
        stored = await self._stored(attribution_id, caller)
        if stored.is_private:
            raise NotFound(
                f"answer {stored.id} was asked for in private mode: there is no picture of its query",
                field="id",
            )
        return stored.image

    async def _stored(self, attribution_id: str, caller: Caller) -> StoredAttribution:
        caller.require(Scope.READ)
        checked = checked_ledger_id(attribution_id, field="id")
        return await self._ledger.threads.read(self._ledger.attribution, checked, owner=caller.restricted_to)

    def _recorded(
        self, stored: StoredAttribution, described: Mapping[str, Work | Hit]
    ) -> RecordedAttribution:
        held, release = stored.answer, self._release_of(stored)
        answer = AttributionAnswer(
            attribution_id=stored.id,
            works=tuple(self._marked_work(work, described) for work in held.get("works", ())),
            contributors=tuple(self._marked_person(person) for person in held.get("contributors", ())),
            remainder=held["remainder"],
            release=release,
            timings=Timings(**held["timings"]) if "timings" in held else Timings(*[0.0] * 6),
            accuracy=self._releases.accuracy(stored.release, stored.form),
            concentration=held.get("concentration", 0.0),
            remainder_low=held.get("remainder_low"),
            remainder_high=held.get("remainder_high"),
            coverage=held.get("coverage", held.get("level")),
            ood_score=held.get("ood_score", held.get("unfamiliarity")),
            corpus_works=held.get("corpus_works", release.works),
            equal_parts=_equal_parts(held, release.works),
            filter=read_stored_filter(held.get("filter")),
            works_newer_than_calibration=held.get("works_newer_than_calibration", 0),
            calibration_outdated=held.get("calibration_outdated"),
            prompt_agreement=held.get("prompt_agreement"),
            private=stored.is_private,
            share_from_picture=held.get("share_from_picture"),
            share_from_prompt=held.get("share_from_prompt"),
            from_picture_alone=held.get(FROM_PICTURE_ALONE, False),
            picture_alone_recall=_read_recall(held.get("picture_alone_recall")),
            intervals_withheld=held.get("intervals_withheld", False),
            form=stored.form,
            reranked_works=held.get(RERANKED_WORKS, 0),
        )
        audit = self._ledger.audit_of(stored.id)
        return RecordedAttribution(
            answer,
            stored.created,
            stored.prompt,
            stored.generator,
            audit=None if audit is None else audit_answer(audit),
            undelivered=stored.undelivered,
        )

    def _marked_work(self, held: Mapping[str, Any], described: Mapping[str, Work | Hit]) -> CreditedWork:
        work = _read_work(held)
        names = (work.contributor, *(holder.name for holder in work.holders))
        since = self._since(work.id, described.get(work.id), *names, contributor_id=work.contributor_id)
        copies = tuple(copy for copy in work.copies if self._since(copy, described.get(copy)) is not None)
        return replace(work, withdrawn=since is not None, withdrawn_since=since, withdrawn_copies=copies)

    def _since(
        self, work_id: str, described: Work | Hit | None, *names: str, contributor_id: str = ""
    ) -> datetime | None:
        """Start of a work's withdrawal, by its description and by the names and id that the answer states."""
        people = described.people if described is not None else ()
        own_id = contributor_id or (described.contributor_id if described is not None else "")
        return self._register.since(work_id, *names, *people, contributor_id=own_id)

    def _marked_person(self, held: Mapping[str, Any]) -> CreditedContributor:
        person = CreditedContributor(**held)
        since = self._register.contributor_since(person.name, person.contributor_id)
        return replace(person, withdrawn=since is not None, withdrawn_since=since)

    def _release_of(self, stored: StoredAttribution) -> ReleaseSummary:
        """The release as recorded with the answer. Older answers record only its name and fingerprints."""
        held, live = stored.answer.get("release"), self._releases.live.summary
        if held is not None:
            fields = {_FORMER_NAMES.get(name, name): value for name, value in held.items()}
            return ReleaseSummary(**{**fields, "created": datetime.fromisoformat(held["created"])})
        if live.name == stored.release:
            return live
        return replace(
            live,
            name=stored.release,
            created=stored.created,
            generator_fingerprint=stored.generator,
            corpus_fingerprint=stored.corpus,
            towers_fingerprint="",
            works=0,
            collection="",
        )


def _equal_parts(held: Mapping[str, Any], release_works: int) -> float | None:
    """The recorded value, or else the one computed from the concentration; None where that is unknown."""
    if "equal_parts" in held:
        return float(held["equal_parts"])
    if "concentration" not in held or release_works == 0:
        return None
    return equal_parts(held["concentration"], release_works)


def stored_release(release: ReleaseSummary) -> dict[str, Any]:
    """A release in the form that the ledger stores with an answer."""
    return {**vars(release), "created": release.created.isoformat()}


def stored_work(work: CreditedWork) -> dict[str, Any]:
    """A listed work in the form that the ledger stores. Withdrawal marks are made on reading."""
    # `dataclasses.asdict` copies every value, which took a tenth of an answer's processor time.
    return {**_without_marks(vars(work)), "holders": [dict(vars(holder)) for holder in work.holders]}


def _read_work(held: Mapping[str, Any]) -> CreditedWork:
    """A listed work from the form that `stored_work` gave; older rows lack the holders."""
    holders = tuple(CreditedHolder(**holder) for holder in held.get("holders", ()))
    return CreditedWork(**{**held, "copies": tuple(held["copies"]), "holders": holders})


def _read_recall(held: Mapping[str, float] | None) -> PictureAloneRecall | None:
    return None if held is None else PictureAloneRecall(**held)


def stored_contributor(person: CreditedContributor) -> dict[str, Any]:
    """A contributor in the form that the ledger stores, without withdrawal marks."""
    return _without_marks(vars(person))


def _without_marks(fields: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(fields)
    for name in _MARKS:
        kept.pop(name, None)
    return kept
