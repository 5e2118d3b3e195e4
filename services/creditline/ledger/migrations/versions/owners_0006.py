"""Add the owners of attributions and withdrawals; empty for rows of before, and where no key is needed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_COLUMNS = (("attributions", "owner"), ("withdrawals", "owner"), ("withdrawals", "made_by"))


def upgrade() -> None:
    """Add the columns."""
    for table, name in _COLUMNS:
        op.add_column(table, sa.Column(name, sa.String(200), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop the columns."""
    for table, name in _COLUMNS:
        op.drop_column(table, name)
