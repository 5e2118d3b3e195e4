"""Rights holders of a work: who gets its credit, in which parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from creditline.errors import InvalidInput

WHOLE_PERCENT = 100.0
_TOLERANCE_PERCENT = 0.01


@dataclass(frozen=True)
class RightsHolder:
    """Who gets `percent` of a work's credit."""

    name: str
    percent: float


def check_rights(work_id: str, holders: Sequence[RightsHolder]) -> None:
    """Raises InvalidInput unless everybody is named once, has more than 0 %, and all together 100 %."""
    names = [holder.name for holder in holders]
    if not all(name.strip() for name in names) or len(set(names)) < len(names):
        raise InvalidInput(
            f"the rights holders of work {work_id!r} are {', '.join(map(repr, names))}; name each once",
            field="rights_holders",
        )
    for holder in holders:
        if not holder.percent > 0.0:
            raise InvalidInput(
                f"rights holder {holder.name!r} of work {work_id!r} has {holder.percent:g} %; give more than"
                " 0 %, or leave them out",
                field="rights_holders",
            )
    total = sum(holder.percent for holder in holders)
    if not abs(total - WHOLE_PERCENT) <= _TOLERANCE_PERCENT:
        raise InvalidInput(
            f"the rights holders of work {work_id!r} have {total:g} % together; make it 100 %",
            field="rights_holders",
        )
