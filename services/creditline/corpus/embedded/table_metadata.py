"""What a record says beside the plain fields of a work: consent, EXIF data, sidecars, an uploader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from creditline.corpus.consent.columns import CONSENT_COLUMNS, column_statements
from creditline.corpus.consent.packing import unpacked_consent
from creditline.corpus.embedded.crediting import with_metadata, with_table_names
from creditline.corpus.embedded.exif import exif_column_metadata
from creditline.corpus.embedded.exiftool import exiftool_metadata
from creditline.corpus.embedded.picture_metadata import NO_METADATA, PictureMetadata, people
from creditline.corpus.embedded.xmp import rsl_text_statements, xmp_metadata
from creditline.corpus.rights import NamedPerson
from creditline.corpus.texts import decode_text
from creditline.corpus.works import Work

_FIELDS = frozenset(
    ("exif", "xmp", "svg", "exiftool", "rsl", "uploader", "credits", "consent", *CONSENT_COLUMNS)
)


def with_record(work: Work, values: Mapping[str, Any]) -> Work:
    """The work with all that its record says about its makers and its use.

    Args:
        work: The work with the record's plain fields.
        values: Values of the record by field.
    """
    named = with_table_names(work)
    if _FIELDS.isdisjoint(values):
        return named
    packed = PictureMetadata(
        names=tuple(_packed_credits(values.get("credits"))),
        statements=unpacked_consent(values.get("consent")).statements,
    )
    statements = PictureMetadata(statements=tuple(column_statements(values)))
    return with_metadata(named, NO_METADATA.joined(packed, statements, *_beside(values)))


def _beside(values: Mapping[str, Any]) -> Iterator[PictureMetadata]:
    """The metadata in the record's sidecars and in its columns of embedded data."""
    for origin, field in (("sidecar XMP", "xmp"), ("sidecar SVG", "svg")):
        for packet in _all_bytes(values.get(field)):
            yield xmp_metadata(packet, origin)
    if values.get("exiftool") is not None:
        yield exiftool_metadata(values["exiftool"])
    if values.get("exif") is not None:
        yield exif_column_metadata(values["exif"])
    for text in _all_bytes(values.get("rsl")):
        yield PictureMetadata(statements=tuple(rsl_text_statements("column rsl", decode_text(text)[0])))
    yield PictureMetadata(names=people("uploader", [values.get("uploader")]))


def _all_bytes(value: Any) -> Iterator[bytes]:
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, str | bytes) and one.strip():
            yield one.encode("utf-8", "replace") if isinstance(one, str) else one


def _packed_credits(value: Any) -> Iterator[NamedPerson]:
    for entry in value if isinstance(value, list | tuple) else ():
        if isinstance(entry, Mapping) and entry.get("name") and entry.get("place"):
            yield NamedPerson(str(entry["name"]), str(entry["place"]))
