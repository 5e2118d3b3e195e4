"""A source that names itself: the ids of its works begin with the name, wherever the source lies.

Two directories that number their works alike can be put into one collection so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from creditline.corpus.row_batches import one_line
from creditline.corpus.sources.found import Found, Source
from creditline.corpus.texts import clean
from creditline.errors import InvalidInput

FILE = "creditline-source.json"
"""File in a source's directory that holds `{"ids": NAME}`."""


def with_own_prefix(source: Source, directory: Path) -> Source:
    """The source with the prefix that its directory asks for, or unchanged.

    Raises:
        InvalidInput: The file cannot be read, or names no prefix.
    """
    path = directory / FILE
    if not path.is_file():
        return source
    try:
        prefix = json.loads(path.read_text(encoding="utf-8-sig"))["ids"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f'{path} cannot be read ({one_line(error)}); write {{"ids": "NAME"}}', field="source"
        ) from error
    if not isinstance(prefix, str) or not clean(prefix).strip("/"):
        raise InvalidInput(f'{path} names no prefix; write {{"ids": "NAME"}}', field="source")
    return PrefixedIds(source, clean(prefix).strip("/"))


@dataclass(frozen=True)
class PrefixedIds:
    """A source whose ids begin with a name."""

    source: Source
    """The source with its own ids."""
    prefix: str
    """The name, without a slash at its end."""

    @property
    def kind(self) -> str:
        return self.source.kind

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def has_features(self) -> bool:
        return self.source.has_features

    @property
    def fingerprint(self) -> str:
        return self.source.fingerprint

    @property
    def size(self) -> int:
        return self.source.size

    @property
    def mapping(self) -> Mapping[str, str]:
        return {**self.source.mapping, "id prefix": f"{self.prefix}/ ({FILE})"}

    def parts(self) -> tuple[str, ...]:
        return self.source.parts()

    def part_fingerprint(self, part: str) -> str:
        return self.source.part_fingerprint(part)

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        return map(self._prefixed, self.source.read(part, start))

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        return map(self._prefixed, self.source.rows(part, start))

    def _prefixed(self, found: Found) -> Found:
        if found.work is None:
            return found
        own_id = f"{self.prefix}/{found.work.id}"
        return replace(found, work=replace(found.work, id=own_id, duplicate_group=own_id))
