"""Run by alembic: brings the database behind the store's connection up to date."""

from alembic import context

from qa_service.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
