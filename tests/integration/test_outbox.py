"""The outbox recipe on a real Postgres and a real Valkey: events may come twice, none is ever lost."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import ModuleType

import psycopg
import pytest
import redis
from kombu import Connection

from pipeline.errors import ContractError, Transient
from pipeline.events import Event, parse_event
from workers.embedded import PostgresServer, ValkeyServer
from workers.publisher import QUEUE, Publisher

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "examples" / "outbox.py"

DIES_BEFORE_THE_DELETE = """
import os, signal, sys
sys.path[:0] = [sys.argv[3], sys.argv[4]]
import outbox

class Dying(outbox.Publisher):
    def publish(self, events):
        super().publish(events)
        os.kill(os.getpid(), signal.SIGKILL)

outbox.Publisher = Dying
outbox.main(sys.argv[1], sys.argv[2])
"""


@pytest.fixture(scope="module")
def outbox() -> ModuleType:
    spec = importlib.util.spec_from_file_location("outbox", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), durable=False)
    server.start()
    try:
        yield server.url.replace("postgresql+psycopg://", "postgresql://")
    finally:
        server.remove()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def broker(valkey: ValkeyServer) -> str:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory", 0)
        client.flushall()
    return valkey.url


@pytest.fixture
def connect(postgres: str, outbox: ModuleType) -> Iterator[Callable[[], psycopg.Connection]]:
    opened: list[psycopg.Connection] = []

    def connect() -> psycopg.Connection:
        opened.append(psycopg.connect(postgres, autocommit=True))
        return opened[-1]

    connect().execute("DROP TABLE IF EXISTS product, outbox")
    opened[0].execute(outbox.SCHEMA)
    yield connect
    for connection in opened:
        connection.close()


def arrived(url: str) -> list[Event]:
    with Connection(url) as connection, closing(connection.channel()) as channel:
        queue = QUEUE.bind(channel)
        return [parse_event(message.body) for message in iter(lambda: queue.get(no_ack=True), None)]


def waiting(database: psycopg.Connection) -> int:
    row = database.execute("SELECT count(*) FROM outbox").fetchone()
    assert row is not None
    return int(row[0])


def save(outbox: ModuleType, database: psycopg.Connection, count: int) -> None:
    for number in range(count):
        outbox.save_product(database, f"p{number}", "Mug", "https://cdn.example.com/mug.jpg")


def test_products_and_withdrawals_arrive_in_order(outbox: ModuleType, connect: Callable, broker: str) -> None:
    database = connect()
    save(outbox, database, 1)
    save(outbox, database, 1)
    outbox.withdraw_product(database, "p0")
    with Publisher(broker) as publisher:
        assert outbox.drain(database, publisher, batch=2) == 2
        assert outbox.drain(database, publisher) == 1
        assert outbox.drain(database, publisher) == 0
    assert [(event.type, event.revision) for event in arrived(broker)] == [
        ("product.uploaded.v1", 1),
        ("product.updated.v1", 2),
        ("product.withdrawn.v1", 3),
    ]
    assert waiting(database) == 0


def test_a_save_that_fails_leaves_no_event(outbox: ModuleType, connect: Callable) -> None:
    database = connect()
    with pytest.raises(ContractError, match="url"):
        outbox.save_product(database, "p", "Mug", "not a url")
    with database.transaction():
        save(outbox, database, 1)
        raise psycopg.Rollback
    assert waiting(database) == 0
    assert database.execute("SELECT * FROM product").fetchall() == []


def test_a_crash_between_publish_and_delete_repeats_events_and_loses_none(
    outbox: ModuleType, connect: Callable, postgres: str, broker: str
) -> None:
    database = connect()
    save(outbox, database, 20)
    died = subprocess.run(
        [sys.executable, "-c", DIES_BEFORE_THE_DELETE, postgres, broker, ROOT, RECIPE.parent], timeout=60
    )
    assert died.returncode == -signal.SIGKILL
    assert waiting(database) == 20
    with Publisher(broker) as publisher:
        assert outbox.drain(database, publisher) == 20
    seen = Counter((event.id, event.product_id) for event in arrived(broker))
    assert len(seen) == 20
    assert set(seen.values()) == {2}
    assert waiting(database) == 0


def test_a_broker_that_is_full_or_away_loses_nothing(
    outbox: ModuleType, connect: Callable, broker: str, valkey: ValkeyServer
) -> None:
    database = connect()
    save(outbox, database, 5)
    with Publisher(broker) as publisher:
        with redis.Redis.from_url(broker) as client:
            client.config_set("maxmemory", 1)
        with pytest.raises(Transient):
            outbox.drain(database, publisher)
        valkey.kill()
        with pytest.raises(Transient):
            outbox.drain(database, publisher)
        assert waiting(database) == 5
        valkey.start()
        assert outbox.drain(database, publisher) == 5
    assert {event.product_id for event in arrived(broker)} == {f"p{number}" for number in range(5)}


def test_two_processes_share_the_outbox(outbox: ModuleType, connect: Callable, broker: str) -> None:
    save(outbox, connect(), 60)

    def drain_all(database: psycopg.Connection) -> int:
        with Publisher(broker) as publisher:
            return sum(iter(lambda: outbox.drain(database, publisher, batch=7), 0))

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(drain_all, [connect(), connect()])) == 60
    assert set(Counter(event.id for event in arrived(broker)).values()) == {1}


def test_the_recipe_runs_as_documented(
    outbox: ModuleType, connect: Callable, postgres: str, broker: str
) -> None:
    database = connect()
    save(outbox, database, 3)
    running = subprocess.Popen(
        [sys.executable, RECIPE, postgres, broker], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        # The row locks of a drain are gone once the rows are: waiting for them waits for the drain.
        database.execute("SET statement_timeout = '60s'")
        while waiting(database) and running.poll() is None:
            database.execute("SELECT 1 FROM outbox FOR UPDATE")
    finally:
        running.terminate()
        code = running.wait(30)
    assert code == 0
    assert len(arrived(broker)) == 3
