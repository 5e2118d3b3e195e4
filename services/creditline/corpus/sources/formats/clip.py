"""Precomputed CLIP features as a source: rows with features and without pictures, read on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from creditline.corpus.clip_features import ClipFeatures, ClipPart
from creditline.corpus.directions import directions
from creditline.corpus.row_batches import Damage, Rows, open_parquet, row_batches
from creditline.corpus.sources.formats.table import Table
from creditline.corpus.sources.found import Features, Found, found_broken
from creditline.corpus.sources.losses import DAMAGED_FILE, NO_CAPTION, NO_FEATURES
from creditline.corpus.sources.source_files import fingerprint_of, size_of
from creditline.errors import InvalidInput, NotFound


@dataclass(frozen=True)
class ClipSource:
    """A directory of CLIP features as a source.

    A part is an `img_emb_*.npy` with its metadata; ids are those of `ClipFeatures.works`.
    """

    features: ClipFeatures
    """The features' files."""
    kind: str = "clip-features"
    """Name of the format."""
    has_features: bool = True
    """Rows always have image features."""

    @classmethod
    def open(cls, path: Path) -> ClipSource:
        """Open a directory of CLIP features.

        Raises:
            NotReady: The directory holds no `img_emb_*.npy`.
            InvalidInput: Features have different dimensions.
        """
        return cls(ClipFeatures.find(path))

    @property
    def name(self) -> str:
        return self.features.directory.name

    @cached_property
    def _parts(self) -> dict[str, ClipPart]:
        return {part.name: part for part in self.features.parts}

    @cached_property
    def _sizes(self) -> dict[str, int]:
        named = (
            (f"{part.run}/{path.name}".lstrip("/"), path)
            for part in self.features.parts
            for path in part.paths
        )
        return {name: size_of(path) for name, path in named}

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(tuple(self._sizes), tuple(self._sizes.values()))

    @property
    def size(self) -> int:
        return sum(self._sizes.values())

    @property
    def mapping(self) -> Mapping[str, str]:
        fields: Mapping[str, str] = {}
        for part in self.features.parts:
            with suppress(OSError, pa.ArrowException, InvalidInput), open_parquet(part.metadata) as file:
                fields = _metadata_table(file.schema_arrow, part.metadata).mapping
                break
        texts = {"text_features": "text_emb_*.npy"} if self.features.has_texts else {}
        return {**fields, "image_features": "img_emb_*.npy", **texts}

    def parts(self) -> tuple[str, ...]:
        return tuple(self._parts)

    def part_fingerprint(self, part: str) -> str:
        files = self._files_of(part)
        paths = (files.images, files.metadata, files.texts)
        return " + ".join(str(size_of(path)) for path in paths if path is not None) + " bytes"

    def _files_of(self, part: str) -> ClipPart:
        if part not in self._parts:
            raise NotFound(f"{self.features.directory} has no part {part!r}", field="part")
        return self._parts[part]

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        return self.rows(part, start)

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        files = self._files_of(part)
        try:
            files.check()
        except InvalidInput as error:
            if start == 0:
                yield found_broken(part, 0, f"{part} is left out: {error.message}", loss=DAMAGED_FILE)
            return
        with open_parquet(files.metadata) as metadata:
            try:
                table = _metadata_table(metadata.schema_arrow, files.metadata)
            except InvalidInput as error:
                if start == 0:
                    yield found_broken(part, 0, error.message, loss=NO_CAPTION)
                return
            for rows in row_batches(metadata, table.columns, start=start, rows=table.rows_at_once):
                yield from _found(rows, table, part, files)


def _metadata_table(schema: pa.Schema, path: Path) -> Table:
    return replace(Table.of(schema, path), picture=None, features={}, widths={})


def _found(rows: Rows, table: Table, part: str, files: ClipPart) -> Iterator[Found]:
    if isinstance(rows.content, Damage):
        reason = (
            f"rows from {rows.first} of {files.metadata} cannot be read ({rows.content.reason}); copy the"
            " file again"
        )
        yield found_broken(part, rows.first, reason, loss=DAMAGED_FILE)
        return
    stop = rows.first + len(rows.content)
    images = _directions(files.images, rows.first, stop)
    texts = _directions(files.texts, rows.first, stop) if files.texts else None
    for offset, found in enumerate(table.found(rows.content, part, rows.first, stem=files.stem)):
        image, text = images[offset], texts[offset] if texts else None
        if found.work is None:
            yield found
        elif image is None or (texts and text is None):
            name = part if image is None or files.texts is None else files.texts.name
            reason = f"row {found.row} of {name} is NaN, infinite or zero"
            told = f"{reason}; embed it again, or leave it out"
            yield found_broken(part, found.row, told, loss=NO_FEATURES)
        else:
            yield Found(part, found.row, found.work, image, text, "", found.notes)


def _directions(path: Path, start: int, stop: int) -> list[Features | None]:
    """L2-normalised rows of a file; None for rows that are not finite or are zero."""
    rows, whole = directions(np.load(path, mmap_mode="r")[start:stop])
    return [row if is_whole else None for row, is_whole in zip(rows, whole, strict=True)]
