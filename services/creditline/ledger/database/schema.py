"""Schema of the ledger's database: made at once where there is none, else brought up to date by Alembic.

Alembic is loaded only when a schema is behind: most processes open a ledger that is up to date.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
)

from creditline.ledger.tables import metadata

REVISION = "0013"
"""The last migration, whose schema is that of `creditline.ledger.tables`; a test holds both to it."""

_revisions = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Where Alembic records the revision of a schema."""


def bring_up_to_date(connection: Connection) -> None:
    """Make the tables, or change them to the ones that this version uses, in the running transaction.

    Args:
        connection: Connection in a write transaction.
    """
    present = set(inspect(connection).get_table_names())
    if _revisions.name in present:
        if connection.scalars(select(_revisions.c.version_num)).all() != [REVISION]:
            migrate(connection)
    elif present.isdisjoint(metadata.tables):
        metadata.create_all(connection)
        _revisions.create(connection)
        connection.execute(insert(_revisions).values(version_num=REVISION))
    else:
        migrate(connection)


def migrate(connection: Connection) -> None:
    """Run the migrations that the schema lacks, all of them where there is none."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "creditline.ledger:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
