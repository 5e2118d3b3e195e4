"""Alembic's entry: runs the migrations on the connection that `creditline.ledger.store` hands over."""

from alembic import context

from creditline.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
