"""Alembic runs this file for every command; the connection comes from `lorakit.db.upgrading`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite cannot alter most of a table in place, so Alembic rebuilds it.
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
