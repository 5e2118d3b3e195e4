"""Who labels queries: the first-order teacher, or any attribution method that `attribution` has."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributor, Gallery, attribute, attribute_among, works_gallery
from creditline.attribution.methods.context import MethodContext
from creditline.attribution.methods.registry import method_named
from creditline.attribution.unlearning.teacher import (
    QUERY_DRAWS,
    Query,
    Teacher,
    encode_queries,
    encode_works,
    repeated,
)
from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import FIRST_ORDER
from creditline.generator.pipeline import Generator
from creditline.towers.gallery_features import GalleryFeatures

_REPEAT = "repeat"


class LabelTeacher(Protocol):
    """A method that labels queries of one generator with the influence of all works of one corpus."""

    @property
    def name(self) -> str: ...

    @property
    def generator(self) -> Generator: ...

    def origin(self) -> dict[str, str]:
        """What its labels depend on; labels of another origin are refused."""
        ...

    def influence(
        self, queries: Sequence[Query], decoys: Corpus, wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Of all works, then of the decoys: (Q, N + D); 0 where works are not wanted. wanted: (Q, N)."""
        ...

    def repeated(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Of all works, with other noise: (Q, N)."""
        ...


class FirstOrder:
    """The first-order limit of unlearning: no pass of the works, whose gradients are kept."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.name = FIRST_ORDER

    @property
    def generator(self) -> Generator:
        return self.teacher.generator

    def origin(self) -> dict[str, str]:
        return self.teacher.origin.as_metadata()

    def influence(
        self, queries: Sequence[Query], decoys: Corpus, wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        others = encode_works(self.generator, decoys.works) if len(decoys) else None
        found = self.teacher.first_order(encode_queries(self.generator, queries), others=others)
        if wanted is not None:
            found[:, : wanted.shape[1]][~wanted] = 0.0
        return found

    def repeated(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        draws = repeated(QUERY_DRAWS, salt=_REPEAT)
        return self.teacher.first_order(encode_queries(self.generator, queries), draws=draws)


class MethodTeacher:
    """Any attributor, prepared in `directory`. Decoys get no labels.

    Noise belongs to a query's name, so that under another name it is labelled with other noise.
    """

    def __init__(self, attributor: Attributor, generator: Generator, works: Gallery, directory: Path) -> None:
        self.name = attributor.name
        self._attributor = attributor
        self._generator = generator
        self._works = works
        self._directory = directory

    @property
    def generator(self) -> Generator:
        return self._generator

    def origin(self) -> dict[str, str]:
        return {
            "method": self.name,
            "generator": self._generator.fingerprint,
            "corpus": self._works.fingerprint,
        }

    def influence(
        self, queries: Sequence[Query], decoys: Corpus, wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        if wanted is None:
            return self._scores(queries)
        asked = query_gallery(self._generator, queries)
        found = attribute_among(self._attributor, self._works, asked, self._directory, wanted)
        return found.astype(np.float32)

    def repeated(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        renamed = [replace(query, id=f"{_REPEAT}-{query.id}") for query in queries]
        return self._scores(renamed)

    def _scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        asked = query_gallery(self._generator, queries)
        return attribute(self._attributor, self._works, asked, self._directory).values.astype(np.float32)


def query_gallery(generator: Generator, queries: Sequence[Query]) -> Gallery:
    """Queries in every form that a method may ask for."""
    names = "\n".join(query.id for query in queries)
    return Gallery(
        encode_queries(generator, queries),
        tuple(query.picture for query in queries),
        tuple(query.prompt for query in queries),
        hashlib.sha256(names.encode()).hexdigest(),
    )


def method_teacher(name: str, generator: Generator, corpus: Corpus, artifacts: Path) -> MethodTeacher:
    """The method of that name, on a corpus. Raises InvalidInput for a name that no method has."""
    works = works_gallery(generator, corpus)
    context = MethodContext(generator, works, artifacts, GalleryFeatures(str(generator.device)))
    return MethodTeacher(method_named(name)(context), generator, works, artifacts / name)
