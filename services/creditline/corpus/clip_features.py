"""Precomputed CLIP features of works, as clip-retrieval writes and LAION publishes them, without pictures.

Numbered parts lie anywhere under one directory: `img_emb_0.npy` (n, dimension), `metadata_0.parquet` (n rows
in the same order), and `text_emb_0.npy` where the captions were embedded too. Rows are read on demand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from creditline.corpus.columns import PLAIN_FIELDS, columns_of, require_caption
from creditline.corpus.directions import directions
from creditline.corpus.records import fields_of, work_of
from creditline.corpus.row_batches import Damage, open_parquet, plain_values, row_batches
from creditline.corpus.works import Corpus, Work
from creditline.errors import InvalidInput, NotReady

_ROWS = 2048


@dataclass(frozen=True)
class ClipPart:
    """Files of one part."""

    images: Path
    """Image features, `img_emb_*.npy`."""
    metadata: Path
    """Captions and other metadata, `metadata_*.parquet`."""
    texts: Path | None
    """Text features, `text_emb_*.npy`; None where captions were not embedded."""

    @property
    def stem(self) -> str:
        """The part's number as written in its file names; prefixes the ids of works that have no key."""
        return self.metadata.stem.removeprefix("metadata_")

    def check(self) -> int:
        """Check that the part's files belong together.

        Returns:
            Number of works in the part.

        Raises:
            InvalidInput: A file cannot be read, or the files have different numbers of rows.
        """
        counts = {path.name: _rows(path) for path in (self.images, self.metadata, self.texts) if path}
        if len(set(counts.values())) > 1:
            listing = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise InvalidInput(
                f"the files of one part have different numbers of rows ({listing}); copy them again"
            )
        return counts[self.images.name]


@dataclass(frozen=True)
class ClipFeatures:
    """CLIP features of one directory."""

    directory: Path
    """Directory that was opened."""
    parts: tuple[ClipPart, ...]
    """All parts, in the order of their numbers."""

    @classmethod
    def open(cls, directory: Path) -> ClipFeatures:
        """Open all parts below a directory.

        Raises:
            NotReady: The directory holds no `img_emb_*.npy`.
            InvalidInput: A file is missing from a part, or the files of a part do not match.
        """
        images, metadata, texts = (
            _numbered(directory, stem, suffix)
            for stem, suffix in (("img_emb", "npy"), ("metadata", "parquet"), ("text_emb", "npy"))
        )
        if not images:
            raise NotReady(
                f"{directory} holds no img_emb_*.npy; name a directory that clip-retrieval wrote",
                field="work_features",
            )
        missing = [f"metadata_{number}.parquet" for number in images if number not in metadata]
        missing += [f"text_emb_{number}.npy" for number in images if texts and number not in texts]
        if missing:
            raise InvalidInput(
                f"{directory} lacks {', '.join(missing[:3])}; copy the missing files there",
                field="work_features",
            )
        parts = tuple(ClipPart(images[n], metadata[n], texts.get(n)) for n in sorted(images))
        for part in parts:
            part.check()
        return cls(directory, parts)

    @property
    def has_texts(self) -> bool:
        """Whether captions were embedded too."""
        return self.parts[0].texts is not None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and sizes of all files, and their first and last rows: 64 hex digits."""
        digest = hashlib.sha256()
        for part in self.parts:
            for path in (part.images, part.texts):
                if path is not None:
                    rows = np.load(path, mmap_mode="r")
                    digest.update(f"{path.name} {rows.shape} {rows.dtype}".encode())
                    digest.update(rows[:1].tobytes() + rows[-1:].tobytes())
        return digest.hexdigest()

    def works(self) -> Iterator[Work]:
        """All works with their metadata, without pictures, each in a duplicate group of its own."""
        for part in self.parts:
            yield from _works(part)

    def corpus(self, name: str) -> Corpus:
        """All works as a corpus.

        Raises:
            InvalidInput: Two works have the same key.
        """
        works = tuple(self.works())
        if len({work.id for work in works}) != len(works):
            raise InvalidInput(
                f"{self.directory} holds the same key twice; give every work a key of its own",
                field="work_features",
            )
        return Corpus(name, works)

    def images(self) -> NDArray[np.float32]:
        """L2-normalised features of all pictures: (N, dimension) float32.

        Raises:
            InvalidInput: A row is not finite or is zero.
        """
        return np.concatenate([_normalised(part.images) for part in self.parts])

    def texts(self) -> NDArray[np.float32]:
        """L2-normalised features of all captions: (N, dimension) float32.

        Raises:
            InvalidInput: A row is not finite or is zero, or captions were not embedded.
        """
        paths = [part.texts for part in self.parts]
        if None in paths:
            raise InvalidInput(f"{self.directory} has no text_emb_*.npy; embed the captions first")
        return np.concatenate([_normalised(path) for path in paths if path is not None])


def _numbered(directory: Path, stem: str, suffix: str) -> dict[int, Path]:
    """Files such as `img_emb_0012.npy` anywhere below the directory, by their number."""
    pattern = re.compile(rf"{stem}_(\d+)\.{suffix}")
    found = ((pattern.fullmatch(path.name), path) for path in sorted(directory.rglob(f"{stem}_*.{suffix}")))
    return {int(match[1]): path for match, path in found if match}


def _rows(path: Path) -> int:
    try:
        if path.suffix == ".parquet":
            return int(pq.read_metadata(path).num_rows)
        rows = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInput(
            f"{path} cannot be read ({error}); copy it again", field="work_features"
        ) from error
    if rows.ndim != 2:
        raise InvalidInput(
            f"{path} has shape {rows.shape}; features must be a matrix with one row per work",
            field="work_features",
        )
    return len(rows)


def _normalised(path: Path) -> NDArray[np.float32]:
    rows, whole = directions(np.load(path, mmap_mode="r"))
    broken = np.flatnonzero(~whole)
    if len(broken):
        raise InvalidInput(
            f"row {broken[0]} of {path} is NaN, infinite or zero ({len(broken)} such rows); embed those works"
            " again, or leave them out",
            field="work_features",
        )
    return rows


def _works(part: ClipPart) -> Iterator[Work]:
    with open_parquet(part.metadata) as file:
        names = file.schema_arrow.names
        require_caption(part.metadata, names, field="work_features")
        known = (columns for field, columns in columns_of(names).items() if field in PLAIN_FIELDS)
        columns = list(dict.fromkeys(column for each in known for column in each))
        for rows in row_batches(file, columns, rows=_ROWS):
            if isinstance(rows.content, Damage):
                raise InvalidInput(
                    f"rows from {rows.first} of {part.metadata} cannot be read ({rows.content.reason}); copy"
                    " the file again",
                    field="work_features",
                )
            values = {column: plain_values(rows.content[column]) for column in columns}
            for offset in range(len(rows.content)):
                own = f"{part.stem}-{rows.first + offset}"
                record = {column: held[offset] for column, held in values.items()}
                yield work_of(fields_of(record), own_id=own)
