"""The catalog: works of the corpus by id."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from creditline.api.answers import WorkAnswer
from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.withdrawn import Withdrawn
from creditline.corpus.works import Corpus, Work, read_corpus
from creditline.errors import NotFound
from creditline.gateway.use_cases.requests import checked_work_id, shown
from creditline.gateway.withdrawals.register import WithdrawnRegister


def open_corpus(path: Path | None) -> Corpus:
    """The corpus in a Parquet file; None for the embedded one. Raises NotReady, InvalidInput."""
    return embedded_corpus() if path is None else read_corpus(path)


class Catalog:
    """The use cases behind `Catalog.GetWork` and `GET /v1/works`.

    A withdrawn work keeps its description, with a mark, since earlier credit lines name it. Its picture is
    not shown. Both hold from the moment that the withdrawal was acknowledged, by whichever gateway.
    """

    def __init__(self, corpus: Corpus, register: WithdrawnRegister) -> None:
        self._works = {work.id: work for work in corpus}
        self._register = register
        self.name = corpus.name

    @cached_property
    def ids(self) -> frozenset[str]:
        return frozenset(self._works)

    @cached_property
    def contributors(self) -> frozenset[str]:
        return frozenset(name for work in self._works.values() for name in work.people)

    def holders(self, work_id: str) -> tuple[str, ...]:
        """The names of everyone who may withdraw a work; none for one that the corpus does not hold."""
        work = self._works.get(work_id)
        return () if work is None else work.people

    def count(self, withdrawn: Withdrawn) -> int:
        """The number of works that are withdrawn."""
        return sum(withdrawn.leaves_out(work) for work in self._works.values())

    async def work(self, work_id: str) -> WorkAnswer:
        """One work. Raises InvalidInput, NotFound, and Unavailable when the ledger does not answer."""
        work = self._found(work_id)
        await self._register.as_of_now()
        since = self._register.since(work.id, *self.holders(work.id))
        return WorkAnswer(
            id=work.id,
            title=work.title,
            caption=work.caption,
            keywords=work.keywords,
            contributor=work.contributor,
            licence=work.licence,
            source=work.source,
            duplicate_group=work.duplicate_group,
            withdrawn=since is not None,
            withdrawn_since=since,
        )

    async def thumbnail(self, work_id: str) -> bytes:
        """A small picture of the work, WebP.

        Raises:
            InvalidInput: `work_id` cannot be an id.
            NotFound: there is no such work, or it is withdrawn.
            Unavailable: the ledger does not answer.
        """
        work = await self.work(work_id)
        if work.withdrawn:
            raise NotFound(f"work {shown(work_id)} is withdrawn, and its picture is not shown", field="id")
        return self.picture_of(work)

    def picture_of(self, work: WorkAnswer) -> bytes:
        """The thumbnail that belongs to an answer, WebP; empty for a withdrawn work."""
        return b"" if work.withdrawn else self._found(work.id).thumbnail

    def _found(self, work_id: str) -> Work:
        try:
            return self._works[checked_work_id(work_id)]
        except KeyError:
            raise NotFound(
                f"work {shown(work_id)} is not in corpus {self.name!r} ({len(self._works):,} works); use "
                "the id of a listed work",
                field="id",
            ) from None
