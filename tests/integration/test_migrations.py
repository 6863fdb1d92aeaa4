"""The schema's history: from nothing to the mapped tables, back to nothing, and up again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect
from sqlalchemy.engine import make_url

from storage.database import open_database
from storage.migrations import current, downgrade, head, upgrade
from storage.schema import Base
from tests.conftest import plain
from tests.queries import rows
from workers.embedded import PostgresServer

LEFT = """
SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public'
UNION ALL SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'
"""


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    """A database in which nothing was ever migrated."""
    with psycopg.connect(plain(postgres.url), autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS nothing WITH (FORCE)")
        admin.execute("CREATE DATABASE nothing")
        yield make_url(postgres.url).set(database="nothing").render_as_string(hide_password=False)
        admin.execute("DROP DATABASE nothing WITH (FORCE)")


@pytest.fixture
def empty(empty_url: str) -> Iterator[Engine]:
    engine = open_database(empty_url)
    yield engine
    engine.dispose()


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))


def test_migrations_lead_to_the_mapped_tables_and_back(empty: Engine) -> None:
    assert current(empty) is None
    for _ in range(2):
        upgrade(empty)
        assert current(empty) == head()
        assert differences(empty) == []
        assert {"jobs", "runs", "presentations"} <= set(inspect(empty).get_table_names())
        upgrade(empty)
        downgrade(empty)
        assert current(empty) is None
        left = {row.relname for row in rows(empty, LEFT)}
        assert left <= {"alembic_version", "alembic_version_pkc"}


def test_a_mapped_change_without_a_migration_is_seen(empty: Engine) -> None:
    upgrade(empty)
    with empty.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs DROP COLUMN deaths")
        connection.exec_driver_sql("DROP INDEX jobs_parked")
    assert len(differences(empty)) == 2


def test_processes_that_start_together_migrate_one_after_the_other(empty: Engine, empty_url: str) -> None:
    code = (
        "import sys; from storage.database import open_database; from storage.migrations import upgrade\n"
        "sys.stdin.readline(); upgrade(open_database(sys.argv[1]))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, empty_url],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert current(empty) == head()
    assert differences(empty) == []
