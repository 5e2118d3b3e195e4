"""Add the rate and the quota of API keys; null where a key has none of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"

_COLUMNS = ("rate", "quota")


def upgrade() -> None:
    """Add the columns."""
    for name in _COLUMNS:
        op.add_column("api_keys", sa.Column(name, sa.String(40)))


def downgrade() -> None:
    """Drop the columns."""
    for name in _COLUMNS:
        op.drop_column("api_keys", name)
