"""What every form of a corpus gives: rows, each a work or a sentence that says why it is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.records import created_of, work_of
from creditline.corpus.sources.picture_check import picture_fault
from creditline.corpus.texts import UTF_8, clean, decode_text
from creditline.corpus.works import Work
from creditline.errors import InvalidInput

Features = NDArray[np.float32]

NOT_UTF_8 = "caption not in UTF-8"
NO_DATE = "date not understood, left out"


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """One row of a source: a work, or None and in `broken` one sentence that says why.

    image_features, text_features: (width,) float32 of length 1, where the source holds them.
    notes: what was read with a guess or left out, each a short text that the survey counts.
    """

    part: str
    row: int
    work: Work | None
    image_features: Features | None
    text_features: Features | None
    broken: str
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """A corpus as its owner keeps it, read row by row in a stable order."""

    @property
    def kind(self) -> str:
        """Its form: folder, webdataset, parquet, clip-features or huggingface."""

    @property
    def name(self) -> str:
        """What its owner calls it: the name of its directory or file."""

    @property
    def has_features(self) -> bool:
        """Whether rows come with features of their pictures, computed before."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and sizes of its files: 64 hex digits; cheap, and other when a file is."""

    @property
    def size(self) -> int:
        """Bytes of all its files."""

    @property
    def mapping(self) -> Mapping[str, str]:
        """By field (caption, contributor …) the column, key or file that is taken for it."""

    def parts(self) -> tuple[str, ...]:
        """Stable names in a stable order; several loaders may split them."""

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        """Rows `start`… of a part; those before are skipped without being read. Pictures are checked.

        Raises NotFound for an unknown part, InvalidInput when a file holds no captions.
        """

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        """The same without a look at the pictures."""


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
) -> Found:
    """The work that `values` (by field) describe; broken without a caption or with wrong rights."""
    try:
        work = work_of(values, own_id=own_id, picture=picture, source=source)
    except InvalidInput as error:
        return found_broken(part, row, error.message)
    if not work.caption:
        return found_broken(part, row, f"work {work.id!r} has no caption; give it one, or leave it out")
    told = (*notes, *_notes(values, work))
    return Found(part, row, work, image_features, text_features, "", told)


def found_broken(part: str, row: int, reason: str) -> Found:
    """A row that holds no work. reason: one sentence."""
    return Found(part, row, None, None, None, clean(reason))


def _notes(values: Mapping[str, Any], work: Work) -> Iterator[str]:
    caption = values.get("caption")
    if isinstance(caption, bytes) and decode_text(caption)[1] != UTF_8:
        yield NOT_UTF_8
    if (
        work.created is None
        and values.get("created") not in (None, "")
        and created_of(values["created"]) is None
    ):
        yield NO_DATE


def with_pictures_checked(rows: Iterator[Found]) -> Iterator[Found]:
    """Rows whose pictures cannot be decoded become broken ones."""
    for found in rows:
        fault = picture_fault(found.work.thumbnail) if found.work and found.work.thumbnail else ""
        if found.work and fault:
            reason = f"the picture of work {found.work.id!r} {fault}; store it again, or leave the work out"
            yield replace(found, work=None, image_features=None, text_features=None, broken=reason)
        else:
            yield found
