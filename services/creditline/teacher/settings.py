"""The teacher's settings, from `CREDITLINE_*` environment variables; all defaults work on one machine."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from pydantic import Field, field_validator

from creditline.credentials.qdrant import QdrantCredentialSettings
from creditline.credentials.settings import EmbedderTlsSettings
from creditline.device_setting import AUTO, DeviceSetting
from creditline.jobs.celery_app import RESULT_SECONDS, VISIBILITY_SECONDS
from creditline.jobs.settings import BrokerSettings
from creditline.jobs.tasks import QUEUES
from creditline.ledger import LedgerSettings
from creditline.observability.settings import ObservedSettings
from creditline.settings import Port


def reference_artifacts() -> Path:
    """The package's directory of the teacher's statistics for the reference generator and corpus."""
    return Path(str(files("creditline.attribution") / "reference"))


class TeacherSettings(
    EmbedderTlsSettings, QdrantCredentialSettings, BrokerSettings, LedgerSettings, ObservedSettings
):
    """Settings of a teacher worker."""

    release_directory: Path | None = None
    """The release whose answers are audited; it names generator, corpus and statistics, and gives the
    expected influence of unlisted works. Empty: the package's own."""
    generator_directory: Path | None = None
    """Pipeline of the generator whose pictures are audited; empty: the one that the release names (of the
    packaged release, `creditline.release.parts.default_generator_directory`)."""
    generator_adapters: str = ""
    """LoRA adapters merged into `generator_directory`, each FILE or FILE:strength, separated by commas; those
    of the release's generator are named by the release."""
    teacher_artifacts: Path | None = None
    """Directory of the teacher's statistics for the generator and corpus; empty: the release's."""
    corpus_file: Path | None = None
    """Source of the generator's corpus; empty: the release's."""
    device: DeviceSetting = AUTO
    """Device of the models: `auto`, `cpu`, `cuda` or `cuda:N` (see `creditline.devices`)."""
    embedder_target: str = "127.0.0.1:7200"
    """`host:port` of the embedder, for checks of the calibration on added works."""
    teacher_host: str = "127.0.0.1"
    """Address of the metrics and health port."""
    teacher_metrics_port: Port = 7390
    """Port of metrics and health; 0 takes a free one."""
    teacher_queues: str = ",".join(QUEUES)
    """Queues to take jobs from, separated by commas.

    Audits wait in `celery`, shards of a distillation in `labels`, shares of a source to index in `ingest`.
    """
    teacher_sampled_works: int = Field(default=96, ge=1, le=100_000)
    """Number of unlisted works that each audit scores."""
    teacher_lease_seconds: float = Field(default=60.0, ge=1, le=3600)
    """Length of the lease under which a worker holds an audit; the worker renews it."""
    teacher_visibility_seconds: int = Field(default=VISIBILITY_SECONDS, ge=1, le=86_400)
    """Time after which a fetched job that is not finished is given to another worker."""
    teacher_result_seconds: int = Field(default=RESULT_SECONDS, ge=60)
    """Time for which the broker keeps a job's result."""
    teacher_stop_grace_seconds: float = Field(default=6.0, ge=0, le=3600)
    """Time that a running audit may still take after a signal to stop."""

    @property
    def queues(self) -> tuple[str, ...]:
        """The names in `teacher_queues`, as a tuple."""
        return tuple(name.strip() for name in self.teacher_queues.split(","))

    @field_validator("teacher_queues")
    @classmethod
    def _are_queues(cls, value: str) -> str:
        unknown = [name.strip() for name in value.split(",") if name.strip() not in QUEUES]
        if unknown:
            raise ValueError(f"there is no queue {unknown[0]!r}; choose from {', '.join(QUEUES)}")
        return value
