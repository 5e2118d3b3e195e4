"""Releases that can be re-ranked: real gradient rows of a small generator, with a made-up calibration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals, DeviationInterval, Intervals
from creditline.calibration.reranking import Reranking
from creditline.release import ENCODER, RERANKING, RERANKING_ROWS, Release, file_sha256, write_manifest

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus
    from creditline.embedder.reranker import Reranker

# Far from those of answers by the cosine, so that a mix-up shows.
CURVE = Calibration((-3.0, 0.0, 5.0), (0.0, 0.01, 0.4), (0.001, 0.015, 0.4))
INTERVALS = AnswerIntervals(
    Intervals((-3.0, 5.0), (0.0, 0.1), (0.05, 0.6), 0.7),
    DeviationInterval(-0.5, 0.5),
    DeviationInterval(-0.5, 0.5),
)


@dataclass(frozen=True)
class Rerankable:
    """A release with gradient rows, and its generator."""

    release: Release
    """The release."""
    generator: Path
    """Directory of its generator."""

    def opened(self, **settings: object) -> Reranker:
        """What re-ranks it, as an embedder opens it."""
        from creditline.devices import PROCESSOR
        from creditline.embedder.reranker import Reranker
        from creditline.embedder.settings import EmbedderSettings

        named = {"generator_directory": self.generator, "release_directory": self.release.directory}
        return Reranker.open(EmbedderSettings(**{**named, **settings}), self.release, PROCESSOR)


def rerankable(release: Release, corpus: Corpus, generator: Path) -> Rerankable:
    """Add gradient rows to a release.

    Args:
        release: The release, which from then on names the generator.
        corpus: Its works.
        generator: Directory of the generator.
    """
    from creditline.attribution.reranking.building import build_rows
    from creditline.generator.pipeline import Generator

    directory = release.directory
    with Generator.open(generator) as opened:
        rows = build_rows(
            opened,
            corpus,
            directory.with_name(f"{directory.name}.rerank"),
            release=release.name,
            corpus=release.corpus_fingerprint,
        )
        fingerprint = opened.fingerprint
    rows.save(directory / RERANKING_ROWS)
    fitted_for = (file_sha256(directory / RERANKING_ROWS), release.files[ENCODER])
    reranking = Reranking(CURVE, INTERVALS, 0.5, 400, *fitted_for)
    (directory / RERANKING).write_text(reranking.to_json())
    named = {**release.description, "generator_fingerprint": fingerprint}
    return Rerankable(write_manifest(directory, named), generator)
