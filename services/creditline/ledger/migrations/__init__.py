"""Schema migrations; Alembic runs them in order when a ledger is opened."""
