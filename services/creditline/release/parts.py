"""What serving and auditing a release needs beside its encoder, found where the release names it.

An explicit choice of the operator comes first, then the place that the release names. Only a release of the
package's own generator and corpus falls back to those; any other is refused with what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Corpus, is_packed, read_corpus
from creditline.errors import NotReady
from creditline.release.manifest import Release, open_release, packaged_release_directory
from creditline.settings import user_state_directory

CORPUS, GENERATOR, TEACHER, TOWERS = "corpus", "generator", "teacher", "towers"
EMBEDDED_TOWERS = "embedded"
_REMEDIES = {
    CORPUS: "set CREDITLINE_CORPUS_FILE to the works that its generator was trained on",
    GENERATOR: "set CREDITLINE_GENERATOR_DIRECTORY to the generator that it was made for",
    TEACHER: (
        "prepare them with `creditline teacher prepare --corpus SOURCE --generator DIR --output DIR` and set"
        " CREDITLINE_TEACHER_ARTIFACTS to their directory"
    ),
}
_WHAT = {CORPUS: "corpus", GENERATOR: "generator", TEACHER: "teacher's statistics"}


def place_in(directory: Path, target: Path) -> str:
    """The place of a file or directory as a release in `directory` names it: relative, with slashes."""
    return Path(os.path.relpath(target.resolve(), directory.resolve())).as_posix()


def adapter_place(directory: Path, stated: str) -> str:
    """An adapter as a release in `directory` names it, with its strength.

    Args:
        directory: Directory of the release.
        stated: `FILE` or `FILE:strength`, relative to the current directory.
    """
    file, suffix = _adapter_pieces(stated)
    return f"{place_in(directory, Path(file))}{suffix}"


def listed_adapters(setting: str) -> tuple[str, ...]:
    """Adapters of a setting, `FILE` or `FILE:strength` each, separated by commas."""
    return tuple(adapter.strip() for adapter in setting.split(",") if adapter.strip())


def corpus_place(release: Release, chosen: Path | None = None) -> Path | None:
    """Where the works of a release are.

    Args:
        release: The release.
        chosen: The operator's choice; None: the place that the release names.

    Returns:
        A source of works; None: the embedded corpus.

    Raises:
        NotReady: The release has a corpus of its own and names no place, or nothing is there.
    """
    if chosen is not None or CORPUS in release.parts:
        return chosen or _found(release, CORPUS)
    known = release.corpus_fingerprint
    if known == _packaged().corpus_fingerprint or known == embedded_corpus().fingerprint:
        return None
    raise _unnamed(release, CORPUS, release.corpus_fingerprint)


def corpus_of(release: Release, chosen: Path | None = None) -> Corpus:
    """The works of a release; all embedded works for a release of some of them.

    Args:
        release: The release.
        chosen: The operator's choice of a source; None: the place that the release names.

    Raises:
        NotReady: As `corpus_place` describes.
        InvalidInput: The source is not a corpus.
    """
    place = corpus_place(release, chosen)
    if place is None:
        return embedded_corpus()
    name = None if chosen else release.corpus_name
    if place.is_file() and is_packed(place):
        return read_corpus(place, name=name)
    # Loads the readers of all formats, which a gateway needs for no packed corpus.
    from creditline.corpus.sources.corpora import open_corpus

    return open_corpus(place, name=name)


def generator_place(release: Release, chosen: Path | None = None) -> Path | None:
    """Where the generator of a release is.

    Args:
        release: The release.
        chosen: The operator's choice; None: the place that the release names.

    Returns:
        A pipeline directory; None: the reference generator, which is assembled from the package.

    Raises:
        NotReady: The release has a generator of its own and names no place, or nothing is there.
    """
    if chosen is not None or GENERATOR in release.parts:
        return chosen or _found(release, GENERATOR)
    if release.generator_fingerprint == _packaged().generator_fingerprint:
        return None
    raise _unnamed(release, GENERATOR, release.generator_fingerprint)


def default_generator_directory() -> Path:
    """Where services assemble the reference generator: in the user's state directory (XDG_STATE_HOME)."""
    return user_state_directory() / "creditline" / "generator"


