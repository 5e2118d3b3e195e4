"""Opens a source of any form: recognised by what lies in its directory, or named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from creditline.corpus.sources.formats.clip import ClipSource
from creditline.corpus.sources.formats.folder import FolderSource
from creditline.corpus.sources.formats.huggingface import HuggingFaceSource, is_saved_dataset
from creditline.corpus.sources.formats.parquet import ParquetSource
from creditline.corpus.sources.formats.webdataset import WebdatasetSource
from creditline.corpus.sources.found import Source
from creditline.corpus.sources.picture_check import SUFFIXES
from creditline.corpus.sources.source_files import visible_files
from creditline.errors import InvalidInput, NotReady


@dataclass(frozen=True)
class Kind:
    """A form of a corpus: what it is known by, and how it is opened."""

    known_by: str
    open: Callable[[Path], Source]
    is_here: Callable[[Path, frozenset[str]], bool]


def _holds(*endings: str) -> Callable[[Path, frozenset[str]], bool]:
    """Whether some file has one of these endings."""
    return lambda path, endings_there: any(ending in endings_there for ending in endings)


def _is_folder(path: Path, endings: frozenset[str]) -> bool:
    return path.is_dir() and bool(endings & set(SUFFIXES))


# In the order in which they are tried.
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
            "pictures (.png, .jpg, .webp, .gif, .bmp) with NAME.txt, NAME.json or captions.csv",
            FolderSource.open,
            _is_folder,
        ),
        "parquet": Kind("*.parquet with a caption column", ParquetSource.open, _holds(".parquet")),
    }
)


def open_source(path: Path, *, kind: str | None = None) -> Source:
    """Open a directory or file as a source.

    Raises NotReady when it is not there or holds nothing of any form, InvalidInput for an unknown `kind` and
    for files that do not belong together.
    """
    if kind is not None and kind not in KINDS:
        raise InvalidInput(
            f"there is no kind {kind!r} of source; take one of {', '.join(KINDS)}", field="kind"
        )
    if not path.exists():
        raise NotReady(f"{path} is not there; name a directory or a file of works", field="source")
    endings = _endings(path)
    tried = [kind] if kind else _tried(endings)
    found = next((name for name in tried if KINDS[name].is_here(path, endings)), None)
    if found is None:
        raise NotReady(_nothing(path, kind, bool(endings)), field="source")
    return KINDS[found].open(path)


def _tried(endings: frozenset[str]) -> list[str]:
    """Kinds in their order; Parquet files with a picture or two, as repositories have them, are no folder."""
    is_repository = ".parquet" in endings and ".txt" not in endings
    return sorted(KINDS, key=lambda name: is_repository and name == "folder")


def _endings(path: Path) -> frozenset[str]:
    """Suffixes of all files; `img_emb.npy` stands for numbered files of that name."""
    names = [path.name] if path.is_file() else visible_files(path)
    return frozenset(_ending(name.rpartition("/")[2]) for name in names)


def _ending(name: str) -> str:
    if name.startswith("img_emb_") and name.endswith(".npy"):
        return "img_emb.npy"
    return Path(name).suffix.lower()


def _nothing(path: Path, kind: str | None, has_files: bool) -> str:
    looked_for = "; ".join(f"{name}: {KINDS[name].known_by}" for name in ([kind] if kind else KINDS))
    held = "holds none of what makes a source" if has_files else "is empty"
    return f"{path} {held}; name a directory or file with one of these ({looked_for})"
