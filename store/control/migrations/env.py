"""Alembic's entry: runs the scripts on the connection, and in the transaction, that `migrate.py` hands over."""

from __future__ import annotations

from alembic import context

from store.control.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
