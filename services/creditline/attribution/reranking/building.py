"""Making of the rows that re-ranking uses, block by block; an interrupted run resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from creditline.attribution.attributor import works_gallery
from creditline.attribution.gradients.row_store import stored_rows
from creditline.attribution.methods.gradient_rows import GradientSpace, products
from creditline.attribution.reranking.rows import KernelRows, RowOrigin
from creditline.attribution.reranking.sketch import DEFAULT_SPACE, GradientSketch, stated_space
from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.generator.losses import LOSS
from creditline.generator.pipeline import Generator

_WORKS_PER_BLOCK = 64
# Columns of the factors of a Gram matrix that are multiplied at a time (bounds memory).
_NUMBERS_PER_PRODUCT = 1024
# λ relative to the works' mean squared length.
_REGULARISATION = 0.2


def build_rows(
    generator: Generator,
    works: Corpus,
    directory: Path,
    *,
    release: str,
    corpus: str,
    space: GradientSpace = DEFAULT_SPACE,
    report: Callable[[str], None] = lambda line: None,
) -> KernelRows:
    """Compute the rows of all works.

    Args:
        generator: The generator.
        works: The works of the release.
        directory: Directory of the gradients, from which an interrupted run resumes.
        release: Name of the release.
        corpus: Fingerprint of the corpus that the release states.
        space: Definition of the gradients.
        report: Receives one line about progress at a time.

    Raises:
        FingerprintMismatch: The directory holds gradients of another generator, corpus or space.
        InvalidInput: A gradient is not finite, or those of all works are zero.
    """
    sketch, gallery = GradientSketch(generator, space), works_gallery(generator, works)
    directory.mkdir(parents=True, exist_ok=True)
    origin = {
        "generator": generator.fingerprint,
        "corpus": works.fingerprint,
        "loss": LOSS,
        "space": stated_space(space),
    }
    gradients = stored_rows(
        directory / "gradients",
        origin,
        len(works),
        lambda part: sketch.rows(gallery.examples.rows(part)),
        block=_WORKS_PER_BLOCK,
        report=report,
    )
    made_for = RowOrigin(release, generator.fingerprint, corpus, stated_space(space))
    return KernelRows.of(made_for, works.ids, preconditioned(gradients, _REGULARISATION))


def preconditioned(gradients: NDArray[np.float32], regularisation: float) -> Iterator[NDArray[np.float32]]:
    """Rows (ΦᵀΦ + λ)⁻¹ φ of TRAK's kernel, by the smaller one of ΦᵀΦ and ΦΦᵀ.

    Args:
        gradients: Φ: (N, k) float32, may be a memory map.
        regularisation: λ, relative to the rows' mean squared length.

    Yields:
        The rows in order, in blocks: (R, k) float32.

    Raises:
        InvalidInput: All gradients are zero.
    """
    count, dimension = gradients.shape
    dual = count <= dimension
    sides = gradients if dual else gradients.T
    gram = products(sides, sides, block=_NUMBERS_PER_PRODUCT)
    mean = float(np.trace(gram)) / max(count, 1)
    if not 0.0 < mean < np.inf:
        raise InvalidInput(
            f"the gradients of {count} works have the mean squared length {mean}, so that works"
            " cannot be ordered by them; check the generator's weights",
            field="gradient",
        )
    gram[np.diag_indices_from(gram)] += regularisation * mean
    factor = scipy.linalg.cho_factor(gram, overwrite_a=True)
    for start in range(0, count, _WORKS_PER_BLOCK):
        part = range(start, min(start + _WORKS_PER_BLOCK, count))
        if dual:
            weights = scipy.linalg.cho_solve(factor, np.eye(count, len(part), k=-start))
            yield weights.T.astype(np.float32) @ gradients
        else:
            yield scipy.linalg.cho_solve(factor, gradients[part].T.astype(np.float64)).T.astype(np.float32)
