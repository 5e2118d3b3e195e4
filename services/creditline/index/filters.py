"""Filters of a search, and the payload fields that Qdrant indexes for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from creditline.corpus.identity import key_of_id, key_of_name
from creditline.corpus.names import display_name
from creditline.index.consent import CONSENT, check_terms, consent_conditions
from creditline.qdrant_messages import qdrant

# Keys of the people of a work, see `creditline.corpus.identity`.
PERSON_KEYS = "person_keys"
# Names of the people of a work as they were written; indexed in collections that are older than the keys.
NAMES = "holders"
_INTEGER, _KEYWORD = qdrant.FieldType.FieldTypeInteger, qdrant.FieldType.FieldTypeKeyword


@dataclass(frozen=True)
class WorkFilter:
    """Restriction of a search to some works. A work passes when it matches every field that is set.

    An empty tuple or None does not restrict. Withdrawn works never pass.
    """

    contributors: tuple[str, ...] = ()
    """Names of which one must be the work's contributor or one of its rights holders, in any spelling."""
    contributor_ids: tuple[str, ...] = ()
    """Ids of which one must be that of the work's contributor. A work passes by its name or by its id."""
    people: tuple[str, ...] = ()
    """Further keys (`creditline.corpus.identity`) of the people of whom one must be one of the work's."""
    licences: tuple[str, ...] = ()
    """Accepted licences."""
    origins: tuple[str, ...] = ()
    """Accepted origins, see `creditline.index.points.origin`."""
    since: int | None = None
    """Earliest creation time, inclusive: Unix time in seconds. Works without a creation time do not pass."""
    until: int | None = None
    """Latest creation time, exclusive: Unix time in seconds. Works without a creation time do not pass."""
    consent: tuple[str, ...] = ()
    """Terms such as `mining=prohibited`: for each use that they name, one of its terms must hold."""

    def __post_init__(self) -> None:
        check_terms(self.consent)

    @property
    def narrows(self) -> bool:
        """Whether the filter restricts the search at all."""
        return self != WorkFilter()

    def condition(self, *, by_names_too: bool = False, withdrawn_too: bool = False) -> qdrant.Filter:
        """The filter as a Qdrant condition, which also excludes withdrawn works.

        Args:
            by_names_too: Whether the collection may hold works that were written without person keys. They
                are found by the spelling of the filter only.
            withdrawn_too: Let withdrawn works pass.
        """
        must = [] if withdrawn_too else [withdrawn_is(False)]
        keys = [*map(key_of_name, self.contributors), *map(key_of_id, self.contributor_ids), *self.people]
        if keys:
            names = [*self.contributors, *map(display_name, self.contributors)] if by_names_too else ()
            must.append(of_people(keys, list(dict.fromkeys(names))))
        for key, wanted in (("licence", self.licences), ("origin", self.origins)):
            if wanted:
                must.append(matches(key, _any_of(wanted)))
        if self.since is not None or self.until is not None:
            span = qdrant.Range(gte=self.since, lt=self.until)
            must.append(qdrant.Condition(field=qdrant.FieldCondition(key="created", range=span)))
        must.extend(consent_conditions(self.consent))
        return qdrant.Filter(must=must)


def withdrawn_is(withdrawn: bool) -> qdrant.Condition:
    """Condition on the `withdrawn` field of a work."""
    return matches("withdrawn", qdrant.Match(integer=int(withdrawn)))


def of_people(keys: Sequence[str], names: Sequence[str] = ()) -> qdrant.Condition:
    """Condition that one of some people is the contributor or a rights holder of the work.

    Args:
        keys: Keys of the people.
        names: Names of the people as stored works without keys may have them.
    """
    fields = ((PERSON_KEYS, keys), (NAMES, names))
    either = [matches(field, _any_of(values)) for field, values in fields if values]
    return either[0] if len(either) == 1 else qdrant.Condition(filter=qdrant.Filter(should=either))


def matches(key: str, match: qdrant.Match) -> qdrant.Condition:
    """Condition that the payload field `key` matches."""
    return qdrant.Condition(field=qdrant.FieldCondition(key=key, match=match))


def _any_of(texts: Sequence[str]) -> qdrant.Match:
    if len(texts) == 1:
        return qdrant.Match(keyword=texts[0])
    return qdrant.Match(keywords=qdrant.RepeatedStrings(strings=texts))


def field_indexes(
    *, on_disk: bool
) -> Iterator[tuple[str, qdrant.FieldType.ValueType, qdrant.PayloadIndexParams]]:
    """Payload fields that Qdrant indexes, with their types and parameters: together 190 bytes per work.

    An integer index supports lookups or ranges; each costs half of what both cost. Extra graph links per
    field value would take most of the build time, and filters on `withdrawn` and `created` leave enough works
    without them. `withdrawn` is an integer on purpose: Qdrant Edge never matches a bool, so a withdrawn work
    would be listed without an error. The work id needs no index because the point id is derived from it.

    Args:
        on_disk: Whether the keyword indexes are kept on disk instead of in RAM.
    """
    single = qdrant.IntegerIndexParams(lookup=True, range=False, enable_hnsw=False)
    yield "withdrawn", _INTEGER, qdrant.PayloadIndexParams(integer_index_params=single)
    ranges = qdrant.IntegerIndexParams(lookup=False, range=True, enable_hnsw=False, on_disk=True)
    yield "created", _INTEGER, qdrant.PayloadIndexParams(integer_index_params=ranges)
    for name in (PERSON_KEYS, "licence", "origin", CONSENT):
        yield (
            name,
            _KEYWORD,
            qdrant.PayloadIndexParams(keyword_index_params=qdrant.KeywordIndexParams(on_disk=on_disk)),
        )


def trained_on_index() -> tuple[str, qdrant.FieldType.ValueType, qdrant.PayloadIndexParams]:
    """Name, type and parameters of the index by which works added to a release are found."""
    params = qdrant.PayloadIndexParams(keyword_index_params=qdrant.KeywordIndexParams())
    return "trained_on", _KEYWORD, params


def trained_on_by(generators: Sequence[str]) -> qdrant.Condition:
    """Condition that an added work is one that one of the generators was trained on."""
    return matches("trained_on", _any_of(generators))
