"""The real parts as fixtures, for all tests (registered in `tests/conftest.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.tcp_proxy import TcpProxy
    from tests.real_parts.certificates import CertificateAuthority, ServerCertificate
    from tests.real_parts.postgresql import PostgresServer
    from tests.real_parts.redis_server import RedisServer
    from tests.real_parts.worker_containers import WorkerContainers


@pytest.fixture(scope="session", params=["pypi", pytest.param("system", marks=pytest.mark.system)])
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL server: PyPI's in `make test`, also the system's in `make test-system`."""
    from tests.real_parts.postgresql import pypi_installation, running_postgres, system_installation

    installation = pypi_installation() if request.param == "pypi" else system_installation()
    with running_postgres(installation) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """SQLAlchemy URL of an empty database for this test alone."""
    return postgres.new_database()


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts a Redis with the given command-line options; it is killed when the test ends."""
    from tests.real_parts.redis_server import running_redis

    with ExitStack() as running:

        def start(*options: str) -> RedisServer:
            return running.enter_context(running_redis(tmp_path, *options))

        yield start


@pytest.fixture
def proxy_to() -> Iterator[Callable[[int], TcpProxy]]:
    """Starts a TCP proxy in front of a loopback port that delays, drops and cuts; it ends with the test."""
    from tests.faults.tcp_proxy import TcpProxy

    with ExitStack() as running:
        yield lambda port: running.enter_context(TcpProxy(port))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """A certificate authority; clients must trust its `certificate` file."""
    from tests.real_parts.certificates import CertificateAuthority

    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_certificate(authority: CertificateAuthority) -> ServerCertificate:
    """A certificate for `localhost` and 127.0.0.1, signed by `authority`."""
    return authority.issue()


@pytest.fixture(scope="session")
def containers() -> WorkerContainers:
    """Runs programs side by side, each with process id 1 where the machine permits it."""
    from tests.real_parts.worker_containers import worker_containers

    return worker_containers()
