"""Add the trace of the request that queued a job; empty where it was not traced."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0008"


def upgrade() -> None:
    """Add the column."""
    op.add_column("outbox", sa.Column("trace_parent", sa.String(55), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("outbox", "trace_parent")
