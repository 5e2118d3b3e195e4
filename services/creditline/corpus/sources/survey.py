"""Survey of a source: its contents and its faults, found by reading without writing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from creditline.corpus.consent.counts import ConsentCounts
from creditline.corpus.names import name_key
from creditline.corpus.sources.found import Found, Source
from creditline.corpus.sources.losses import OTHER
from creditline.corpus.sources.seen_ids import Distinct, Place, SeenIds
from creditline.corpus.works import Work

_NAMED_BROKEN, _NAMED_DUPLICATES, _SAMPLE = 20, 5, 3
# Rows between two progress reports.
_REPORT_EVERY_ROWS = 500
# Licences beyond the first thousand different texts are counted together.
_NAMED_LICENCES, _OTHER_LICENCES = 1000, "other licences"


@dataclass(frozen=True)
class Broken:
    """A row that holds no work."""

    part: str
    """Name of the part."""
    row: int
    """Number of the row in its part, from 0."""
    reason: str
    """One sentence that gives the reason."""


@dataclass(frozen=True)
class Duplicate:
    """An id that occurs in two rows."""

    work_id: str
    """The repeated id."""
    first: Place
    """The first row with the id."""
    again: Place
    """A later row with the id."""


@dataclass(frozen=True)
class Survey:
    """Contents and faults of a source."""

    kind: str
    """Format of the source."""
    name: str
    """Name of the source's directory or file."""
    fingerprint: str
    """SHA-256 over the names and sizes of all files: 64 hex digits."""
    parts: int
    """Number of parts."""
    size: int
    """Total size of all files in bytes."""
    mapping: dict[str, str]
    """The column, key or file that each field is read from."""
    is_whole: bool
    """Whether all rows were read, not only the first `limit`."""
    works: int
    """Number of rows that hold a work."""
    with_picture: int
    """Number of works with a picture."""
    pictures_checked: bool
    """Whether every picture was decoded."""
    broken: int
    """Number of rows that hold no work."""
    first_broken: tuple[Broken, ...]
    """The first broken rows, at most 20."""
    losses: dict[str, int]
    """Number of broken rows by kind of loss, see `losses`."""
    duplicates: int
    """Number of rows whose id an earlier row already has."""
    first_duplicates: tuple[Duplicate, ...]
    """The first repeated ids, at most 5."""
    contributors: int
    """Number of different people who are credited, whatever the spelling of their names."""
    licences: dict[str, int]
    """Number of works by licence."""
    notes: dict[str, int]
    """Number of rows by note."""
    consent: dict[str, dict[str, int]]
    """Number of works by use and by what is said about it (`creditline.corpus.consent.uses`)."""
    has_features: bool
    """Whether rows have precomputed image features."""
    image_width: int
    """Dimension of the image features; 0 without any."""
    text_width: int
    """Dimension of the text features; 0 without any."""
    sample: tuple[Work, ...]
    """The first works, at most 3."""


@dataclass
class _Totals:
    """Running totals of a survey; eight bytes of memory per row, without the rows themselves."""

    seen: SeenIds = field(default_factory=SeenIds)
    works: int = 0
    with_picture: int = 0
    broken: int = 0
    first_broken: list[Broken] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)
    contributors: Distinct = field(default_factory=Distinct)
    licences: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    consent: ConsentCounts = field(default_factory=ConsentCounts)
    dimensions: tuple[int, int] = (0, 0)
    sample: list[Work] = field(default_factory=list)

    def add(self, found: Found) -> None:
        """Add one row to the totals."""
        self.seen.add(found.part, found.row, found.work.id if found.work else None)
        self.notes.update(found.notes)
        if found.work is not None:
            self._add_work(found, found.work)
            return
        self.broken += 1
        self.losses[found.loss or OTHER] += 1
        if len(self.first_broken) < _NAMED_BROKEN:
            self.first_broken.append(Broken(found.part, found.row, found.broken))

    def _add_work(self, found: Found, work: Work) -> None:
        self.works += 1
        self.with_picture += bool(work.thumbnail)
        for holder in work.holders:
            self.contributors.add(name_key(holder.name))
        is_named = work.licence in self.licences or len(self.licences) < _NAMED_LICENCES
        self.licences[work.licence if is_named else _OTHER_LICENCES] += 1
        self.consent.add(work.consent)
        if len(self.sample) < _SAMPLE:
            self.sample.append(work)
        if found.image_features is not None:
            texts = 0 if found.text_features is None else len(found.text_features)
            self.dimensions = (len(found.image_features), texts)


def survey(
    source: Source,
    *,
    check_pictures: bool = True,
    limit: int | None = None,
    progress: Callable[[int, str], None] | None = None,
) -> Survey:
    """Read a source and summarise its contents and faults.

    Args:
        source: The source to read.
        check_pictures: Whether to decode every picture, which takes most of the time.
        limit: Number of rows to read; None reads all.
        progress: Called every 500 rows with the number of rows read and the name of the current part.

    Raises:
        InvalidInput: A file has no caption column.
    """
    rows = _rows(source, check_pictures)
    totals = _Totals()
    for number, found in enumerate(islice(rows, limit), 1):
        totals.add(found)
        if progress is not None and number % _REPORT_EVERY_ROWS == 0:
            progress(number, found.part)
    return Survey(
        kind=source.kind,
        name=source.name,
        fingerprint=source.fingerprint,
        parts=len(source.parts()),
        size=source.size,
        mapping=dict(source.mapping),
        is_whole=limit is None or next(rows, None) is None,
        works=totals.works,
        with_picture=totals.with_picture,
        pictures_checked=check_pictures,
        broken=totals.broken,
        first_broken=tuple(totals.first_broken),
        losses=dict(totals.losses.most_common()),
        duplicates=totals.seen.repeated(),
        first_duplicates=tuple(islice(_duplicates(source, totals.seen), _NAMED_DUPLICATES)),
        contributors=totals.contributors.count(),
        licences=dict(totals.licences.most_common()),
        notes=dict(totals.notes.most_common()),
        consent=totals.consent.by_use(),
        has_features=source.has_features,
        image_width=totals.dimensions[0],
        text_width=totals.dimensions[1],
        sample=tuple(totals.sample),
    )


def _rows(source: Source, check_pictures: bool) -> Iterator[Found]:
    for part in source.parts():
        yield from source.read(part) if check_pictures else source.rows(part)


def _duplicates(source: Source, seen: SeenIds) -> Iterator[Duplicate]:
    """Rows with the same id; both rows are read again because hashes may be equal by chance."""
    for first, again in seen.repetitions():
        one, other = (_work_id(source, place) for place in (first, again))
        if one == other:
            yield Duplicate(one, first, again)


def _work_id(source: Source, place: Place) -> str:
    found = next(source.rows(place.part, place.row))
    return found.work.id if found.work else ""
