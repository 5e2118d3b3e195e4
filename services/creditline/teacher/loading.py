"""Loads the generator, its corpus and its statistics once per process, and checks that they match."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from creditline.attribution.unlearning.teacher import Teacher, open_teacher
from creditline.corpus.works import Corpus, read_corpus
from creditline.device_setting import CPU
from creditline.errors import FingerprintMismatch
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from creditline.ledger import StoredAttribution
from creditline.release import reference_release_directory
from creditline.teacher.expectations import Expectations, open_expectations
from creditline.teacher.metrics import TeacherMetrics
from creditline.teacher.settings import TeacherSettings

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
        if attribution.generator != generator.fingerprint:
            raise FingerprintMismatch(
                f"attribution {attribution.id} is of generator {attribution.generator}, but the generator at "
                f"{generator.directory} is {generator.fingerprint}; point the "
                "teacher's CREDITLINE_GENERATOR_DIRECTORY at the generator that made the picture",
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
        file = self._settings.corpus_file
        corpus = read_corpus(file) if file else reference_corpus()
        generator = Generator.open(self._settings.generator_directory, device=self._device)
        teacher = open_teacher(generator, corpus, self._settings.teacher_artifacts)
        _log.info(
            "loaded generator %s and %d works on %s in %.1f s",
            generator.fingerprint[:16],
            len(corpus),
            generator.device,
            time.perf_counter() - began,
        )
        release = self._settings.release_directory or reference_release_directory()
        return Loaded(teacher, corpus, open_expectations(release))
