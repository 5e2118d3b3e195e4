"""A source whose works are completed by what their pictures say about themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from creditline.corpus.embedded.crediting import NAMES_DISAGREE, names_disagree, with_metadata
from creditline.corpus.embedded.picture_metadata import MADE_BY_A_MODEL
from creditline.corpus.embedded.reading import picture_metadata
from creditline.corpus.sources.found import Found, Source

MODEL_MADE = "picture says a model made it"
UNREADABLE = "consent not readable"


@dataclass(frozen=True)
class WithEmbeddedData:
    """A source, with names, licences, dates and consent from its pictures where its tables have none."""

    source: Source
    """The source as its tables describe it."""

    @property
    def kind(self) -> str:
        return self.source.kind

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def has_features(self) -> bool:
        return self.source.has_features

    @property
    def fingerprint(self) -> str:
        return self.source.fingerprint

    @property
    def size(self) -> int:
        return self.source.size

    @property
    def mapping(self) -> Mapping[str, str]:
        return self.source.mapping

    def parts(self) -> tuple[str, ...]:
        return self.source.parts()

    def part_fingerprint(self, part: str) -> str:
        return self.source.part_fingerprint(part)

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        return map(completed, self.source.read(part, start))

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        return map(completed, self.source.rows(part, start))


def completed(found: Found) -> Found:
    """The row with what its picture says, and with notes about what is to be looked at."""
    if found.work is None:
        return found
    metadata = picture_metadata(found.work.thumbnail)
    work = with_metadata(found.work, metadata)
    notes = []
    if names_disagree(work.credits):
        notes.append(NAMES_DISAGREE)
    if any(one.is_unreadable for one in work.consent.statements):
        notes.append(UNREADABLE)
    if metadata.digital_source in MADE_BY_A_MODEL:
        notes.append(MODEL_MADE)
    return (
        found if work is found.work and not notes else replace(found, work=work, notes=(*found.notes, *notes))
    )
