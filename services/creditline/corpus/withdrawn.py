"""The set of works and contributors that are withdrawn at the request of a contributor or the operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from creditline.corpus.works import Work


@dataclass(frozen=True)
class Withdrawn:
    """The works and contributors that are withdrawn at one moment."""

    works: frozenset[str] = frozenset()
    """Ids of withdrawn works."""
    contributors: frozenset[str] = frozenset()
    """Names of withdrawn contributors."""
    sequence: int = 0
    """Number of withdrawal requests in the ledger that are taken into account."""
    revoked_works: frozenset[str] = frozenset()
    """Ids of works whose withdrawal was revoked; an index that still hides them is out of date."""
    revoked_contributors: frozenset[str] = frozenset()
    """Names of contributors whose withdrawal was revoked."""

    def covers(self, work_id: str, *holders: str) -> bool:
        """Whether a work is withdrawn, by its id or by the name of any of its rights holders."""
        return work_id in self.works or not self.contributors.isdisjoint(holders)

    def leaves_out(self, work: Work) -> bool:
        """Whether a work of a corpus is withdrawn, itself or through its contributor or a rights holder."""
        return self.covers(work.id, *work.people)


NOTHING_WITHDRAWN = Withdrawn()
