"""One small corpus in every form that people have: the same pictures, captions and contributors in each."""

from __future__ import annotations

import colorsys
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features, Image, Value
from PIL import Image as Pictures
from PIL import ImageDraw
from webdataset import TarWriter

SIDE = 32
CONTRIBUTORS = ("Ann Lee", "Ben", "Cid & Co.")
_SHAPES = ("circle", "square", "triangle", "bar")
_COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "teal",
    "blue",
    "violet",
    "pink",
    "grey",
    "brown",
    "black",
    "lime",
)


@dataclass(frozen=True)
class Drawing:
    """One picture of the corpus."""

    caption: str
    """Its caption, which no other picture has."""
    contributor: str
    """Who made it."""
    picture: bytes
    """The picture as PNG."""


def drawings(count: int, *, seed: int = 0) -> tuple[Drawing, ...]:
    """Drawings of coloured shapes.

    Args:
        count: Number of drawings, at most one for each shape and colour.
        seed: Seed of positions and sizes.
    """
    rng = np.random.default_rng(seed)
    kinds = [(shape, colour) for colour in range(len(_COLOURS)) for shape in _SHAPES]
    return tuple(
        Drawing(
            f"a {_COLOURS[colour]} {shape}",
            CONTRIBUTORS[number % len(CONTRIBUTORS)],
            _drawn(shape, colour, rng),
        )
        for number, (shape, colour) in enumerate(kinds[:count])
    )


