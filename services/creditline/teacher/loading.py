"""Loads the generator, its corpus and its statistics once per process, and checks that they match."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from creditline.attribution.unlearning.teacher import Teacher, open_teacher
from creditline.corpus.sources.corpora import open_corpus
from creditline.corpus.works import Corpus
from creditline.device_setting import CPU
from creditline.errors import FingerprintMismatch
from creditline.generator.adapters.specification import AdapterSpec
from creditline.generator.migration import goes_by
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from creditline.ledger import StoredAttribution
from creditline.release import Release, open_release, reference_release_directory
from creditline.release.parts import (
    corpus_place,
    default_generator_directory,
    generator_adapters,
    generator_place,
    listed_adapters,
    teacher_place,
)
from creditline.teacher.expectations import Expectations, open_expectations
from creditline.teacher.metrics import TeacherMetrics
from creditline.teacher.settings import TeacherSettings, reference_artifacts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """The models and data of audits."""

    teacher: Teacher
    """The teacher of the generator."""
    corpus: Corpus
    """The corpus whose works the teacher scores."""
    expectations: Expectations | None
    """Expected influences by the release; None without a release."""

    def refuse_foreign(self, attribution: StoredAttribution) -> None:
        """Raises FingerprintMismatch if the attribution belongs to another generator or corpus."""
        generator = self.teacher.generator
        if not goes_by(generator, attribution.generator):
            raise FingerprintMismatch(
                f"attribution {attribution.id} is of generator {attribution.generator}, but the generator at "
                f"{generator.directory} is {generator.fingerprint}; point the "
                "teacher's CREDITLINE_RELEASE_DIRECTORY at the release that answered, or its "
                "CREDITLINE_GENERATOR_DIRECTORY at the generator that made the picture",
                field="generator",
            )
        if attribution.corpus != self.corpus.fingerprint:
            raise FingerprintMismatch(
                f"attribution {attribution.id} is of corpus {attribution.corpus}, but {self.corpus.name!r} "
                f"is {self.corpus.fingerprint}; point the teacher's CREDITLINE_CORPUS_FILE at the corpus of "
                "the release that answered",
                field="corpus",
            )


class Loader:
    """Loads models and data on first use, and keeps them.

    After a failure the next call tries again, so an artifact that was missing may be added later.

    Args:
        settings: the teacher's settings.
        metrics: the gauge `loaded` is set to 1 after loading.
        device: device of the models.
    """

    def __init__(self, settings: TeacherSettings, metrics: TeacherMetrics, *, device: str = CPU) -> None:
        self._settings = settings
        self._device = device
        self._metrics = metrics
        self._loaded: Loaded | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether everything has been loaded."""
        return self._loaded is not None

    def get(self) -> Loaded:
        """The models and data.

        Raises:
            NotReady: An artifact is missing.
            FingerprintMismatch: Artifacts do not belong together.
        """
        if self._loaded is None:
            self._loaded = self._load()
            self._metrics.loaded.set(1)
        return self._loaded

    def _load(self) -> Loaded:
        began = time.perf_counter()
        places = _Places.of(self._settings)
        corpus = places.open_corpus()
        adapters = [AdapterSpec.parse(adapter) for adapter in places.adapters]
        generator = Generator.open(places.generator, adapters=adapters, device=self._device)
        places.refuse_other_generator(generator)
        teacher = open_teacher(generator, corpus, places.artifacts)
        _log.info(
            "loaded generator %s and %d works on %s in %.1f s",
            generator.fingerprint[:16],
            len(corpus),
            generator.device,
            time.perf_counter() - began,
        )
        release = self._settings.release_directory or reference_release_directory()
        return Loaded(teacher, corpus, open_expectations(release))


@dataclass(frozen=True)
class _Places:
    """Where the generator, corpus and statistics are: as the settings say, else as the release names them."""

    release: Release | None
    """The release; None where the settings name everything."""
    chosen_generator: Path | None
    """The generator of the settings."""
    corpus: Path | None
    """Source of the works; None: the reference corpus."""
    generator: Path
    """Directory of the generator."""
    adapters: tuple[str, ...]
    """Adapters merged into the generator, `FILE` or `FILE:strength`."""
    artifacts: Path
    """Directory of the statistics."""

    @classmethod
    def of(cls, settings: TeacherSettings) -> _Places:
        """Raises NotReady if the release does not exist, or does not name what the settings leave out."""
        corpus, generator = settings.corpus_file, settings.generator_directory
        artifacts = settings.teacher_artifacts
        adapters = listed_adapters(settings.generator_adapters)
        if corpus and generator and artifacts:
            return cls(None, generator, corpus, generator, adapters, artifacts)
        release = open_release(settings.release_directory or reference_release_directory())
        return cls(
            release,
            generator,
            corpus_place(release, corpus),
            generator_place(release, generator) or default_generator_directory(),
            generator_adapters(release, generator, adapters),
            teacher_place(release, artifacts) or reference_artifacts(),
        )

    def open_corpus(self) -> Corpus:
        """The works."""
        if self.corpus is None:
            return reference_corpus()
        return open_corpus(self.corpus, name=self.release.corpus_name if self.release else None)

    def refuse_other_generator(self, generator: Generator) -> None:
        """Raises FingerprintMismatch if the release names a generator that it was not made for."""
        if self.release is None or self.chosen_generator is not None:
            return
        expected = self.release.generator_fingerprint
        if not goes_by(generator, expected):
            raise FingerprintMismatch(
                f"release {self.release.name!r} was made for generator {expected}, but the one at"
                f" {generator.directory} is {generator.fingerprint}; it was changed since, or is another one:"
                " put the generator of the release back, or make a release for this one",
                field="generator",
            )
