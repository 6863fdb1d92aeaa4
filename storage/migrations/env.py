"""Alembic's entry point; ``storage.migrations.upgrade`` hands it the engine."""

from __future__ import annotations

from alembic import context

from storage.schema import Base

engine = context.config.attributes["engine"]
with engine.begin() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=False)
    context.run_migrations()
