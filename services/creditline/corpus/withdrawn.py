"""The set of works and contributors that are withdrawn at the request of a contributor or the operator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from creditline.corpus.identity import key_of_id, key_of_name, person_keys
from creditline.corpus.rights import UNKNOWN
from creditline.corpus.texts import host_of

if TYPE_CHECKING:
    from creditline.corpus.works import Work


@dataclass(frozen=True)
class Withdrawn:
    """The works and contributors that are withdrawn at one moment.

    A withdrawal by name holds for every spelling with the same `corpus.names.name_key`.
    """

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
    contributor_ids: frozenset[str] = frozenset()
    """Ids of withdrawn contributors."""
    revoked_contributor_ids: frozenset[str] = frozenset()
    """Ids of contributors whose withdrawal was revoked."""
    also: frozenset[str] = frozenset()
    """Keys of further names and ids of the withdrawn people, see `corpus.identity`."""
    formerly: frozenset[str] = frozenset()
    """Keys that an earlier state may have withdrawn: of revoked requests, and of merges that were revoked."""
    merges: int = 0
    """Number of records about merged contributors in the ledger that are taken into account."""

    @cached_property
    def people(self) -> frozenset[str]:
        """Keys of all withdrawn people."""
        return self.also | _keys(self.contributors, self.contributor_ids)

    @cached_property
    def listed_again(self) -> frozenset[str]:
        """Keys of people who may be hidden in an index although they are not withdrawn now."""
        revoked = _keys(self.revoked_contributors, self.revoked_contributor_ids)
        return (self.formerly | revoked) - self.people

    @property
    def state(self) -> tuple[int, int]:
        """What the ledger held when this was read; two equal states are one set of withdrawals."""
        return self.sequence, self.merges

    @cached_property
    def is_nothing(self) -> bool:
        """Whether no work is withdrawn, by itself or through any person."""
        return not self.works and not self.people

    def covers(self, work_id: str, *names: str, contributor_id: str = "") -> bool:
        """Whether a work is withdrawn, by its id or through any of its people.

        Args:
            work_id: Id of the work.
            names: Names of its rights holders and its contributor, in any spelling.
            contributor_id: Id of its contributor; empty: none.
        """
        if work_id in self.works:
            return True
        return bool(self.people) and not self.people.isdisjoint(person_keys(names, contributor_id))

    def leaves_out(self, work: Work) -> bool:
        """Whether a work of a corpus is withdrawn, itself or through its contributor or a rights holder."""
        return self.covers(work.id, *work.people, *_former_names(work), contributor_id=work.contributor_id)


def _former_names(work: Work) -> tuple[str, ...]:
    """The host that works without a contributor were once credited to, and could be withdrawn by."""
    host = host_of(work.source) if work.contributor == UNKNOWN else ""
    return (host,) if host else ()


def _keys(names: frozenset[str], ids: frozenset[str]) -> frozenset[str]:
    return frozenset([*map(key_of_name, names), *map(key_of_id, ids)])


NOTHING_WITHDRAWN = Withdrawn()
