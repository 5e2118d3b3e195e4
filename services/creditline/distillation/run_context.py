"""What a run is made of: its corpus, decoys, generator, towers and their features, opened when asked for."""

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
    """Of one configuration, in the directory of one run. device: where its models run."""

    def __init__(self, config: RunConfig, directory: Path, report: Report, *, device: str = CPU) -> None:
        self.config = config
        self.device = device
        self.directory = directory
        self.report = report

    @cached_property
    def corpus(self) -> Corpus:
        """What the generator was trained on."""
        if self.config.corpus:
            return read_corpus(self.config.corpus)
        return self.given.corpus(self.config.name) if self.given else reference_corpus()

    @cached_property
    def given(self) -> ClipFeatures | None:
        """Works' features that were computed before."""
        directory = self.config.work_features
        return ClipFeatures.open(directory) if directory else None

    @cached_property
    def decoys(self) -> Corpus:
        """Pictures that it never saw; a corpus of one's own has none."""
        own = self.config.corpus or self.config.work_features
        return self.corpus.subset((), name="none") if own else reference_decoys()

    @cached_property
    def generator_directory(self) -> Path:
        """Its pipeline."""
        return self.config.generator or assemble_reference(self.directory / "generator")

    def open_generator(self) -> Generator:
        """The generator, to be closed by `with`."""
        return Generator.open(self.generator_directory, device=self.device)

    @cached_property
    def store(self) -> FeatureStore:
        """Tower features, kept beside the stages."""
        towers = Towers.open(TowerSpec.parse(self.config.towers), device=self.device)
        return FeatureStore(towers, self.directory / "features", self.report, self.given)

    def teacher(self, generator: Generator) -> LabelTeacher:
        """Who labels, with all that is the same for every query."""
        artifacts = self.config.artifacts or self.directory / "teacher"
        if self.config.teacher == FIRST_ORDER:
            return FirstOrder(prepare_teacher(generator, self.corpus, artifacts, self.report))
        return method_teacher(self.config.teacher, generator, self.corpus, artifacts)
