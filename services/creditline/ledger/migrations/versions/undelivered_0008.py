"""Create the table of answers that were recorded and not delivered."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0009"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "undelivered",
        sa.Column("attribution_id", sa.String(32), sa.ForeignKey("attributions.id"), primary_key=True),
        sa.Column("marked", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_later", sa.DateTime(timezone=True)),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("undelivered")
