"""Identity of contributors: which names and ids are one person.

A person is known by a name, by an id (ORCID, ISNI, the account of a platform), or by both. An id is stronger
than a name: two ids are two persons whatever their names, and one id is one person under all its names. A
name without an id belongs to the person of the only id that bears it. An operator can record that two names
or ids are one person.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple, Self

from creditline.corpus.names import display_name, name_key
from creditline.corpus.rights import UNKNOWN, WHOLE_PERCENT

_NAME, _ID = "name:", "id:"
# ORCID and ISNI: fifteen digits and a check digit, with or without their address or scheme.
_REGISTERED = re.compile(
    r"(?:https?://(?:www\.)?(?:orcid\.org|isni\.org(?:/isni)?)/|(?:orcid|isni)(?:\s*id)?\s*:?\s*)?"
    r"((?:\d{4}[ -]?){3}\d{3}[\dX])/?",
    re.IGNORECASE,
)
_NOBODY: frozenset[str] = frozenset()


def key_of_name(name: str) -> str:
    """The key of the person who is known by a name."""
    return _NAME + name_key(name)


def key_of_id(contributor_id: str) -> str:
    """The key of the person with an id; ORCIDs and ISNIs are equal in all their usual forms."""
    shown = display_name(contributor_id)
    registered = _REGISTERED.fullmatch(shown)
    return _ID + (re.sub("[ -]", "", registered[1]).upper() if registered else shown)


@dataclass(frozen=True)
class PersonReference:
    """How a person is named in a request or a record: by a name or by an id."""

    name: str = ""
    """Name of the person; empty where the id is given."""
    id: str = ""
    """Id of the person; empty where the name is given."""

    @property
    def key(self) -> str:
        """The key of the person."""
        return key_of(self.name, self.id)

    @property
    def shown(self) -> str:
        """The name or the id, as it is shown."""
        return display_name(self.id or self.name)

    @property
    def stored(self) -> str:
        """The reference as one text, for the ledger."""
        return (_ID if self.id else _NAME) + self.shown

    @classmethod
    def read(cls, stored: str) -> Self:
        """The reference from the text that `stored` gave."""
        return cls(id=stored.removeprefix(_ID)) if is_id(stored) else cls(name=stored.removeprefix(_NAME))


def is_id(key: str) -> bool:
    """Whether a person's key is that of an id."""
    return key.startswith(_ID)


def key_of(name: str, contributor_id: str = "") -> str:
    """The key of a contributor: that of the id where there is one, else that of the name."""
    return key_of_id(contributor_id) if contributor_id else key_of_name(name)


def person_keys(names: Iterable[str], contributor_id: str = "") -> tuple[str, ...]:
    """All keys under which a work can be withdrawn.

    Args:
        names: Names of its rights holders and its contributor.
        contributor_id: Id of its contributor; empty: none.
    """
    keys = list(map(key_of_name, names))
    return tuple(dict.fromkeys([*keys, key_of_id(contributor_id)] if contributor_id else keys))


class NamedHolder(NamedTuple):
    """A person who has a part of a work's credit, as the work names them."""

    key: str
    """Key of the person."""
    percent: float
    """Percentage of the work's credit."""
    name: str
    """Name of the person."""
    id: str
    """Id of the person; empty: none."""


def named_holders(
    contributor: str, contributor_id: str, rights_holders: Sequence[tuple[str, float]] = ()
) -> Iterator[NamedHolder]:
    """The people among whom a work's credit is divided, in their order.

    Args:
        contributor: Name of the work's contributor.
        contributor_id: Id of the contributor, and of a rights holder of that name; empty: none.
        rights_holders: Names with percentages; empty: the contributor has the whole credit.
    """
    own_name = key_of_name(contributor)
    for name, percent in rights_holders or ((contributor, WHOLE_PERCENT),):
        own_id = contributor_id if key_of_name(name) == own_name else ""
        yield NamedHolder(key_of(name, own_id), percent, name, own_id)


def keyed_holders(
    contributor: str, contributor_id: str, rights_holders: Sequence[tuple[str, float]] = ()
) -> tuple[tuple[str, float], ...]:
    """The people among whom a work's credit is divided: keys with fractions that sum to 1, each key once.

    Keys of the contributor under which the work can be withdrawn, but without credit, have the fraction 0.

    Args:
        contributor: Name of the work's contributor.
        contributor_id: Id of the contributor; empty: none.
        rights_holders: Names with percentages; empty: the contributor has the whole credit.
    """
    own, own_name = key_of(contributor, contributor_id), key_of_name(contributor)
    if not rights_holders:
        return ((own, 1.0),) if own == own_name else ((own, 1.0), (own_name, 0.0))
    total = sum(percent for _, percent in rights_holders)
    fractions: dict[str, float] = {}
    for holder in named_holders(contributor, contributor_id, rights_holders):
        fractions[holder.key] = fractions.get(holder.key, 0.0) + holder.percent / total
    return tuple((fractions | {key: 0.0 for key in (own, own_name) if key not in fractions}).items())


