"""The cache of exported towers: one directory for each set of weights and versions, never changed once made.

A directory is named by the digest of the weights as they were loaded, and by the versions of all that takes
part in the export and in the computation: other weights or another version never meet an old file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from creditline.build_lock import build_lock
from creditline.errors import CreditlineError
from creditline.files import draft_pattern, replace_directory
from creditline.towers.compiled.check import IMAGE, LEAST_COSINE, TEXT, Features, eager_features, least_cosine
from creditline.towers.compiled.export import export_image, export_text
from creditline.towers.compiled.retention import in_use, remove_unused
from creditline.towers.embedded import file_digest
from creditline.towers.towers import Towers

# Number of the form of an entry; a change to the export or to the check's inputs raises it.
_FORM = 2
_VERSIONS = ("torch", "onnxruntime", "onnx", "onnxscript", "open_clip_torch", "timm", "transformers", "numpy")
_MANIFEST = "manifest.json"
_REFERENCE = "reference.npz"
_EXPORTS: Mapping[str, Callable[[Towers, Path], None]] = {IMAGE: export_image, TEXT: export_text}
# Another process compiles for a minute; one that takes longer than this hangs.
_WAIT_SECONDS = 600.0
# Batches of the check that eager torch computes at every start.
_COMPARED_BATCHES = 4
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Entry:
    """Exported networks of a pair of towers."""

    directory: Path
    """Directory of the files."""
    refused: Mapping[str, str]
    """Why a network could not be exported, by tower."""
    reference: Mapping[str, Features]
    """Features of the check's inputs by eager torch, by tower."""

    def network(self, tower: str) -> Path:
        """The ONNX file of a tower that is not refused."""
        return self.directory / f"{tower}.onnx"


@contextmanager
def cached_entry(towers: Towers, cache: Path) -> Iterator[Entry]:
    """The entry of towers on the CPU, exported now unless the cache holds it.

    It counts as used now, and entries that were not used for long are removed. Where the cache cannot be
    written to, the entry is made in a temporary directory, which is removed at the end of the block.
    """
    directory = cache / entry_name(towers)
    with in_use(directory):
        try:
            # Without the build's lock, as a cache that is part of an image cannot be written to.
            entry = _valid_entry(towers, directory) or _made_entry(towers, directory)
        except (OSError, CreditlineError) as error:
            _LOGGER.warning(
                "compiled towers are not kept, because %s cannot be used (%s); set"
                " CREDITLINE_EMBEDDER_TOWERS_CACHE to a directory that this process can write to",
                cache,
                error,
            )
            with TemporaryDirectory() as temporary:
                yield _make_entry(towers, Path(temporary) / directory.name)
        else:
            remove_unused(cache, directory)
            yield entry


def entry_name(towers: Towers) -> str:
    """Digest of the weights, and digest of the versions: a directory name of 49 characters."""
    versions = json.dumps({name: version(name) for name in _VERSIONS} | {"form": _FORM})
    return f"{weights_digest(towers)[:32]}-{hashlib.sha256(versions.encode()).hexdigest()[:16]}"


def weights_digest(towers: Towers) -> str:
    """SHA-256 of the towers' weights, architecture and preprocessing as they were loaded: 64 hex digits."""
    digest = hashlib.sha256(repr((towers.preprocessing.resizing, towers.pixels_shape)).encode())
    for network in (towers.image_network, towers.text_network):
        digest.update(repr(network).encode())
        for name, weights in network.state_dict().items():
            digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
            digest.update(weights.contiguous().numpy())
    return digest.hexdigest()


def read_entry(directory: Path) -> Entry | None:
    """An entry whose files are all as they were written; None where one is missing or differs."""
    try:
        manifest = json.loads((directory / _MANIFEST).read_text())
        for name, digest in manifest["files"].items():
            if file_digest(directory / name) != digest:
                _LOGGER.warning("%s in %s has changed; the towers are compiled again", name, directory)
                return None
        with np.load(directory / _REFERENCE) as stored:
            reference = {tower: stored[tower] for tower in _EXPORTS}
        return Entry(directory, dict(manifest["refused"]), reference)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _valid_entry(towers: Towers, directory: Path) -> Entry | None:
    """The entry, if the towers still compute what they did when it was made.

    A changed configuration, such as another number of attention heads, leaves the weights as they are.
    """
    entry = read_entry(directory)
    if entry is None:
        return None
    for tower, features in eager_features(towers, batches=_COMPARED_BATCHES).items():
        if not least_cosine(features, entry.reference[tower][: len(features)]) >= LEAST_COSINE:
            _LOGGER.warning("the %s tower differs from the one in %s; it is compiled again", tower, directory)
            return None
    return entry


def _made_entry(towers: Towers, directory: Path) -> Entry:
    """The entry, exported by one process at a time."""
    with build_lock(directory, wait_seconds=_WAIT_SECONDS, on_wait=_LOGGER.info):
        for left in directory.parent.glob(draft_pattern(directory)):  # by processes that were killed
            shutil.rmtree(left, ignore_errors=True)
        return _valid_entry(towers, directory) or _make_entry(towers, directory)


def _make_entry(towers: Towers, directory: Path) -> Entry:
    _LOGGER.info("compiling the towers into %s, once; this takes a minute", directory)
    with replace_directory(directory) as draft:
        refused = {tower: reason for tower in _EXPORTS if (reason := _export(towers, tower, draft))}
        reference = eager_features(towers)
        np.savez(draft / _REFERENCE, image=reference[IMAGE], text=reference[TEXT])
        files = {path.name: file_digest(path) for path in sorted(draft.iterdir())}
        (draft / _MANIFEST).write_text(json.dumps({"files": files, "refused": refused}, indent=1))
    return Entry(directory, refused, reference)


def _export(towers: Towers, tower: str, directory: Path) -> str:
    """Export a network; the reason where that fails, else an empty string."""
    path = directory / f"{tower}.onnx"
    try:
        _EXPORTS[tower](towers, path)
    except Exception as error:  # the exporter's errors have no common class, and eager torch always remains
        path.unlink(missing_ok=True)
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return ""
