"""Works added to a release: read from where the operator packed them, and scored like its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from creditline.attribution.unlearning.teacher import GrownTeacher
from creditline.corpus.works import Corpus, Work, read_corpus
from creditline.errors import FingerprintMismatch, NotReady
from creditline.ledger import AdditionRecord, Additions
from creditline.teacher.loading import Loaded

_log = logging.getLogger(__name__)


def added_works(statement: AdditionRecord) -> Corpus:
    """The works of one addition that have pictures, as they were packed when it was stated.

    Raises:
        NotReady: The packed works are missing.
        FingerprintMismatch: They have changed since.
    """
    path, expected = Path(statement.content["packed"]), statement.content["packed_fingerprint"]
    if not path.is_file():
        raise NotReady(
            f"the works added to release {statement.release!r} by addition {statement.id} are not at {path};"
            " put the file back, or mount its directory for the teacher",
            field="additions",
        )
    corpus = read_corpus(path)
    if corpus.fingerprint != expected:
        raise FingerprintMismatch(
            f"{path} holds other works than those of addition {statement.id} (fingerprint"
            f" {corpus.fingerprint}, not {expected}); put the file of that time back",
            field="additions",
        )
    return corpus


class GrownCorpora:
    """Gives loaded models the works added since, and keeps the last set of them."""

    def __init__(self) -> None:
        self._key: tuple[str, ...] = ()
        self._grown: Loaded | None = None

    def grown(self, loaded: Loaded, additions: Additions) -> Loaded:
        """The models and data with the works of additions.

        The corpus begins with the release's own works and keeps its name; works whose ids it has already are
        left out.

        Args:
            loaded: The models and data of the release.
            additions: Records about the works that the generator was trained on besides.

        Raises:
            NotReady: Packed works are missing.
            FingerprintMismatch: Packed works have changed.
        """
        statements = additions.statements
        if not statements:
            return loaded
        key = tuple(statement.id for statement in statements)
        if self._grown is None or key != self._key or self._grown.expectations is not loaded.expectations:
            self._grown, self._key = _grown(loaded, statements), key
        return self._grown


def _grown(loaded: Loaded, statements: Sequence[AdditionRecord]) -> Loaded:
    works: dict[str, Work] = {work.id: work for work in loaded.corpus}
    for statement in statements:
        for work in added_works(statement):
            works.setdefault(work.id, work)
    corpus = Corpus(loaded.corpus.name, tuple(works.values()))
    _log.info("the corpus has grown from %d to %d works", len(loaded.corpus), len(corpus))
    return replace(loaded, corpus=corpus, teacher=GrownTeacher(loaded.teacher, corpus))
