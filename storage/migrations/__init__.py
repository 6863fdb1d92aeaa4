"""Alembic migrations of the ledger, run by ``vitrine migrate``."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

# Any number: two processes that start together migrate one after the other.
_LOCK = 7_246_318


def config(engine: Engine | None = None) -> Config:
    """Alembic's configuration, with the connection handed over instead of a URL in a file."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    settings.attributes["engine"] = engine
    return settings


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the schema to ``revision``; safe to run from several processes at once."""
    with engine.connect() as guard:
        guard.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        try:
            command.upgrade(config(engine), revision)
        finally:
            guard.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Take the schema back to ``revision``."""
    command.downgrade(config(engine), revision)


def current(engine: Engine) -> str | None:
    """The revision of the database, None when it holds no schema of ours."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """The newest revision this release knows."""
    return ScriptDirectory.from_config(config()).get_current_head()
