"""Opening a ledger: the schema, several processes at once, and what is refused."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from creditline.errors import InvalidInput, Unavailable
from creditline.ledger import Ledger, WithdrawalKind, default_ledger_url
from creditline.ledger.database.schema import REVISION, migrate
from creditline.ledger.tables import metadata
from tests.ledger.conftest import record


def _open_and_record(url: str) -> None:
    with Ledger.open(url) as ledger:
        for number in range(5):
            record(ledger, f"prompt {number}")


def _tables(connection: Connection) -> dict[str, Any]:
    """All that the database knows of its tables; orders that mean nothing are sorted."""
    found = inspect(connection)

    def properties(table: str) -> dict[str, Any]:
        columns = {each["name"]: {**each, "type": str(each["type"])} for each in found.get_columns(table)}
        keys = (found.get_foreign_keys(table), found.get_indexes(table), found.get_unique_constraints(table))
        return {
            "columns": columns,
            "primary": found.get_pk_constraint(table),
            "others": [sorted(map(repr, each)) for each in keys],
        }

    return {table: properties(table) for table in found.get_table_names()}


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/migrated.db")
    with engine.begin() as connection:
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_a_new_ledger_has_the_schema_of_one_that_was_migrated(tmp_path: Path, ledger_url: str) -> None:
    Ledger.open(ledger_url).close()
    made, migrated = create_engine(ledger_url), create_engine(f"sqlite:///{tmp_path}/migrated.db")
    with made.connect() as new, migrated.begin() as old:
        migrate(old)
        assert _tables(new) == _tables(old)
        revisions = [
            each.scalars(text("SELECT version_num FROM alembic_version")).all() for each in (new, old)
        ]
    assert revisions == [[REVISION], [REVISION]]
    made.dispose()
    migrated.dispose()


def test_a_ledger_that_is_up_to_date_is_opened_without_alembic(ledger_url: str) -> None:
    program = (
        "import sys; from creditline.ledger import Ledger; Ledger.open(sys.argv[1]).close();"
        " print('alembic' in sys.modules)"
    )
    for _ in range(2):
        opened = subprocess.run([sys.executable, "-c", program, ledger_url], capture_output=True, text=True)
        assert opened.stdout == "False\n", opened.stderr


def test_a_ledger_of_before_owners_is_upgraded_and_its_chains_stay_intact(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        attribution_id = record(ledger)
        ledger.withdraw(WithdrawalKind.WORK, "w1")
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "creditline.ledger:migrations")
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
    with engine.connect() as connection:
        columns = list(connection.execute(text("SELECT * FROM attributions")).keys())
    assert "answer" in columns
    assert "owner" not in columns
    engine.dispose()
    with Ledger.open(ledger_url) as upgraded:
        assert upgraded.attribution(attribution_id).owner == ""
        assert upgraded.verify_chain().intact


def test_processes_that_open_a_new_ledger_at_once_all_can_write(ledger_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open_and_record, args=(ledger_url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    with Ledger.open(ledger_url) as ledger:
        report = ledger.verify_chain()
    assert (report.attributions, report.intact) == (20, True)


def test_a_reopened_ledger_has_kept_everything(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        attribution_id = record(ledger, "a kite")
    with Ledger.open(ledger_url) as ledger:
        assert ledger.attribution(attribution_id).prompt == "a kite"


def test_sqlite_writes_ahead_so_that_readers_are_not_blocked(ledger_url: str) -> None:
    Ledger.open(ledger_url).close()
    engine = create_engine(ledger_url)
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["", "ledger.db", "sqlite://", "nosuch://host/db", "sqlite:////proc/no/ledger.db"]
)
def test_a_url_that_does_not_name_a_ledger_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Ledger.open(url)
    assert refused.value.field == "ledger_url"


def test_the_error_for_an_unreachable_database_names_its_address_without_the_password() -> None:
    with pytest.raises(Unavailable, match="CREDITLINE_LEDGER_URL") as down:
        Ledger.open("postgresql+psycopg://who:secret@127.0.0.1:1/ledger")
    assert down.value.service == "ledger"
    assert "secret" not in down.value.message
    assert "127.0.0.1:1" in down.value.message


def test_the_default_ledger_lies_in_the_state_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_ledger_url() == f"sqlite:///{tmp_path}/creditline/ledger.db"
