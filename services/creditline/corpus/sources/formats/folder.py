"""A directory tree of pictures with their captions in text files, JSON files or tables beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath

from creditline.corpus.embedded.sidecars import SUFFIXES as SIDECARS
from creditline.corpus.embedded.sidecars import sidecar_record
from creditline.corpus.numbered_ids import with_place
from creditline.corpus.row_batches import one_line
from creditline.corpus.sources.downloads import download_fault
from creditline.corpus.sources.formats.caption_table import (
    TABLE_NAMES,
    BrokenTableRow,
    CaptionTable,
    fault_sentence,
    file_name,
)
from creditline.corpus.sources.formats.folder_rows import (
    beside,
    is_other_picture,
    is_picture,
    main_picture_of,
    rows_of,
    stem_of,
)
from creditline.corpus.sources.formats.sample_files import CAPTIONS
from creditline.corpus.sources.found import Found, found_broken, found_work, with_pictures_checked
from creditline.corpus.sources.layers import (
    Layer,
    caption_layer,
    json_layer,
    merged,
    notes_of,
    origins,
    record_of,
)
from creditline.corpus.sources.losses import (
    BROKEN_METADATA,
    BROKEN_ROW,
    EMPTY_PICTURE,
    EXTRA_PICTURE,
    MISSING_FILE,
    NO_CAPTION,
    OTHER_FORMAT,
)
from creditline.corpus.sources.picture_check import SUFFIXES
from creditline.corpus.sources.source_files import fingerprint_of, size_of, visible_directories
from creditline.errors import NotFound

_TEXTS = tuple(f".{ending}" for ending in CAPTIONS)
_BESIDE = (*_TEXTS, ".json", ".csv", ".tsv", ".jsonl", *SIDECARS)
# Pictures of one part; several loaders can divide a large directory.
_PART_PICTURES = 10_000
# Parts that the mapping is read from.
_MAPPING_PARTS = 20


@dataclass(frozen=True)
class FolderSource:
    """A directory tree of pictures as a source.

    A part is a section of a directory, `birds#0` its first 10,000 pictures by name, `birds#1` the next, or a
    table, `captions.csv`, whose rows are those that no picture belongs to. The file names of one directory
    are held in memory at once. The id of a work is its path unless its metadata has an id.
    """

    root: Path
    """The directory that was opened."""
    counts: Mapping[str, int]
    """Number of rows by directory, as a path relative to `root` (`.` for `root`)."""
    tables: tuple[str, ...] = ()
    """Paths of the caption tables relative to `root`."""
    kind: str = "folder"
    """Name of the format."""
    has_features: bool = False
    """Rows never have features."""
    part_pictures: int = _PART_PICTURES
    """Number of pictures per part."""

    @classmethod
    def open(cls, path: Path, *, part_pictures: int = _PART_PICTURES) -> FolderSource:
        """Open a directory and count the pictures in it."""
        counts, tables = {}, list[str]()
        for directory, names in visible_directories(path):
            counts[directory or "."] = len(rows_of(names))
            tables += [f"{directory}/{name}".lstrip("/") for name in names if name.lower() in TABLE_NAMES]
        present = {directory: count for directory, count in counts.items() if count}
        return cls(path, present, tuple(tables), part_pictures=part_pictures)

    @property
    def name(self) -> str:
        return self.root.name

    @cached_property
    def _files(self) -> tuple[str, int]:
        """Fingerprint and total size in bytes of all files that are read."""
        names, sizes = [], []
        for directory, files in visible_directories(self.root):
            for name in files:
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
        for part in islice(self._sections, _MAPPING_PARTS):
            place = next((place for place in self._places(part, 0) if is_picture(place[2])), None)
            for field, origin in self._origins(*place).items() if place else ():
                found.setdefault(field, {})[origin] = None
        return {field: ", ".join(described) for field, described in found.items()}

    def _origins(self, directory: str, names: frozenset[str], name: str) -> dict[str, str]:
        with suppress(ValueError, BrokenTableRow):
            here = origins(self._layers(directory, names, name))
            return {**here, "picture": f"*{PurePosixPath(name).suffix}"}
        return {}

    @cached_property
    def _sections(self) -> tuple[str, ...]:
        pieces = {directory: -(-count // self.part_pictures) for directory, count in self.counts.items()}
        return tuple(f"{directory}#{piece}" for directory, count in pieces.items() for piece in range(count))

    def parts(self) -> tuple[str, ...]:
        return (*self._sections, *self.tables)

    def part_fingerprint(self, part: str) -> str:
        if part in self.tables:
            return f"{size_of(self.root / part)} bytes"
        files: dict[str, int] = {}
        for directory, names, name in self._places(part, 0):
            for file in (name, *_beside(name, names)):
                files[file] = size_of(self.root / directory / file)
        here = PurePosixPath(part.rpartition("#")[0])
        above = {here, *here.parents}
        tables = [table for table in self.tables if PurePosixPath(table).parent in above]
        sizes = [size_of(self.root / table) for table in tables]
        return fingerprint_of((*files, *tables), (*files.values(), *sizes))

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        return with_pictures_checked(self.rows(part, start))

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        if part in self.tables:
            rows = (
                found_broken(part, row, reason, loss=loss)
                for row, (reason, loss) in enumerate(self._rows_left_over(part))
            )
            yield from islice(rows, start, None)
            return
        for row, (directory, names, name) in enumerate(self._places(part, start), start):
            yield self._found(part, row, directory, names, name)

    def _places(self, part: str, start: int) -> Iterator[tuple[str, frozenset[str], str]]:
        """For each picture of a part from `start` on: its directory, all names in there, and its own name."""
        directory, _, piece = part.rpartition("#")
        if part not in self._sections:
            raise NotFound(f"{self.root} has no part {part!r}", field="part")
        _, names = next(visible_directories(self.root / directory), ("", []))
        first = int(piece) * self.part_pictures
        known = frozenset(names)
        for name in rows_of(names)[first + start : first + self.part_pictures]:
            yield directory, known, name

    def _found(self, part: str, row: int, directory: str, names: frozenset[str], name: str) -> Found:
        place = str(PurePosixPath(directory, name))
        if not is_picture(name):
            return _not_a_picture(part, row, self.root / place)
        try:
            layers = self._layers(directory, names, name)
            picture = (self.root / place).read_bytes()
        except BrokenTableRow as broken:
            return found_broken(part, row, f"{self.root / place} is left out: {broken}", loss=BROKEN_ROW)
        except (OSError, ValueError) as error:
            reason = f"{self.root / place} or its metadata cannot be read ({one_line(error)})"
            told = f"{reason}; correct the file, or leave the picture out"
            return found_broken(part, row, told, loss=BROKEN_METADATA)
        if not picture:
            reason = f"{self.root / place} is empty (0 bytes); store it again, or remove it"
            return found_broken(part, row, reason, loss=EMPTY_PICTURE)
        values, record = merged(layers), record_of(layers)
        if "caption" not in values and not download_fault(record):
            return self._without_caption(part, row, names, PurePosixPath(place), layers)
        return found_work(
            part,
            row,
            with_place(values, record, directory.removeprefix(".")),
            own_id=place,
            picture=picture,
            source=place,
            notes=notes_of(layers),
            record=record,
        )

    def _without_caption(
        self, part: str, row: int, names: frozenset[str], place: PurePosixPath, layers: list[Layer]
    ) -> Found:
        main = main_picture_of(names, place.name)
        if main is not None:
            reason = f"{self.root / place} has no caption of its own: it is a map, a mask or a view of {main}"
            return found_broken(part, row, f"{reason}; add one if it is a work", loss=EXTRA_PICTURE)
        empty = [layer.origin.replace("NAME", place.stem) for layer in layers if layer.has_caption]
        told = f"{place.stem}.txt, no {place.stem}.json, no row of {' or '.join(TABLE_NAMES)}"
        what = f"an empty caption ({', '.join(empty)})" if empty else f"no caption (no {told})"
        reason = f"{self.root / place} has {what}; add one, or leave the picture out"
        return found_broken(part, row, reason, loss=NO_CAPTION)

    def _layers(self, directory: str, names: frozenset[str], name: str) -> list[Layer]:
        """The metadata layers of a picture, from lowest to highest precedence.

        Raises:
            ValueError: Its JSON file does not hold a JSON object.
            BrokenTableRow: The row of a table that names the picture cannot be trusted.
        """
        stem, here = stem_of(name), self.root / directory
        place = PurePosixPath(directory, name)
        layers = [Layer("sidecar", sidecar_record(self.root, place, names)), *self._rows_of_tables(place)]
        text, record = beside(names, stem, *_TEXTS), beside(names, stem, ".json")
        if text:
            layers.append(caption_layer(f"NAME{PurePosixPath(text).suffix}", (here / text).read_bytes()))
        if record:
            layers.append(json_layer("NAME.json", (here / record).read_bytes()))
        return layers

    def _tables_in(self, directory: str) -> Iterator[CaptionTable]:
        """The tables of a directory, in the order of `TABLE_NAMES`."""
        for name in self._tables_by_directory.get(directory, ()):
            yield _opened(self.root / name)

    @cached_property
    def _tables_by_directory(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in sorted(self.tables, key=lambda name: TABLE_NAMES.index(PurePosixPath(name).name.lower())):
            found.setdefault(str(PurePosixPath(name).parent), []).append(name)
        return found

    def _rows_left_over(self, part: str) -> Iterator[tuple[str, str]]:
        """Reason and kind of loss for each row of a table that no picture belongs to."""
        path = self.root / part
        for row in _opened(path).rows():
            name = file_name(row.record, path)
            if _is_there(path.parent, name):
                continue  # The picture's own row tells what is wrong, if anything is.
            if row.fault:
                yield fault_sentence(path, row.line, row.fault), BROKEN_ROW
            elif name:
                what = f"names the picture {name!r}, which is not there"
                yield f"{fault_sentence(path, row.line, what)}; add it, or remove the line", MISSING_FILE
            else:
                what = "names no picture"
                yield (
                    f"{fault_sentence(path, row.line, what)}; add its name, or remove the line",
                    MISSING_FILE,
                )

    def _rows_of_tables(self, place: PurePosixPath) -> Iterator[Layer]:
        """Rows about a picture; tables name it by its path relative to the table, with or without suffix."""
        for above in reversed(place.parents):
            relative = place.relative_to(above)
            for table in self._tables_in(str(above)):
                layer = table.layer(str(relative)) or table.layer(str(relative.with_suffix("")))
                if layer is not None:
                    yield layer


def _not_a_picture(part: str, row: int, path: Path) -> Found:
    if is_other_picture(path.name):
        reason = f"{path} is in a format that is not read; convert it to one of {', '.join(SUFFIXES)}"
        return found_broken(part, row, reason, loss=OTHER_FORMAT)
    reason = f"{path} has no picture beside it; add the picture, or remove the caption"
    return found_broken(part, row, reason, loss=MISSING_FILE)


def _is_there(directory: Path, name: str) -> bool:
    """Whether a picture lies at a path relative to a directory, which may lack its suffix."""
    if not name:
        return False
    place = directory / name
    names, stems = _listing(place.parent, _changed(place.parent))
    return place.name in names or place.name in stems


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


@lru_cache(maxsize=64)
def _listing(directory: Path, changed: int) -> tuple[frozenset[str], frozenset[str]]:
    """Names of a directory's pictures, and their stems; cached until the directory changes."""
    try:
        pictures = [name for name in os.listdir(directory) if is_picture(name) or is_other_picture(name)]
    except (OSError, ValueError):  # No directory, or a name that no path can have.
        return frozenset(), frozenset()
    return frozenset(pictures), frozenset(map(stem_of, pictures))


def _opened(path: Path) -> CaptionTable:
    state = path.stat()
    return _table(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _table(path: Path, size: int, changed: int) -> CaptionTable:
    """The opened table, cached until the file's size or modification time changes."""
    return CaptionTable.open(path)


def _beside(name: str, names: frozenset[str]) -> list[str]:
    """Files of the same directory that may hold metadata of a picture."""
    stems = (PurePosixPath(name).stem, name)
    return [f"{stem}{suffix}" for stem in stems for suffix in _BESIDE if f"{stem}{suffix}" in names]
