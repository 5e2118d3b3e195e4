"""Database of the ledger: connection, schema upgrade and transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from creditline.errors import InvalidInput, Unavailable
from creditline.retries import RetryPolicy
from creditline.settings import user_state_directory

_BUSY_SECONDS = 20
_CONNECT_SECONDS = 5
_WHILE_BUSY = RetryPolicy.polling(0.02, for_seconds=_BUSY_SECONDS)
# Key of the PostgreSQL advisory lock that serialises writers; any fixed number.
_WRITER_LOCK = 0x63726564
_WRITES = "creditline_writes"


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
    def open(cls, url: str) -> Self:
        """Connect to the database and upgrade its schema; safe while other processes do the same.

        Args:
            url: `sqlite:///FILE` or a PostgreSQL URL.

        Raises:
            InvalidInput: The URL does not name a database that can hold a ledger.
            Unavailable: The database does not answer.
        """
        store = cls(_engine(_parsed(url)))
        try:
            with store.transaction(writes=True) as connection:
                _upgrade(connection)
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
        try:
            connected = self._engine.connect().execution_options(**{_WRITES: writes})
            with connected as connection, connection.begin():
                if writes and connection.dialect.name == "postgresql":
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})"))
                if writes:
                    self.on_write_wait(time.perf_counter() - began)
                yield connection
        except (OperationalError, InterfaceError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: DBAPIError) -> Unavailable:
        where = self._engine.url.render_as_string(hide_password=True)
        return Unavailable(
            f"the ledger at {where} failed: {error.orig}; start its database or correct "
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


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": _CONNECT_SECONDS})
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"the directory of the ledger {path} cannot be created ({error.strerror});"
            " set CREDITLINE_LEDGER_URL to another place",
            field="ledger_url",
        ) from error
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


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


def _is_busy(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at the start: a read transaction that is upgraded later could only fail.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "creditline.ledger:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
