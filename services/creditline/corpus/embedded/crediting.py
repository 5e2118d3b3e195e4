"""Who is credited and what is stated where a table and a picture speak about one work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from creditline.corpus.embedded.picture_metadata import NO_METADATA, PictureMetadata
from creditline.corpus.names import name_key
from creditline.corpus.rights import UNKNOWN, WHOLE_PERCENT, NamedPerson, RightsHolder
from creditline.corpus.works import Work

TABLE = "table"
"""Place of the names that the source itself states, in a column, a key or a file beside the picture."""
NAMES_DISAGREE = "names differ between places"
# Ends of the names of places, in the order in which they are credited.
_PRECEDENCE = (
    *(" dc:creator", "IPTC By-line", "EXIF Artist", " tiff:Artist", "EXIF XPAuthor", " plus:ImageCreator"),
    *(" cc:attributionName", "PNG Author", "PNG Artist", "C2PA author", "C2PA ingredient author"),
)


def with_metadata(work: Work, metadata: PictureMetadata) -> Work:
    """The work with what its picture says: kept whole, and used where the table says nothing.

    Args:
        work: The work as the table describes it; names at the place `TABLE` stay credited.
        metadata: The metadata of its picture, of a sidecar or of a column of EXIF data.
    """
    if metadata == NO_METADATA:
        return work
    credits = tuple(dict.fromkeys((*work.credits, *metadata.names)))
    changed: dict[str, Any] = {
        "credits": credits,
        "consent": work.consent.with_statements(metadata.statements),
    }
    credited = () if any(one.place == TABLE for one in credits) else _credited(credits)
    if credited:
        changed |= {"contributor": credited[0], "rights_holders": equal_parts(credited)}
    if work.licence == UNKNOWN and metadata.licences:
        changed["licence"] = metadata.licences[0].text
    if work.created is None and metadata.created is not None:
        changed["created"] = metadata.created
    return replace(work, **changed)


def with_table_names(work: Work) -> Work:
    """The work with the names that its table states, as the first of its credits."""
    named = tuple(NamedPerson(name, TABLE) for name in work.people if name != UNKNOWN)
    if not named:
        return work
    return replace(work, credits=tuple(dict.fromkeys((*named, *work.credits))))


def equal_parts(names: Sequence[str]) -> tuple[RightsHolder, ...]:
    """Rights holders with equal percentages; none for a single name, who is credited as the contributor."""
    if len(names) < 2:
        return ()
    return tuple(RightsHolder(name, WHOLE_PERCENT / len(names)) for name in names)


def names_disagree(credits: Sequence[NamedPerson]) -> bool:
    """Whether two places name different people; spellings of one name do not count."""
    if len(credits) < 2:
        return False
    by_place: dict[str, set[str]] = {}
    for one in credits:
        by_place.setdefault(one.place, set()).add(name_key(one.name))
    return len({frozenset(names) for names in by_place.values()}) > 1


def _credited(credits: Sequence[NamedPerson]) -> tuple[str, ...]:
    """The names of the first place, in the order of precedence, that names anybody."""
    places = sorted(dict.fromkeys(one.place for one in credits), key=_rank)
    return tuple(dict.fromkeys(one.name for one in credits if one.place == places[0])) if places else ()


def _rank(place: str) -> int:
    return next((rank for rank, end in enumerate(_PRECEDENCE) if place.endswith(end)), len(_PRECEDENCE))