def generator_adapters(
    release: Release, chosen: Path | None = None, listed: Sequence[str] = ()
) -> tuple[str, ...]:
    """Adapters merged into a generator, each `FILE` or `FILE:strength`.

    Args:
        release: The release.
        chosen: The operator's choice of a generator, which the release's adapters do not belong to.
        listed: The operator's choice of adapters, which belong to `chosen` alone.

    Returns:
        `listed` for a chosen generator, else those that the release names, with absolute paths.

    Raises:
        NotReady: A file of the release's adapters is missing.
    """
    if chosen is not None:
        return tuple(listed)
    part = release.parts.get(GENERATOR)
    return tuple(_adapter(release, one) for one in part.adapters) if part else ()


def teacher_place(release: Release, chosen: Path | None = None) -> Path | None:
    """Where the teacher's statistics for the generator and corpus of a release are.

    Args:
        release: The release.
        chosen: The operator's choice; None: the place that the release names.

    Returns:
        The directory of the artifacts; None: the package's, for the reference generator and corpus.

    Raises:
        NotReady: The release has statistics of its own and names no place, or nothing is there.
    """
    if chosen is not None or TEACHER in release.parts:
        return chosen or _found(release, TEACHER)
    packaged = _packaged()
    if (release.generator_fingerprint, release.corpus_fingerprint) == (
        packaged.generator_fingerprint,
        packaged.corpus_fingerprint,
    ):
        return None
    raise _unnamed(release, TEACHER, "")


def towers_of(release: Release, chosen: str = "") -> str:
    """Specification of the towers of a release (`creditline.towers.spec`), with absolute paths.

    Args:
        release: The release.
        chosen: The operator's choice; empty: the towers that the release names, else the embedded ones.
    """
    part = release.parts.get(TOWERS)
    if chosen or part is None:
        return chosen or EMBEDDED_TOWERS
    return "+".join(_tower(release, piece) for piece in part.place.split("+"))


def tower_place(directory: Path, specification: str) -> str:
    """A specification of towers as a release in `directory` names it: with relative paths.

    Args:
        directory: Directory of the release.
        specification: Specification with paths relative to the current directory.
    """
    return "+".join(_relative_tower(directory, piece) for piece in specification.split("+"))


@cache
def _packaged() -> Release:
    return open_release(packaged_release_directory())


def _found(release: Release, name: str) -> Path:
    """The place of a part: as named, or inside or beside a release that was moved together with it."""
    return _existing(release, release.parts[name].place, name, _REMEDIES[name])


def _existing(release: Release, place: str, name: str, remedy: str) -> Path:
    named = release.directory / place
    beside = release.directory.resolve().parent
    for path in (named, release.directory / Path(place).name, beside / Path(place).name):
        if path.exists():
            return path.resolve()
    raise NotReady(
        f"release {release.name!r} names its {_WHAT[name]} at {Path(os.path.normpath(named))}, but nothing is"
        f" there, nor inside or beside the release; move it there, or {remedy}",
        field=name,
    )


def _unnamed(release: Release, name: str, fingerprint: str) -> NotReady:
    made_for = f" {fingerprint[:16]}…" if fingerprint else ""
    return NotReady(
        f"release {release.name!r} has its own {_WHAT[name]}{made_for} and does not name their place;"
        f" {_REMEDIES[name]}",
        field=name,
    )


def _adapter(release: Release, stated: str) -> str:
    file, suffix = _adapter_pieces(stated)
    return f"{_existing(release, file, GENERATOR, _REMEDIES[GENERATOR])}{suffix}"


def _adapter_pieces(stated: str) -> tuple[str, str]:
    """File and `:strength` of an adapter; the latter is empty where none is stated."""
    place, colon, strength = stated.rpartition(":")
    return (place, f":{strength}") if colon and _is_number(strength) else (stated, "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _tower(release: Release, piece: str) -> str:
    """One piece of a specification with an absolute path."""
    name, at, path = piece.partition("@")
    if at:
        return f"{name}@{release.directory.resolve() / path}"
    named = release.directory / piece
    return str(named.resolve()) if named.is_dir() else piece


def _relative_tower(directory: Path, piece: str) -> str:
    """One piece of a specification with a path relative to a release's directory."""
    name, at, path = piece.partition("@")
    if at:
        file, hash_, side = path.partition("#")
        return f"{name}@{place_in(directory, Path(file))}{hash_}{side}"
    return place_in(directory, Path(piece)) if Path(piece).is_dir() else piece
