"""Tar shards in webdataset format, as img2dataset writes them: `KEY.jpg`, `KEY.txt` and `KEY.json`."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from creditline.corpus.numbered_ids import with_place
from creditline.corpus.row_batches import one_line
from creditline.corpus.sources.formats.sample_files import (
    PICTURES,
    REPEATED_FILE,
    SEVERAL_PICTURES,
    has_several_pictures,
    is_map,
)
from creditline.corpus.sources.formats.tar_samples import CutOff, Sample, samples
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
from creditline.corpus.sources.losses import BROKEN_METADATA, DAMAGED_FILE, EMPTY_PICTURE, NO_PICTURE
from creditline.corpus.sources.picture_check import SUFFIXES
from creditline.corpus.sources.source_files import SourceFiles, size_of

SUFFIX = ".tar"
_JSON = "json"


@dataclass(frozen=True)
class WebdatasetSource:
    """Webdataset shards as a source.

    A part is a shard, and a row is a sample. The id of a work without one is the shard's name with the key.
    """

    name: str
    """Name of the directory or file."""
    files: SourceFiles
    """The shards."""
    kind: str = "webdataset"
    """Name of the format."""
    has_features: bool = False
    """Rows never have features."""

    @classmethod
    def open(cls, path: Path) -> WebdatasetSource:
        """Open a shard or all shards below a directory; shards are read later, row by row."""
        return cls(path.name, SourceFiles.find(path, SUFFIX))

    @property
    def fingerprint(self) -> str:
        return self.files.fingerprint

    @property
    def size(self) -> int:
        return sum(self.files.sizes)

    @property
    def mapping(self) -> Mapping[str, str]:
        """The origins of each field, from the first readable sample."""
        for part in self.parts():
            try:
                with tarfile.open(self.files.path(part), "r:") as shard:
                    first = next(samples(shard))
                    picture = first.picture
                    described = origins(_layers(shard, first))
                    return {**described, "picture": f".{picture}"} if picture else described
            except (tarfile.TarError, OSError, CutOff, StopIteration, ValueError):
                continue
        return {}

    def parts(self) -> tuple[str, ...]:
        return self.files.names

    def part_fingerprint(self, part: str) -> str:
        return f"{size_of(self.files.path(part))} bytes"

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        return with_pictures_checked(self.rows(part, start))

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        path, row = self.files.path(part), 0
        try:
            with tarfile.open(path, "r:") as shard:
                for sample in samples(shard):
                    if row >= start:
                        yield _found(shard, sample, part, row)
                    row += 1
        except (tarfile.TarError, OSError, CutOff) as error:
            if row >= start:
                reason = f"{path} is cut off or damaged after {row} samples ({one_line(error)})"
                yield found_broken(part, row, f"{reason}; copy it again", loss=DAMAGED_FILE)


def _found(shard: tarfile.TarFile, sample: Sample, part: str, row: int) -> Found:
    picture = sample.picture
    if picture is None:
        return _without_picture(sample, part, row)
    try:
        layers = _layers(shard, sample)
    except ValueError as error:
        reason = f"the JSON of sample {sample.key!r} of {part} cannot be read ({one_line(error)})"
        return found_broken(part, row, f"{reason}; correct the JSON", loss=BROKEN_METADATA)
    content = _content(shard, sample.members[picture])
    if not content:
        reason = f"the picture of sample {sample.key!r} of {part} is empty (0 bytes); add it again"
        return found_broken(part, row, reason, loss=EMPTY_PICTURE)
    stem, record = part.removesuffix(SUFFIX), record_of(layers)
    return found_work(
        part,
        row,
        with_place(merged(layers), record, stem),
        own_id=f"{stem}/{sample.key}",
        picture=content,
        source=f"{stem}/{sample.key}.{picture}",
        notes=(*notes_of(layers), *_notes(sample)),
        record=record,
    )


def _without_picture(sample: Sample, part: str, row: int) -> Found:
    endings = ", ".join(sample.members)
    if any(is_map(ending) and ending.rpartition(".")[2] in PICTURES for ending in sample.members):
        reason = f"sample {sample.key!r} of {part} has maps or masks only ({endings})"
    else:
        reason = f"sample {sample.key!r} of {part} has no picture ({', '.join(SUFFIXES)}), only {endings}"
    return found_broken(part, row, f"{reason}; add it, or leave the sample out", loss=NO_PICTURE)


def _notes(sample: Sample) -> Iterator[str]:
    if sample.is_repeated:
        yield REPEATED_FILE
    if has_several_pictures(sample.members):
        yield SEVERAL_PICTURES


def _layers(shard: tarfile.TarFile, sample: Sample) -> list[Layer]:
    layers = []
    if sample.caption:
        layers.append(caption_layer(f".{sample.caption}", _content(shard, sample.members[sample.caption])))
    if _JSON in sample.members:
        layers.append(json_layer(".json", _content(shard, sample.members[_JSON])))
    return layers


def _content(shard: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = shard.extractfile(member)
    assert opened is not None  # `member` is a regular file.
    with opened:
        return opened.read()
