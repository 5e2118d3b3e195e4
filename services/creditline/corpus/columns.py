"""Which columns and keys of other people's files say what of a work: one list for every form of a corpus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class Field:
    """What a column may be called, the first that is there being taken, and what it gives."""

    names: tuple[str, ...]
    meaning: str


# Names that img2dataset, LAION, clip-retrieval and Hugging Face write, and people in tables of their own.
FIELDS = MappingProxyType(
    {
        "id": Field(("key", "SAMPLE_ID", "image_path", "id", "sample_id", "__key__"), "the work's id"),
        "caption": Field(("caption", "TEXT", "text"), "what the generator was trained on with it"),
        "title": Field(("title",), "its title; without one the caption"),
        "contributor": Field(
            ("contributor", "author", "creator", "artist", "photographer"),
            "who made it; without one the source's host",
        ),
        "licence": Field(("LICENSE", "license", "licence"), "its licence, in the source's own words"),
        "source": Field(("url", "URL", "source", "image_path"), "where it came from; never fetched"),
        "keywords": Field(("keywords", "tags"), "a list, or one text with commas or semicolons"),
        "rights_holders": Field(
            ("rights_holders",),
            'who gets the credit: [{"name", "percent"}], {name: percent}, or `Ann: 60; Ben: 40`',
        ),
        "created": Field(("created", "created_at"), "a year, an ISO date, or seconds since 1970"),
        "picture": Field(
            ("image", "jpg", "png", "webp", "image_bytes", "picture"), "encoded bytes, or {bytes, path}"
        ),
        "image_features": Field(
            ("image_embedding", "image_features", "img_emb"), "the image tower's numbers, as a list"
        ),
        "text_features": Field(
            ("text_embedding", "text_features", "text_emb"), "the text tower's numbers, as a list"
        ),
    }
)
# Those that a text, a number or a list of them gives; the others are pictures and features.
PLAIN_FIELDS = tuple(FIELDS)[: tuple(FIELDS).index("picture")]


@lru_cache(maxsize=64)
def _columns_of(names: tuple[str, ...]) -> MappingProxyType[str, str]:
    """Exact names come first, the same names in other letters (`Title`, `Author`) after them."""
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
    """The column that is taken for each field, of those that are there."""
    return _columns_of(tuple(names))


def require_caption(where: object, names: Iterable[str], *, field: str | None = None) -> None:
    """Raises InvalidInput, naming the columns that are there, when none is a caption."""
    there = tuple(names)
    if "caption" not in columns_of(there):
        raise InvalidInput(
            f"{where} has none of the columns {', '.join(FIELDS['caption'].names)}, only"
            f" {', '.join(there) or 'none at all'}; a work needs its caption",
            field=field,
        )
