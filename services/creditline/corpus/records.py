"""A work from one record of other people's metadata, whatever form it came in."""

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
# Nothing made in the first hour of 1970 is called 1890: four digits are a year.
_YEARS = range(1000, 3000)
_SPLIT = re.compile(r"[;,]")
_SHARE = re.compile(r"(?P<name>.+?)\s*[:=]\s*(?P<percent>[\d.]+)\s*%?\s*")


def fields_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record's values by field instead of by column; what is empty is left out."""
    values = {field: record[column] for field, column in columns_of(record).items()}
    return {field: value for field, value in values.items() if value is not None and value != ""}


def work_of(values: Mapping[str, Any], *, own_id: str, picture: bytes = b"", source: str = "") -> Work:
    """The work that `values` (by field) describe.

    own_id, source: taken where the record has none. Raises InvalidInput when its rights do not add up.
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
    """A text, whatever type the column has; of several (captions of one picture) the first."""
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
    """Seconds since 1970 of a year, an ISO date, a datetime or such seconds; None for anything else."""
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
    """Rights holders: a list of {name, percent}, {name: percent}, JSON of those, or `Ann: 60; Ben: 40`.

    Raises InvalidInput for anything else.
    """
    try:
        pairs = _pairs(_parsed(value))
        return tuple(RightsHolder(text_of(name), float(percent)) for name, percent in pairs)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(
            f"the rights holders of work {work_id!r} are given as {str(value)[:80]!r}; write"
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
    """Arrow gives a map as a list of pairs, JSON as a dictionary."""
    if isinstance(parsed, Mapping):
        return list(parsed.items())
    return [(one["name"], one["percent"]) if isinstance(one, Mapping) else tuple(one) for one in parsed]
