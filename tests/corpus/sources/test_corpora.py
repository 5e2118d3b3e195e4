"""One reading of a corpus: any source and its packed form give the same works and fingerprint."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from creditline.cli.corpus import app as corpus_app
from creditline.corpus.sources.corpora import open_corpus, read_source
from creditline.corpus.sources.stored_pictures import KEPT_BYTES, stored_picture
from creditline.corpus.works import PACKED_VERSION, WORK_SCHEMA, is_packed, read_corpus, write_corpus
from creditline.errors import InvalidInput
from creditline.pictures.decoding import decode


def picture(side: int = 16, colour: str = "red", file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side // 2), colour).save(buffer, format=file_format)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "my pictures"
    directory.mkdir()
    for name, colour in (("barn", "red"), ("sea", "blue"), ("broken", "green")):
        (directory / f"{name}.png").write_bytes(picture(colour=colour))
        (directory / f"{name}.txt").write_text(f"a {colour} {name}\nin two lines")
    (directory / "broken.png").write_bytes(b"\x89PNG\r\n")
    (directory / "large.png").write_bytes(picture(side=3000))
    (directory / "large.txt").write_text("a large barn")
    return directory


def test_a_folder_and_its_packed_form_are_one_corpus(folder: Path, tmp_path: Path) -> None:
    read = read_source(folder)
    assert read.corpus.name == "my pictures"
    assert (read.kind, len(read.corpus), read.reduced, len(read.broken)) == ("folder", 3, 1, 1)
    assert "broken.png" in read.broken[0]
    packed = tmp_path / "packed.parquet"
    write_corpus(read.corpus, packed)
    again = open_corpus(packed, name=read.corpus.name)
    assert again == read.corpus
    assert again.fingerprint == open_corpus(folder).fingerprint
    assert "1 broken rows are left out:" in "\n".join(read.account())


def test_the_command_packs_a_source_and_counts_what_it_leaves_out(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "packed.parquet"
    told = CliRunner().invoke(corpus_app, ["pack", str(folder), "--output", str(output)]).output
    assert "3 works read from my pictures (folder)" in told
    assert "1 pictures are stored smaller" in told
    assert "1 broken rows are left out:" in told
    assert f"fingerprint {read_corpus(output).fingerprint}" in told


def test_small_pictures_are_kept_byte_for_byte_and_large_ones_decode_to_the_same_pixels(
    folder: Path,
) -> None:
    works = {work.id: work for work in open_corpus(folder)}
    assert works["barn.png"].thumbnail == (folder / "barn.png").read_bytes()
    assert Image.open(io.BytesIO(works["large.png"].thumbnail)).size == (512, 256)
    noise = Image.effect_noise((1000, 900), 90).convert("RGBA")
    noise.putalpha(128)
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned by 90 degrees.
    buffer = io.BytesIO()
    noise.save(buffer, format="PNG", exif=exif, compress_level=0)
    heavy = buffer.getvalue()
    assert len(heavy) > KEPT_BYTES
    stored = stored_picture(heavy)
    assert len(stored) < KEPT_BYTES
    assert decode(stored, field="image") == decode(heavy, field="image")


def test_repeated_ids_and_sources_without_works_are_refused_in_words(tmp_path: Path) -> None:
    twice = tmp_path / "twice.parquet"
    rows = {"id": ["a", "b", "a"], "caption": ["one", "two", "three"], "image": [picture()] * 3}
    pq.write_table(pa.table(rows), twice)
    with pytest.raises(InvalidInput, match=r"twice\.parquet has 1 ids more than once, .* 'a' \(2 times\)"):
        open_corpus(twice)
    pq.write_table(pa.table({**rows, "caption": [""] * 3}), twice)
    with pytest.raises(InvalidInput, match=r"holds no works \(3 broken rows: row 0 .* has an empty caption"):
        open_corpus(twice)


def test_packed_files_of_earlier_versions_are_read_and_of_later_ones_refused(
    folder: Path, tmp_path: Path
) -> None:
    corpus = open_corpus(folder, name="packed")
    path = tmp_path / "packed.parquet"
    write_corpus(corpus, path)
    table = pq.read_table(path)
    key = b"creditline.corpus.version"
    assert table.schema.metadata[key] == str(PACKED_VERSION).encode()
    pq.write_table(table.drop_columns(["created", "rights_holders"]).replace_schema_metadata(None), path)
    assert is_packed(path)
    assert open_corpus(path).fingerprint == corpus.fingerprint
    later = table.replace_schema_metadata({key: str(PACKED_VERSION + 1)})
    pq.write_table(later, path)
    with pytest.raises(InvalidInput, match=r"is a packed corpus of version .* update Creditline"):
        read_corpus(path)
    assert set(WORK_SCHEMA.names) >= {"id", "caption", "thumbnail"}


def test_a_cut_packed_file_is_refused_in_words(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "packed.parquet"
    write_corpus(open_corpus(folder), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InvalidInput, match="cannot be read as Parquet"):
        read_corpus(path)
