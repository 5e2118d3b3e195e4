"""Precomputed CLIP features of works, as clip-retrieval writes and LAION publishes them, without pictures.

Numbered parts lie anywhere under one directory: `img_emb_0.npy` (n, dimension), `metadata_0.parquet` (n rows
in the same order), and `text_emb_0.npy` where the captions were embedded too. Rows are read on demand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from creditline.corpus.columns import PLAIN_FIELDS, columns_of, require_caption
from creditline.corpus.directions import directions
from creditline.corpus.numbered_ids import with_place
from creditline.corpus.records import fields_of, work_of
from creditline.corpus.row_batches import Damage, one_line, open_parquet, plain_values, row_batches
from creditline.corpus.works import Corpus, Work
from creditline.errors import InvalidInput, NotReady

_ROWS = 2048
# Directories that runs of clip-retrieval and LAION sort their files into.
_KIND_DIRECTORIES = frozenset(
    {"img_emb", "metadata", "text_emb", "images", "texts", "image", "text", "img", "txt", "embeddings"}
)


@dataclass(frozen=True)
class ClipPart:
    """Files of one part."""

    images: Path
    """Image features, `img_emb_*.npy`."""
    metadata: Path
    """Captions and other metadata, `metadata_*.parquet`."""
    texts: Path | None
    """Text features, `text_emb_*.npy`; None where captions were not embedded."""
    run: str = ""
    """Directory of the run that wrote the part, where several runs have parts of the same number."""

    @property
    def stem(self) -> str:
        """The part's number as written in its file names; prefixes the ids of works that have no key."""
        number = self.metadata.stem.removeprefix("metadata_")
        return f"{self.run}/{number}" if self.run else number

    @property
    def name(self) -> str:
        """Name of the part: that of its image features, with the run."""
        return f"{self.run}/{self.images.name}" if self.run else self.images.name

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files of the part."""
        return tuple(path for path in (self.images, self.metadata, self.texts) if path is not None)

    def check(self) -> int:
        """Check that the part's files belong together.

        Returns:
            Number of works in the part.

        Raises:
            InvalidInput: A file cannot be read, or the files have different numbers of rows.
        """
        counts = {path.name: _rows(path) for path in self.paths}
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
            InvalidInput: A file is missing from a part, the files of a part do not match, or features have
                different dimensions.
        """
        features = cls.find(directory)
        missing = [path.name for part in features.parts for path in part.paths if not path.is_file()]
        if missing:
            raise InvalidInput(
                f"{directory} lacks {', '.join(missing[:3])}; copy the missing files there",
                field="work_features",
            )
        for part in features.parts:
            part.check()
        return features

    @classmethod
    def find(cls, directory: Path) -> ClipFeatures:
        """Find all parts below a directory; files may be missing, cut off or not match.

        Raises:
            NotReady: The directory holds no `img_emb_*.npy`.
            InvalidInput: Features have different dimensions.
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
        if not any(len(paths) > 1 for found in (images, metadata, texts) for paths in found.values()):
            parts = [_part("", number, images, metadata, texts) for number in sorted(images)]
        else:
            runs = [(_run(directory, path), number) for number in images for path in images[number]]
            own = {
                run: [_of_run(directory, run, each) for each in (images, metadata, texts)] for run, _ in runs
            }
            parts = [_part(run, number, *own[run]) for run, number in sorted(runs)]
        _refuse_several_widths(parts)
        return cls(directory, tuple(parts))

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


_Numbered = Mapping[int, Sequence[Path]]


def _numbered(directory: Path, stem: str, suffix: str) -> dict[int, list[Path]]:
    """Files such as `img_emb_0012.npy` anywhere below the directory, by their number."""
    pattern = re.compile(rf"{stem}_(\d+)\.{suffix}")
    numbered: dict[int, list[Path]] = {}
    for path in sorted(directory.rglob(f"{stem}_*.{suffix}")):
        match = pattern.fullmatch(path.name)
        if match:
            numbered.setdefault(int(match[1]), []).append(path)
    return numbered


def _run(directory: Path, path: Path) -> str:
    """The directory of the run that wrote a file: its own, or the one above `img_emb`, `metadata` …."""
    place = path.parent.relative_to(directory)
    run = place.parent if place.name in _KIND_DIRECTORIES else place
    return "" if run == Path() else run.as_posix()


def _of_run(directory: Path, run: str, numbered: _Numbered) -> _Numbered:
    found = {
        number: [path for path in paths if _run(directory, path) == run] for number, paths in numbered.items()
    }
    return {number: paths for number, paths in found.items() if paths}


def _part(run: str, number: int, images: _Numbered, metadata: _Numbered, texts: _Numbered) -> ClipPart:
    """A part; a file that is missing is named as it should be, beside the image features."""
    image = images[number][0]
    digits = image.stem.removeprefix("img_emb_")
    expected = (image.with_name(f"metadata_{digits}.parquet"), image.with_name(f"text_emb_{digits}.npy"))
    about = metadata.get(number, [expected[0]])[0]
    text = texts.get(number, [expected[1]])[0] if texts else None
    return ClipPart(image, about, text, run)


def _refuse_several_widths(parts: Sequence[ClipPart]) -> None:
    """Refuse parts whose features have different dimensions; `check` finds files that cannot be read."""
    for kind in ("images", "texts"):
        first: dict[int, Path] = {}
        for path in (getattr(part, kind) for part in parts):
            with suppress(InvalidInput, OSError):
                if path is not None:
                    first.setdefault(_matrix(path).shape[1], path)
        if len(first) > 1:
            listing = " and ".join(f"{width} ({path.name})" for width, path in list(first.items())[:3])
            raise InvalidInput(
                f"features have different dimensions, {listing}; put the features of different models into"
                " different directories",
                field="work_features",
            )


def _rows(path: Path) -> int:
    try:
        if path.suffix == ".parquet":
            return int(pq.read_metadata(path).num_rows)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{path} cannot be read ({one_line(error)}); copy it again", field="work_features"
        ) from error
    return len(_matrix(path))


def _matrix(path: Path) -> NDArray[np.generic]:
    """A mapped matrix of features: (N, dimension)."""
    try:
        rows: NDArray[np.generic] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInput(
            f"{path} cannot be read ({one_line(error)}); copy it again", field="work_features"
        ) from error
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise InvalidInput(
            f"{path} holds an array of shape {rows.shape} and type {rows.dtype}; features must be a matrix of"
            " numbers with one row per work",
            field="work_features",
        )
    return rows


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
                yield work_of(with_place(fields_of(record), record, part.stem), own_id=own)
