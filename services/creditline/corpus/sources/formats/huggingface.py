"""Datasets that Hugging Face's `datasets` library wrote with `save_to_disk`, read by that library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from creditline.corpus.row_batches import one_line
from creditline.corpus.sources.formats.table import Table
from creditline.corpus.sources.found import Found, with_pictures_checked
from creditline.corpus.sources.source_files import SourceFiles
from creditline.errors import InvalidInput, NotFound, NotReady

_DICTIONARY, _INFO, _STATE = "dataset_dict.json", "dataset_info.json", "state.json"
# Loaders share a split by pieces of so many rows.
_PART_ROWS = 10_000
_MEASURED_ROWS = 256


def is_saved_dataset(path: Path) -> bool:
    """Whether `save_to_disk` wrote this directory: one dataset, or a dictionary of splits."""
    return (path / _DICTIONARY).is_file() or ((path / _INFO).is_file() and (path / _STATE).is_file())


@dataclass(frozen=True)
class HuggingFaceSource:
    """A part is a piece of a split: `train#0` its first 10,000 rows, `train#1` the next.

    part_rows: number of rows of a piece.
    """

    path: Path
    files: SourceFiles
    kind: str = "huggingface"
    part_rows: int = _PART_ROWS

    @classmethod
    def open(cls, path: Path, *, part_rows: int = _PART_ROWS) -> HuggingFaceSource:
        """Raises NotReady without the library, InvalidInput when it cannot read this, or without captions."""
        found = SourceFiles.find(path, ".arrow", ".json")
        # The library leaves what it computed from a dataset beside it.
        names = tuple(name for name in found.names if not name.rpartition("/")[2].startswith("cache-"))
        source = cls(path, SourceFiles(path, names), part_rows=part_rows)
        source._splits()
        return source

    def _splits(self) -> dict[str, _Split]:
        return _splits(self.path, self.fingerprint)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def has_features(self) -> bool:
        return any("image_features" in split.table.features for split in self._splits().values())

    @property
    def fingerprint(self) -> str:
        return self.files.fingerprint

    @property
    def size(self) -> int:
        return sum(self.files.sizes)

    @property
    def mapping(self) -> Mapping[str, str]:
        return next((split.table.mapping for split in self._splits().values()), {})

    def parts(self) -> tuple[str, ...]:
        pieces = {name: -(-len(split.rows) // self.part_rows) for name, split in self._splits().items()}
        return tuple(f"{name}#{piece}" for name, count in pieces.items() for piece in range(count))

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        return with_pictures_checked(self.rows(part, start))

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        if part not in self.parts():
            raise NotFound(f"there is no part {part!r} in {self.path}", field="part")
        name, _, piece = part.rpartition("#")
        split, first = self._splits()[name], int(piece) * self.part_rows
        end = min(first + self.part_rows, len(split.rows))
        for begin in range(first + start, end, split.table.rows_at_once):
            batch = split.rows[begin : min(begin + split.table.rows_at_once, end)]
            yield from split.table.found(batch, part, begin - first)


@dataclass(frozen=True, eq=False)
class _Split:
    """rows: a `datasets.Dataset` that gives Arrow tables."""

    rows: Any
    table: Table


@lru_cache(maxsize=8)
def _splits(path: Path, fingerprint: str) -> dict[str, _Split]:
    """Splits by name, memory-mapped; opened once as long as the files are the same."""
    loaded = _load(path)
    named = loaded if isinstance(loaded, dict) else {str(loaded.split or "rows"): loaded}
    return {name: _split(rows.with_format("arrow"), f"{path} ({name})") for name, rows in named.items()}


def _split(rows: Any, where: str) -> _Split:
    table = Table.of(rows.features.arrow_schema, where)
    return _Split(rows, table.measured(rows[:_MEASURED_ROWS]) if table.features and len(rows) else table)


def _load(path: Path) -> Any:
    try:
        from datasets import load_from_disk
    except ImportError as error:
        raise NotReady(
            f"{path} was written by Hugging Face's datasets library, which is not installed; install it with"
            " `pip install 'creditline[huggingface]'`",
            field="source",
        ) from error
    try:
        return load_from_disk(str(path), keep_in_memory=False)
    except Exception as error:  # Arrow's, JSON's and the library's own, whatever is damaged.
        raise InvalidInput(
            f"{path} cannot be read ({one_line(error)}); save it again", field="source"
        ) from error
