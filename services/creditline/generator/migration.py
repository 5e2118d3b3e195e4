"""Migration from the former fingerprint of generators, which covered the bytes of a directory's files.

Artifacts that name a generator by its former fingerprint are renamed to the fingerprint of what is loaded
from the same directory; nothing else in them changes. The ledger is not rewritten, because its entries are
chained by hashes: the teacher accepts recorded answers of a generator under its former fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from creditline.errors import InvalidInput
from creditline.files import replace_file
from creditline.generator.fingerprint import generator_fingerprint
from creditline.generator.parts.model_index import PARTS
from creditline.generator.pipeline import Generator
from creditline.release import file_sha256

_TEXTS = {".json", ".md", ".yaml", ".yml", ".env"}
_SAFETENSORS = ".safetensors"
# safetensors reads no longer header.
_LONGEST_HEADER_BYTES = 100_000_000
# Manifests with the SHA-256 of the files beside them.
_MANIFESTS = ("release.json", "label-set.json")


def former_fingerprint(directory: Path) -> str:
    """The former fingerprint of a pipeline directory: SHA-256 over names and contents of its files.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in PARTS:
        for path in sorted((directory / part).rglob("*")):
            if path.is_file():
                digest.update(str(path.relative_to(directory)).encode())
                digest.update(bytes.fromhex(file_sha256(path)))
    return digest.hexdigest()


def goes_by(generator: Generator, fingerprint: str) -> bool:
    """Whether a fingerprint, today's or the former one, is that of an opened generator."""
    if fingerprint == generator.fingerprint:
        return True
    return not generator.adapters and fingerprint == former_fingerprint(generator.directory)


def migrate(generator: Path, paths: Iterable[Path]) -> list[Path]:
    """Rename a generator in all artifacts under some paths, from its former fingerprint to today's.

    Releases, label sets, teacher's statistics, lab records and caches are renamed. The SHA-256 of a renamed
    file in the manifest beside it is replaced too.

    Args:
        generator: The pipeline directory, with the files that it had when the artifacts were made.
        paths: Files, and directories that are searched whole.

    Returns:
        The changed files, sorted.

    Raises:
        NotReady: The directory is not a pipeline.
        InvalidInput: The pipeline cannot be loaded, or a path does not exist.
    """
    today, former = generator_fingerprint(generator), former_fingerprint(generator)
    changed: set[Path] = set()
    for path in _artifacts(paths):
        before = file_sha256(path)
        if _rename(path, former.encode(), today.encode()):
            changed |= {path, *_replace_in_manifests(path, before)}
    return sorted(changed)


def _artifacts(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise InvalidInput(
                f"there is no {path} to migrate; name existing files or directories", field="paths"
            )
        for found in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if found.is_file() and found.suffix in {*_TEXTS, _SAFETENSORS}:
                yield found


def _rename(path: Path, former: bytes, today: bytes) -> bool:
    """Replace a fingerprint in a text, or in the metadata of a safetensors file; whether there was any."""
    with path.open("rb") as opened:
        if path.suffix == _SAFETENSORS:
            size = opened.read(8)
            header = min(int.from_bytes(size, "little"), _LONGEST_HEADER_BYTES)
            head = size + opened.read(header)
        else:
            head = opened.read()
        if former not in head:
            return False
        with replace_file(path, durable=True) as draft, draft.open("wb") as written:
            written.write(head.replace(former, today))
            while block := opened.read(1 << 20):
                written.write(block)
    return True


def _replace_in_manifests(path: Path, before: str) -> Iterator[Path]:
    for name in _MANIFESTS:
        manifest = path.with_name(name)
        if manifest.is_file() and manifest != path:
            content: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
            if content.get("files", {}).get(path.name) == before:
                text = manifest.read_text(encoding="utf-8").replace(before, file_sha256(path))
                with replace_file(manifest, durable=True) as draft:
                    draft.write_text(text, encoding="utf-8")
                yield manifest
