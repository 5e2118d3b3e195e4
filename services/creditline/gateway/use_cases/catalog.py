"""Catalog: works of the corpus, and works added to the live release, by id."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from uuid import UUID

from creditline.api.answers import WorkAnswer
from creditline.api.pages import WorkPage
from creditline.corpus.identity import People, named_holders, person_keys
from creditline.corpus.names import display_name
from creditline.corpus.withdrawn import Withdrawn
from creditline.corpus.works import Corpus, Work, read_packed_work
from creditline.errors import CreditlineError, InvalidInput, NotFound, NotReady
from creditline.gateway.pages import PageRequest, PageTokens
from creditline.gateway.use_cases.added_works import AddedWorks
from creditline.gateway.use_cases.requests import checked_work_id, quoted
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.index import Hit
from creditline.ledger import Additions
from creditline.pictures.preparation import thumbnail_of

_OWN, _ADDED = "own:", "added:"
_TOKENS = PageTokens("works")
_log = logging.getLogger(__name__)


class Catalog:
    """The use cases behind `Catalog.GetWork`, `ListWorks` and `GET /v1/works`.

    A withdrawn work keeps its description, with a mark, since earlier credit lines name it; its picture is
    not shown. This applies as soon as any gateway has acknowledged the withdrawal.

    A work that the corpus does not hold is described by the live build, or by the copy that an addition
    packed; its picture is in that copy. A gateway that does not see the copy serves it without a picture.

    Args:
        corpus: The corpus.
        register: The withdrawals in force.
        added: The works added to the live release.
    """

    def __init__(self, corpus: Corpus, register: WithdrawnRegister, added: AddedWorks) -> None:
        self._works = {work.id: work for work in corpus}
        self._register = register
        self._counted: tuple[People, dict[str, int]] | None = None
        self._added = added
        self.name = corpus.name

    @cached_property
    def _sorted_ids(self) -> list[str]:
        return sorted(self._works)

    @cached_property
    def ids(self) -> frozenset[str]:
        """Ids of all works."""
        return frozenset(self._works)

    @cached_property
    def people(self) -> frozenset[str]:
        """Keys of all contributors and rights holders, see `creditline.corpus.identity`."""
        works = self._works.values()
        keys = (person_keys(work.people, work.contributor_id) for work in works)
        return frozenset(key for every in keys for key in every)

    @cached_property
    def contributors(self) -> frozenset[str]:
        """Names of all contributors and rights holders."""
        return frozenset(name for work in self._works.values() for name in work.people)

    async def described(self, work_ids: Iterable[str]) -> Mapping[str, Work | Hit]:
        """Descriptions of works of the corpus and of the live build, by id.

        Works that neither holds are left out, and those of the build too when the index does not answer.
        """
        ids = set(work_ids)
        own = {work_id: self._works[work_id] for work_id in ids & self._works.keys()}
        try:
            indexed = await self._added.indexed(sorted(ids - own.keys()))
        except CreditlineError as error:
            _log.warning("works outside the corpus are not described: %s", error)
            return own
        return {**indexed, **own}

    def count(self, withdrawn: Withdrawn) -> int:
        """Number of works of the corpus that are withdrawn."""
        return sum(withdrawn.leaves_out(work) for work in self._works.values())

    async def work(self, work_id: str) -> WorkAnswer:
        """Read one work.

        Raises:
            InvalidInput: `work_id` cannot be an id.
            NotFound: Neither the corpus nor the live build holds such a work, and none was added.
            Unavailable: The ledger does not answer, or the index, where the id may be that of an added work.
        """
        work = await self._known(checked_work_id(work_id))
        await self._register.as_of_now()
        return self._described(work_id, work)

    async def listed(self, page: PageRequest) -> WorkPage:
        """A page of works: those of the corpus by their ids, then those that were added to the live build.

        Raises:
            InvalidInput: The size or the token of the page cannot be used.
            NotReady: There is no live build, but there are added works.
            Unavailable: The ledger does not answer, or the index, where there are added works.
        """
        limit, last = page.limit, _TOKENS.last(page.token, _checked_position)
        await self._register.as_of_now()
        if last is not None and not last.startswith(_OWN):
            return await self._added_page(last.removeprefix(_ADDED), limit)
        first = 0 if last is None else bisect_right(self._sorted_ids, last.removeprefix(_OWN))
        ids = self._sorted_ids[first : first + limit]
        works = tuple(self._described(work_id, self._works[work_id]) for work_id in ids)
        if first + limit < len(self._sorted_ids):
            return WorkPage(works, _TOKENS.token(_OWN + ids[-1]))
        additions = await self._added.additions()
        return WorkPage(works, _TOKENS.token(_ADDED) if additions.statements else "")

    async def _added_page(self, last: str, limit: int) -> WorkPage:
        hits, more = await self._added.after(last, limit)
        works = tuple(self._described(hit.work_id, hit) for hit in hits if hit.work_id not in self._works)
        return WorkPage(works, _TOKENS.token(_ADDED + hits[-1].point_id) if more else "")

    def contributors_of(self, people: People) -> Mapping[str, int]:
        """Number of works by person, in the order of their keys.

        Args:
            people: Which names and ids are one person.
        """
        if self._counted is None or self._counted[0] is not people:
            counts: Counter[str] = Counter()
            for work in self._works.values():
                rights = [(holder.name, holder.percent) for holder in work.rights_holders]
                holders = named_holders(work.contributor, work.contributor_id, rights)
                counts.update({people.person(holder.key) for holder in holders})
            self._counted = people, dict(sorted(counts.items()))
        return self._counted[1]

    def _described(self, work_id: str, work: Work | Hit) -> WorkAnswer:
        since = self._register.since(work_id, *work.people, contributor_id=work.contributor_id)
        return WorkAnswer(
            id=work_id,
            title=work.title,
            caption=work.caption,
            keywords=work.keywords if isinstance(work, Work) else (),
            contributor=display_name(work.contributor),
            licence=work.licence,
            source=work.source,
            duplicate_group=work.duplicate_group,
            withdrawn=since is not None,
            withdrawn_since=since,
            contributor_id=work.contributor_id,
        )

    async def thumbnail(self, work_id: str) -> bytes:
        """The thumbnail of a work, WebP.

        Raises:
            InvalidInput: `work_id` cannot be an id.
            NotFound: There is no such work, it is withdrawn, or there is no picture of it here.
            Unavailable: As for `work`.
        """
        work = await self.work(work_id)
        if work.withdrawn:
            raise NotFound(f"work {quoted(work_id)} is withdrawn, and its picture is not shown", field="id")
        picture = await self.picture_of(work)
        if not picture:
            raise NotFound(
                f"there is no picture of work {quoted(work_id)} here; its description is at"
                f" /v1/works/{work_id}",
                field="id",
            )
        return picture

    async def picture_of(self, work: WorkAnswer) -> bytes:
        """The thumbnail of a work that was read, WebP; empty for a withdrawn work or without a picture.

        Raises:
            Unavailable: The ledger does not answer.
        """
        if work.withdrawn:
            return b""
        own = self._works.get(work.id)
        found = own or await self._packed(work.id, await self._added.additions())
        # The copy of an earlier addition may hold another work under the same id.
        if found is None or (found.caption, found.source) != (work.caption, work.source):
            return b""
        return await asyncio.to_thread(thumbnail_of, found.thumbnail)

    async def _known(self, work_id: str) -> Work | Hit:
        own = self._works.get(work_id)
        return own if own is not None else await self._known_outside_the_corpus(work_id)

    async def _known_outside_the_corpus(self, work_id: str) -> Work | Hit:
        additions, unanswered = await self._added.additions(), None
        try:
            indexed = (await self._added.indexed([work_id])).get(work_id)
        except CreditlineError as error:
            indexed, unanswered = None, error
        # A build that was loaded since does not hold the additions, but earlier answers name them.
        found = indexed or await self._packed(work_id, additions)
        if found is not None:
            return found
        if unanswered is not None and additions.statements:
            raise unanswered
        raise NotFound(
            f"work {quoted(work_id)} is neither in corpus {self.name!r} ({len(self._works):,} works) nor in"
            " the live build; use the id of a listed work",
            field="id",
        )

    async def _packed(self, work_id: str, additions: Additions) -> Work | None:
        """An added work as the newest statement's copy holds it; None without a readable copy of it."""
        packed = [statement.content.get("packed") for statement in reversed(additions.statements)]
        for path in (Path(name) for name in packed if name):
            try:
                found = await asyncio.to_thread(read_packed_work, path, work_id)
            except (NotReady, InvalidInput) as error:
                _log.warning("the copy of added works is not readable here: %s", error)
                continue
            if found is not None:
                return found
        return None


def _checked_position(position: str) -> str:
    """Where a page of works begins: after a work of the corpus, or after the point of an added one."""
    if position.startswith(_ADDED) and position != _ADDED:
        UUID(position.removeprefix(_ADDED))
    return position
