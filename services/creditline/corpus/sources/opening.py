"""Opening of a source in any supported format, which is detected from its files or named by the caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from creditline.corpus.sources.embedded_data import WithEmbeddedData
from creditline.corpus.sources.formats.clip import ClipSource
from creditline.corpus.sources.formats.folder import FolderSource
from creditline.corpus.sources.formats.huggingface import HuggingFaceSource, is_saved_dataset
from creditline.corpus.sources.formats.listing import SUFFIXES as LISTINGS
from creditline.corpus.sources.formats.listing import ListingSource
from creditline.corpus.sources.formats.parquet import ParquetSource
from creditline.corpus.sources.formats.webdataset import WebdatasetSource
from creditline.corpus.sources.found import Source
from creditline.corpus.sources.id_prefix import with_own_prefix
from creditline.corpus.sources.picture_check import SUFFIXES
from creditline.corpus.sources.source_files import visible_files
from creditline.errors import InvalidInput, NotReady


@dataclass(frozen=True)
class Kind:
    """A corpus format."""

    known_by: str
    """Description of the files that identify the format."""
    open: Callable[[Path], Source]
    """Opens a source of this format."""
    is_here: Callable[[Path, frozenset[str]], bool]
    """Whether a path, with the file endings below it, is of this format."""


def _holds(*endings: str) -> Callable[[Path, frozenset[str]], bool]:
    """A test for the presence of a file with one of these endings."""
    return lambda path, present: any(ending in present for ending in endings)


def _is_folder(path: Path, endings: frozenset[str]) -> bool:
    return path.is_dir() and bool(endings & set(SUFFIXES))


# In the order of detection.
KINDS = MappingProxyType(
    {
        "huggingface": Kind(
            "dataset_info.json with state.json, or dataset_dict.json, as `save_to_disk` writes them",
            HuggingFaceSource.open,
            lambda path, endings: is_saved_dataset(path),
        ),
        "clip-features": Kind(
            "img_emb_*.npy with metadata_*.parquet", ClipSource.open, _holds("img_emb.npy")
        ),
        "webdataset": Kind("*.tar shards", WebdatasetSource.open, _holds(".tar")),
        "folder": Kind(
            "pictures (.png, .jpg, .webp, .gif, .bmp, .tif, .avif) with NAME.txt, NAME.json or captions.csv",
            FolderSource.open,
            _is_folder,
        ),
        "parquet": Kind("*.parquet with a caption column", ParquetSource.open, _holds(".parquet")),
        "table": Kind(
            "a .csv, .tsv or .jsonl file with a caption column, whose rows name their pictures",
            ListingSource.open,
            _holds(*LISTINGS),
        ),
    }
)


def open_source(path: Path, *, kind: str | None = None, embedded: bool = True) -> Source:
    """Open a directory or file as a source.

    Args:
        path: Directory or file of works.
        kind: Name of the format, a key of `KINDS`; None detects it.
        embedded: Whether names, licences, dates and consent are read from the pictures too.

    Raises:
        NotReady: The path does not exist, or holds no files of the format (of any format for None).
        InvalidInput: The kind is unknown, or the files do not belong together.
    """
    if kind is not None and kind not in KINDS:
        raise InvalidInput(
            f"{kind!r} is not a kind of source; choose one of {', '.join(KINDS)}", field="kind"
        )
    if not path.exists():
        raise NotReady(f"{path} does not exist; name a directory or a file of works", field="source")
    endings = _endings(path)
    candidates = [kind] if kind else _detection_order(endings)
    found = next((name for name in candidates if KINDS[name].is_here(path, endings)), None)
    if found is None:
        raise NotReady(_no_source(path, kind, bool(endings)), field="source")
    source = with_own_prefix(KINDS[found].open(path), path)
    return WithEmbeddedData(source) if embedded else source


def _detection_order(endings: frozenset[str]) -> list[str]:
    """Kinds in the order of detection.

    Parquet files come before a folder where there are no text files: data repositories often hold a few
    pictures beside them.
    """
    is_repository = ".parquet" in endings and ".txt" not in endings
    return sorted(KINDS, key=lambda name: is_repository and name == "folder")


def _endings(path: Path) -> frozenset[str]:
    """Suffixes of all files; `img_emb.npy` stands for the numbered files of that name."""
    names = [path.name] if path.is_file() else visible_files(path)
    return frozenset(_ending(name.rpartition("/")[2]) for name in names)


def _ending(name: str) -> str:
    if name.startswith("img_emb_") and name.endswith(".npy"):
        return "img_emb.npy"
    return Path(name).suffix.lower()


def _no_source(path: Path, kind: str | None, has_files: bool) -> str:
    formats = "; ".join(f"{name}: {KINDS[name].known_by}" for name in ([kind] if kind else KINDS))
    problem = "holds no files of a known format" if has_files else "is empty"
    return f"{path} {problem}; name a directory or file with one of these ({formats})"
