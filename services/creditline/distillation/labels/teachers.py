"""Methods that label queries: first-order unlearning, or any attribution method of the registry."""

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
from creditline.attribution.methods.registry import method_by_name
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
    def name(self) -> str:
        """Name of the method."""
        ...

    @property
    def generator(self) -> Generator:
        """The generator whose pictures are labelled."""
        ...

    def origin(self) -> dict[str, str]:
        """What the labels depend on, by name; parts of labels with another origin are refused."""
        ...

    def influence(
        self, queries: Sequence[Query], decoys: Corpus, wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Influence of the works, then of the decoys.

        Args:
            queries: Q queries.
            decoys: D pictures that the generator never saw.
            wanted: (Q, N) bool, mask of the works to label; None: all works.

        Returns:
            (Q, N + D) float32, or (Q, N) where the method does not label decoys; 0 for works outside the
            mask.
        """
        ...

    def repeated(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Influence of all works with other noise than in `influence`: (Q, N) float32."""
        ...


class FirstOrder:
    """The first-order limit of unlearning, from stored gradients of the works, without a teacher pass."""

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
        influence = self.teacher.first_order(encode_queries(self.generator, queries), others=others)
        if wanted is not None:
            influence[:, : wanted.shape[1]][~wanted] = 0.0
        return influence

    def repeated(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        draws = repeated(QUERY_DRAWS, salt=_REPEAT)
        return self.teacher.first_order(encode_queries(self.generator, queries), draws=draws)


class MethodTeacher:
    """Any attributor as a teacher; decoys are not labelled.

    The noise of a query's labels is seeded by its id, so repeated labels are computed under another id.

    Args:
        attributor: The attribution method.
        generator: The generator whose pictures are labelled.
        works: Works of the corpus.
        directory: Directory of the method's prepared artifacts.
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
        gallery = query_gallery(self._generator, queries)
        scores = attribute_among(self._attributor, self._works, gallery, self._directory, wanted)
        return scores.astype(np.float32)

    def repeated(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        renamed = [replace(query, id=f"{_REPEAT}-{query.id}") for query in queries]
        return self._scores(renamed)

    def _scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        gallery = query_gallery(self._generator, queries)
        return attribute(self._attributor, self._works, gallery, self._directory).values.astype(np.float32)


def query_gallery(generator: Generator, queries: Sequence[Query]) -> Gallery:
    """Queries as a gallery: encoded, as pictures and as prompts, whichever form a method needs."""
    names = "\n".join(query.id for query in queries)
    return Gallery(
        encode_queries(generator, queries),
        tuple(query.picture for query in queries),
        tuple(query.prompt for query in queries),
        hashlib.sha256(names.encode()).hexdigest(),
    )


def method_teacher(name: str, generator: Generator, corpus: Corpus, artifacts: Path) -> MethodTeacher:
    """The attribution method with the given name as a teacher on a corpus.

    Args:
        name: Name of the method in the registry.
        generator: The generator whose pictures are labelled.
        corpus: The works.
        artifacts: Directory of all methods' prepared artifacts.

    Raises:
        InvalidInput: No method has this name.
    """
    works = works_gallery(generator, corpus)
    context = MethodContext(generator, works, artifacts, GalleryFeatures(str(generator.device)))
    return MethodTeacher(method_by_name(name)(context), generator, works, artifacts / name)
