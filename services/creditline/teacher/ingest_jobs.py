"""An ingest as it is handed to whoever does it: this process, another, or a worker on another machine."""

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
    AsGiven,
    Ingest,
    IngestReport,
    Loader,
    ProgressListener,
    WorkVectors,
)
from creditline.index.works import WorkIndex


@dataclass(frozen=True)
class IngestJob:
    """One loader's part of a source, into a collection; source and checkpoint are seen by whoever does it.

    kind: None where the source tells its form. embedder: its address, for pictures; without it, features are
    vectors.
    """

    source: Path
    collection: str
    checkpoint: Path
    kind: str | None = None
    embedder: str | None = None
    loader: Loader = ONLY_LOADER

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Self:
        """From what `message` gave."""
        paths = {name: Path(message[name]) for name in ("source", "checkpoint")}
        return cls(**{**message, **paths, "loader": Loader.parse(message["loader"])})

    def message(self) -> dict[str, Any]:
        """The same in plain JSON."""
        return {
            "source": str(self.source.resolve()),
            "collection": self.collection,
            "checkpoint": str(self.checkpoint.resolve()),
            "kind": self.kind,
            "embedder": self.embedder,
            "loader": self.loader.text,
        }

    def shares(self, loaders: int) -> list[Self]:
        """The same split into so many."""
        return [replace(self, loader=Loader(number, loaders)) for number in range(loaders)]

    def create_collection(self, index: WorkIndex) -> None:
        """Make the collection, as wide as the source's vectors, when it is not there. Raises InvalidInput.

        Of a collection that is there, the field indexes that a creation which was cut short left out are
        made.
        """
        if index.exists(self.collection):
            index.create_missing_field_indexes(self.collection)
            return
        source = open_source(self.source, kind=self.kind)
        rows = (found for part in source.parts() for found in source.read(part))
        first = next((found for found in rows if found.work is not None), None)
        if first is None:
            raise InvalidInput(f"{self.source} holds no work that can be read", field="source")
        with self._vectors() as vectors:
            index.create(self.collection, vectors([first]).shape[1])

    def run(
        self,
        index: WorkIndex,
        withdrawn: Withdrawn,
        on_progress: ProgressListener = lambda progress: None,
    ) -> IngestReport:
        """Do what its checkpoint does not know as done. Raises what `Ingest.run` does."""
        with self._vectors() as vectors:
            ingest = self._ingest(index, open_source(self.source, kind=self.kind), vectors, withdrawn)
            checkpoint = Checkpoint.open(self.checkpoint, self.loader.name, belongs_to=ingest.identity)
            return replace(ingest, on_progress=on_progress).run(checkpoint)

    def _ingest(self, index: WorkIndex, source: Source, vectors: WorkVectors, withdrawn: Withdrawn) -> Ingest:
        return Ingest(source, index, self.collection, vectors, self.loader, withdrawn=withdrawn.leaves_out)

    @contextlib.contextmanager
    def _vectors(self) -> Iterator[WorkVectors]:
        if self.embedder is None:
            yield AsGiven()
            return
        with WorkEmbedder(self.embedder) as works:
            yield works
