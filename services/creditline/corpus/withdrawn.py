"""What of a corpus is left out, on its contributors' or the operator's wish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from creditline.corpus.works import Work


@dataclass(frozen=True)
class Withdrawn:
    """The works and contributors that are withdrawn, after the ledger's first `sequence` wishes.

    `returned_works` and `returned_contributors` were withdrawn once and are not any more: an index that still
    hides them is behind.
    """

    works: frozenset[str] = frozenset()
    contributors: frozenset[str] = frozenset()
    sequence: int = 0
    returned_works: frozenset[str] = frozenset()
    returned_contributors: frozenset[str] = frozenset()

    def covers(self, work_id: str, *holders: str) -> bool:
        """Whether a work is left out: it is withdrawn itself, or any of its rights holders is."""
        return work_id in self.works or not self.contributors.isdisjoint(holders)

    def leaves_out(self, work: Work) -> bool:
        """The same, for a work of a corpus."""
        return self.covers(work.id, *work.people)


NOTHING_WITHDRAWN = Withdrawn()
