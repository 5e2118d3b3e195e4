"""Create the table of works added to a release."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table and its index."""
    op.create_table(
        "additions",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("addition", sa.String(32), nullable=False),
        sa.Column("release", sa.String(200), nullable=False),
        sa.Column("generator", sa.String(64), nullable=False),
        sa.Column("requested_by", sa.String(200), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
    )
    op.create_index("additions_by_release", "additions", ["release", "sequence"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("additions")
