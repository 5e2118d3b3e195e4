"""Create the table of request ids, and the indexes by which attributions and audits are listed."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table and the indexes."""
    op.create_table(
        "request_ids",
        sa.Column("owner", sa.String(200), primary_key=True),
        sa.Column("request_id", sa.String(128), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("attribution_id", sa.String(32), sa.ForeignKey("attributions.id"), nullable=False),
        sa.Column("reply", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("request_ids_by_creation", "request_ids", ["created"])
    op.create_index("attributions_by_owner", "attributions", ["owner", "sequence"])
    op.create_index("audits_by_creation", "audits", ["created", "id"])


def downgrade() -> None:
    """Drop the table and the indexes."""
    op.drop_index("audits_by_creation")
    op.drop_index("attributions_by_owner")
    op.drop_table("request_ids")
