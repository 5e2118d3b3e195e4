"""Schema changes, in order; Alembic runs them when a ledger is opened."""
