"""The interface of all source formats: rows, each a work or the reason why the row holds no work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.columns import columns_of
from creditline.corpus.metadata.values import is_null, plain
from creditline.corpus.records import contributors_of, created_of, text_of, work_of
from creditline.corpus.sources.downloads import download_fault
from creditline.corpus.sources.losses import (
    BROKEN_RIGHTS,
    LONG_CAPTION,
    NO_CAPTION,
    NOT_DOWNLOADED,
    OTHER,
    UNREADABLE_PICTURE,
)
from creditline.corpus.texts import MOST_CAPTION_CHARACTERS, UTF_8, clean, decode_text
from creditline.corpus.works import Work
from creditline.errors import InvalidInput
from creditline.pictures.decoding import picture_fault

Features = NDArray[np.float32]

NOT_UTF_8 = "caption not in UTF-8"
NO_DATE = "date not understood, left out"
NO_NAMES = "contributor not understood, left out"
FIRST_CAPTION = "several captions, the first is used"


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """One row of a source: a work, or the reason why the row holds no work."""

    part: str
    """Name of the part."""
    row: int
    """Number of the row in its part, from 0."""
    work: Work | None
    """The work; None for a broken row."""
    image_features: Features | None
    """L2-normalised image features: (dimension,) float32; None if the source has none."""
    text_features: Features | None
    """L2-normalised text features: (dimension,) float32; None if the source has none."""
    broken: str
    """One sentence that gives the reason why the row is broken; empty for a work."""
    notes: tuple[str, ...] = ()
    """Short texts about values that were guessed or ignored; the survey counts them."""
    loss: str = ""
    """Kind of the loss, one of `losses`, under which the survey counts a broken row; empty for a work."""


class Source(Protocol):
    """A corpus in its owner's format, read row by row in a stable order."""

    @property
    def kind(self) -> str:
        """The format: folder, webdataset, parquet, clip-features, huggingface or table."""

    @property
    def name(self) -> str:
        """The name of the source's directory or file."""

    @property
    def has_features(self) -> bool:
        """Whether rows have precomputed image features."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the names and sizes of all files: 64 hex digits."""

    @property
    def size(self) -> int:
        """Total size of all files in bytes."""

    @property
    def mapping(self) -> Mapping[str, str]:
        """The column, key or file that each field (caption, contributor …) is read from."""

    def parts(self) -> tuple[str, ...]:
        """Names of the parts, in a stable order; several loaders may divide them among themselves."""

    def part_fingerprint(self, part: str) -> str:
        """Text that changes when a part grows or changes: from the sizes of its files, or its number of rows.

        Raises:
            NotFound: The source has no such part.
        """

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        """Rows of a part, with every picture decoded as a check.

        Args:
            part: Name of the part.
            start: Number of the first row to read; earlier rows are skipped without being read.

        Raises:
            NotFound: The source has no such part.
            InvalidInput: A file has no caption column.
        """

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        """Rows of a part, as `read` returns them, without decoding the pictures."""


def found_work(
    part: str,
    row: int,
    values: Mapping[str, Any],
    *,
    own_id: str,
    picture: bytes = b"",
    source: str = "",
    image_features: Features | None = None,
    text_features: Features | None = None,
    notes: Sequence[str] = (),
    record: Mapping[str, Any] = MappingProxyType({}),
) -> Found:
    """A row with the work that the values describe; a broken row without a caption or with invalid rights.

    A caption that an embedder would refuse makes a broken row too, unless the features are there already.

    Args:
        part: Name of the part.
        row: Number of the row in its part.
        values: Values by field.
        own_id: Id of the work where `values` has none.
        picture: Encoded picture.
        source: Source of the work where `values` has none.
        image_features: (dimension,) float32, L2-normalised.
        text_features: (dimension,) float32, L2-normalised.
        notes: Notes about how the row was read.
        record: Values by column, which explain a missing caption and report failed downloads.
    """
    fault = download_fault(record)
    if fault:
        return found_broken(part, row, f"row {row} of {part} {fault}", loss=NOT_DOWNLOADED)
    try:
        work = work_of(values, own_id=own_id, picture=picture, source=source)
    except InvalidInput as error:
        return found_broken(part, row, error.message, loss=BROKEN_RIGHTS)
    if not work.caption:
        reason = f"work {work.id!r} {_without_caption(record)}; add one, or leave it out"
        return found_broken(part, row, reason, loss=NO_CAPTION)
    if image_features is None and len(work.caption) > MOST_CAPTION_CHARACTERS:
        reason = (
            f"the caption of work {work.id!r} has {len(work.caption):,} characters; at most"
            f" {MOST_CAPTION_CHARACTERS:,} are allowed: shorten it, or leave the work out"
        )
        return found_broken(part, row, reason, loss=LONG_CAPTION)
    all_notes = (*notes, *_notes(values, work))
    return Found(part, row, work, image_features, text_features, "", all_notes)


def _without_caption(record: Mapping[str, Any]) -> str:
    empty = [name for name in columns_of(record).get("caption", ()) if is_null(record[name])]
    return f"has an empty caption ({', '.join(empty)})" if empty else "has no caption"


def found_broken(part: str, row: int, reason: str, *, loss: str = OTHER) -> Found:
    """A row that holds no work, with the reason in one sentence and the kind of the loss."""
    return Found(part, row, None, None, None, clean(reason), loss=loss)


def _notes(values: Mapping[str, Any], work: Work) -> Iterator[str]:
    caption = values.get("caption")
    if isinstance(caption, bytes) and decode_text(caption)[1] != UTF_8:
        yield NOT_UTF_8
    if isinstance(plain(caption), list | tuple) and sum(bool(text_of(one)) for one in plain(caption)) > 1:
        yield FIRST_CAPTION
    created = values.get("created")
    if work.created is None and not is_null(created) and created_of(created) is None:
        yield NO_DATE
    contributor = values.get("contributor")
    if not is_null(contributor) and not contributors_of(contributor):
        yield NO_NAMES


def with_pictures_checked(rows: Iterator[Found]) -> Iterator[Found]:
    """The same rows, where those whose picture cannot be decoded are broken rows."""
    for found in rows:
        fault = picture_fault(found.work.thumbnail) if found.work and found.work.thumbnail else ""
        if found.work and fault:
            reason = f"the picture of work {found.work.id!r} {fault}; store it again, or leave the work out"
            yield found_broken(found.part, found.row, reason, loss=UNREADABLE_PICTURE)
        else:
            yield found
