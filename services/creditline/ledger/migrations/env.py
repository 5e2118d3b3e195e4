"""Alembic environment: runs the migrations on the connection passed by `creditline.ledger.database.store`."""

from alembic import context

from creditline.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
