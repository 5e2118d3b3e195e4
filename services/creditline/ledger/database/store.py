"""Database of the ledger: connection, schema upgrade and transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from creditline.credentials.secret_files import followed_secret
from creditline.errors import InvalidInput, Unavailable
from creditline.ledger.database.schema import bring_up_to_date
from creditline.observability.tracing import traced_engine
from creditline.retries import RetryPolicy
from creditline.settings import user_state_directory

_CONNECT_SECONDS = 5
# Processes that start together upgrade the schema one after the other.
_UPGRADE_SECONDS = 60
_WHILE_BUSY = RetryPolicy.polling(0.02, for_seconds=20)
# A silent connection is given up after half a minute, and after ten seconds while bytes wait to be sent.
_TCP = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 10_000,
}
# Key of the PostgreSQL advisory lock that serialises writers; any fixed number.
_WRITER_LOCK = 0x63726564
# In the URL's query.
_PASSWORD_FILE = "password_file"
_WRITES = "creditline_writes"
_PATIENT = "creditline_patient"
# In a connection's own data: its timeout while another transaction holds the lock.
_BUSY_SECONDS = "creditline_busy_seconds"
_LOCKED_RETRY_SECONDS = 2.0
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True)
class StoreLimits:
    """Longest times that a transaction waits; past them, calls raise Unavailable."""

    lock_seconds: float = 20.0
    """Waiting for the lock of another transaction."""
    statement_seconds: float = 60.0
    """One statement, on database servers."""


def default_ledger_url() -> str:
    """URL of a SQLite file in the user's state directory (XDG_STATE_HOME)."""
    return f"sqlite:///{user_state_directory()}/creditline/ledger.db"


def ledger_exists(url: str) -> bool:
    """Whether a ledger can be read at a URL without creating one.

    For a database server this is not checked: its URL is given on purpose, and it refuses unknown databases.

    Args:
        url: `sqlite:///FILE` or a PostgreSQL URL.

    Raises:
        InvalidInput: The URL does not name a database that can hold a ledger.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return True
    path = Path(str(parsed.database))
    return path.is_file() and path.stat().st_size > 0


class Store:
    """Transactions on one database; write transactions are serialised, because they append to hash chains."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.on_write_wait: Callable[[float], None] = lambda seconds: None
        """Called with the time that each write transaction waited until it could write, in seconds."""

    @classmethod
    def open(cls, url: str, limits: StoreLimits | None = None) -> Self:
        """Connect to the database and upgrade its schema; safe while other processes do the same.

        Args:
            url: `sqlite:///FILE` or a PostgreSQL URL.
            limits: Longest times that transactions wait; the upgrade may take longer.

        Raises:
            InvalidInput: The URL does not name a database that can hold a ledger.
            Unavailable: The database does not answer.
        """
        store = cls(traced_engine(_engine(_parsed(url), limits or StoreLimits())))
        try:
            with store._upgrading() as connection:
                bring_up_to_date(connection)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self, *, writes: bool = False) -> Iterator[Connection]:
        """Run a block in a transaction: commit at its end, roll back on an error.

        Args:
            writes: Whether the transaction writes; write transactions run one at a time.

        Raises:
            Unavailable: The database does not answer.
        """
        began = time.perf_counter()
        with self._begun({_WRITES: writes}) as connection:
            if writes:
                _lock_writers(connection)
                self.on_write_wait(time.perf_counter() - began)
            yield connection

    @contextmanager
    def _upgrading(self) -> Iterator[Connection]:
        """A write transaction whose statements and locks may take long."""
        with self._begun({_WRITES: True, _PATIENT: True}) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text(f"SET LOCAL lock_timeout = '{_UPGRADE_SECONDS}s'"))
            _lock_writers(connection)
            yield connection

    @contextmanager
    def _begun(self, options: dict[str, Any]) -> Iterator[Connection]:
        try:
            connected = self._engine.connect().execution_options(**options)
            with connected as connection, connection.begin():
                yield connection
        except (OperationalError, InterfaceError) as error:
            raise self._unavailable(error) from error
        except PoolTimeout as error:
            raise Unavailable(
                "all connections to the ledger are in use; see the state of its database", service="ledger"
            ) from error

    def _unavailable(self, error: DBAPIError) -> Unavailable:
        where = self._engine.url.render_as_string(hide_password=True)
        if _is_locked(error.orig):
            return Unavailable(
                f"another process holds a lock in the ledger at {where} ({error.orig}); retry later, or end"
                " the process",
                service="ledger",
                retry_after_seconds=_LOCKED_RETRY_SECONDS,
            )
        return Unavailable(
            f"the ledger at {where} failed: {_in_one_line(error.orig)}; start its database or correct "
            "CREDITLINE_LEDGER_URL",
            service="ledger",
        )


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, ImportError) as error:
        raise InvalidInput(
            f"{url!r} does not name a ledger ({error}); use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME",
            field="ledger_url",
        ) from error
    if parsed.get_backend_name() == "sqlite" and not parsed.database:
        raise InvalidInput(
            "a ledger in memory would be lost when the process ends; use sqlite:///FILE", field="ledger_url"
        )
    return parsed


