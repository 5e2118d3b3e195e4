"""Names of the columns and keys that describe a work: one list for all corpus formats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from creditline.corpus.consent.columns import CONSENT_COLUMNS
from creditline.errors import InvalidInput


@dataclass(frozen=True)
class Field:
    """A field of a work and the column names that it is read from."""

    names: tuple[str, ...]
    """Accepted column names in order of preference."""
    meaning: str
    """Description of the field, for the documentation."""


# Names used by img2dataset, LAION, DataComp, clip-retrieval, Hugging Face, DiffusionDB, RedCaps, Conceptual
# Captions, YFCC and CommonCatalog, Flickr, Unsplash, Open Images, PD12M and Wikimedia Commons, and common
# names in hand-made tables. Names in another case are found too.
FIELDS = MappingProxyType(
    {
        "id": Field(
            (
                *("key", "SAMPLE_ID", "image_path", "id", "sample_id", "__key__"),
                *("photoid", "photo_id", "image_id", "uid"),
            ),
            "the work's id",
        ),
        "caption": Field(
            (
                *("caption", "TEXT", "text", "prompt", "captions", "raw_caption", "blip2_caption"),
                *("alt_text", "caption_reference_description", "photo_description", "ImageDescription"),
                *("sentences_raw", "sentences", "description"),
            ),
            "the text that the generator was trained on with the picture; of a list, the first",
        ),
        "title": Field(("title", "ObjectName", "page_title"), "the work's title; defaults to the caption"),
        "contributor": Field(
            (
                *("contributor", "author", "creator", "artist", "photographer", "artist_name"),
                *("author_name", "creator_name", "photographer_name", "photographer_username"),
                # The owner of an account may not have made the work, so these come last.
                *("unickname", "ownername", "owner_name", "owner", "user_name", "username", "user"),
            ),
            "who made the work: a name, names separated by semicolons, a list, or an object with a name",
        ),
        "contributor_id": Field(
            ("contributor_id", "author_id", "creator_id", "artist_id", "photographer_id", "isni", "orcid"),
            "the contributor's identity where names are not unique: ISNI, ORCID, or an account's id",
        ),
        "licence": Field(
            (
                *("LICENSE", "license", "licence", "licensename", "license_name", "LicenseShortName"),
                *("licenseurl", "license_url", "LicenseUrl"),
            ),
            "the work's licence, as the source states it",
        ),
        "source": Field(
            (
                *("url", "URL", "source", "image_path", "image_url", "OriginalURL", "photo_image_url"),
                *("downloadurl", "img_url"),
            ),
            "where the work came from; never fetched",
        ),
        "keywords": Field(
            ("keywords", "tags", "usertags"), "a list, or one text separated by commas or semicolons"
        ),
        "rights_holders": Field(
            ("rights_holders",),
            'who gets the credit: `[{"name", "percent"}]`, `{name: percent}`, or `Ann: 60; Ben: 40`; equal'
            " parts without percentages",
        ),
        "created": Field(
            (
                *("created", "created_at", "datetaken", "date_taken", "DateTimeOriginal", "created_utc"),
                "timestamp",
            ),
            "a year, an ISO date, or seconds since 1970",
        ),
        "uploader": Field(
            ("uploader", "uploaded_by"), "who brought the work; credited only where its makers are unknown"
        ),
        "exif": Field(("exif",), "EXIF data of the picture as JSON, as img2dataset writes it"),
        "xmp": Field(("xmp",), "the picture's XMP packet"),
        "svg": Field(("svg",), "the SVG original, for its RDF"),
        "exiftool": Field(("exiftool",), "the picture's row of `exiftool -j`"),
        "rsl": Field(("rsl",), "a licence in RSL's XML"),
        "credits": Field(("credits",), "names with places, of a packed corpus"),
        "consent": Field(("consent",), "statements about the work's use, of a packed corpus"),
        **{
            name: Field(tuple(dict.fromkeys((name, name.replace("_", "-")))), meaning)
            for name, meaning in CONSENT_COLUMNS.items()
        },
        "picture": Field(
            (
                *("image", "jpg", "png", "webp", "image_bytes", "picture", "jpeg", "img", "photo"),
                *("image.jpg", "image.png", "image.webp"),
            ),
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
# Accepted names that an error lists.
_NAMED = 4
# Fields read from a text, a number or a list of those; the others are pictures and features.
PLAIN_FIELDS = tuple(FIELDS)[: tuple(FIELDS).index("picture")]


@lru_cache(maxsize=64)
def _columns_of(names: tuple[str, ...]) -> MappingProxyType[str, tuple[str, ...]]:
    """Exact names are preferred to names in another case (`Title`, `Author`)."""
    lower: dict[str, list[str]] = {}
    for name in names:
        lower.setdefault(name.lower(), []).append(name)
    found = {}
    for field, known in FIELDS.items():
        exact = [name for name in known.names if name in names]
        alike = [name for wanted in known.names for name in lower.get(wanted.lower(), ())]
        if alike:
            found[field] = tuple(dict.fromkeys([*exact, *alike]))
    return MappingProxyType(found)


def columns_of(names: Iterable[str]) -> MappingProxyType[str, tuple[str, ...]]:
    """The columns that each present field may be read from, in order of preference."""
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
            f"{where} has none of the columns {', '.join(FIELDS['caption'].names[:_NAMED])} …, only"
            f" {', '.join(present) or 'no columns at all'}; every work needs a caption",
            field=field,
        )
