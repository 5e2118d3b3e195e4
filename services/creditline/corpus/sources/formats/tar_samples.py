"""Samples of a tar shard: members with the same key and different endings, found by reading headers only."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from creditline.corpus.sources.formats.sample_files import CAPTIONS, PICTURES, ending_of, main_picture

# Names are split at the first dot, as the webdataset library does; names that begin with a dot are ignored.
_NAME = re.compile(r"(?P<key>(?:.*/|)[^.]+)[.](?P<ending>[^/]*)")
_BLOCK = bytes(tarfile.BLOCKSIZE)


@dataclass
class Sample:
    """One row of a shard."""

    key: str
    """Path and name up to the first dot, or up to the last one where several captions begin alike."""
    members: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    """Members of the shard by their ending, in lower case."""

    is_repeated: bool = False
    """Whether two members have the same ending; the first one counts."""

    @property
    def picture(self) -> str | None:
        """Ending of the main picture, such as `jpg` or `img.png`; None without one, as with a map alone."""
        return main_picture(self.members)

    @property
    def caption(self) -> str | None:
        """Ending of the caption's text; None without one."""
        return next((ending for ending in CAPTIONS if ending in self.members), None)

    def add(self, ending: str, member: tarfile.TarInfo) -> None:
        """Add a member, unless there is one with the same ending."""
        self.is_repeated |= ending in self.members
        self.members.setdefault(ending, member)

    def is_like(self, other: Sample) -> bool:
        """Whether the sample has all kinds of members of another one; all picture formats are one kind."""
        own, others = (set(map(_role, one.members)) for one in (self, other))
        return bool(others) and others <= own

    def divided(self) -> Iterator[Sample]:
        """The samples that have this key up to the first dot.

        `a.b.jpg` with `a.b.txt` is a sample of its own, `a.b`, and not a second picture of `a`.
        """
        rest = Sample(self.key, is_repeated=self.is_repeated)
        own = {stem: Sample(f"{self.key}.{stem}") for stem in self._stems_of_their_own()}
        for ending, member in self.members.items():
            own.get(ending.rpartition(".")[0], rest).add(ending_of(ending, own), member)
        yield from (sample for sample in (rest, *own.values()) if sample.members)

    def _stems_of_their_own(self) -> list[str]:
        """What stands between key and last dot where a picture and a caption have it alike."""
        pairs = [ending.rpartition(".")[::2] for ending in self.members]
        pictures = {stem for stem, last in pairs if last in PICTURES}
        texts = CAPTIONS if {"json", *CAPTIONS} & set(self.members) else (*CAPTIONS, "json")
        return list(
            dict.fromkeys(stem for stem, last in pairs if stem and last in texts and stem in pictures)
        )


def _role(ending: str) -> str:
    return "picture" if ending.rpartition(".")[2] in PICTURES else ending


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
                yield from sample.divided()
                sample, before = Sample(key), sample
            sample.add(ending, member)
    except CutOff:
        if before and sample.is_like(before):
            yield from sample.divided()
        raise
    yield from sample.divided()


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
