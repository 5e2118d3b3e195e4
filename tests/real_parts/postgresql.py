"""A real PostgreSQL server on a free loopback port, from PyPI's `pgserver` or from the system's packages."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.real_parts.certificates import ServerCertificate
from tests.real_parts.ports import LOOPBACK, free_port, wait_until

_SYSTEM = Path("/usr/lib/postgresql")
_SUPERUSER = "creditline"
# PostgreSQL refuses to run as root; tests that run as root start it as this user.
_UNPRIVILEGED = "nobody"
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Installation:
    """PostgreSQL's binaries.

    root: the directory whose `bin` holds `initdb` and `postgres`.
    """

    root: Path

    def command(self, name: str) -> str:
        return str(self.root / "bin" / name)


def pypi_installation() -> Installation:
    """The server in the package `pgserver`. Fails if the package is not installed."""
    found = importlib.util.find_spec("pgserver")
    assert found is not None, "pgserver is not installed; run `make install` (Python 3.11 or 3.12)"
    assert found.submodule_search_locations is not None
    return Installation(Path(next(iter(found.submodule_search_locations))) / "pginstall")


def system_installation() -> Installation:
    """The newest server of the system's package `postgresql`. Fails without one."""
    found = sorted(_SYSTEM.glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    assert found, "no PostgreSQL under /usr/lib/postgresql; run `apt-get install postgresql`"
    return Installation(found[-1].parent.parent)


@dataclass(frozen=True)
class PostgresServer:
    """A running server. Each call of `new_database` creates another database."""

    port: int
    version: str

    def new_database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        name = f"ledger_{uuid.uuid4().hex}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return f"postgresql+psycopg://{_SUPERUSER}@{LOOPBACK}:{self.port}/{name}"

    def _conninfo(self, database: str) -> str:
        return _conninfo(self.port, database)


@contextmanager
def running_postgres(
    installation: Installation, certificate: ServerCertificate | None = None
) -> Iterator[PostgresServer]:
    """Make a cluster in a directory of its own, serve it, and remove it at the end of the block.

    Local connections are trusted; nothing but the loopback port is opened. With a certificate the server has
    `ssl=on`, for which PyPI's is not built.
    """
    with tempfile.TemporaryDirectory(prefix="creditline-postgres-", ignore_cleanup_errors=True) as name:
        directory, user = Path(name), _other_user()
        if user:
            shutil.chown(directory, _UNPRIVILEGED)
            installation = _reachable(installation, directory)
        _initialise(installation, directory / "data", user)
        port = free_port()
        with (directory / "server.log").open("wb") as log:
            server = subprocess.Popen(
                [
                    *_serve_command(installation, directory / "data", port),
                    *_tls_options(certificate, directory),
                ],
                stdout=log,
                stderr=log,
                **user,
            )
        try:
            yield PostgresServer(port, _await_version(server, port, directory / "server.log"))
        finally:
            # An immediate shutdown, because the data are removed anyway.
            server.send_signal(signal.SIGQUIT)
            server.wait(_START_SECONDS)


def _other_user() -> dict[str, Any]:
    """Arguments of subprocess that drop root's rights; empty for an ordinary user."""
    if os.geteuid() != 0:
        return {}
    return {"user": _UNPRIVILEGED, "group": "nogroup", "extra_groups": [], "cwd": "/"}


def _reachable(installation: Installation, directory: Path) -> Installation:
    """The installation, copied when the unprivileged user cannot enter a directory above it."""
    try:
        subprocess.run([installation.command("initdb"), "--version"], check=True, **_other_user())
    except PermissionError:
        return Installation(shutil.copytree(installation.root, directory / "installation"))
    return installation


def _initialise(installation: Installation, data: Path, user: dict[str, Any]) -> None:
    options = ("--username", _SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync")
    command = [installation.command("initdb"), "--pgdata", str(data), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **user)
    assert done.returncode == 0, f"initdb failed: {done.stderr}"


def _serve_command(installation: Installation, data: Path, port: int) -> list[str]:
    where = ("-D", str(data), "-h", LOOPBACK, "-p", str(port), "-c", "unix_socket_directories=")
    return [installation.command("postgres"), *where]


def _tls_options(certificate: ServerCertificate | None, directory: Path) -> list[str]:
    """Options of the server for TLS, with copies of the files that its user alone can read."""
    if certificate is None:
        return []
    options = ["-c", "ssl=on"]
    for setting, path in (("ssl_cert_file", certificate.certificate), ("ssl_key_file", certificate.key)):
        copy = Path(shutil.copy(path, directory))
        copy.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(copy, _UNPRIVILEGED)
        options += ["-c", f"{setting}={copy}"]
    return options


def _await_version(server: subprocess.Popen[bytes], port: int, log: Path) -> str:
    version: list[str] = []

    def answers() -> bool:
        assert server.poll() is None, f"PostgreSQL ended while it started: {log.read_text()}"
        try:
            with psycopg.connect(_conninfo(port, "postgres")) as connection:
                row = connection.execute("SHOW server_version").fetchone()
        except psycopg.OperationalError:
            return False
        version.append(str(row[0]) if row else "")
        return True

    wait_until("PostgreSQL answers", answers, seconds=_START_SECONDS)
    return version[0]


def _conninfo(port: int, database: str) -> str:
    return f"host={LOOPBACK} port={port} user={_SUPERUSER} dbname={database} connect_timeout=2"
