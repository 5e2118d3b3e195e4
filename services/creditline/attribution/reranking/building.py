"""Making of the rows that re-ranking uses, block by block; an interrupted run resumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from creditline.attribution.attributor import works_gallery
from creditline.attribution.gradients.row_store import stored_rows
from creditline.attribution.methods.gradient_rows import GradientSpace
from creditline.attribution.reranking.rows import KernelRows, RowOrigin
from creditline.attribution.reranking.sketch import DEFAULT_SPACE, GradientSketch, stated_space
from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.generator.losses import LOSS
from creditline.generator.pipeline import Generator

_WORKS_PER_BLOCK = 64
# λ relative to the works' mean squared length.
_REGULARISATION = 1.0


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


def preconditioned(gradients: NDArray[np.float32], regularisation: float) -> NDArray[np.float64]:
    """Rows (ΦᵀΦ + λ)⁻¹ φ of TRAK's kernel.

    Args:
        gradients: Φ: (N, k) float32.
        regularisation: λ, relative to the rows' mean squared length.

    Returns:
        (N, k) float64.

    Raises:
        InvalidInput: All gradients are zero.
    """
    features = gradients.astype(np.float64)
    mean = float(np.square(features).sum()) / max(len(features), 1)
    if not 0.0 < mean < np.inf:
        raise InvalidInput(
            f"the gradients of {len(features)} works have the mean squared length {mean}, so that works"
            " cannot be ordered by them; check the generator's weights",
            field="gradient",
        )
    dual = len(features) <= features.shape[1]
    gram = features @ features.T if dual else features.T @ features
    factor = scipy.linalg.cho_factor(gram + regularisation * mean * np.eye(len(gram)))
    solved: NDArray[np.float64] = (
        scipy.linalg.cho_solve(factor, features) if dual else scipy.linalg.cho_solve(factor, features.T).T
    )
    return solved
