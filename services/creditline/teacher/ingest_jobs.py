"""Ingest jobs, in a form that this process, another one, or a worker on another machine can run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from creditline.corpus.sources import Found, Source, open_source
from creditline.corpus.withdrawn import Withdrawn
from creditline.credentials.settings import EmbedderTlsSettings
from creditline.embedder_client.works import WorkEmbedder
from creditline.errors import InvalidInput
from creditline.index.encoders import check_encoder, record_encoder
from creditline.index.ingest.checkpoint import Checkpoint
from creditline.index.ingest.ingest import (
    ONLY_LOADER,
    Addition,
    Ingest,
    IngestReport,
    Loader,
    ProgressListener,
)
from creditline.index.ingest.vectors import SourceFeatures, WorkVectors
from creditline.index.works import WorkIndex
from creditline.settings import read_settings


@dataclass(frozen=True)
class IngestJob:
    """The ingest of one loader's share of a source into a collection."""

    source: Path
    """The source; the process that runs the job must see this path."""
    collection: str
    """Name of the collection."""
    checkpoint: Path
    """Directory of the checkpoint; the process that runs the job must see this path."""
    kind: str | None = None
    """Format of the source; None: detected."""
    embedder: str | None = None
    """Address of the embedder, for pictures; None: the source's features are the vectors."""
    loader: Loader = ONLY_LOADER
    """The loader's number, and the number of loaders."""
    overwrite: bool = False
    """Whether a work replaces another one that the collection holds under its id."""

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Self:
        """The job from the JSON that `message` returned."""
        paths = {name: Path(message[name]) for name in ("source", "checkpoint")}
        return cls(**{**message, **paths, "loader": Loader.parse(message["loader"])})

    def message(self) -> dict[str, Any]:
        """The job as JSON, with absolute paths."""
        return {
            "source": str(self.source.resolve()),
            "collection": self.collection,
            "checkpoint": str(self.checkpoint.resolve()),
            "kind": self.kind,
            "embedder": self.embedder,
            "loader": self.loader.text,
            "overwrite": self.overwrite,
        }

    def shares(self, loaders: int) -> list[Self]:
        """The job split into one job for each of `loaders` loaders."""
        return [replace(self, loader=Loader(number, loaders)) for number in range(loaders)]

    def create_collection(self, index: WorkIndex) -> None:
        """Create the collection if it does not exist, and check that the source's vectors belong into it.

        A new collection has the dimension of the source's vectors and records what makes them. For a
        collection that exists, the field indexes that an interrupted creation left out are created.

        Raises:
            InvalidInput: No work of the source can be read, or its features have different dimensions.
            FingerprintMismatch: Another encoder made the collection's vectors.
        """
        source = open_source(self.source, kind=self.kind)
        with self._vectors() as vectors:
            if not index.exists(self.collection):
                index.create(self.collection, vectors.dimension_of(_first_work(source)))
                record_encoder(index, self.collection, vectors.fingerprint)
                return
            check_encoder(index, self.collection, vectors.fingerprint)
            index.create_missing_field_indexes(self.collection)
            if index.count(self.collection) == 0:
                record_encoder(index, self.collection, vectors.fingerprint)

    def run(
        self,
        index: WorkIndex,
        withdrawn: Withdrawn,
        on_progress: ProgressListener = lambda progress: None,
        *,
        addition: Addition | None = None,
    ) -> IngestReport:
        """Ingest what the checkpoint does not record as done. Raises as `Ingest.run`.

        Args:
            index: the index.
            withdrawn: works to leave out.
            on_progress: called after each acknowledged batch.
            addition: statement under which the works are added to a release; None: they are not.
        """
        with self._vectors() as vectors:
            ingest = Ingest(
                open_source(self.source, kind=self.kind),
                index,
                self.collection,
                vectors,
                self.loader,
                withdrawn=withdrawn.leaves_out,
                on_progress=on_progress,
                overwrite=self.overwrite,
                addition=addition,
            )
            checkpoint = Checkpoint.open(
                self.checkpoint, self.loader.name, belongs_to=ingest.identity, former=ingest.former
            )
            return ingest.run(checkpoint)

    @contextlib.contextmanager
    def _vectors(self) -> Iterator[WorkVectors]:
        if self.embedder is None:
            yield SourceFeatures()
            return
        tls = read_settings(EmbedderTlsSettings).tls_to_embedder
        with WorkEmbedder(self.embedder, tls=tls) as works:
            yield works


def _first_work(source: Source) -> Found:
    rows = (found for part in source.parts() for found in source.read(part))
    first = next((found for found in rows if found.work is not None), None)
    if first is None:
        raise InvalidInput(f"{source.name} holds no work that can be read; check the source", field="source")
    return first
