"""Filters of a search, and the payload fields that Qdrant indexes for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qdrant_client import grpc as qdrant

from creditline.errors import InvalidInput

_INTEGER, _KEYWORD = qdrant.FieldType.FieldTypeInteger, qdrant.FieldType.FieldTypeKeyword


@dataclass(frozen=True)
class WorkFilter:
    """Restriction of a search to some works. A work passes when it matches every field that is set.

    An empty tuple or None does not restrict. Withdrawn works never pass.
    """

    contributors: tuple[str, ...] = ()
    """Names of which one must be the work's contributor or one of its rights holders."""
    licences: tuple[str, ...] = ()
    """Accepted licences."""
    origins: tuple[str, ...] = ()
    """Accepted origins, see `creditline.index.points.origin`."""
    since: int | None = None
    """Earliest creation time, inclusive: Unix time in seconds. Works without a creation time do not pass."""
    until: int | None = None
    """Latest creation time, exclusive: Unix time in seconds. Works without a creation time do not pass."""

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise InvalidInput(
                f"the time span from {self.since} until {self.until} is empty; `until` must be after `since`",
                field="until",
            )

    @property
    def narrows(self) -> bool:
        """Whether the filter restricts the search at all."""
        return self != WorkFilter()

    def condition(self) -> qdrant.Filter:
        """The filter as a Qdrant condition, which also excludes withdrawn works."""
        must = [withdrawn_is(False)]
        if self.contributors:
            must.append(held_by(self.contributors))
        for key, wanted in (("licence", self.licences), ("origin", self.origins)):
            if wanted:
                must.append(matches(key, _any_of(wanted)))
        if self.since is not None or self.until is not None:
            span = qdrant.Range(gte=self.since, lt=self.until)
            must.append(qdrant.Condition(field=qdrant.FieldCondition(key="created", range=span)))
        return qdrant.Filter(must=must)


def withdrawn_is(withdrawn: bool) -> qdrant.Condition:
    """Condition on the `withdrawn` field of a work."""
    return matches("withdrawn", qdrant.Match(integer=int(withdrawn)))


def held_by(names: Sequence[str]) -> qdrant.Condition:
    """Condition that one of `names` is the contributor or a rights holder of the work."""
    return matches("holders", _any_of(names))


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
    for name in ("holders", "licence", "origin"):
        yield (
            name,
            _KEYWORD,
            qdrant.PayloadIndexParams(keyword_index_params=qdrant.KeywordIndexParams(on_disk=on_disk)),
        )
