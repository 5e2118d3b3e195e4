"""Small corpora in the forms that people have, each written by that form's own library."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, Features, Image, Value, concatenate_datasets
from PIL import Image as Pictures
from webdataset import TarWriter

from creditline.corpus.sources import Found, Source
from tests.corpus.clip_parts import write_clip_parts
from tests.corpus.works_factory import plain_works


def picture(seed: int, kind: str = "PNG", side: int = 24) -> bytes:
    """A small encoded picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Pictures.fromarray(pixels).save(encoded, format=kind)
    return encoded.getvalue()


def everything(source: Source) -> list[Found]:
    """All rows, pictures checked."""
    return [found for part in source.parts() for found in source.read(part)]


def plain(found: Found) -> tuple[object, ...]:
    """What can be compared of a row: features as bytes."""
    features = [
        None if rows is None else rows.tobytes() for rows in (found.image_features, found.text_features)
    ]
    return (found.part, found.row, found.work, *features, found.broken, found.notes)


def write_laion_parquet(directory: Path, *, files: int = 2, rows: int = 25, per_group: int = 7) -> Path:
    """LAION-400M's columns: addresses and texts only."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in range(files):
        names = [f"{file}-{row}" for row in range(rows)]
        table = pa.table(
            {
                "SAMPLE_ID": pa.array([float(file * rows + row) for row in range(rows)]),
                "URL": [f"https://host{row % 3}.example/{name}.jpg" for row, name in enumerate(names)],
                "TEXT": [f"a drawing of {name}" for name in names],
                "HEIGHT": pa.array([64] * rows, pa.int32()),
                "WIDTH": pa.array([64] * rows, pa.int32()),
                "LICENSE": ["?"] * rows,
                "NSFW": ["UNLIKELY"] * rows,
                "similarity": [0.31] * rows,
            }
        )
        pq.write_table(table, directory / f"part-{file:05d}.snappy.parquet", row_group_size=per_group)
    return directory


def write_img2dataset_parquet(path: Path, pictures: Sequence[bytes | None], *, per_group: int = 4) -> Path:
    """img2dataset's `--output_format parquet`: pictures as bytes in the column `jpg`."""
    rows = len(pictures)
    table = pa.table(
        {
            "url": [f"https://pictures.example/{row}.jpg" for row in range(rows)],
            "caption": [f"a drawing of {row}" for row in range(rows)],
            "key": [f"{row:09d}" for row in range(rows)],
            "status": ["success" if one else "failed_to_download" for one in pictures],
            "error_message": [None if one else "HTTP Error 404: Not Found" for one in pictures],
            "jpg": pa.array(pictures, pa.binary()),
        }
    )
    pq.write_table(table, path, row_group_size=per_group)
    return path


def write_embedded_parquet(path: Path, features: np.ndarray, *, per_group: int = 8) -> Path:
    """A column of lists of numbers beside the captions."""
    captions = [f"a drawing of {row}" for row in range(len(features))]
    lists = pa.array(list(features.astype(np.float32)), pa.list_(pa.float32()))
    pq.write_table(pa.table({"text": captions, "image_embedding": lists}), path, row_group_size=per_group)
    return path


def write_clip_features(directory: Path, *, rows: int = 21, per_part: int = 8) -> Path:
    """clip-retrieval's layout; the second part has a row of zeros and one with NaN."""
    features = np.random.default_rng(0).normal(size=(2, rows, 6))
    features[0, per_part + 1], features[1, per_part + 3, 2] = 0.0, np.nan
    return write_clip_parts(directory, plain_works(rows), *features, per_part=per_part)


def write_shards(directory: Path, *, shards: int = 2, samples: int = 9) -> Path:
    """Plain webdataset shards: a picture and its caption, every shard counting its own samples."""
    directory.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        with TarWriter(str(directory / f"train-{shard:04d}.tar"), mtime=0) as writer:
            for row in range(samples):
                kind, ending = (("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"))[row % 3]
                sample = {ending: picture(row, kind), "txt": f"a drawing of {shard}-{row}"}
                writer.write({"__key__": f"sample{row}", **sample})
    return directory


