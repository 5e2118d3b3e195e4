"""Catalog: works of the corpus by id."""

from __future__ import annotations

from functools import cached_property

from creditline.api.answers import WorkAnswer
from creditline.corpus.identity import person_keys
from creditline.corpus.names import display_name
from creditline.corpus.withdrawn import Withdrawn
from creditline.corpus.works import Corpus, Work
from creditline.errors import NotFound
from creditline.gateway.use_cases.requests import checked_work_id, quoted
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.pictures.preparation import thumbnail_of


class Catalog:
    """The use cases behind `Catalog.GetWork` and `GET /v1/works`.

    A withdrawn work keeps its description, with a mark, since earlier credit lines name it; its picture is
    not shown. This applies as soon as any gateway has acknowledged the withdrawal.

    Args:
        corpus: The corpus.
        register: The withdrawals in force.
    """

    def __init__(self, corpus: Corpus, register: WithdrawnRegister) -> None:
        self._works = {work.id: work for work in corpus}
        self._register = register
        self.name = corpus.name

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

    def holders(self, work_id: str) -> tuple[str, ...]:
        """Names of all who may withdraw a work; empty for a work that the corpus does not hold."""
        work = self._works.get(work_id)
        return () if work is None else work.people

    def contributor_id(self, work_id: str) -> str:
        """Id of a work's contributor; empty where there is none or the corpus does not hold the work."""
        work = self._works.get(work_id)
        return "" if work is None else work.contributor_id

    def count(self, withdrawn: Withdrawn) -> int:
        """Number of works of the corpus that are withdrawn."""
        return sum(withdrawn.leaves_out(work) for work in self._works.values())

    async def work(self, work_id: str) -> WorkAnswer:
        """Read one work.

        Raises:
            InvalidInput: `work_id` cannot be an id.
            NotFound: The corpus holds no such work.
            Unavailable: The ledger does not answer.
        """
        work = self._work(work_id)
        await self._register.as_of_now()
        since = self._register.since(work.id, *work.people, contributor_id=work.contributor_id)
        return WorkAnswer(
            id=work.id,
            title=work.title,
            caption=work.caption,
            keywords=work.keywords,
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
            NotFound: The corpus holds no such work, or it is withdrawn.
            Unavailable: The ledger does not answer.
        """
        work = await self.work(work_id)
        if work.withdrawn:
            raise NotFound(f"work {quoted(work_id)} is withdrawn, and its picture is not shown", field="id")
        return self.picture_of(work)

    def picture_of(self, work: WorkAnswer) -> bytes:
        """The thumbnail of a work that was read, WebP; empty for a withdrawn work."""
        return b"" if work.withdrawn else thumbnail_of(self._work(work.id).thumbnail)

    def _work(self, work_id: str) -> Work:
        try:
            return self._works[checked_work_id(work_id)]
        except KeyError:
            raise NotFound(
                f"work {quoted(work_id)} is not in corpus {self.name!r} ({len(self._works):,} works); use "
                "the id of a listed work",
                field="id",
            ) from None
