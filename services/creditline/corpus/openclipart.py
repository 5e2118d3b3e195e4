"""Build of the embedded corpus from Debian's `openclipart-png` and `openclipart-svg` (OpenClipart 0.18).

The pictures come from the PNG files; title, creator, keywords and licence from the RDF in the SVG files.
`creditline corpus build --source /usr/share/openclipart --output FILE` rebuilds the file.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from creditline.corpus.duplicates import duplicate_groups
from creditline.corpus.works import Corpus, Work, read_corpus
from creditline.errors import NotReady
from creditline.pictures.preparation import crop_to_content, encode_thumbnail, open_on_white, pixels

CORPUS_NAME = "openclipart-0.18"
_FILE_NAME = "openclipart.parquet"
_LEFT_OUT_FOLDERS = ("shapes", "special")
_ICON_THEMES = ("computer", "icons")
_THUMBNAIL_SIDE = 128
_THUMBNAIL_QUALITY = 82
_COMPARISON_SIDE = 24
# Chosen by inspecting pairs on both sides: below it are copies, rescaled versions and pictures with one
# detail recoloured; above it are signs of one series and drawings that only share a frame.
_DUPLICATE_THRESHOLD = 0.03
_PUBLIC_DOMAIN = re.compile(r"public\s*domain", re.IGNORECASE)
_NOT_A_NAME = re.compile(r"^(hash\(0x.*|unknown|anonymous|anon|me|none|n/?a|u|[\W_]*)$", re.IGNORECASE)
_EMAIL = re.compile(r"\s*[(<\[]?\s*\S+@\S+\.\w+\s*[)>\]]?")
_DC = "{http://purl.org/dc/elements/1.1/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


@dataclass(frozen=True)
class Metadata:
    """RDF metadata of an SVG file; absent values are empty."""

    title: str
    """Title of the picture."""
    creator: str
    """Name of the contributor, without e-mail address."""
    keywords: tuple[str, ...]
    """Keywords, without repetitions."""
    licence: str
    """URL of the licence."""


@dataclass(frozen=True)
class BuildReport:
    """Counts of one corpus build."""

    works: int
    """Number of works kept."""
    contributors: int
    """Number of different contributors."""
    duplicate_groups: int
    """Number of duplicate groups, those of one work included."""
    works_with_duplicates: int
    """Number of works that share their duplicate group with another work."""
    dropped: dict[str, int]
    """Number of pictures dropped, by reason."""


def embedded_corpus() -> Corpus:
    """The OpenClipart corpus that is part of the package, read once per process."""
    return _embedded()


@cache
def _embedded() -> Corpus:
    return read_corpus(Path(str(files("creditline.corpus") / _FILE_NAME)), name=CORPUS_NAME)


def read_metadata(svg: Path) -> Metadata:
    """Read title, creator, keywords and licence from the RDF of an SVG file.

    Raises:
        xml.etree.ElementTree.ParseError: The file is not well-formed XML.
    """
    tree = ElementTree.parse(svg)
    work = next((e for e in tree.iter() if e.tag.endswith("}Work")), None)
    if work is None:
        return Metadata("", "", (), "")
    licences = [e.get(f"{_RDF}resource", "") for e in work if e.tag.endswith("}license")]
    keywords = [_text(e) for e in work.iter(f"{_RDF}li")]
    return Metadata(
        title=_text(work.find(f"{_DC}title")),
        creator=_contributor_name(_text(work.find(f"{_DC}creator"))),
        keywords=tuple(dict.fromkeys(k for k in keywords if k and not k.startswith("HASH("))),
        licence=next((value for value in licences if value), ""),
    )


def _text(element: ElementTree.Element | None) -> str:
    return " ".join("".join(element.itertext()).split()) if element is not None else ""


def _contributor_name(raw: str) -> str:
    """The name without an e-mail address; empty for placeholders such as "unknown"."""
    name = _EMAIL.sub("", _plain_letters(raw)).strip(" ,;")
    return "" if _NOT_A_NAME.match(name) else name


def _plain_letters(raw: str) -> str:
    """Decode HTML entities, and UTF-8 that was decoded as Latin-1 (`Tom&Atilde;&iexcl;s` is Tomás)."""
    unescaped = html.unescape(raw)
    try:
        return unescaped.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return unescaped


def _caption(metadata: Metadata, path: Path) -> tuple[str, str]:
    """Title and caption; a meaningless title is replaced by the file name."""
    title = metadata.title
    if len(title) < 3 or title.startswith("HASH(") or re.fullmatch(r"[\d\W]+", title):
        title = re.sub(r"[_\W]+", " ", path.stem).strip()
    known = title.lower()
    extra = [k for k in metadata.keywords if k.lower() not in known and k != "unsorted"]
    return title, ", ".join([title, *extra])[:300]


def _is_left_out(relative: Path) -> str | None:
    if relative.parts[0] in _LEFT_OUT_FOLDERS:
        return f"folder {relative.parts[0]}"
    if relative.parts[:2] == _ICON_THEMES:
        return "icon themes"
    return None


def _read_one(job: tuple[Path, Path]) -> tuple[Work | None, str, np.ndarray | None]:
    """Convert one picture to a work without a duplicate group, or give the reason for dropping it."""
    root, relative = job
    svg = root / "svg" / relative.with_suffix(".svg")
    if not svg.is_file():
        return None, "no SVG with metadata", None
    try:
        metadata = read_metadata(svg)
    except ElementTree.ParseError:
        return None, "unreadable metadata", None
    if not metadata.creator:
        return None, "no named contributor", None
    if not _PUBLIC_DOMAIN.search(metadata.licence):
        return None, "licence is not public domain", None
    square = crop_to_content(open_on_white(root / "png" / relative))
    if square is None:
        return None, "blank picture", None
    title, caption = _caption(metadata, relative)
    work = Work(
        id="oca-" + re.sub(r"[^a-z0-9]+", "-", str(relative.with_suffix("")).lower()).strip("-"),
        title=title,
        caption=caption,
        keywords=metadata.keywords,
        contributor=metadata.creator,
        licence="Public Domain",
        source=str(relative),
        duplicate_group="",
        thumbnail=encode_thumbnail(square, side=_THUMBNAIL_SIDE, quality=_THUMBNAIL_QUALITY),
    )
    ink = 1.0 - pixels(square, side=_COMPARISON_SIDE).reshape(-1)
    return work, "", ink


def _candidates(root: Path) -> Iterator[tuple[Path, str | None]]:
    for path in sorted((root / "png").rglob("*.png")):
        relative = path.relative_to(root / "png")
        yield relative, _is_left_out(relative)


def _one_spelling(names: list[str]) -> dict[str, str]:
    """The most frequent spelling of each name, among names that differ only in case."""
    spellings: dict[str, Counter[str]] = {}
    for name in names:
        spellings.setdefault(name.casefold(), Counter())[name] += 1
    return {name: spellings[name.casefold()].most_common(1)[0][0] for name in names}


def _unique_ids(works: list[Work]) -> list[str]:
    seen: Counter[str] = Counter()
    unique = []
    for work in works:
        seen[work.id] += 1
        unique.append(work.id if seen[work.id] == 1 else f"{work.id}-{seen[work.id]}")
    return unique


def build_openclipart(root: Path) -> tuple[Corpus, BuildReport]:
    """Build the corpus from all pictures under a directory.

    Args:
        root: Directory that holds `png/` and `svg/`.

    Raises:
        NotReady: `png/` or `svg/` is missing.
    """
    if not (root / "png").is_dir() or not (root / "svg").is_dir():
        raise NotReady(
            f"{root} does not hold both png/ and svg/; install Debian's openclipart-png and openclipart-svg",
            field="source",
        )
    dropped: Counter[str] = Counter()
    jobs = []
    for relative, reason in _candidates(root):
        if reason:
            dropped[reason] += 1
        else:
            jobs.append((root, relative))
    works: list[Work] = []
    inks: list[np.ndarray] = []
    with ProcessPoolExecutor() as pool:
        for work, reason, ink in pool.map(_read_one, jobs, chunksize=32):
            if work is None or ink is None:
                dropped[reason] += 1
            else:
                works.append(work)
                inks.append(ink)
    corpus = _with_groups(works, np.stack(inks))
    return corpus, _report(corpus, dropped)


def _with_groups(works: list[Work], ink: np.ndarray) -> Corpus:
    first_row = duplicate_groups(ink, threshold=_DUPLICATE_THRESHOLD)
    ids = _unique_ids(works)
    names = _one_spelling([work.contributor for work in works])
    return Corpus(
        name=CORPUS_NAME,
        works=tuple(
            Work(
                **{
                    **vars(work),
                    "id": ids[row],
                    "contributor": names[work.contributor],
                    "duplicate_group": ids[int(first_row[row])],
                }
            )
            for row, work in enumerate(works)
        ),
    )


def _report(corpus: Corpus, dropped: Counter[str]) -> BuildReport:
    sizes = Counter(work.duplicate_group for work in corpus)
    return BuildReport(
        works=len(corpus),
        contributors=len({work.contributor for work in corpus}),
        duplicate_groups=len(sizes),
        works_with_duplicates=sum(size for size in sizes.values() if size > 1),
        dropped=dict(dropped.most_common()),
    )
