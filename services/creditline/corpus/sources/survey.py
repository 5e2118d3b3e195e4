"""The dry run: what a source holds and what is wrong with it, before anything is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from creditline.corpus.sources.found import Found, Source
from creditline.corpus.sources.seen_ids import Distinct, Place, SeenIds
from creditline.corpus.works import Work

_NAMED_BROKEN, _NAMED_DUPLICATES, _SAMPLE = 20, 5, 3
# Where licences are free texts, those after the first ones are counted together.
_TOLD_EVERY = 500
_NAMED_LICENCES, _OTHER_LICENCES = 1000, "other licences"


@dataclass(frozen=True)
class Broken:
    """A row that holds no work, and why: one sentence."""

    part: str
    row: int
    reason: str


@dataclass(frozen=True)
class Duplicate:
    """An id that two rows have."""

    work_id: str
    first: Place
    again: Place


@dataclass(frozen=True)
class Survey:
    """What a source holds.

    is_whole: whether all rows were read, not only the first `limit`. size: bytes of all its files.
    duplicates: rows whose id an earlier row has. contributors: how many different ones.
    licences, notes: how often each comes. mapping: by field the column, key or file taken for it.
    image_width, text_width: numbers of a row of features, 0 without. sample: the first works.
    """

    kind: str
    name: str
    fingerprint: str
    parts: int
    size: int
    mapping: dict[str, str]
    is_whole: bool
    works: int
    with_picture: int
    pictures_checked: bool
    broken: int
    first_broken: tuple[Broken, ...]
    duplicates: int
    first_duplicates: tuple[Duplicate, ...]
    contributors: int
    licences: dict[str, int]
    notes: dict[str, int]
    has_features: bool
    image_width: int
    text_width: int
    sample: tuple[Work, ...]


@dataclass
class _Count:
    """What is summed up while rows go by; it holds eight bytes a row, and no row."""

    seen: SeenIds = field(default_factory=SeenIds)
    works: int = 0
    with_picture: int = 0
    broken: int = 0
    first_broken: list[Broken] = field(default_factory=list)
    contributors: Distinct = field(default_factory=Distinct)
    licences: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    widths: tuple[int, int] = (0, 0)
    sample: list[Work] = field(default_factory=list)

    def add(self, found: Found) -> None:
        """Count one row."""
        self.seen.add(found.part, found.row, found.work.id if found.work else None)
        self.notes.update(found.notes)
        if found.work is not None:
            self._add_work(found, found.work)
            return
        self.broken += 1
        if len(self.first_broken) < _NAMED_BROKEN:
            self.first_broken.append(Broken(found.part, found.row, found.broken))

    def _add_work(self, found: Found, work: Work) -> None:
        self.works += 1
        self.with_picture += bool(work.thumbnail)
        self.contributors.add(work.contributor)
        is_named = work.licence in self.licences or len(self.licences) < _NAMED_LICENCES
        self.licences[work.licence if is_named else _OTHER_LICENCES] += 1
        if len(self.sample) < _SAMPLE:
            self.sample.append(work)
        if found.image_features is not None:
            texts = 0 if found.text_features is None else len(found.text_features)
            self.widths = (len(found.image_features), texts)


def survey(
    source: Source,
    *,
    check_pictures: bool = True,
    limit: int | None = None,
    progress: Callable[[int, str], None] | None = None,
) -> Survey:
    """Read a source to its end, or its first `limit` rows, and say what is in it.

    check_pictures: whether every picture is decoded, which takes most of the time.
    progress: told now and then how many rows were read, and in which part.
    Raises InvalidInput when a file holds no captions.
    """
    rows = _rows(source, check_pictures)
    count = _Count()
    for number, found in enumerate(islice(rows, limit), 1):
        count.add(found)
        if progress is not None and number % _TOLD_EVERY == 0:
            progress(number, found.part)
    return Survey(
        kind=source.kind,
        name=source.name,
        fingerprint=source.fingerprint,
        parts=len(source.parts()),
        size=source.size,
        mapping=dict(source.mapping),
        is_whole=limit is None or next(rows, None) is None,
        works=count.works,
        with_picture=count.with_picture,
        pictures_checked=check_pictures,
        broken=count.broken,
        first_broken=tuple(count.first_broken),
        duplicates=count.seen.repeated(),
        first_duplicates=tuple(islice(_duplicates(source, count.seen), _NAMED_DUPLICATES)),
        contributors=count.contributors.count(),
        licences=dict(count.licences.most_common()),
        notes=dict(count.notes.most_common()),
        has_features=source.has_features,
        image_width=count.widths[0],
        text_width=count.widths[1],
        sample=tuple(count.sample),
    )


def _rows(source: Source, check_pictures: bool) -> Iterator[Found]:
    for part in source.parts():
        yield from source.read(part) if check_pictures else source.rows(part)


def _duplicates(source: Source, seen: SeenIds) -> Iterator[Duplicate]:
    """Rows with the same id, read once more: hashes may agree by chance."""
    for first, again in seen.repetitions():
        one, other = (_work_id(source, place) for place in (first, again))
        if one == other:
            yield Duplicate(one, first, again)


def _work_id(source: Source, place: Place) -> str:
    found = next(source.rows(place.part, place.row))
    return found.work.id if found.work else ""
