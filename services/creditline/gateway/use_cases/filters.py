"""Filters of an answer: their checks, and what the index searches by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from creditline.api.answers import WorkFilter
from creditline.corpus.identity import People, key_of_id, key_of_name
from creditline.corpus.names import display_name
from creditline.errors import InvalidInput
from creditline.gateway.use_cases.requests import quoted
from creditline.index import WorkFilter as IndexFilter

MOST_VALUES = 100
"""Largest number of values of one field."""
LONGEST_VALUE = 500
_TEXTS = ("contributors", "contributor_ids", "licences", "consent")


def check_filter(works: WorkFilter) -> None:
    """Check a filter, the lengths first.

    Raises:
        InvalidInput: A field has too many values, a value is empty or too long, or a term of consent is none.
    """
    for field in _TEXTS:
        values = getattr(works, field)
        if len(values) > MOST_VALUES:
            raise InvalidInput(
                f"{field} of the filter has {len(values):,} values; at most {MOST_VALUES} are allowed",
                field=field,
            )
        for value in values:
            if len(value) > LONGEST_VALUE or not display_name(value):
                raise InvalidInput(
                    f"{field} of the filter has {quoted(value)}; send texts of 1 to {LONGEST_VALUE}"
                    " characters",
                    field=field,
                )
    # Checks the terms.
    IndexFilter(consent=works.consent)


def index_filter(works: WorkFilter, people: People) -> IndexFilter:
    """The filter by which the index is searched.

    Args:
        works: The filter of the request, checked.
        people: Which names and ids are one person: all of them pass when one is named.
    """
    keys = [*map(key_of_name, works.contributors), *map(key_of_id, works.contributor_ids)]
    return IndexFilter(
        contributors=works.contributors,
        people=tuple(sorted({same for key in keys for same in people.same(key)})),
        licences=works.licences,
        since=_seconds(works.created_since),
        until=_seconds(works.created_until),
        consent=works.consent,
    )


def stored_filter(works: WorkFilter | None) -> dict[str, Any] | None:
    """A filter in the form that the ledger stores with an answer; None where nothing is restricted."""
    if works is None or not works.narrows:
        return None
    times = {name: _text(getattr(works, name)) for name in ("created_since", "created_until")}
    return {**vars(works), **times}


def read_stored_filter(held: dict[str, Any] | None) -> WorkFilter | None:
    """The filter from the form that `stored_filter` gave."""
    if held is None:
        return None
    fields: dict[str, Any] = {field: tuple(held.get(field, ())) for field in _TEXTS}
    for name in ("created_since", "created_until"):
        fields[name] = datetime.fromisoformat(held[name]) if held.get(name) else None
    return WorkFilter(**fields)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else _utc(moment).isoformat()


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(_utc(moment).timestamp())


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
