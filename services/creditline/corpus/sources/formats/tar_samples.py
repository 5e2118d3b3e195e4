"""Samples of a tar shard: members with the same key and different endings, found by reading headers only."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from creditline.corpus.sources.picture_check import SUFFIXES

# Names are split at the first dot, as the webdataset library does; names that begin with a dot are ignored.
_NAME = re.compile(r"(?P<key>(?:.*/|)[^.]+)[.](?P<ending>[^/]*)")
_BLOCK = bytes(tarfile.BLOCKSIZE)


@dataclass
class Sample:
    """One row of a shard."""

    key: str
    """Path and name up to the first dot."""
    members: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    """Members of the shard by their ending, in lower case."""

    @property
    def picture(self) -> str | None:
        """Ending of the first picture, such as `jpg` or `img.png`; None without a picture."""
        return next(filter(_is_picture, self.members), None)

    def is_like(self, other: Sample) -> bool:
        """Whether the sample has all kinds of members of another one; all picture formats are one kind."""
        own, others = (set(map(_role, one.members)) for one in (self, other))
        return bool(others) and others <= own


def _is_picture(ending: str) -> bool:
    return f".{ending}".endswith(SUFFIXES)


def _role(ending: str) -> str:
    return "picture" if _is_picture(ending) else ending


class CutOff(Exception):
    """A shard ends, or becomes unreadable, before its end mark."""


def samples(shard: tarfile.TarFile) -> Iterator[Sample]:
    """All samples in order; only headers are read, and contents are skipped.

    Raises:
        CutOff: The shard is cut off. It is raised after the last complete sample: a sample is complete if
            another follows it, or if it has the same kinds of members as the one before it.
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
    """Files with their key and ending; a member is returned only when its content is complete."""
    held: list[tuple[str, str, tarfile.TarInfo]] = []
    while True:
        try:
            member = shard.next()
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            raise CutOff(str(error)) from error
        yield from held
        held.clear()
        shard.members.clear()  # type: ignore[attr-defined]  # Otherwise tarfile keeps every header in memory.
        if member is None:
            _require_end_mark(shard)
            return
        name = _NAME.fullmatch(member.name.removeprefix("./"))
        if member.isfile() and name is not None:
            held.append((name["key"], name["ending"].lower(), member))


def _require_end_mark(shard: tarfile.TarFile) -> None:
    """Check that the file ends with zeros; tarfile also stops at a missing or a damaged header."""
    assert shard.fileobj is not None
    shard.fileobj.seek(shard.offset)
    block = shard.fileobj.read(tarfile.BLOCKSIZE)
    if block != _BLOCK:
        raise CutOff("unexpected end of data" if len(block) < len(_BLOCK) else "a damaged header")