def write_img2dataset_shard(path: Path, *, samples: int = 6) -> Path:
    """img2dataset's `--output_format webdataset`, with the files that it puts beside."""
    with TarWriter(str(path), mtime=0) as writer:
        for row in range(samples):
            record = {
                "url": f"https://pictures.example/{row}.jpg",
                "caption": f"a drawing of {row}",
                "key": f"{row:09d}",
                "status": "success",
                "error_message": None,
                "width": 24,
                "height": 24,
                "LICENSE": "CC-BY 4.0",
            }
            sample = {"jpg": picture(row, "JPEG"), "json": record, "txt": record["caption"]}
            writer.write({"__key__": f"{row:09d}", **sample})
    pq.write_table(pa.table({"url": ["a"], "caption": ["b"]}), path.with_suffix(".parquet"))
    path.with_name(f"{path.stem}_stats.json").write_text("{}")
    return path


def _cut_shard(directory: Path) -> Path:
    """The first of two shards is cut off in the middle of a picture."""
    path = write_shards(directory) / "train-0000.tar"
    with tarfile.open(path) as shard:
        cut = shard.getmembers()[12].offset_data + 10
    path.write_bytes(path.read_bytes()[:cut])
    return directory


def write_folder(directory: Path) -> Path:
    """Pictures with captions of all kinds: beside them as text or JSON, and in tables above them."""
    for name in ("animals/birds", "animals/mammals", "food"):
        (directory / name).mkdir(parents=True)
    for row in range(6):
        (directory / f"animals/birds/owl-{row}.png").write_bytes(picture(row))
        (directory / f"animals/birds/owl-{row}.txt").write_text(f"an owl {row}\n")
        (directory / f"animals/mammals/fox-{row}.JPG").write_bytes(picture(row, "JPEG"))
        record = {"text": f"a fox {row}", "author": "Ann", "license": "CC0", "created": 1999}
        (directory / f"animals/mammals/fox-{row}.json").write_text(json.dumps(record))
        (directory / f"food/pie-{row}.webp").write_bytes(picture(row, "WEBP"))
    with (directory / "captions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "caption", "artist", "rights_holders"])
        table.writerows([f"food/pie-{row}.webp", f"a pie,\nhalf {row}", "Ben", ""] for row in range(5))
    (directory / "animals/birds/owl-3.png").write_bytes(picture(3)[:200])
    (directory / "animals/birds/owl-4.txt").write_bytes("a Möwe".encode("cp1252"))
    return directory


def write_table(directory: Path, *, rows: int = 12) -> Path:
    """A CSV file that names its pictures; of the last rows one has too many fields, and one no picture."""
    (directory / "images").mkdir(parents=True)
    lines = ["file_name,caption,artist"]
    for row in range(rows):
        (directory / f"images/{row}.png").write_bytes(picture(row))
        lines.append(f"images/{row}.png,a drawing of {row},Ann" + (",Ben" if row == rows - 2 else ""))
    lines.append("images/none.png,a drawing of nothing,Ann")
    (directory / "works.csv").write_text("\n".join(lines))
    return directory / "works.csv"


def write_saved_dataset(directory: Path, *, rows: int = 40) -> Path:
    """A dictionary of two splits; of the first a row has no picture that can be decoded."""
    features = Features({"image": Image(), "text": Value("string"), "author": Value("string")})
    splits = {}
    for split, count in (("train", rows), ("test", 5)):
        images = [{"bytes": picture(row), "path": None} for row in range(count)]
        columns = {
            "image": images,
            "text": [f"a drawing of {split} {row}" for row in range(count)],
            "author": ["Ann"] * count,
        }
        splits[split] = Dataset.from_dict(columns, features=features)
    broken = [{**row, "image": {"bytes": b"none", "path": None}} for row in [{"text": "b", "author": "Ben"}]]
    splits["train"] = concatenate_datasets([splits["train"], Dataset.from_list(broken, features=features)])
    DatasetDict(splits).save_to_disk(str(directory))
    return directory


def _broken_pictures(path: Path) -> Path:
    pictures = [picture(row) if row % 4 else picture(row)[:-50] for row in range(11)]
    return write_img2dataset_parquet(_inside(path, "00000.parquet"), pictures)


def _inside(directory: Path, name: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory / name


# By kind, and by what is special about it.
EXAMPLES: dict[str, Callable[[Path], Path]] = {
    "parquet of addresses": write_laion_parquet,
    "parquet with pictures": _broken_pictures,
    "clip-features": write_clip_features,
    "folder": write_folder,
    "huggingface": write_saved_dataset,
    "table": write_table,
    "webdataset": write_shards,
    "webdataset by img2dataset": lambda path: write_img2dataset_shard(_inside(path, "00000.tar")).parent,
    "webdataset cut off": _cut_shard,
}
