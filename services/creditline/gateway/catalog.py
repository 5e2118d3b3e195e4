"""The catalog: works of the corpus by id."""

from __future__ import annotations

from pathlib import Path

from creditline.answers import WorkAnswer
from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Corpus, Work, read_corpus
from creditline.errors import NotFound
from creditline.gateway.requests import checked_work_id, shown


def open_corpus(path: Path | None) -> Corpus:
    """The corpus in a Parquet file; None for the embedded one. Raises NotReady, InvalidInput."""
    return embedded_corpus() if path is None else read_corpus(path)


class Catalog:
    """The use cases behind `Catalog.GetWork` and `GET /v1/works`."""

    def __init__(self, corpus: Corpus) -> None:
        self._works = {work.id: work for work in corpus}
        self._name = corpus.name

    def work(self, work_id: str) -> WorkAnswer:
        """One work. Raises InvalidInput, NotFound."""
        work = self._found(work_id)
        return WorkAnswer(
            id=work.id,
            title=work.title,
            caption=work.caption,
            keywords=work.keywords,
            contributor=work.contributor,
            licence=work.licence,
            source=work.source,
            duplicate_group=work.duplicate_group,
        )

    def thumbnail(self, work_id: str) -> bytes:
        """A small picture of the work, WebP. Raises InvalidInput, NotFound."""
        return self._found(work_id).thumbnail

    def _found(self, work_id: str) -> Work:
        try:
            return self._works[checked_work_id(work_id)]
        except KeyError:
            raise NotFound(
                f"work {shown(work_id)} is not in corpus {self._name!r} ({len(self._works):,} works); use "
                "the id of a listed work",
                field="id",
            ) from None
