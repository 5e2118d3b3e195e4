"""A release with the real towers and an untrained encoder, for a gateway that can answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.rights import RightsHolder
from creditline.corpus.works import Corpus, Work
from creditline.gateway.settings import GatewaySettings
from creditline.ledger import Ledger
from creditline.release import ENCODER, PROMPT_AGREEMENT, Release, write_manifest
from tests.gateway.conftest import RunningGateway

# Twelve flags drawn by three people, and an apple that two people drew.
FLAGS = "oca-signs-and-symbols-british-virgin-islands"
APPLE = "oca-food-fruit-apple-martin-schmidt-li-01r"
# A work of two people, whose parts differ; one of them made other works too.
SHARED = "oca-recreation-patchwork-01"
SHARED_RIGHTS = (RightsHolder("Nathan Eady", 60.0), RightsHolder("Nicu Buculei", 40.0))
_EVERY = 150
_WIDTH = 32


@dataclass(frozen=True)
class Served:
    """A gateway that can answer, and what it answers from."""

    gateway: RunningGateway
    release: Release
    corpus: Corpus
    embedder_target: str

    @property
    def settings(self) -> GatewaySettings:
        return self.gateway.settings

    def ledger(self) -> Ledger:
        return Ledger.open(self.settings.ledger_url)


def mixed_corpus() -> Corpus:
    """About forty works: two whole duplicate groups, and some from everywhere, one of them by two people."""
    corpus = embedded_corpus()
    spread = set(corpus.ids[::_EVERY])
    mixed = corpus.where(
        lambda work: work.duplicate_group in (FLAGS, APPLE) or work.id in spread, name="mixed"
    )
    return replace(mixed, works=tuple(_with_rights(work) for work in mixed))


def _with_rights(work: Work) -> Work:
    return replace(work, rights_holders=SHARED_RIGHTS) if work.id == SHARED else work


def untrained_release(directory: Path, corpus: Corpus, generator: str) -> Release:
    """Towers and encoder are real; the encoder ranks as the raw features do."""
    from creditline.calibration import Calibration
    from creditline.calibration.halves import Halves, PictureRecall
    from creditline.calibration.intervals import AnswerIntervals, DeviationInterval, Intervals
    from creditline.distillation.assessment.halves_fitting import FittedHalves
    from creditline.distillation.release.development import write_development_release
    from creditline.distillation.training.feature_store import FeatureStore
    from creditline.encoder.agreement import MIN_PAIRS, PromptAgreement
    from creditline.encoder.imputation import Imputation
    from creditline.towers.towers import Towers

    store = FeatureStore(Towers.open(), None, lambda line: None)
    release = write_development_release(
        directory, corpus, store, generator_fingerprint=generator, width=_WIDTH
    )
    if len(corpus) < MIN_PAIRS:
        return release
    # The works and their captions stand for generated pictures and their prompts.
    pairs = store.works(corpus)
    parts, encoder = store.towers.parts, release.files[ENCODER]
    agreement = PromptAgreement.of(pairs, pairs, pairs, parts, seed=0)
    replace(agreement, encoder=encoder).save(directory / PROMPT_AGREEMENT)
    # Curves and intervals that differ from those of ordinary answers, so that a mix-up shows.
    band = Intervals((0.0, 1.0), (0.0, 0.0), (0.5, 0.9), 0.8)
    halves = Halves(
        picture=Calibration((-1.0, 0.2, 1.0), (0.0, 0.0, 0.6)),
        prompt=Calibration((-1.0, 0.3, 1.0), (0.0, 0.0, 0.8)),
        intervals=AnswerIntervals(band, DeviationInterval(-1.0, 1.0), DeviationInterval(-1.0, 1.0)),
        recall=PictureRecall(0.22, 0.2, 0.24, 0.5),
    )
    FittedHalves(Imputation.of(pairs, parts), halves).save(directory, encoder=encoder)
    return write_manifest(directory, release.description)
