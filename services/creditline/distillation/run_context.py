"""The resources of a run: corpus, decoys, generator, towers, features and teacher, opened on first use."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from creditline.attribution.unlearning.teacher import prepare_teacher
from creditline.corpus.clip_features import ClipFeatures
from creditline.corpus.works import Corpus, read_corpus
from creditline.device_setting import CPU
from creditline.distillation.labels.label_set import FIRST_ORDER
from creditline.distillation.labels.teachers import FirstOrder, LabelTeacher, method_teacher
from creditline.distillation.run_config import RunConfig
from creditline.distillation.training.feature_store import FeatureStore
from creditline.generator.assembly import assemble_reference
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus, reference_decoys
from creditline.towers.spec import TowerSpec
from creditline.towers.towers import Towers

Report = Callable[[str], None]


class RunContext:
    """The resources of one configuration in the directory of one run.

    Args:
        config: The configuration.
        directory: Directory of the run.
        report: Receives progress messages.
        device: Device that the models run on.
    """

    def __init__(self, config: RunConfig, directory: Path, report: Report, *, device: str = CPU) -> None:
        self.config = config
        self.device = device
        self.directory = directory
        self.report = report

    @cached_property
    def corpus(self) -> Corpus:
        """The works that the generator was trained on."""
        if self.config.corpus:
            return read_corpus(self.config.corpus)
        return self.given.corpus(self.config.name) if self.given else reference_corpus()

    @cached_property
    def given(self) -> ClipFeatures | None:
        """Precomputed features of the works; None: works are embedded."""
        directory = self.config.work_features
        return ClipFeatures.open(directory) if directory else None

    @cached_property
    def decoys(self) -> Corpus:
        """Pictures that the generator never saw; empty unless the corpus is the reference corpus."""
        custom = self.config.corpus or self.config.work_features
        return self.corpus.subset((), name="none") if custom else reference_decoys()

    @cached_property
    def generator_directory(self) -> Path:
        """Directory of the generator's pipeline."""
        return self.config.generator or assemble_reference(self.directory / "generator")

    def open_generator(self) -> Generator:
        """Open the generator; the caller closes it by `with`."""
        return Generator.open(self.generator_directory, device=self.device)

    @cached_property
    def store(self) -> FeatureStore:
        """Tower features, stored in the run's directory."""
        towers = Towers.open(TowerSpec.parse(self.config.towers), device=self.device)
        return FeatureStore(towers, self.directory / "features", self.report, self.given)

    def teacher(self, generator: Generator) -> LabelTeacher:
        """The method that labels queries, with its prepared artifacts."""
        artifacts = self.config.artifacts or self.directory / "teacher"
        if self.config.teacher == FIRST_ORDER:
            return FirstOrder(prepare_teacher(generator, self.corpus, artifacts, self.report))
        return method_teacher(self.config.teacher, generator, self.corpus, artifacts)
