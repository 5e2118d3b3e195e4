"""A directory tree of pictures with their captions in text files, JSON files or tables beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath

from creditline.corpus.embedded.sidecars import SUFFIXES as SIDECARS
from creditline.corpus.embedded.sidecars import sidecar_record
from creditline.corpus.row_batches import one_line
from creditline.corpus.sources.formats.caption_table import TABLE_NAMES, CaptionTable
from creditline.corpus.sources.found import Found, found_broken, found_work, with_pictures_checked
from creditline.corpus.sources.layers import Layer, caption_layer, json_layer, merged, notes_of, origins
from creditline.corpus.sources.picture_check import SUFFIXES
from creditline.corpus.sources.source_files import fingerprint_of, size_of, visible_directories
from creditline.errors import NotFound

_BESIDE = (".txt", ".json", ".csv", ".jsonl", *SIDECARS)
# Pictures of one part; several loaders can divide a large directory.
_PART_PICTURES = 10_000
# Parts that the mapping is read from.
_MAPPING_PARTS = 20


@dataclass(frozen=True)
class FolderSource:
    """A directory tree of pictures as a source.

    A part is a section of a directory: `birds#0` is its first 10,000 pictures by name, `birds#1` the next.
    The file names of one directory are held in memory at once. The id of a work is its path unless its
    metadata has an id.
    """

    root: Path
    """The directory that was opened."""
    counts: Mapping[str, int]
    """Number of pictures by directory, as a path relative to `root` (`.` for `root`)."""
    kind: str = "folder"
    """Name of the format."""
    has_features: bool = False
    """Rows never have features."""
    part_pictures: int = _PART_PICTURES
    """Number of pictures per part."""

    @classmethod
    def open(cls, path: Path, *, part_pictures: int = _PART_PICTURES) -> FolderSource:
        """Open a directory and count the pictures in it."""
        counts = {directory or ".": len(_pictures(names)) for directory, names in visible_directories(path)}
        present = {directory: count for directory, count in counts.items() if count}
        return cls(path, present, part_pictures=part_pictures)

    @property
    def name(self) -> str:
        return self.root.name

    @cached_property
    def _files(self) -> tuple[str, int]:
        """Fingerprint and total size in bytes of all files that are read."""
        names, sizes = [], []
        for directory, beside in visible_directories(self.root):
            for name in beside:
                if name.lower().endswith((*SUFFIXES, *_BESIDE)):
                    names.append(f"{directory}/{name}")
                    sizes.append(size_of(self.root / directory / name))
        return fingerprint_of(names, sizes), sum(sizes)

    @property
    def fingerprint(self) -> str:
        return self._files[0]

    @property
    def size(self) -> int:
        return self._files[1]

    @property
    def mapping(self) -> Mapping[str, str]:
        """The origins of each field, from the first picture of each of the first 20 parts."""
        found: dict[str, dict[str, None]] = {}
        for part in islice(self.parts(), _MAPPING_PARTS):
            directory, names, name = next(self._places(part, 0))
            with suppress(ValueError):
                here = origins(self._layers(directory, names, name))
                for field, origin in {**here, "picture": f"*{PurePosixPath(name).suffix}"}.items():
                    found.setdefault(field, {})[origin] = None
        return {field: ", ".join(described) for field, described in found.items()}

    def parts(self) -> tuple[str, ...]:
        pieces = {directory: -(-count // self.part_pictures) for directory, count in self.counts.items()}
        return tuple(f"{directory}#{piece}" for directory, count in pieces.items() for piece in range(count))

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        return with_pictures_checked(self.rows(part, start))

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        for row, (directory, names, name) in enumerate(self._places(part, start), start):
            yield self._found(part, row, directory, names, name)

    def _places(self, part: str, start: int) -> Iterator[tuple[str, frozenset[str], str]]:
        """For each picture of a part from `start` on: its directory, all names in there, and its own name."""
        directory, _, piece = part.rpartition("#")
        if part not in self.parts():
            raise NotFound(f"{self.root} has no part {part!r}", field="part")
        _, names = next(visible_directories(self.root / directory), ("", []))
        first = int(piece) * self.part_pictures
        known = frozenset(names)
        for name in _pictures(names)[first + start : first + self.part_pictures]:
            yield directory, known, name

    def _found(self, part: str, row: int, directory: str, names: frozenset[str], name: str) -> Found:
        place = str(PurePosixPath(directory, name))
        try:
            layers = self._layers(directory, names, name)
            picture = (self.root / place).read_bytes()
        except (OSError, ValueError) as error:
            reason = f"{self.root / place} or its metadata cannot be read ({one_line(error)})"
            return found_broken(part, row, f"{reason}; correct the file, or leave the picture out")
        values, stem = merged(layers), PurePosixPath(name).stem
        if "caption" not in values:
            beside = f"{stem}.txt, no {stem}.json, no row of {' or '.join(TABLE_NAMES)}"
            reason = f"{self.root / place} has no caption (no {beside}); add one, or leave the picture out"
            return found_broken(part, row, reason)
        notes = notes_of(layers)
        return found_work(part, row, values, own_id=place, picture=picture, source=place, notes=notes)

    def _layers(self, directory: str, names: frozenset[str], name: str) -> list[Layer]:
        """The metadata layers of a picture, from lowest to highest precedence.

        Raises:
            ValueError: Its JSON file does not hold a JSON object.
        """
        stem, here = PurePosixPath(name).stem, self.root / directory
        place = PurePosixPath(directory, name)
        layers = [Layer("sidecar", sidecar_record(self.root, place, names)), *self._rows_of_tables(place)]
        if f"{stem}.txt" in names:
            layers.append(caption_layer("NAME.txt", (here / f"{stem}.txt").read_bytes()))
        if f"{stem}.json" in names:
            layers.append(json_layer("NAME.json", (here / f"{stem}.json").read_bytes()))
        return layers

    def _rows_of_tables(self, place: PurePosixPath) -> Iterator[Layer]:
        """Rows about a picture; tables name it by its path relative to the table, with or without suffix."""
        for above in reversed(place.parents):
            relative = place.relative_to(above)
            for table in _tables(self.root / above):
                layer = table.layer(str(relative)) or table.layer(str(relative.with_suffix("")))
                if layer is not None:
                    yield layer


def _pictures(names: list[str]) -> list[str]:
    return [name for name in names if name.lower().endswith(SUFFIXES)]


def _tables(directory: Path) -> tuple[CaptionTable, ...]:
    paths = (directory / name for name in TABLE_NAMES)
    states = [(path, path.stat()) for path in paths if path.is_file()]
    return tuple(_table(path, state.st_size, state.st_mtime_ns) for path, state in states)


@lru_cache(maxsize=64)
def _table(path: Path, size: int, changed: int) -> CaptionTable:
    """The opened table, cached until the file's size or modification time changes."""
    return CaptionTable.open(path)
