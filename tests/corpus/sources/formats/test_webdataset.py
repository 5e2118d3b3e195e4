"""Tar shards: samples as the webdataset library groups them, and what is whole of a shard that is cut off."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest
import webdataset
from webdataset import TarWriter

from creditline.corpus.rights import RightsHolder
from creditline.corpus.sources import Found, open_source
from tests.corpus.sources.examples import everything, picture, write_img2dataset_shard, write_shards


def _shard(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as shard:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    return path


def _found(path: Path) -> list[Found]:
    return everything(open_source(path))


def test_samples_are_those_of_the_webdataset_library(tmp_path: Path) -> None:
    directory = write_shards(tmp_path / "shards")
    theirs = []
    for part in open_source(directory).parts():
        theirs += list(webdataset.WebDataset(str(directory / part), shardshuffle=False))
    works = [found.work for found in _found(directory)]
    assert len(works) == len(theirs) == 18
    for work, their in zip(works, theirs, strict=True):
        assert work is not None
        assert work.id.endswith(their["__key__"])
        assert work.caption.encode() == their["txt"]
        assert work.thumbnail in their.values()


def test_works_of_two_shards_that_count_alike_have_different_ids(tmp_path: Path) -> None:
    found = _found(write_shards(tmp_path / "shards"))
    assert len({one.work.id for one in found if one.work}) == 18
    assert found[9].work is not None
    assert found[9].work.id == "train-0001/sample0"


def test_img2datasets_json_tells_id_source_and_licence(tmp_path: Path) -> None:
    write_img2dataset_shard(tmp_path / "00000.tar")
    source = open_source(tmp_path)
    assert (source.kind, source.parts()) == ("webdataset", ("00000.tar",))
    work = everything(source)[3].work
    assert work is not None
    assert (work.id, work.caption, work.licence) == ("000000003", "a drawing of 3", "CC-BY 4.0")
    assert (work.source, work.contributor) == ("https://pictures.example/3.jpg", "unknown")
    assert source.mapping == {
        "id": "key in .json",
        "caption": "caption in .json",
        "licence": "LICENSE in .json",
        "source": "url in .json",
        "picture": ".jpg",
    }


def test_rights_come_from_the_json(tmp_path: Path) -> None:
    with TarWriter(str(tmp_path / "a.tar")) as writer:
        holders = [{"name": "Ann", "percent": 75}, {"name": "Ben", "percent": 25}]
        record = {"title": "Owl", "text": "an owl", "author": "Ann", "rights_holders": holders}
        writer.write({"__key__": "owl", "png": picture(0), "json": record})
    work = _found(tmp_path / "a.tar")[0].work
    assert work is not None
    assert (work.title, work.caption, work.contributor) == ("Owl", "an owl", "Ann")
    assert work.holders == (RightsHolder("Ann", 75.0), RightsHolder("Ben", 25.0))


def test_samples_that_are_no_works_are_broken_one_by_one(tmp_path: Path) -> None:
    path = _shard(
        tmp_path / "a.tar",
        ("./a.png", picture(0)),
        ("./a.txt", b"whole"),
        ("./b.txt", b"no picture"),
        ("./b.json", b"{}"),
        ("./c.png", picture(1)),
        ("./d.png", picture(2)),
        ("./d.json", b'{"caption": "half'),
        ("./e.png", picture(3)),
        ("./e.json", b"[1]"),
        ("./f.png", picture(4)[:-60]),
        ("./f.txt", b"half a picture"),
    )
    told = [one.broken for one in _found(path)]
    assert told[0] == ""
    assert told[1] == (
        "sample 'b' of a.tar has no picture (.png, .jpg, .jpeg, .webp, .gif, .bmp, .tif, .tiff, .avif), only"
        " txt, json; add it, or leave the sample out"
    )
    assert told[2] == "work 'a/c' has no caption; add one, or leave it out"
    assert told[3].startswith("the JSON of sample 'd' of a.tar cannot be read (")
    assert "(it holds a list instead of an object); correct the JSON" in told[4]
    assert told[5].startswith("the picture of work 'a/f' cannot be decoded (")


@pytest.mark.parametrize(
    ("endings", "main"),
    [
        (["depth.png", "jpg"], "jpg"),
        (["png", "mask.png"], "png"),
        (["png", "jpg"], "jpg"),
        (["depth_image.jpg", "image.jpg"], "image.jpg"),
        (["seg.png", "v2.jpg"], "v2.jpg"),
        (["canny.png", "IMG.PNG"], "img.png"),
    ],
)
def test_the_main_picture_of_a_sample_is_never_a_map_or_a_mask(
    tmp_path: Path, endings: list[str], main: str
) -> None:
    members = [(f"cat.{ending}", picture(seed)) for seed, ending in enumerate(endings)]
    (found,) = _found(_shard(tmp_path / "a.tar", *members, ("cat.txt", b"a cat")))
    assert found.work is not None
    assert found.work.source == f"a/cat.{main}"
    assert found.work.thumbnail == picture([ending.lower() for ending in endings].index(main))


def test_maps_alone_are_no_picture(tmp_path: Path) -> None:
    (found,) = _found(_shard(tmp_path / "a.tar", ("cat.depth.png", picture(0)), ("cat.txt", b"a cat")))
    assert (found.loss, "has maps or masks only (depth.png, txt)" in found.broken) == (
        "without a picture",
        True,
    )


def test_keys_with_dots_keep_their_captions(tmp_path: Path) -> None:
    path = _shard(
        tmp_path / "a.tar",
        *(("a.b.jpg", picture(0)), ("a.b.txt", b"one"), ("a.c.JPG", picture(1)), ("a.c.TXT", b"two")),
        *(
            ("v1.2.png", picture(2)),
            ("v1.2.json", b'{"caption": "three"}'),
            ("d.png", picture(3)),
            ("d.txt", b"four"),
        ),
    )
    found = _found(path)
    assert [one.work.caption for one in found if one.work] == ["one", "two", "three", "four"]
    assert [one.work.id for one in found if one.work] == ["a/a.b", "a/a.c", "a/v1.2", "a/d"]
    assert [one.row for one in found] == [0, 1, 2, 3]


def test_several_pictures_and_repeated_files_of_a_sample_are_counted(tmp_path: Path) -> None:
    members = [("a.png", picture(0)), ("a.jpg", picture(1)), ("a.txt", b"one"), ("a.TXT", b"two")]
    (found,) = _found(_shard(tmp_path / "a.tar", *members))
    assert found.work is not None
    assert found.work.caption == "one"
    assert found.notes == (
        "file repeated in a sample, the first is used",
        "several pictures in a sample, one is used",
    )


def test_empty_pictures_and_null_captions_are_broken_rows_and_reading_goes_on(tmp_path: Path) -> None:
    members = [("a.png", b""), ("a.txt", b"one"), ("b.png", picture(0)), ("b.json", b'{"caption": null}')]
    found = _found(_shard(tmp_path / "a.tar", *members, ("c.png", picture(1)), ("c.txt", b"three")))
    assert [one.loss for one in found] == ["empty picture", "without a caption", ""]
    assert found[1].broken == "work 'a/b' has an empty caption (caption); add one, or leave it out"


def test_names_without_an_ending_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    path = _shard(
        tmp_path / "a.tar",
        ("README", b"not a sample"),
        ("._a.png", b"what another system leaves"),
        ("dir.v2/a.img.PNG", picture(0)),
        ("dir.v2/a.txt", b"one"),
    )
    found = _found(path)
    assert [one.work.id for one in found if one.work] == ["a/dir.v2/a"]
    assert len(found) == 1


def test_captions_in_other_encodings_are_counted(tmp_path: Path) -> None:
    captions = ["Möwe".encode(), "\ufeffMöwe".encode(), "Möwe".encode("utf-16"), "Möwe".encode("cp1252")]
    members = [
        member
        for row, caption in enumerate(captions)
        for member in ((f"{row}.png", picture(row)), (f"{row}.txt", caption))
    ]
    found = _found(_shard(tmp_path / "a.tar", *members))
    assert [one.work.caption for one in found if one.work] == ["Möwe"] * 4
    assert [bool(one.notes) for one in found] == [False, False, True, True]


def test_wherever_a_shard_is_cut_off_what_is_whole_is_read_and_the_cut_is_told_once(tmp_path: Path) -> None:
    directory = write_shards(tmp_path / "shards", shards=1, samples=4)
    path = directory / "train-0000.tar"
    content = path.read_bytes()
    with tarfile.open(path) as shard:
        members = shard.getmembers()
    ends = [member.offset_data + -(-member.size // 512) * 512 for member in members]
    source = open_source(directory)
    for cut in range(0, ends[-1] + 512, 100):
        path.write_bytes(content[:cut])
        found = list(source.rows("train-0000.tar"))
        # Two members a sample; the first sample is known to be whole only by the one after it.
        whole = sum(end <= cut for end in ends) // 2
        assert len(found) - 1 in ((0,) if cut < ends[2] else (whole,))
        assert all(one.work for one in found[:-1])
        told = f"{path} is cut off or damaged after {len(found) - 1} samples ("
        assert found[-1].broken.startswith(told)
        assert found[-1].row == len(found) - 1
    path.write_bytes(content)
    assert all(one.work for one in source.rows("train-0000.tar"))


def test_a_damaged_header_is_told_too(tmp_path: Path) -> None:
    path = write_shards(tmp_path / "shards", shards=1, samples=4) / "train-0000.tar"
    with tarfile.open(path) as shard:
        header = shard.getmembers()[4].offset
    content = bytearray(path.read_bytes())
    content[header + 10] ^= 0xFF
    path.write_bytes(content)
    found = _found(path)
    assert [bool(one.work) for one in found] == [True, True, False]
    assert "after 2 samples (a damaged header)" in found[-1].broken


@pytest.mark.parametrize("content", [b"", b"not a tar" * 100])
def test_what_is_no_tar_is_one_broken_row(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    assert ["cut off or damaged after 0 samples" in one.broken for one in _found(tmp_path)] == [True]


def test_memory_is_that_of_one_sample_and_skipping_reads_no_content(tmp_path: Path) -> None:
    large = bytes(1_000_000)
    members = [member for row in range(60) for member in ((f"{row}.png", large), (f"{row}.txt", b"a"))]
    source = open_source(_shard(tmp_path / "a.tar", *members))
    tracemalloc.start()
    for _ in source.rows("a.tar"):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    assert next(source.rows("a.tar", 59)).work is not None
    skipping = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6
    assert skipping < 4e6
