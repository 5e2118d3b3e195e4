"""Datasets written by `save_to_disk` of Hugging Face's `datasets` library, and read with that library."""

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
# Rows of one part; several loaders can divide a large split.
_PART_ROWS = 10_000
# Rows that the dimension of features is taken from, where the schema does not give it.
_MEASURED_ROWS = 256


def is_saved_dataset(path: Path) -> bool:
    """Whether a directory was written by `save_to_disk`, as one dataset or as a dictionary of splits."""
    return (path / _DICTIONARY).is_file() or ((path / _INFO).is_file() and (path / _STATE).is_file())


@dataclass(frozen=True)
class HuggingFaceSource:
    """A saved dataset as a source.

    A part is a section of a split: `train#0` is its first 10,000 rows, `train#1` the next.
    """

    path: Path
    """The dataset's directory."""
    files: SourceFiles
    """Files of the dataset, without the library's caches."""
    kind: str = "huggingface"
    """Name of the format."""
    part_rows: int = _PART_ROWS
    """Number of rows per part."""

    @classmethod
    def open(cls, path: Path, *, part_rows: int = _PART_ROWS) -> HuggingFaceSource:
        """Open a saved dataset.

        Raises:
            NotReady: The `datasets` library is not installed.
            InvalidInput: The library cannot read the dataset, or it has no caption column.
        """
        found = SourceFiles.find(path, ".arrow", ".json")
        # The library stores cached results beside the dataset.
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

    def _shard(self, part: str) -> str:
        """The split, where the dataset has splits; keys are counted in each of them."""
        return part.partition("#")[0] if (self.path / _DICTIONARY).is_file() else ""

    def part_fingerprint(self, part: str) -> str:
        _, first, end = self._section(part)
        return f"{end - first} rows"

    def _section(self, part: str) -> tuple[_Split, int, int]:
        """Split, first row and end of a part. Raises NotFound."""
        if part not in self.parts():
            raise NotFound(f"{self.path} has no part {part!r}", field="part")
        name, _, piece = part.rpartition("#")
        split, first = self._splits()[name], int(piece) * self.part_rows
        return split, first, min(first + self.part_rows, len(split.rows))

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        return with_pictures_checked(self.rows(part, start))

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        split, first, end = self._section(part)
        for begin in range(first + start, end, split.table.rows_at_once):
            batch = split.rows[begin : min(begin + split.table.rows_at_once, end)]
            yield from split.table.found(batch, part, begin - first, shard=self._shard(part))


@dataclass(frozen=True, eq=False)
class _Split:
    """One split of a dataset."""

    rows: Any
    """A `datasets.Dataset` that returns Arrow tables."""
    table: Table
    """Mapping of its columns to fields."""


@lru_cache(maxsize=8)
def _splits(path: Path, fingerprint: str) -> dict[str, _Split]:
    """Memory-mapped splits by name, cached while the fingerprint is the same."""
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
            f"{path} is a dataset of Hugging Face's datasets library, which is not installed; install it with"
            " `pip install 'creditline[huggingface]'`",
            field="source",
        ) from error
    try:
        return load_from_disk(str(path), keep_in_memory=False)
    except Exception as error:  # Errors of Arrow, JSON and the library, depending on the damage.
        raise InvalidInput(
            f"{path} cannot be read ({one_line(error)}); save the dataset again", field="source"
        ) from error