def _drawn(shape: str, colour: int, rng: np.random.Generator) -> bytes:
    red, green, blue = colorsys.hsv_to_rgb(colour / len(_COLOURS), 0.8, 0.9)
    fill = (int(red * 255), int(green * 255), int(blue * 255))
    picture = Pictures.new("RGB", (SIDE, SIDE), "white")
    left, top = (int(place) for place in rng.integers(2, 8, 2))
    right, bottom = (SIDE - int(place) for place in rng.integers(2, 8, 2))
    draw = ImageDraw.Draw(picture)
    if shape == "circle":
        draw.ellipse((left, top, right, bottom), fill=fill)
    elif shape == "triangle":
        draw.polygon([(left, bottom), (right, bottom), (SIDE // 2, top)], fill=fill)
    else:
        draw.rectangle((left, top, right, bottom if shape == "square" else top + 6), fill=fill)
    return encoded(picture)


def encoded(picture: Pictures.Image, kind: str = "PNG") -> bytes:
    """The picture as a file's content."""
    content = io.BytesIO()
    picture.save(content, format=kind)
    return content.getvalue()


def write_folder(directory: Path, works: Sequence[Drawing]) -> Path:
    """Pictures in directories of their contributors, with captions as text and names as JSON."""
    for number, work in enumerate(works):
        inside = directory / f"part {number % 2}"
        inside.mkdir(parents=True, exist_ok=True)
        (inside / f"{number}.png").write_bytes(work.picture)
        (inside / f"{number}.txt").write_text(work.caption)
        (inside / f"{number}.json").write_text(json.dumps({"author": work.contributor}))
    return directory


def _write_pictures(directory: Path, works: Sequence[Drawing]) -> list[dict[str, str]]:
    (directory / "images").mkdir(parents=True)
    for number, work in enumerate(works):
        (directory / f"images/{number}.png").write_bytes(work.picture)
    return [
        {"file_name": f"images/{number}.png", "caption": work.caption, "author": work.contributor}
        for number, work in enumerate(works)
    ]


def write_csv(directory: Path, works: Sequence[Drawing]) -> Path:
    """A CSV file that names its pictures."""
    rows = _write_pictures(directory, works)
    with (directory / "works.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return directory / "works.csv"


def write_jsonl(directory: Path, works: Sequence[Drawing]) -> Path:
    """Hugging Face's imagefolder: `metadata.jsonl` beside the pictures."""
    rows = _write_pictures(directory, works)
    (directory / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return directory


def write_webdataset(directory: Path, works: Sequence[Drawing]) -> Path:
    """Shards that each count their samples from 0."""
    directory.mkdir(parents=True)
    for shard in range(2):
        with TarWriter(str(directory / f"{shard:04d}.tar"), mtime=0) as writer:
            for number, work in enumerate(works[shard::2]):
                sample = {"png": work.picture, "txt": work.caption, "json": {"author": work.contributor}}
                writer.write({"__key__": f"{number}", **sample})
    return directory


def _record(number: int, work: Drawing) -> dict[str, str | None]:
    """img2dataset's metadata of a picture."""
    return {
        "url": f"https://pictures.example/{number}.png",
        "caption": work.caption,
        "author": work.contributor,
        "key": f"{number:09d}",
        "status": "success",
        "error_message": None,
    }


def _write_beside(directory: Path, works: Sequence[Drawing]) -> None:
    """What img2dataset writes beside a shard: its metadata with the failed rows, and its statistics."""
    failed = {
        **_record(len(works), works[0]),
        "status": "failed_to_download",
        "error_message": "HTTP Error 404",
    }
    rows = [*(_record(number, work) for number, work in enumerate(works)), failed]
    pq.write_table(pa.Table.from_pylist(rows), directory / "00000.parquet")
    (directory / "00000_stats.json").write_text(json.dumps({"count": len(rows), "successes": len(works)}))


def write_img2dataset_files(directory: Path, works: Sequence[Drawing]) -> Path:
    """img2dataset's `--output_format files`."""
    (directory / "00000").mkdir(parents=True)
    for number, work in enumerate(works):
        record = _record(number, work)
        stem = directory / "00000" / str(record["key"])
        stem.with_suffix(".png").write_bytes(work.picture)
        stem.with_suffix(".txt").write_text(work.caption)
        stem.with_suffix(".json").write_text(json.dumps(record))
    _write_beside(directory, works)
    return directory


def write_img2dataset_webdataset(directory: Path, works: Sequence[Drawing]) -> Path:
    """img2dataset's `--output_format webdataset`."""
    directory.mkdir(parents=True)
    with TarWriter(str(directory / "00000.tar"), mtime=0) as writer:
        for number, work in enumerate(works):
            record = _record(number, work)
            sample = {"png": work.picture, "txt": work.caption, "json": record}
            writer.write({"__key__": record["key"], **sample})
    _write_beside(directory, works)
    return directory


def write_img2dataset_parquet(directory: Path, works: Sequence[Drawing]) -> Path:
    """img2dataset's `--output_format parquet`, with a row that was not downloaded."""
    directory.mkdir(parents=True)
    rows = [{**_record(number, work), "png": work.picture} for number, work in enumerate(works)]
    failed = {
        **_record(len(works), works[0]),
        "status": "failed_to_download",
        "error_message": "HTTP Error 404",
    }
    pq.write_table(pa.Table.from_pylist([*rows, {**failed, "png": None}]), directory / "00000.parquet")
    (directory / "00000_stats.json").write_text("{}")
    return directory


def write_dataset(directory: Path, works: Sequence[Drawing]) -> Path:
    """A dataset that `datasets` wrote with `save_to_disk`."""
    features = Features({"image": Image(), "text": Value("string"), "author": Value("string")})
    columns = {
        "image": [{"bytes": work.picture, "path": None} for work in works],
        "text": [work.caption for work in works],
        "author": [work.contributor for work in works],
    }
    Dataset.from_dict(columns, features=features).save_to_disk(str(directory))
    return directory


def write_clip_features(directory: Path, works: Sequence[Drawing], features: np.ndarray) -> Path:
    """CLIP features without pictures, as clip-retrieval writes them, in two parts.

    Args:
        directory: The directory to write.
        works: N works.
        features: (N, dimension), features of their pictures.
    """
    for name in ("img_emb", "metadata"):
        (directory / name).mkdir(parents=True)
    half = len(works) // 2
    for part, rows in enumerate((slice(0, half), slice(half, None))):
        np.save(directory / "img_emb" / f"img_emb_{part}.npy", features[rows].astype(np.float16))
        records = [{"caption": work.caption, "author": work.contributor} for work in works[rows]]
        pq.write_table(pa.Table.from_pylist(records), directory / "metadata" / f"metadata_{part}.parquet")
    return directory


WITH_PICTURES: dict[str, Callable[[Path, Sequence[Drawing]], Path]] = {
    "folder": write_folder,
    "CSV": write_csv,
    "JSONL": write_jsonl,
    "webdataset": write_webdataset,
    "img2dataset files": write_img2dataset_files,
    "img2dataset webdataset": write_img2dataset_webdataset,
    "img2dataset parquet": write_img2dataset_parquet,
    "datasets": write_dataset,
}
"""Writers of the forms that hold pictures, by name; each returns what a command is given."""