def _engine(url: URL, limits: StoreLimits) -> Engine:
    if url.get_backend_name() != "sqlite":
        return _server_engine(url, limits)
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"the directory of the ledger {path} cannot be created ({error.strerror});"
            " set CREDITLINE_LEDGER_URL to another place",
            field="ledger_url",
        ) from error
    engine = create_engine(url, pool_timeout=limits.lock_seconds, connect_args={"timeout": _UPGRADE_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", partial(_begin_sqlite, limits))
    return engine


def _server_engine(url: URL, limits: StoreLimits) -> Engine:
    """An engine on a database server. A password in a file is read for each new connection, if it changed."""
    file = url.query.get(_PASSWORD_FILE)
    password = followed_secret(Path(str(file))) if file else None
    url = url.difference_update_query([_PASSWORD_FILE])
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_timeout=limits.lock_seconds,
        connect_args=_server_options(url, limits),
    )
    if password is not None:

        def use_password(_dialect: object, _record: object, _arguments: object, options: Any) -> None:
            options["password"] = password.current()

        event.listen(engine, "do_connect", use_password)
    return engine


def _server_options(url: URL, limits: StoreLimits) -> dict[str, Any]:
    """Arguments of each connection to a database server: a server that is silent is given up."""
    if url.get_backend_name() != "postgresql":
        return {"connect_timeout": _CONNECT_SECONDS}
    milliseconds = {
        "lock_timeout": limits.lock_seconds,
        "statement_timeout": limits.statement_seconds,
        # A process that was stopped amid a transaction would keep the writers' lock from all others.
        "idle_in_transaction_session_timeout": limits.statement_seconds,
    }
    options = " ".join(f"-c {name}={round(seconds * 1e3)}" for name, seconds in milliseconds.items())
    return {"connect_timeout": _CONNECT_SECONDS, "options": options, **_TCP}


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # With None, the driver leaves BEGIN to `_begin_sqlite`, so that schema changes are transactional too.
    connection.isolation_level = None
    _enable_write_ahead_log(connection)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _enable_write_ahead_log(connection: Any) -> None:
    """Switch the file to write-ahead logging, waiting for other processes that do the same.

    SQLite's busy timeout does not cover this statement, which fails at once while another process holds
    the file.
    """
    _WHILE_BUSY.call(lambda: connection.execute("PRAGMA journal_mode = WAL"), transient=_is_busy)


def _is_busy(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY


def _in_one_line(error: BaseException | None) -> str:
    """What a driver reports; libpq writes several lines for some errors, each with a full stop."""
    return " ".join(str(error).split()).rstrip(".")


def _is_locked(error: BaseException | None) -> bool:
    """Whether a statement failed because another transaction kept a lock; SQLSTATE 55P03 on servers."""
    return _is_busy(error) or getattr(error, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def _begin_sqlite(limits: StoreLimits, connection: Connection) -> None:
    # A writer takes the lock at the start: a read transaction that is upgraded later could only fail.
    options = connection.get_execution_options()
    seconds = _UPGRADE_SECONDS if options.get(_PATIENT) else limits.lock_seconds
    # The setting stays with the connection.
    if connection.info.get(_BUSY_SECONDS) != seconds:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(seconds * 1e3)}")
        connection.info[_BUSY_SECONDS] = seconds
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES) else "BEGIN")


def _lock_writers(connection: Connection) -> None:
    """Wait for the other writers on a database server; SQLite's own lock does that at the beginning."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})"))
