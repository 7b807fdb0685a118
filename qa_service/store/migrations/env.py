"""Run by alembic: migrates the database of the connection that `store.engine` passes in."""

from alembic import context

from qa_service.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
