"""Ingest jobs, in a form that this process, another one, or a worker on another machine can run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from creditline.corpus.sources import Source, open_source
from creditline.corpus.withdrawn import Withdrawn
from creditline.embedder_client.works import WorkEmbedder
from creditline.errors import InvalidInput
from creditline.index.ingest.checkpoint import Checkpoint
from creditline.index.ingest.ingest import (
    ONLY_LOADER,
    Ingest,
    IngestReport,
    Loader,
    ProgressListener,
    SourceFeatures,
    WorkVectors,
)
from creditline.index.works import WorkIndex


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
        }

    def shares(self, loaders: int) -> list[Self]:
        """The job split into one job for each of `loaders` loaders."""
        return [replace(self, loader=Loader(number, loaders)) for number in range(loaders)]

    def create_collection(self, index: WorkIndex) -> None:
        """Create the collection, with the dimension of the source's vectors, if it does not exist.

        For a collection that exists, create the field indexes that an interrupted creation left out.

        Raises:
            InvalidInput: No work of the source can be read.
        """
        if index.exists(self.collection):
            index.create_missing_field_indexes(self.collection)
            return
        source = open_source(self.source, kind=self.kind)
        rows = (found for part in source.parts() for found in source.read(part))
        first = next((found for found in rows if found.work is not None), None)
        if first is None:
            raise InvalidInput(
                f"{self.source} holds no work that can be read; check the source", field="source"
            )
        with self._vectors() as vectors:
            index.create(self.collection, vectors([first]).shape[1])

    def run(
        self,
        index: WorkIndex,
        withdrawn: Withdrawn,
        on_progress: ProgressListener = lambda progress: None,
    ) -> IngestReport:
        """Ingest what the checkpoint does not record as done. Raises as `Ingest.run`.

        Args:
            index: the index.
            withdrawn: works to leave out.
            on_progress: called after each acknowledged batch.
        """
        with self._vectors() as vectors:
            ingest = self._ingest(index, open_source(self.source, kind=self.kind), vectors, withdrawn)
            checkpoint = Checkpoint.open(self.checkpoint, self.loader.name, belongs_to=ingest.identity)
            return replace(ingest, on_progress=on_progress).run(checkpoint)

    def _ingest(self, index: WorkIndex, source: Source, vectors: WorkVectors, withdrawn: Withdrawn) -> Ingest:
        return Ingest(source, index, self.collection, vectors, self.loader, withdrawn=withdrawn.leaves_out)

    @contextlib.contextmanager
    def _vectors(self) -> Iterator[WorkVectors]:
        if self.embedder is None:
            yield SourceFeatures()
            return
        with WorkEmbedder(self.embedder) as works:
            yield works
