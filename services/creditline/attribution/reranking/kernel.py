"""The gradient kernel of one release: scores of given works for a picture with its prompt.

A query's scores are given in standard deviations of its scores among a fixed sample of the works. The scale
of a gradient's inner products differs between queries by orders of magnitude, and this one depends neither on
the query nor on which works are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.attribution.reranking.rows import KernelRows
from creditline.attribution.reranking.sketch import GradientSketch, read_space
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.generator.losses import encoded_examples
from creditline.generator.migration import goes_by
from creditline.generator.pipeline import Generator

# Number of works by which scores are standardised.
_SAMPLE = 512


class GradientKernel:
    """Kernel of a query's compressed gradient and the stored rows of works.

    Args:
        generator: The generator, which takes the query's gradient.
        stored: Rows of the works.
    """

    def __init__(self, generator: Generator, stored: KernelRows) -> None:
        self._generator = generator
        self._stored = stored
        self._sketch = GradientSketch(generator, read_space(stored.origin.space))

    @classmethod
    def open(cls, path: Path, generator: Generator, *, release: str, corpus: str) -> Self:
        """Open the rows of a release.

        Args:
            path: The file.
            generator: The release's generator.
            release: Name of the release.
            corpus: Fingerprint of the release's corpus.

        Raises:
            NotReady: There is no such file.
            InvalidInput: The file is truncated.
            FingerprintMismatch: The rows were made for another release, generator or corpus.
        """
        stored = KernelRows.read(path)
        stored.refuse_other(path, {"release": release, "corpus": corpus})
        if not goes_by(generator, stored.origin.generator):
            stored.refuse_other(path, {"generator": generator.fingerprint})
        try:
            kernel = cls(generator, stored)
        except (ValueError, KeyError, TypeError) as error:
            raise FingerprintMismatch(
                f"{path} does not state the space of its gradients ({error}); make it again", field="rerank"
            ) from error
        if kernel._sketch.dimension != stored.dimension:
            raise FingerprintMismatch(
                f"rows in {path} have {stored.dimension} numbers, but gradients of this generator have"
                f" {kernel._sketch.dimension}; make them again",
                field="rerank",
            )
        return kernel

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each work, by its id."""
        return {work_id: row for row, work_id in enumerate(self._stored.work_ids)}

    @cached_property
    def _sample(self) -> NDArray[np.float32]:
        """Rows of the works by which scores are standardised: (S, k)."""
        return self._stored.rows.rows(slice(None, None, -(-len(self._stored.work_ids) // _SAMPLE)))

    def gradient(self, picture: Image.Image, prompt: str) -> NDArray[np.float32]:
        """The compressed gradient of a query: (k,) float32.

        Its noise depends only on picture and prompt, so that a repeated query has the same gradient.

        Raises:
            InvalidInput: The gradient is zero, NaN or infinite.
        """
        picture = picture.convert("RGB")
        content = hashlib.sha256(picture.tobytes() + prompt.encode()).hexdigest()
        query = self._sketch.rows(encoded_examples(self._generator, [content], [picture], [prompt]))[0]
        if not np.isfinite(query).all() or not query.any():
            raise InvalidInput(
                "the generator's gradient for this picture and prompt is zero or not finite, so that works"
                " cannot be ordered by it; ask for a fast answer",
                field="image",
            )
        return query

    def scores(self, query: NDArray[np.float32], work_ids: Collection[str]) -> dict[str, float]:
        """Scores of works for a query.

        Args:
            query: (k,) float32, result of `gradient`.
            work_ids: Ids of works; those without a row are left out.

        Returns:
            By work id, in standard deviations above the mean of a sample of all works.

        Raises:
            InvalidInput: All works have the same score.
        """
        known = {work_id: self.row_of[work_id] for work_id in work_ids if work_id in self.row_of}
        usual = (self._sample @ query).astype(np.float64)
        spread = float(usual.std())
        if not 0.0 < spread < np.inf:
            raise InvalidInput(
                "the generator's gradient for this picture and prompt does not tell works apart; ask for a"
                " fast answer",
                field="image",
            )
        products = (self._stored.rows.rows(list(known.values())) @ query).astype(np.float64)
        values = (products - usual.mean()) / spread
        return dict(zip(known, values.tolist(), strict=True))
