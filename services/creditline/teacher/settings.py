"""The teacher's settings, from `CREDITLINE_*` environment variables; all defaults work on one machine."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from pydantic import Field, field_validator

from creditline.device_setting import AUTO, DeviceSetting
from creditline.jobs.broker import DEFAULT_BROKER_URL, BrokerUrl
from creditline.jobs.celery_app import RESULT_SECONDS, VISIBILITY_SECONDS
from creditline.jobs.tasks import QUEUES
from creditline.ledger import default_ledger_url
from creditline.settings import Port, ServiceSettings, user_state_directory


def default_generator_directory() -> Path:
    """In the user's state directory (XDG_STATE_HOME), beside the ledger."""
    return user_state_directory() / "creditline" / "generator"


def reference_artifacts() -> Path:
    """Where the package keeps the teacher's statistics of the reference generator and corpus."""
    return Path(str(files("creditline.attribution") / "reference"))


class TeacherSettings(ServiceSettings):
    """Which generator and corpus the teacher audits for, and where jobs and the ledger are.

    `device` is where its models run: `auto`, `cpu`, `cuda` or `cuda:N` (`creditline.devices`).
    `release_directory` tells what would have been served for works that were not listed.
    `teacher_queues` names the queues that the worker takes jobs from: audits wait in `celery`, shards of a
    distillation in `labels`, those of a source that is indexed in `ingest`. Without `corpus_file` the corpus
    is the one that the reference generator was trained on. `teacher_sampled_works` of the works that were
    not listed are scored in each audit. A worker holds an audit under a lease of `teacher_lease_seconds`,
    which it renews; a job that is not finished `teacher_visibility_seconds` after a worker fetched it is
    given to another. When told to stop, the worker gives an audit back that is not finished within
    `teacher_stop_grace_seconds`. Port 0 takes a free one.
    """

    broker_url: BrokerUrl = DEFAULT_BROKER_URL
    ledger_url: str = Field(default_factory=default_ledger_url)
    generator_directory: Path = Field(default_factory=default_generator_directory)
    teacher_artifacts: Path = Field(default_factory=reference_artifacts)
    corpus_file: Path | None = None
    release_directory: Path | None = None
    device: DeviceSetting = AUTO
    teacher_host: str = "127.0.0.1"
    teacher_metrics_port: Port = 7390
    teacher_queues: str = ",".join(QUEUES)
    teacher_sampled_works: int = Field(default=96, ge=1, le=100_000)
    teacher_lease_seconds: float = Field(default=60.0, ge=1, le=3600)
    teacher_visibility_seconds: int = Field(default=VISIBILITY_SECONDS, ge=1, le=86_400)
    teacher_result_seconds: int = Field(default=RESULT_SECONDS, ge=60)
    teacher_stop_grace_seconds: float = Field(default=6.0, ge=0, le=3600)

    @property
    def queues(self) -> tuple[str, ...]:
        """The names in `teacher_queues`."""
        return tuple(name.strip() for name in self.teacher_queues.split(","))

    @field_validator("teacher_queues")
    @classmethod
    def _are_queues(cls, value: str) -> str:
        unknown = [name.strip() for name in value.split(",") if name.strip() not in QUEUES]
        if unknown:
            raise ValueError(f"there is no queue {unknown[0]!r}; name some of {', '.join(QUEUES)}")
        return value
