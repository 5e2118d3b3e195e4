"""Add the form of the audited answer to audits; those from before are of fast answers."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column."""
    op.add_column("audits", sa.Column("form", sa.String(16), nullable=False, server_default="FAST"))


def downgrade() -> None:
    """Drop the column."""
    with op.batch_alter_table("audits") as audits:
        audits.drop_column("form")
