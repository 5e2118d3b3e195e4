"""A whole stack that can answer, of real processes: Redis, Qdrant, embedder and gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from creditline.corpus.works import write_corpus
from creditline.local.settings import LocalSettings
from creditline.local.stack import LocalStack
from tests.benchmarks.fuzz.impatient_gateway import MODULE
from tests.benchmarks.load.gateway_process import GatewayProcess, gateway_process
from tests.gateway.served import mixed_corpus, untrained_release

GENERATOR = "a" * 64
_TIMEOUT_SECONDS = "60"


@dataclass(frozen=True)
class AnsweringStack:
    """The gateway, and whether all processes are alive."""

    gateway: GatewayProcess
    """The gateway, which accepts the key of `gateway_process`."""
    stack: LocalStack
    """What it depends on."""
    work_id: str
    """Id of a work that answers can list."""
    log: Path
    """What the gateway logs."""

    def deaths(self) -> int:
        """Number of processes that have ended."""
        return sum(not _runs(pid) for pid in (self.gateway.pid, *self.stack.pids.values()))


def _runs(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@contextmanager
def answering_stack(directory: Path) -> Iterator[AnsweringStack]:
    """Start everything on forty works, with an impatient gateway, and end it after the block."""
    corpus, works = mixed_corpus(), directory / "works.parquet"
    release = untrained_release(directory / "release", corpus, GENERATOR)
    write_corpus(corpus, works)
    with LocalStack(
        state_directory=directory / "stack",
        release_directory=release.directory,
        services=("redis", "qdrant", "embedder"),
        settings=LocalSettings(corpus_file=works),
    ) as stack:
        environment = {
            "CREDITLINE_RELEASE_DIRECTORY": str(release.directory),
            "CREDITLINE_CORPUS_FILE": str(works),
            "CREDITLINE_EMBEDDER_TARGET": stack.embedder_target,
            "CREDITLINE_QDRANT_GRPC_PORT": str(stack.qdrant_port),
            "CREDITLINE_BROKER_URL": stack.broker_url,
            "CREDITLINE_REQUEST_TIMEOUT_SECONDS": _TIMEOUT_SECONDS,
        }
        with gateway_process(directory, environment=environment, module=MODULE) as gateway:
            yield AnsweringStack(gateway, stack, next(iter(corpus)).id, directory / "gateway.log")
