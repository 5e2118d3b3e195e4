"""The resources of a run: corpus, decoys, generator, towers, features and teacher, opened on first use."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from creditline.attribution.unlearning.teacher import Teacher, prepare_teacher
from creditline.corpus.clip_features import ClipFeatures
from creditline.corpus.sources import open_source
from creditline.corpus.sources.corpora import open_corpus
from creditline.corpus.works import PACKED_VERSION, Corpus, is_packed, read_corpus, write_corpus
from creditline.device_setting import CPU
from creditline.distillation.consent import refuse_without_consent
from creditline.distillation.labels.label_set import FIRST_ORDER
from creditline.distillation.labels.teachers import FirstOrder, LabelTeacher, method_teacher
from creditline.distillation.run_config import RunConfig, SizedQueries
from creditline.distillation.stages import Stages
from creditline.distillation.training.feature_store import FeatureStore
from creditline.generator.assembly import assemble_reference
from creditline.generator.fingerprint import generator_fingerprint
from creditline.generator.pipeline import Generator
from creditline.generator.prediction_check import check_corpus
from creditline.generator.reference import reference_corpus, reference_decoys
from creditline.release import CORPUS_FILE
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
        """The works that the generator was trained on; a source is packed into the run's directory first.

        Raises:
            InvalidInput: Statements about some works do not leave training free, and the configuration does
                not say why they are used.
        """
        corpus = self._works()
        refuse_without_consent(corpus, self.config.consent_override)
        return corpus

    def _works(self) -> Corpus:
        if self.config.corpus:
            return self._own_corpus(self.config.corpus)
        return self.given.corpus(self.config.name) if self.given else reference_corpus()

    def _own_corpus(self, path: Path) -> Corpus:
        kind = self.config.corpus_kind
        if kind is None and path.is_file() and is_packed(path):
            return read_corpus(path)
        source = open_source(path, kind=kind)
        read_from = {"source": source.fingerprint, "kind": source.kind, "form": PACKED_VERSION}
        packed = Stages(self.directory, 1, self.report).run("corpus", read_from, self._pack(path, kind))
        return read_corpus(packed.directory / CORPUS_FILE, name=path.resolve().stem)

    def _pack(self, path: Path, kind: str | None) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            write_corpus(open_corpus(path, kind=kind, report=self.report), directory / CORPUS_FILE)

        return make

    @cached_property
    def queries(self) -> SizedQueries:
        """The configured queries, with numbers for the size of the corpus.

        Raises:
            InvalidInput: The corpus has too few captions.
        """
        return self.config.queries.sized(len({work.caption.casefold() for work in self.corpus}))

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
        """Directory of the generator's pipeline; the reference one is assembled in the run's directory."""
        self.config.refuse_contradictions()
        return self.config.generator or assemble_reference(self.directory / "generator")

    def open_generator(self) -> Generator:
        """Open the generator; the caller closes it by `with`."""
        adapters = self.config.adapter_specs
        return Generator.open(self.generator_directory, adapters=adapters, device=self.device)

    @cached_property
    def generator_fingerprint(self) -> str:
        """Fingerprint of the generator with its adapters."""
        return generator_fingerprint(self.generator_directory, self.config.adapter_specs)

    def check_prediction(self, generator: Generator) -> None:
        """Check the generator's prediction type, unless the configuration turns the check off.

        Raises:
            InvalidInput: The UNet predicts another quantity than its scheduler is configured for.
        """
        if self.config.prediction_check:
            self.report(check_corpus(generator, self.corpus).sentence())
        else:
            self.report("the prediction type is not checked, as configured; the scheduler's word is taken")

    @cached_property
    def store(self) -> FeatureStore:
        """Tower features, stored in the run's directory."""
        towers = Towers.open(TowerSpec.parse(self.config.towers), device=self.device)
        return FeatureStore(towers, self.directory / "features", self.report, self.given)

    @property
    def artifacts(self) -> Path:
        """Directory of the teacher's prepared artifacts."""
        return self.config.artifacts or self.directory / "teacher"

    def teacher(self, generator: Generator) -> LabelTeacher:
        """The method that labels queries, with its prepared artifacts."""
        if self.config.teacher == FIRST_ORDER:
            return FirstOrder(self.prepared_teacher(generator))
        return method_teacher(self.config.teacher, generator, self.corpus, self.artifacts)

    def prepared_teacher(self, generator: Generator) -> Teacher:
        """The teacher, after computing what is missing of its artifacts."""
        return prepare_teacher(
            generator,
            self.corpus,
            self.artifacts,
            self.report,
            prediction_check=self.config.prediction_check,
        )
