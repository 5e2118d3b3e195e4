"""The corpus that the package carries, and how it is built."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from creditline.corpus.openclipart import build_openclipart, embedded_corpus, read_metadata
from creditline.errors import NotReady
from creditline.generator.reference import REFERENCE_FOLDERS, reference_corpus, reference_decoys, split_decoys
from creditline.pictures.preparation import crop_to_content

_LARGEST_FILE_BYTES = 15_000_000

_SVG = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
     xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/">
 <metadata><rdf:RDF><cc:Work rdf:about="">
  <dc:title>{title}</dc:title>
  <dc:creator><cc:Agent><dc:title>{creator}</dc:title></cc:Agent></dc:creator>
  <dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject>
  <cc:license rdf:resource="{licence}"/>
 </cc:Work></rdf:RDF></metadata></svg>"""


def _svg(
    path: Path,
    title: str = "Red car",
    creator: str = "Ann",
    keywords: tuple[str, ...] = ("car",),
    licence: str = "http://web.resource.org/cc/PublicDomain",
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bag = "".join(f"<rdf:li>{keyword}</rdf:li>" for keyword in keywords)
    path.write_text(_SVG.format(title=title, creator=creator, keywords=bag, licence=licence))


def _png(path: Path, *, colour: str = "red", size: int = 60, left: int = 10, blank: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    if not blank:
        picture.paste(colour, (left, 10, left + 30, 30))
    picture.save(path)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A small collection with one of everything that is left out."""
    works = {
        "animals/cat": {"title": "Cat", "creator": "Ann"},
        "animals/cat_copy": {"title": "Cat again", "creator": "ann"},
        "food/bread": {"title": "2004-11", "creator": "Bob bob@example.org", "keywords": ("food", "loaf")},
        "food/nobody": {"creator": "unknown"},
        "food/owned": {"licence": "http://creativecommons.org/licenses/by/2.0/"},
        "food/blank": {},
        "shapes/circle": {},
        "computer/icons/theme/a": {},
    }
    for name, metadata in works.items():
        _svg(tmp_path / "svg" / f"{name}.svg", **metadata)
        _png(tmp_path / "png" / f"{name}.png", blank=name == "food/blank")
    _png(tmp_path / "png" / "food/bread.png", colour="brown", left=0)
    _png(tmp_path / "png" / "food/orphan.png")
    (tmp_path / "svg" / "food" / "broken.svg").write_text("<svg")
    _png(tmp_path / "png" / "food/broken.png")
    return tmp_path


def test_a_build_keeps_what_is_named_and_free_and_counts_the_rest_by_reason(collection: Path) -> None:
    corpus, report = build_openclipart(collection)
    assert sorted(work.source for work in corpus) == [
        "animals/cat.png",
        "animals/cat_copy.png",
        "food/bread.png",
    ]
    assert report.works == 3
    assert report.dropped == {
        "no SVG with metadata": 1,
        "unreadable metadata": 1,
        "no named contributor": 1,
        "licence is not public domain": 1,
        "blank picture": 1,
        "folder shapes": 1,
        "icon themes": 1,
    }


def test_copies_form_one_group_and_one_spelling_of_a_name_is_kept(collection: Path) -> None:
    corpus, report = build_openclipart(collection)
    by_source = {work.source: work for work in corpus}
    cat, copy, bread = (
        by_source[f"{name}.png"] for name in ("animals/cat", "animals/cat_copy", "food/bread")
    )
    assert cat.duplicate_group == copy.duplicate_group == cat.id
    assert bread.duplicate_group == bread.id
    assert cat.contributor == copy.contributor
    assert (report.contributors, report.duplicate_groups, report.works_with_duplicates) == (2, 2, 2)


def test_a_name_loses_its_address_and_an_empty_title_becomes_the_files_name(collection: Path) -> None:
    corpus, _ = build_openclipart(collection)
    bread = next(work for work in corpus if work.source == "food/bread.png")
    assert bread.contributor == "Bob"
    assert bread.title == "bread"
    assert bread.caption == "bread, food, loaf"


def test_without_the_packages_the_build_says_which_to_install(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="openclipart-png and openclipart-svg"):
        build_openclipart(tmp_path)


def test_absent_metadata_are_empty(tmp_path: Path) -> None:
    (tmp_path / "bare.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    metadata = read_metadata(tmp_path / "bare.svg")
    assert (metadata.title, metadata.creator, metadata.keywords, metadata.licence) == ("", "", (), "")


def test_the_embedded_file_is_small_enough_to_ship() -> None:
    path = Path(str(files("creditline.corpus") / "openclipart.parquet"))
    assert path.stat().st_size <= _LARGEST_FILE_BYTES


def test_every_embedded_work_is_named_free_and_unique() -> None:
    corpus = embedded_corpus()
    assert len(corpus) > 4000
    assert len(set(corpus.ids)) == len(corpus)
    assert len({work.contributor for work in corpus}) > 450
    for work in corpus:
        assert work.contributor.strip(), work.id
        assert "@" not in work.contributor, work.id
        assert work.title.strip(), work.id
        assert work.caption.startswith(work.title[:300]), work.id
        assert work.licence == "Public Domain", work.id
        assert not work.source.startswith(("shapes/", "special/", "computer/icons/")), work.id


def test_every_duplicate_group_is_named_after_one_of_its_members() -> None:
    corpus = embedded_corpus()
    members = Counter(work.duplicate_group for work in corpus)
    group_of = {work.id: work.duplicate_group for work in corpus}
    assert all(group_of[group] == group for group in members)
    assert sum(size > 1 for size in members.values()) > 200


@pytest.mark.slow
def test_every_embedded_thumbnail_decodes_and_fills_its_square() -> None:
    for work in embedded_corpus():
        picture = work.picture()
        assert picture.size == (128, 128), work.id
        content = crop_to_content(picture)
        assert content is not None, work.id
        assert content.width > 100, f"{work.id} is not cropped to its content"


def test_decoys_are_a_twentieth_of_the_works_and_share_no_group_with_the_rest() -> None:
    corpus, decoys = reference_corpus(), reference_decoys()
    part = len(decoys) / (len(corpus) + len(decoys))
    assert 0.05 <= part < 0.06
    assert {work.folder for work in corpus} == set(REFERENCE_FOLDERS)
    assert not {work.duplicate_group for work in corpus} & {work.duplicate_group for work in decoys}
    assert not set(corpus.ids) & set(decoys.ids)


def test_a_split_keeps_every_work_and_every_group_whole() -> None:
    corpus = embedded_corpus()
    for seed in range(3):
        kept, held_out = split_decoys(corpus, fraction=0.2, seed=seed)
        assert sorted((*kept.ids, *held_out.ids)) == sorted(corpus.ids)
        assert not {work.duplicate_group for work in kept} & {work.duplicate_group for work in held_out}
        assert len(held_out) / len(corpus) == pytest.approx(0.2, abs=0.02)
    assert (
        split_decoys(corpus, fraction=0.2, seed=0)[1].ids != split_decoys(corpus, fraction=0.2, seed=1)[1].ids
    )


def test_a_split_is_the_same_for_the_same_seed() -> None:
    corpus = embedded_corpus()
    first, second = (split_decoys(corpus, fraction=0.1, seed=4)[1] for _ in range(2))
    assert np.array_equal(first.ids, second.ids)
