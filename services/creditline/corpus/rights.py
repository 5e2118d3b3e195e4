"""Rights holders of a work with their percentages of its credit, and the names that its sources give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from creditline.errors import InvalidInput

WHOLE_PERCENT = 100.0
UNKNOWN = "unknown"
"""Contributor, or licence, of works for which none is stated."""
_TOLERANCE_PERCENT = 0.01


@dataclass(frozen=True)
class RightsHolder:
    """A person or organisation that gets a percentage of a work's credit."""

    name: str
    """Name of the rights holder."""
    percent: float
    """Percentage of the work's credit, above 0 and at most 100."""


@dataclass(frozen=True)
class NamedPerson:
    """A person or organisation that one place names as the maker of a work."""

    name: str
    """Name of the person."""
    place: str
    """Where it was read, such as `table` or `XMP dc:creator`."""


def check_rights(work_id: str, holders: Sequence[RightsHolder]) -> None:
    """Check the rights holders of a work.

    Raises:
        InvalidInput: A name is empty or repeated, a percentage is not above 0, or the sum is not 100 %.
    """
    names = [holder.name for holder in holders]
    if not all(name.strip() for name in names) or len(set(names)) < len(names):
        raise InvalidInput(
            f"the rights holders of work {work_id!r} are {', '.join(map(repr, names))}; name each one exactly"
            " once",
            field="rights_holders",
        )
    for holder in holders:
        if not holder.percent > 0.0:
            raise InvalidInput(
                f"rights holder {holder.name!r} of work {work_id!r} has {holder.percent:g} %; give a"
                " percentage above 0, or remove this rights holder",
                field="rights_holders",
            )
    total = sum(holder.percent for holder in holders)
    if not abs(total - WHOLE_PERCENT) <= _TOLERANCE_PERCENT:
        raise InvalidInput(
            f"the rights holders of work {work_id!r} have {total:g} % together; make the sum 100 %",
            field="rights_holders",
        )
