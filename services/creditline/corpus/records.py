"""Conversion of one metadata record, in any of the supported forms, to a work."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from creditline.corpus.columns import columns_of
from creditline.corpus.rights import WHOLE_PERCENT, RightsHolder
from creditline.corpus.texts import clean, decode_text
from creditline.corpus.works import Work
from creditline.errors import InvalidInput

UNKNOWN = "unknown"
# A number of four digits is a year, not seconds of the first hour of 1970.
_YEARS = range(1000, 3000)
_SPLIT = re.compile(r"[;,]")
_SHARE = re.compile(r"(?P<name>.+?)\s*[:=]\s*(?P<percent>[\d.]+)\s*%?\s*")


def fields_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a record by field instead of by column, without empty values."""
    values = {field: record[column] for field, column in columns_of(record).items()}
    return {field: value for field, value in values.items() if value is not None and value != ""}


def work_of(values: Mapping[str, Any], *, own_id: str, picture: bytes = b"", source: str = "") -> Work:
    """Build a work from values by field.

    Args:
        values: Values by field, as `fields_of` returns them.
        own_id: Id of the work where the record has none.
        picture: Encoded picture.
        source: Source of the work where the record has none.

    Raises:
        InvalidInput: The rights holders cannot be parsed or do not add up to 100 %.
    """
    work_id = text_of(values.get("id")) or clean(own_id)
    caption = text_of(values.get("caption"))
    where = text_of(values.get("source")) or clean(source)
    holders = values.get("rights_holders")
    return Work(
        id=work_id,
        title=text_of(values.get("title")) or caption,
        caption=caption,
        keywords=_keywords(values.get("keywords")),
        contributor=text_of(values.get("contributor")) or _host(where) or UNKNOWN,
        licence=text_of(values.get("licence")) or UNKNOWN,
        source=where,
        duplicate_group=work_id,
        thumbnail=picture,
        rights_holders=() if holders is None else holders_of(holders, work_id),
        created=created_of(values.get("created")),
    )


def text_of(value: Any) -> str:
    """The value as text, for any column type; of a list, such as several captions, the first text."""
    if isinstance(value, str):
        return clean(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        return clean(decode_text(value)[0])
    if isinstance(value, list | tuple):
        return next(filter(None, map(text_of, value)), "")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _keywords(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    parts = value if isinstance(value, list | tuple) else _SPLIT.split(text_of(value))
    return tuple(dict.fromkeys(filter(None, map(text_of, parts))))


def _host(url: str) -> str:
    scheme, _, rest = url.partition("//")
    return _hostname(rest.partition("/")[0]) if rest and scheme.endswith(":") else ""


@lru_cache(maxsize=4096)
def _hostname(authority: str) -> str:
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:  # such as "http://[half an address"
        return ""


def created_of(value: Any) -> int | None:
    """Convert a year, an ISO date, a datetime or a Unix timestamp to seconds since 1970.

    Returns:
        Seconds since 1970 (UTC); None for any other value.
    """
    if isinstance(value, str | bytes):
        value = _number_or_date(text_of(value))
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    seconds = int(value)
    return int(datetime(seconds, 1, 1, tzinfo=UTC).timestamp()) if seconds in _YEARS else seconds


def _number_or_date(text: str) -> float | datetime | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def holders_of(value: Any, work_id: str) -> tuple[RightsHolder, ...]:
    """Parse the rights holders of a work.

    Args:
        value: A list of `{name, percent}`, a mapping `{name: percent}`, the JSON of either, or a text such
            as `Ann: 60; Ben: 40`.
        work_id: Id of the work, for the error message.

    Raises:
        InvalidInput: The value has none of these forms.
    """
    try:
        pairs = _pairs(_parsed(value))
        return tuple(RightsHolder(text_of(name), float(percent)) for name, percent in pairs)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(
            f"the rights holders of work {work_id!r} cannot be parsed from {str(value)[:80]!r}; write"
            ' [{"name": "Ann", "percent": 60}, …] or Ann: 60; Ben: 40',
            field="rights_holders",
        ) from error


def _parsed(value: Any) -> Any:
    if not isinstance(value, str | bytes):
        return value
    text = text_of(value)
    if text[:1] in ("[", "{"):
        return json.loads(text)
    named = [part for part in text.split(";") if part.strip()]
    if len(named) == 1 and not _SHARE.fullmatch(text):
        return {text: WHOLE_PERCENT}
    shares = [_SHARE.fullmatch(part.strip()) for part in named]
    if None in shares:
        raise ValueError(text)
    return [(share["name"], share["percent"]) for share in shares if share]


def _pairs(parsed: Any) -> Sequence[tuple[Any, Any]]:
    """(name, percent) pairs; Arrow returns a map as a list of pairs, JSON as a dictionary."""
    if isinstance(parsed, Mapping):
        return list(parsed.items())
    return [(one["name"], one["percent"]) if isinstance(one, Mapping) else tuple(one) for one in parsed]
