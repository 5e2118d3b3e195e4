"""Names of the columns and keys that describe a work: one list for all corpus formats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class Field:
    """A field of a work and the column names that it is read from."""

    names: tuple[str, ...]
    """Accepted column names in order of preference."""
    meaning: str
    """Description of the field, for the documentation."""


# Names used by img2dataset, LAION, clip-retrieval and Hugging Face, and common names in hand-made tables.
FIELDS = MappingProxyType(
    {
        "id": Field(("key", "SAMPLE_ID", "image_path", "id", "sample_id", "__key__"), "the work's id"),
        "caption": Field(
            ("caption", "TEXT", "text"), "the text that the generator was trained on with the picture"
        ),
        "title": Field(("title",), "the work's title; defaults to the caption"),
        "contributor": Field(
            ("contributor", "author", "creator", "artist", "photographer"),
            "who made the work; defaults to the host name of the source",
        ),
        "licence": Field(("LICENSE", "license", "licence"), "the work's licence, as the source states it"),
        "source": Field(("url", "URL", "source", "image_path"), "where the work came from; never fetched"),
        "keywords": Field(("keywords", "tags"), "a list, or one text separated by commas or semicolons"),
        "rights_holders": Field(
            ("rights_holders",),
            'who gets the credit: `[{"name", "percent"}]`, `{name: percent}`, or `Ann: 60; Ben: 40`',
        ),
        "created": Field(("created", "created_at"), "a year, an ISO date, or seconds since 1970"),
        "picture": Field(
            ("image", "jpg", "png", "webp", "image_bytes", "picture"),
            "encoded bytes, or a struct `{bytes, path}`",
        ),
        "image_features": Field(
            ("image_embedding", "image_features", "img_emb"), "image features, as a list of numbers"
        ),
        "text_features": Field(
            ("text_embedding", "text_features", "text_emb"), "text features, as a list of numbers"
        ),
    }
)
# Fields read from a text, a number or a list of those; the others are pictures and features.
PLAIN_FIELDS = tuple(FIELDS)[: tuple(FIELDS).index("picture")]


@lru_cache(maxsize=64)
def _columns_of(names: tuple[str, ...]) -> MappingProxyType[str, str]:
    """Exact names are preferred to names in another case (`Title`, `Author`)."""
    lower = {name.lower(): name for name in reversed(names)}
    found = {}
    for field, known in FIELDS.items():
        exact = (name for name in known.names if name in names)
        alike = (lower[name.lower()] for name in known.names if name.lower() in lower)
        column = next(exact, None) or next(alike, None)
        if column is not None:
            found[field] = column
    return MappingProxyType(found)


def columns_of(names: Iterable[str]) -> MappingProxyType[str, str]:
    """The column that each field is read from, for the fields that are present."""
    return _columns_of(tuple(names))


def require_caption(where: object, names: Iterable[str], *, field: str | None = None) -> None:
    """Check that there is a caption column.

    Args:
        where: File or table, for the error message.
        names: Columns that are present.
        field: Request field that the error names.

    Raises:
        InvalidInput: None of the columns is a caption; the message lists them.
    """
    present = tuple(names)
    if "caption" not in columns_of(present):
        raise InvalidInput(
            f"{where} has none of the columns {', '.join(FIELDS['caption'].names)}, only"
            f" {', '.join(present) or 'no columns at all'}; every work needs a caption",
            field=field,
        )
