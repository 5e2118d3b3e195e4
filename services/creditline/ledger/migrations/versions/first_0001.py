"""Create the tables of attributions, audits and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the three tables and their indexes."""
    _create_attributions()
    _create_audits()
    _create_outbox()


def _moment(name: str, *, nullable: bool = True) -> "sa.Column[object]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _create_attributions() -> None:
    op.create_table(
        "attributions",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        _moment("created", nullable=False),
        sa.Column("release", sa.String(200), nullable=False),
        sa.Column("generator", sa.String(64), nullable=False),
        sa.Column("corpus", sa.String(64), nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("image", sa.LargeBinary, nullable=False),
        sa.Column("k", sa.Integer, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
    )


def _create_audits() -> None:
    op.create_table(
        "audits",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column(
            "attribution_id", sa.String(32), sa.ForeignKey("attributions.id"), nullable=False, unique=True
        ),
        sa.Column("release", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        _moment("created", nullable=False),
        _moment("started"),
        _moment("finished"),
        _moment("lease_until"),
        sa.Column("worker", sa.String(200)),
        sa.Column("verdict", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("recall", sa.Double),
        sa.Column("missed_influence", sa.Double),
    )
    op.create_index("audits_by_release", "audits", ["release", "state"])


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("audit_id", sa.String(32), sa.ForeignKey("audits.id"), nullable=False),
        sa.Column("task", sa.String(100), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        _moment("created", nullable=False),
        _moment("published_at"),
    )
    op.create_index("outbox_by_publication", "outbox", ["published_at"])


def downgrade() -> None:
    """Drop the three tables."""
    for table in ("outbox", "audits", "attributions"):
        op.drop_table(table)
