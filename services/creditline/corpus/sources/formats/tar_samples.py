"""Samples of a tar shard: members of one name with several endings, found without reading what is in them."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from creditline.corpus.sources.picture_check import SUFFIXES

# As the webdataset library splits them: at the first dot. Names that begin with one are none.
_NAME = re.compile(r"(?P<key>(?:.*/|)[^.]+)[.](?P<ending>[^/]*)")
_BLOCK = bytes(tarfile.BLOCKSIZE)


@dataclass
class Sample:
    """One row of a shard: its key and its members by their ending, in lower case."""

    key: str
    members: dict[str, tarfile.TarInfo] = field(default_factory=dict)

    @property
    def picture(self) -> str | None:
        """The first picture's ending: `jpg`, or `img.png` where samples have several members of a kind."""
        return next(filter(_is_picture, self.members), None)

    def is_like(self, other: Sample) -> bool:
        """Whether it has all that another sample has, a picture being as good as another."""
        mine, its = (set(map(_role, one.members)) for one in (self, other))
        return bool(its) and its <= mine


def _is_picture(ending: str) -> bool:
    return f".{ending}".endswith(SUFFIXES)


def _role(ending: str) -> str:
    return "picture" if _is_picture(ending) else ending


class CutOff(Exception):
    """A shard ends, or cannot be read on, before its end mark."""


def samples(shard: tarfile.TarFile) -> Iterator[Sample]:
    """All samples, in order: only headers are read, and contents are sought over.

    Raises CutOff after the last sample that is whole: one with another after it, or like the one before it.
    """
    sample, before = Sample(""), None
    try:
        for key, ending, member in _members(shard):
            if key != sample.key:
                if sample.members:
                    yield sample
                sample, before = Sample(key), sample
            sample.members.setdefault(ending, member)
    except CutOff:
        if before and sample.is_like(before):
            yield sample
        raise
    if sample.members:
        yield sample


def _members(shard: tarfile.TarFile) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Files with their key and ending. A member is given only when its content is there to its last byte."""
    held: list[tuple[str, str, tarfile.TarInfo]] = []
    while True:
        try:
            member = shard.next()
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            raise CutOff(str(error)) from error
        yield from held
        held.clear()
        shard.members.clear()  # type: ignore[attr-defined]  # Else every header is kept.
        if member is None:
            _require_end_mark(shard)
            return
        name = _NAME.fullmatch(member.name.removeprefix("./"))
        if member.isfile() and name is not None:
            held.append((name["key"], name["ending"].lower(), member))


def _require_end_mark(shard: tarfile.TarFile) -> None:
    """tarfile takes a missing or a damaged header for the end; the format ends with blocks of zeros."""
    assert shard.fileobj is not None
    shard.fileobj.seek(shard.offset)
    block = shard.fileobj.read(tarfile.BLOCKSIZE)
    if block != _BLOCK:
        raise CutOff("unexpected end of data" if len(block) < len(_BLOCK) else "a damaged header")
