"""Adds to a release what re-ranked answers need: gradient rows of its works, and their calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.gradients.row_store import stored_rows
from creditline.attribution.reranking.building import build_rows
from creditline.attribution.reranking.kernel import GradientKernel
from creditline.calibration.reranking import CANDIDATES, Reranking
from creditline.corpus.works import Corpus
from creditline.distillation.assessment.held_out import encoder_cosines
from creditline.distillation.assessment.queries import held_out_queries
from creditline.distillation.assessment.reranking_fitting import (
    Gain,
    RankedQueries,
    crossed_gain,
    fit_reranking,
)
from creditline.distillation.labels.label_set import HELD_OUT, LabelledQuery, LabelSet
from creditline.distillation.training.feature_store import FeatureStore
from creditline.encoder.encoder import Encoder
from creditline.errors import FingerprintMismatch
from creditline.files import replace_file
from creditline.generator.migration import goes_by
from creditline.generator.pipeline import Generator
from creditline.release import ENCODER, RERANKING, RERANKING_ROWS, Release, file_sha256, write_manifest

_QUERIES_PER_BLOCK = 4
HELD_OUT_SCORES = "held-out"
"""Name of the array of the kernel's scores for held-out queries, in the directory of the gradients."""
Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class RerankingInputs:
    """What the rows and the calibration of a release are made of."""

    release: Release
    """The release."""
    corpus: Corpus
    """Exactly its works, in its order."""
    generator: Generator
    """Its generator."""
    labels: LabelSet
    """Labels of its generator and corpus, with held-out queries that the encoder was not trained on."""
    store: FeatureStore
    """Features by its towers."""

    def check(self) -> None:
        """Raise FingerprintMismatch where generator, works or labels are not those of the release."""
        release = self.release
        if not goes_by(self.generator, release.generator_fingerprint):
            raise FingerprintMismatch(
                f"release {release.name!r} was made for generator {release.generator_fingerprint}, but the"
                f" one at {self.generator.directory} is {self.generator.fingerprint}; put the release's back",
                field="generator",
            )
        if self.corpus.ids != release.work_ids():
            raise FingerprintMismatch(
                f"corpus {self.corpus.name!r} has not the works of release {release.name!r}, or in another"
                " order; give the corpus that the release was made from",
                field="corpus",
            )
        for what in ("generator_fingerprint", "corpus_fingerprint"):
            if getattr(self.labels, what) != getattr(release, what):
                raise FingerprintMismatch(
                    f"the labels were made for another {what.partition('_')[0]} than release"
                    f" {release.name!r}; give those of the release's run",
                    field="labels",
                )


def add_reranking(
    inputs: RerankingInputs,
    directory: Path,
    *,
    candidates: int = CANDIDATES,
    seed: int = 0,
    report: Report = lambda line: None,
) -> tuple[Release, Gain]:
    """Make the rows and the calibration of a release, and add them to it.

    Args:
        inputs: The release, and what it was made from.
        directory: Directory of the gradients; a second call resumes there.
        candidates: Number of works that are re-ranked.
        seed: Seed of the split of the held-out queries.
        report: Receives one line about progress at a time.

    Returns:
        The release with them, and what re-ranking adds.

    Raises:
        FingerprintMismatch: The inputs, or the files in the directory, do not belong to the release.
        InvalidInput: The labels have fewer than four held-out queries, or a gradient cannot be used.
    """
    inputs.check()
    release = inputs.release
    build_rows(
        inputs.generator,
        inputs.corpus,
        directory,
        release=release.name,
        corpus=release.corpus_fingerprint,
        report=report,
    ).save(directory / RERANKING_ROWS)
    queries = _ranked_queries(inputs, directory, report)
    fitted = fit_reranking(
        queries,
        [work.keyed_holders for work in inputs.corpus],
        candidates=candidates,
        seed=seed,
    )
    stated = replace(fitted, rows=file_sha256(directory / RERANKING_ROWS), encoder=release.files[ENCODER])
    return _added(release, directory, stated), crossed_gain(queries, candidates=candidates, seed=seed)


def _ranked_queries(inputs: RerankingInputs, directory: Path, report: Report) -> RankedQueries:
    release = inputs.release
    kernel = GradientKernel.open(
        directory / RERANKING_ROWS,
        inputs.generator,
        release=release.name,
        corpus=release.corpus_fingerprint,
    )
    held_out = held_out_queries(inputs.labels, inputs.corpus, None, inputs.store)
    cosines = encoder_cosines(Encoder.load(release.directory / ENCODER), held_out)
    pictures = [inputs.labels.queries[row] for row in inputs.labels.rows(HELD_OUT)]
    scores = _kernel_scores(kernel, pictures, inputs.corpus, directory, report)
    return RankedQueries(cosines, np.asarray(scores), held_out.relative)


def _kernel_scores(
    kernel: GradientKernel,
    queries: list[LabelledQuery],
    corpus: Corpus,
    directory: Path,
    report: Report,
) -> NDArray[np.float32]:
    """The kernel's scores of all works for held-out queries, resumable: (H, N) float32."""

    def block(part: range) -> NDArray[np.float32]:
        of_queries = []
        for row in part:
            query = kernel.gradient(queries[row].image(), queries[row].prompt)
            scores = kernel.scores(query, corpus.ids)
            of_queries.append([scores[work_id] for work_id in corpus.ids])
        return np.array(of_queries, dtype=np.float32)

    origin = {"rows": file_sha256(directory / RERANKING_ROWS)}
    return stored_rows(
        directory / HELD_OUT_SCORES, origin, len(queries), block, block=_QUERIES_PER_BLOCK, report=report
    )


def _added(release: Release, directory: Path, reranking: Reranking) -> Release:
    """Write both files into the release's directory, then its manifest anew."""
    with replace_file(release.directory / RERANKING_ROWS, durable=True) as draft:
        draft.write_bytes((directory / RERANKING_ROWS).read_bytes())
    with replace_file(release.directory / RERANKING, durable=True) as draft:
        draft.write_text(reranking.to_json() + "\n")
    return write_manifest(release.directory, release.description)
