"""Counts of a corpus by source, licence, contributor, type of picture, period and consent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from creditline.corpus.consent.counts import ConsentCounts
from creditline.corpus.embedded.reading import media_type
from creditline.corpus.rights import UNKNOWN
from creditline.corpus.sources.embedded_data import MODEL_MADE
from creditline.corpus.sources.found import Found
from creditline.corpus.sources.opening import open_source
from creditline.corpus.sources.seen_ids import Distinct
from creditline.corpus.works import Work, is_packed, read_corpus

# Different texts beyond these are counted together, so that memory stays bounded.
_MOST_NAMED = 1_000_000
OTHERS = "others"
"""Name under which texts beyond the first million are counted."""
LOCAL = "files without an address"
"""Origin of works whose source is no URL."""


@dataclass(frozen=True)
class Amount:
    """Works and the size of their pictures."""

    works: int
    """Number of works."""
    size: int
    """Size of their encoded pictures in bytes."""


@dataclass(frozen=True)
class CorpusCounts:
    """All counts of one corpus."""

    name: str
    """Name of the corpus."""
    kind: str
    """Format of its source."""
    fingerprint: str
    """Fingerprint of its source: 64 hex digits."""
    works: int
    """Number of works."""
    broken: int
    """Number of rows that hold no work."""
    with_picture: int
    """Number of works with a picture."""
    size: int
    """Size of all encoded pictures in bytes."""
    caption_characters: int
    """Number of characters in all captions."""
    origins: dict[str, Amount]
    """Works by host of their source, the largest first."""
    licences: dict[str, int]
    """Works by licence as stated, the most frequent first."""
    contributors: int
    """Number of different contributors who are named."""
    without_contributor: int
    """Number of works without a named contributor."""
    largest_contributors: dict[str, int]
    """Works by contributor or rights holder, the twenty with the most works."""
    types: dict[str, int]
    """Works by media type of their picture."""
    years: dict[str, int]
    """Works by year of creation, in order."""
    undated: int
    """Number of works without a date."""
    first_date: str | None
    """Earliest date of a work; None if no work has one."""
    last_date: str | None
    """Latest date of a work; None if no work has one."""
    consent: dict[str, dict[str, int]]
    """Works by use and by what is said about it."""
    model_made: int
    """Works whose picture says that a model made it."""


@dataclass
class _Totals:
    works: int = 0
    broken: int = 0
    with_picture: int = 0
    size: int = 0
    caption_characters: int = 0
    origin_works: Counter[str] = field(default_factory=Counter)
    origin_sizes: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    people: Counter[str] = field(default_factory=Counter)
    contributors: Distinct = field(default_factory=Distinct)
    without_contributor: int = 0
    types: Counter[str] = field(default_factory=Counter)
    years: Counter[int] = field(default_factory=Counter)
    undated: int = 0
    dates: list[datetime] = field(default_factory=list)
    consent: ConsentCounts = field(default_factory=ConsentCounts)
    model_made: int = 0

    def add(self, found: Found) -> None:
        if found.work is None:
            self.broken += 1
            return
        self.model_made += MODEL_MADE in found.notes
        self.add_work(found.work)

    def add_work(self, work: Work) -> None:
        self.works += 1
        self.with_picture += bool(work.thumbnail)
        self.size += len(work.thumbnail)
        self.caption_characters += len(work.caption)
        self.consent.add(work.consent)
        origin = _bounded(self.origin_works, origin_of(work.source))
        self.origin_works[origin] += 1
        self.origin_sizes[origin] += len(work.thumbnail)
        self.licences[_bounded(self.licences, work.licence)] += 1
        self.types[media_type(work.thumbnail) if work.thumbnail else "no picture"] += 1
        self._add_people(work)
        self._add_date(work.created)

    def _add_people(self, work: Work) -> None:
        names = [name for name in work.people if name and name != UNKNOWN]
        self.without_contributor += not names
        for name in names:
            self.contributors.add(name)
            self.people[_bounded(self.people, name)] += 1

    def _add_date(self, created: int | None) -> None:
        try:
            date = None if created is None else datetime.fromtimestamp(created, UTC)
        except (ValueError, OverflowError, OSError):
            date = None
        if date is None:
            self.undated += 1
            return
        self.years[date.year] += 1
        self.dates = [min([date, *self.dates]), max([date, *self.dates])]


def corpus_counts(path: Path, *, kind: str | None = None) -> CorpusCounts:
    """Read a source and count; pictures are not decoded.

    Args:
        path: A packed corpus, or a directory or file of works in any format.
        kind: Format of the source; None detects it.

    Raises:
        CreditlineError: The source cannot be opened.
    """
    totals = _Totals()
    if kind is None and path.is_file() and is_packed(path):
        corpus = read_corpus(path)
        for work in corpus:
            totals.add_work(work)
        return _finished(totals, corpus.name, "packed", corpus.fingerprint)
    source = open_source(path, kind=kind)
    for part in source.parts():
        for found in source.rows(part):
            totals.add(found)
    return _finished(totals, source.name, source.kind, source.fingerprint)


def origin_of(source: str) -> str:
    """The host of a URL; `LOCAL` for anything else."""
    if "://" not in source:
        return LOCAL
    try:
        return urlsplit(source).hostname or LOCAL
    except ValueError:  # Such as "http://[half an address".
        return LOCAL


def _bounded(counter: Counter[str], text: str) -> str:
    return text if text in counter or len(counter) < _MOST_NAMED else OTHERS


def _finished(totals: _Totals, name: str, kind: str, fingerprint: str) -> CorpusCounts:
    ordered = sorted(totals.origin_works, key=lambda one: (-totals.origin_sizes[one], one))
    return CorpusCounts(
        name=name,
        kind=kind,
        fingerprint=fingerprint,
        works=totals.works,
        broken=totals.broken,
        with_picture=totals.with_picture,
        size=totals.size,
        caption_characters=totals.caption_characters,
        origins={one: Amount(totals.origin_works[one], totals.origin_sizes[one]) for one in ordered},
        licences=_most_frequent(totals.licences),
        contributors=totals.contributors.count(),
        without_contributor=totals.without_contributor,
        largest_contributors=dict(list(_most_frequent(totals.people).items())[:20]),
        types=_most_frequent(totals.types),
        years={f"{year:04}": totals.years[year] for year in sorted(totals.years)},
        undated=totals.undated,
        first_date=_day(min(totals.dates, default=None)),
        last_date=_day(max(totals.dates, default=None)),
        consent=totals.consent.by_use(),
        model_made=totals.model_made,
    )


def _most_frequent(counter: Iterable[str] | Counter[str]) -> dict[str, int]:
    """Counts with the greatest first, equal ones by name."""
    return dict(sorted(Counter(counter).items(), key=lambda pair: (-pair[1], pair[0])))


def _day(date: datetime | None) -> str | None:
    return None if date is None else date.date().isoformat()
