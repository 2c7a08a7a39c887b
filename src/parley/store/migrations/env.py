"""Alembic's entry: runs the migrations on the connection, and inside the transaction, that `versions.py` gives it."""

from alembic import context

from parley.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
