"""What one picture says about itself: names, licences, statements about its use, and a date."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

from creditline.corpus.consent.uses import Statement
from creditline.corpus.metadata.people import NotUnderstood, named_people
from creditline.corpus.rights import NamedPerson
from creditline.corpus.texts import clean

_TAG = re.compile(r"<[a-zA-Z/!][^<>]*>")
_DATE = re.compile(r"\s*(\d{4})[-:]?(\d\d)?[-:]?(\d\d)?(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?")
_MOST_NAMES = 50
_CACHED_TEXTS = 4096
_MOST_NAME_LENGTH, _MOST_LICENCE_LENGTH = 200, 500
# Words that programs and forms put where a name belongs.
_PLACEHOLDERS = frozenset({"anonymous", "none", "author", "artist", "creator"})
MADE_BY_A_MODEL = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia")
"""Digital source types of the IPTC for pictures that a model made, wholly or in part."""


@dataclass(frozen=True)
class Licence:
    """A licence or notice of rights that one place states."""

    text: str
    """Address or text of the licence."""
    place: str
    """Where it was read."""


@dataclass(frozen=True)
class PictureMetadata:
    """Names, licences and statements about the use of one picture, each with its place."""

    names: tuple[NamedPerson, ...] = ()
    """Makers of the picture."""
    licences: tuple[Licence, ...] = ()
    """Licences and notices of rights."""
    statements: tuple[Statement, ...] = ()
    """Statements about the use of the picture."""
    created: int | None = None
    """When the picture was made, in seconds since 1970; None if unknown."""
    digital_source: str = ""
    """The IPTC's code of the way in which the picture was made; empty if unknown."""

    def joined(self, *others: Self) -> PictureMetadata:
        """The metadata of several places as one; the first date and source that are given hold."""
        parts = (self, *others)
        return PictureMetadata(
            names=tuple(one for part in parts for one in part.names),
            licences=tuple(one for part in parts for one in part.licences),
            statements=tuple(one for part in parts for one in part.statements),
            created=next((part.created for part in parts if part.created is not None), None),
            digital_source=next((part.digital_source for part in parts if part.digital_source), ""),
        )


NO_METADATA = PictureMetadata()
"""The metadata of a picture that says nothing about itself."""


def people(place: str, values: Iterable[Any]) -> tuple[NamedPerson, ...]:
    """The names in the values of one place; a semicolon separates names, and an HTML link is its text."""
    names: dict[str, None] = {}
    for value in values:
        names.update(dict.fromkeys(_names_in_text(value) if isinstance(value, str) else _names_in(value)))
    return tuple(NamedPerson(name, place) for name in list(names)[:_MOST_NAMES])


@lru_cache(maxsize=_CACHED_TEXTS)
def _names_in_text(text: str) -> tuple[str, ...]:
    """The names in a text; cached, because the places of a picture mostly name the same people."""
    return _names_in(text)


def _names_in(value: Any) -> tuple[str, ...]:
    try:
        named = named_people(value)
    except NotUnderstood:
        return ()
    return tuple(one.name[:_MOST_NAME_LENGTH] for one in named if one.name.casefold() not in _PLACEHOLDERS)


def licences(place: str, texts: Iterable[str]) -> tuple[Licence, ...]:
    """The licences that one place states, in one line each."""
    found = [" ".join(_without_markup(clean(text)).split())[:_MOST_LICENCE_LENGTH] for text in texts]
    return tuple(Licence(text, place) for text in dict.fromkeys(found) if text)


def seconds(text: str) -> int | None:
    """A date as embedded data state it, in seconds since 1970; None where there is none.

    XMP writes `2024-05-06T10:11:12Z` or only `2024`, EXIF `2024:05:06 10:11:12`, IPTC `20240506`.
    """
    found = _DATE.match(text)
    if not found:
        return None
    year, month, day = (int(part) if part else 1 for part in found.groups()[:3])
    hour, minute, second = (int(part) if part else 0 for part in found.groups()[3:])
    try:
        return int(datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _without_markup(text: str) -> str:
    """The text without tags, entities decoded."""
    if "<" not in text and "&" not in text:
        return text
    return html.unescape(_TAG.sub("", text))
