"""Conversion of one metadata record, in any of the supported forms, to a work."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from creditline.corpus.columns import columns_of
from creditline.corpus.embedded.table_metadata import with_record
from creditline.corpus.metadata.people import Named, NotUnderstood, named_people
from creditline.corpus.metadata.values import TEXT_KEYS, as_mapping, is_null, plain, structure_of
from creditline.corpus.rights import UNKNOWN, WHOLE_PERCENT, RightsHolder
from creditline.corpus.texts import clean, decode_text
from creditline.corpus.works import Work
from creditline.errors import InvalidInput

# A number of four digits is a year, not seconds of the first hour of 1970.
_YEARS = range(1000, 3000)
_TEXT_FIELDS = frozenset({"id", "caption", "title", "licence", "source"})
_SPLIT = re.compile(r"[;,]")
# The form of dates in EXIF.
_EXIF_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d)(?=$|\s)")


def fields_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a record by field instead of by column, without empty values.

    Of several columns for one field, the first one counts that says something: that is not empty, and for
    the contributor, that names somebody.
    """
    values = {}
    for field, columns in columns_of(record).items():
        given = [value for value in map(record.get, columns) if not is_null(value)]
        if given:
            values[field] = given[0] if len(given) == 1 else _first_that_tells(field, given)
    return values


def column_of(record: Mapping[str, Any], field: str) -> str | None:
    """The column that `fields_of` takes a field from; None where the record has no value for it."""
    value = fields_of(record).get(field)
    columns = columns_of(record).get(field, ()) if value is not None else ()
    return next((column for column in columns if record[column] is value), None)


def tells(field: str, value: Any) -> bool:
    """Whether a value that is not empty says something about its field."""
    if field == "contributor":
        return _names_somebody(value)
    return bool(text_of(value)) if field in _TEXT_FIELDS else True


def _first_that_tells(field: str, given: Sequence[Any]) -> Any:
    return next((value for value in given if tells(field, value)), given[0])


def _names_somebody(value: Any) -> bool:
    try:
        return bool(named_people(value))
    except NotUnderstood:
        return False


def contributors_of(value: Any) -> tuple[Named, ...]:
    """Everybody whom the contributor's value names; empty where no names are found in it."""
    try:
        return named_people(value)
    except NotUnderstood:
        return ()


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
    contributors = contributors_of(values.get("contributor"))
    rights = values.get("rights_holders")
    work = Work(
        id=work_id,
        title=text_of(values.get("title")) or caption,
        caption=caption,
        keywords=_keywords(values.get("keywords")),
        contributor=contributors[0].name if contributors else UNKNOWN,
        licence=text_of(values.get("licence")) or UNKNOWN,
        source=text_of(values.get("source")) or clean(source),
        duplicate_group=work_id,
        thumbnail=picture,
        rights_holders=_credit(contributors, work_id) if is_null(rights) else holders_of(rights, work_id),
        created=created_of(values.get("created")),
        contributor_id=text_of(values.get("contributor_id")) if contributors else "",
    )
    return with_record(work, values)


def _credit(contributors: Sequence[Named], work_id: str) -> tuple[RightsHolder, ...]:
    """Rights holders where several contributors are named; a single one needs none."""
    return _holders(contributors, work_id) if len(contributors) > 1 else ()


def text_of(value: Any) -> str:
    """The value as text, for any column type.

    Of a list, such as several captions, the first text; of an object, the text it holds, else nothing.
    """
    value = plain(value)
    if is_null(value):
        return ""
    if isinstance(value, bytes):
        value = decode_text(value)[0]
    if isinstance(value, str):
        held = structure_of(value) if value.lstrip()[:1] in ("[", "{") else None
        return text_of(held) if _holds_texts(held) else clean(value)
    mapping = as_mapping(value)
    if mapping is not None:
        return next((text for text in (text_of(mapping.get(key)) for key in TEXT_KEYS) if text), "")
    if isinstance(value, list | tuple):
        return next(filter(None, map(text_of, value)), "")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _holds_texts(held: Any) -> bool:
    """Whether a structure is a list of texts or an object with one; `[1, 2]` in a caption stays as it is."""
    if isinstance(held, Mapping):
        return bool(text_of(held))
    return (
        isinstance(held, list | tuple) and bool(held) and all(isinstance(one, str | Mapping) for one in held)
    )


def _keywords(value: Any) -> tuple[str, ...]:
    value = plain(value)
    if isinstance(value, str | bytes):
        held = structure_of(text_of(value) if isinstance(value, bytes) else value)
        value = held if isinstance(held, list | tuple) else _SPLIT.split(text_of(value))
    if is_null(value):
        return ()
    parts = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(filter(None, map(text_of, parts))))


def created_of(value: Any) -> int | None:
    """Convert a year, an ISO date, a datetime or a Unix timestamp to seconds since 1970.

    Returns:
        Seconds since 1970 (UTC); None for any other value.
    """
    value = plain(value)
    if is_null(value):
        return None
    if isinstance(value, str | bytes | Mapping):
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
        return datetime.fromisoformat(_EXIF_DATE.sub(r"\1-\2-\3", text))
    except ValueError:
        return None


def holders_of(value: Any, work_id: str) -> tuple[RightsHolder, ...]:
    """Parse the rights holders of a work.

    Args:
        value: A list of `{name, percent}` or of names, a mapping `{name: percent}`, the JSON of any of them,
            or a text such as `Ann: 60; Ben: 40` or `Ann; Ben`. Without percentages all parts are equal.
        work_id: Id of the work, for the error message.

    Raises:
        InvalidInput: The value has none of these forms.
    """
    try:
        if not isinstance(plain(value), str | bytes | Mapping | list | tuple):
            raise NotUnderstood(str(value))
        return _holders(named_people(value, of_rights=True), work_id)
    except NotUnderstood as error:
        raise InvalidInput(
            f"the rights holders of work {work_id!r} cannot be parsed from {str(value)[:80]!r}; write"
            ' [{"name": "Ann", "percent": 60}, …] or Ann: 60; Ben: 40',
            field="rights_holders",
        ) from error


def _holders(people: Sequence[Named], work_id: str) -> tuple[RightsHolder, ...]:
    """Rights holders with their percentages, or with equal parts where nobody has one."""
    percents = [one.percent for one in people if one.percent is not None]
    if not percents:
        return tuple(RightsHolder(one.name, WHOLE_PERCENT / len(people)) for one in people)
    if len(percents) < len(people):
        without = next(one.name for one in people if one.percent is None)
        raise InvalidInput(
            f"rights holder {without!r} of work {work_id!r} has no percentage and others have; give everybody"
            " a percentage, or nobody",
            field="rights_holders",
        )
    return tuple(RightsHolder(one.name, percent) for one, percent in zip(people, percents, strict=True))
