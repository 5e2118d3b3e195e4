"""Create the table of answers whose delivery is not confirmed yet."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "unconfirmed",
        sa.Column("attribution_id", sa.String(32), sa.ForeignKey("attributions.id"), primary_key=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("unconfirmed")
