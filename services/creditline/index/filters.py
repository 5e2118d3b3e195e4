"""Which works a search may list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qdrant_client import grpc as qdrant

from creditline.errors import InvalidInput

_INTEGER, _KEYWORD = qdrant.FieldType.FieldTypeInteger, qdrant.FieldType.FieldTypeKeyword


@dataclass(frozen=True)
class WorkFilter:
    """Works of any of these contributors (or rights holders), licences and origins, made in a span of time.

    Empty: of all. since, until: seconds since 1970; a work made at `until` is not meant, nor is one whose
    time nobody knows when either is given.
    """

    contributors: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise InvalidInput(f"no work is made from {self.since} until {self.until}", field="until")

    @property
    def narrows(self) -> bool:
        """Whether any work is left out."""
        return self != WorkFilter()

    def condition(self) -> qdrant.Filter:
        """What a listed work fulfils: never a withdrawn one."""
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
    """Works that are withdrawn, or those that are not."""
    return matches("withdrawn", qdrant.Match(integer=int(withdrawn)))


def held_by(names: Sequence[str]) -> qdrant.Condition:
    """Works of which one of `names` is the contributor or a rights holder."""
    return matches("holders", _any_of(names))


def matches(key: str, match: qdrant.Match) -> qdrant.Condition:
    """Works whose field `key` is as `match` says."""
    return qdrant.Condition(field=qdrant.FieldCondition(key=key, match=match))


def _any_of(texts: Sequence[str]) -> qdrant.Match:
    if len(texts) == 1:
        return qdrant.Match(keyword=texts[0])
    return qdrant.Match(keywords=qdrant.RepeatedStrings(strings=texts))


def field_indexes(
    *, on_disk: bool
) -> Iterator[tuple[str, qdrant.FieldType.ValueType, qdrant.PayloadIndexParams]]:
    """The fields that are searched by, with their kinds. Together they take 190 bytes a work.

    An integer's index finds single values or ranges: either costs half of both. Links of the graph for each
    value of a field take most of the building; `withdrawn` and `created` leave works enough without any.
    `withdrawn` is an integer on purpose: Qdrant Edge never matches a bool, so a withdrawn work would be
    listed without any error. A work's id needs no field here: its point's id is made from it.
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