class Bearers:
    """The names and ids of a corpus: who bears which name, and how names are written first."""

    def __init__(
        self, contributors: Iterable[tuple[str, str]], *, unnamed: Iterable[str] = (UNKNOWN,)
    ) -> None:
        """
        Args:
            contributors: Name and id of each work's contributor, and names of its rights holders without an
                id, in the order of the works; empty id: none.
            unnamed: Names that name nobody; they belong to no id.
        """
        self._first: dict[str, str] = {}
        self._first_id: dict[str, str] = {}
        ids: dict[str, set[str]] = defaultdict(set)
        nobody = set(map(key_of_name, unnamed))
        for name, contributor_id in dict.fromkeys(contributors):
            keys = person_keys([name], contributor_id)
            for key in keys:
                self._first.setdefault(key, display_name(name))
            if contributor_id:
                self._first_id.setdefault(keys[-1], display_name(contributor_id))
            if contributor_id and keys[0] not in nobody:
                ids[keys[0]].add(keys[-1])
        self.ids: Mapping[str, frozenset[str]] = MappingProxyType(
            {name: frozenset(every) for name, every in ids.items()}
        )

    def first_name(self, key: str) -> str:
        """The name of a person as it was written first; empty for a person whom the corpus does not name."""
        return self._first.get(key, "")

    def first_id(self, key: str) -> str:
        """An id as it was written first; empty for an id that the corpus does not have, and for a name."""
        return self._first_id.get(key, "")

    @cached_property
    def links(self) -> tuple[tuple[str, str], ...]:
        """Ids with the names that no other id bears."""
        return tuple((next(iter(ids)), name) for name, ids in self.ids.items() if len(ids) == 1)


NO_BEARERS = Bearers(())


class People:
    """Which keys are one person, by the ids of a corpus and the merges that an operator recorded."""

    def __init__(
        self,
        bearers: Bearers = NO_BEARERS,
        merges: Iterable[tuple[str, str]] = (),
        written: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            bearers: Names and ids of the corpus.
            merges: Pairs of keys that are one person; the first of a pair is the one that is shown.
            written: Names of people whom the corpus may not name, by key.
        """
        self._bearers = bearers
        self._written = written
        self._root: dict[str, str] = {}
        for first, second in (*bearers.links, *merges):
            self._root[self.person(second)] = self.person(first)
        # A root may have been put under itself.
        self._root = {key: root for key, root in self._root.items() if key != root}

    def person(self, key: str) -> str:
        """The key that stands for the person whom `key` names."""
        seen = key
        while (root := self._root.get(seen, seen)) != seen:
            seen = root
        return seen

    @cached_property
    def _members(self) -> Mapping[str, frozenset[str]]:
        members: dict[str, set[str]] = defaultdict(set)
        for key in self._root:
            members[self.person(key)] |= {key, self.person(key)}
        return {person: frozenset(keys) for person, keys in members.items()}

    def same(self, key: str) -> frozenset[str]:
        """All keys of the person whom `key` names."""
        person = self.person(key)
        return self._members.get(person, _NOBODY) | {key, person}

    def withdrawn_with(self, key: str) -> frozenset[str]:
        """All keys that a withdrawal of `key` covers.

        A name covers the works of every id that bears it, under all names: it cannot be known which of the
        namesakes asked. An id covers its own person only.
        """
        own = self.same(key)
        bearing = (each for one in own if not is_id(one) for each in self._bearers.ids.get(one, _NOBODY))
        return own.union(*map(self.same, bearing))

    def shown(self, key: str, name: str = "") -> str:
        """The name under which a person is credited, as it was written first.

        Args:
            key: Any key of the person.
            name: The name for a person whom neither the corpus nor a merge names.
        """
        person = self.person(key)
        known = self._bearers.first_name(person) or self._written.get(person)
        return known or display_name(name) or person.partition(":")[2]

    def shown_id(self, key: str) -> str:
        """The id of a person, as it was written first; empty for a person who is known by a name only."""
        return self._bearers.first_id(self.person(key))
