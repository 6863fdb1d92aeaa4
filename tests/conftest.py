"""Real servers for the tests: one Postgres, Valkey and Qdrant a test process, a fresh database a test."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from storage.database import open_database
from storage.migrations import upgrade
from storage.vectors import VectorIndex
from workers.embedded import PostgresServer, QdrantServer, ValkeyServer

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A short path that any user may enter: a socket's path has an upper limit."""
    folder = Path(tempfile.mkdtemp(prefix="vt-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[PostgresServer]:
    """A Postgres without fsync; tests of durability start their own."""
    server = PostgresServer(server_folder / "pg", durable=False)
    with server:
        engine = open_database(server.create_database("template"))
        upgrade(engine)
        engine.dispose()
        yield server
    server.remove()


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """A migrated, empty database of its own."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(plain(postgres.url), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template STRATEGY file_copy")
        yield make_url(postgres.url).set(database=name).render_as_string(hide_password=False)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def valkey(server_folder: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(server_folder / "valkey") as server:
        yield server


@pytest.fixture
def broker_url(valkey: ValkeyServer) -> Iterator[str]:
    """An empty broker."""
    import redis

    client = redis.Redis.from_url(valkey.url)
    client.flushall()
    yield valkey.url
    client.close()


@pytest.fixture(scope="session")
def qdrant(server_folder: Path) -> Iterator[QdrantServer]:
    with QdrantServer(server_folder / "qdrant") as server:
        yield server


@pytest.fixture
def index(qdrant: QdrantServer) -> Iterator[VectorIndex]:
    """An empty index."""
    found = VectorIndex(qdrant.url)
    for collection in found.client.get_collections().collections:
        found.drop(collection.name)
    yield found
    found.close()


def plain(url: str) -> str:
    """The libpq form of an SQLAlchemy URL."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
