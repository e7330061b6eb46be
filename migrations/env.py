"""Alembic environment, run by `mmsearch.stores.migrate`, which hands in a connection."""

from alembic import context

from mmsearch.stores.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter a column in place: Alembic makes the table anew and copies the rows.
    render_as_batch=True,
    compare_type=True,
    # BIGINT is spelled INTEGER on SQLite (see BigId).
    user_module_prefix="mmsearch.stores.tables.",
)
with context.begin_transaction():
    context.run_migrations()
