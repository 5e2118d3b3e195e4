"""A source read as a whole: the same corpus for distillation, teacher, index and verification.

A packed corpus is read as it is. Any other source is read row by row; large pictures are stored smaller, so
that the corpus fits into memory and into one packed file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from creditline.corpus.sources.found import Source
from creditline.corpus.sources.opening import open_source
from creditline.corpus.sources.stored_pictures import stored_picture
from creditline.corpus.works import Corpus, Work, is_packed, read_corpus
from creditline.errors import InvalidInput

_SHOWN_BROKEN = 3
_PACKED = "packed"


@dataclass(frozen=True, eq=False)
class ReadCorpus:
    """A corpus with an account of how its source was read."""

    corpus: Corpus
    """The works, in the order of the source."""
    kind: str
    """Format of the source; "packed" for a packed corpus."""
    broken: tuple[str, ...]
    """Reason of each broken row, which holds no work."""
    reduced: int
    """Number of works whose picture is stored smaller than in the source."""
    without_picture: int
    """Number of works without a picture."""

    def account(self) -> list[str]:
        """Sentences about the works that were read and the rows that were not."""
        sentences = [f"{len(self.corpus)} works read from {self.corpus.name} ({self.kind})"]
        if self.reduced:
            sentences.append(f"{self.reduced} pictures are stored smaller")
        if self.broken:
            sentences.append(f"{len(self.broken)} broken rows are left out:")
            shown = Counter(self.broken).most_common(_SHOWN_BROKEN)
            sentences += [f"  {reason}" for reason, _ in shown]
        return sentences


def open_corpus(
    path: Path,
    *,
    kind: str | None = None,
    name: str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Corpus:
    """Read all works of a packed corpus or of any other source.

    Args:
        path: A packed corpus, or a directory or file of works.
        kind: Format of the source; None detects it.
        name: Name of the corpus; defaults to that of the file or directory, without its suffix.
        report: Receives the account of a source that is not packed, one line each.

    Raises:
        CreditlineError: The errors of `read_source`.
    """
    read = read_source(path, kind=kind, name=name)
    if read.kind != _PACKED:
        for sentence in read.account():
            report(sentence)
    return read.corpus


def read_source(path: Path, *, kind: str | None = None, name: str | None = None) -> ReadCorpus:
    """Read all works of a packed corpus or of any other source, with an account of the reading.

    Args:
        path: A packed corpus, or a directory or file of works.
        kind: Format of the source; None detects it.
        name: Name of the corpus; defaults to that of the file or directory, without its suffix.

    Raises:
        NotReady: There is nothing at the path, or no works of a known format.
        InvalidInput: The kind is unknown, an id is repeated, or every row is broken.
    """
    if kind is None and path.is_file() and is_packed(path):
        corpus = read_corpus(path, name=name)
        without = sum(not work.thumbnail for work in corpus)
        return ReadCorpus(corpus, _PACKED, (), 0, without)
    return _collected(open_source(path, kind=kind), name or path.resolve().stem)


def _collected(source: Source, name: str) -> ReadCorpus:
    works: list[Work] = []
    broken: list[str] = []
    reduced = 0
    for part in source.parts():
        for found in source.read(part):
            if found.work is None:
                broken.append(f"row {found.row} of {found.part}: {found.broken}")
                continue
            picture = stored_picture(found.work.thumbnail)
            reduced += picture != found.work.thumbnail
            works.append(replace(found.work, thumbnail=picture))
    _refuse_empty(works, broken, source)
    _refuse_repeated(works, source)
    without = sum(not work.thumbnail for work in works)
    return ReadCorpus(Corpus(name, tuple(works)), source.kind, tuple(broken), reduced, without)


def _refuse_empty(works: list[Work], broken: list[str], source: Source) -> None:
    if not works:
        reason = f": {broken[0]}" if broken else ""
        raise InvalidInput(
            f"{source.name} holds no works ({len(broken)} broken rows{reason}); see `creditline corpus"
            " inspect` for all reasons",
            field="corpus",
        )


def _refuse_repeated(works: list[Work], source: Source) -> None:
    repeated = {work_id: count for work_id, count in Counter(work.id for work in works).items() if count > 1}
    if repeated:
        first, count = next(iter(repeated.items()))
        raise InvalidInput(
            f"{source.name} has {len(repeated)} ids more than once, the first of them {first!r} ({count}"
            " times); give every work its own id, or leave the id column out",
            field="id",
        )
