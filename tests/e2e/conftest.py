"""A whole system of real processes that a test may kill, stop, starve and restart."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.events import Event
from storage.database import open_database
from storage.migrations import upgrade
from workers.embedded import PostgresServer, QdrantServer, ValkeyServer
from workers.publisher import Publisher
from workers.supervisor import Program, Supervisor

PATIENCE_S = 60.0


class System:
    """Postgres, Valkey and the supervised processes of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = PostgresServer(folder / "pg")
        self.valkey = ValkeyServer(folder / "valkey")
        self.postgres.start()
        self.valkey.start()
        self.qdrant = QdrantServer(folder / "qdrant")
        self.database = self.postgres.create_database("vitrine")
        self.engine = open_database(self.database)
        upgrade(self.engine)
        self.effects = folder / "effects.log"
        self.supervisor: Supervisor | None = None

    def start(self, *roles: str, env: dict[str, dict[str, str]] | None = None) -> None:
        """Run the processes; ``env`` adds variables to a role's."""
        common = {
            "TEST_DATABASE": self.database,
            "TEST_BROKER": self.valkey.url,
            "TEST_FOLDER": str(self.folder),
            "TEST_EFFECTS": str(self.effects),
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
        }
        self.supervise(
            Program(
                role, [sys.executable, "-m", "tests.e2e.process", role], common | (env or {}).get(role, {})
            )
            for role in roles or ("intake", "relay", "worker")
        )

    def start_real(self, queues: str, **settings: str) -> None:
        """Run the processes as an operator would, over the real stages."""
        self.qdrant.start()
        env = {
            "VITRINE_QDRANT_URL": self.qdrant.url,
            # Scenes take seconds each and have tests of their own.
            "VITRINE_SCENES": "[]",
            "VITRINE_DATABASE_URL": self.database,
            "VITRINE_BROKER_URL": self.valkey.url,
            "VITRINE_ASSETS_URL": (self.folder / "assets").as_uri(),
            **settings,
        }
        (self.folder / "assets").mkdir(exist_ok=True)
        command = [sys.executable, "-m", "workers.cli"]
        worker = ["worker", "--queues", queues, "--concurrency", "2"]
        arguments = {"intake": ["intake"], "relay": ["relay"], "worker": worker}
        self.supervise(Program(name, [*command, *argv], env) for name, argv in arguments.items())

    def supervise(self, programs: Iterable[Program]) -> None:
        """Keep these processes running until the test ends."""
        self.supervisor = Supervisor(list(programs), self.folder / "logs", stop_s=8)
        self.supervisor.start()

    def pid(self, role: str) -> int:
        """The process id of a supervised process, once it runs."""
        assert self.supervisor
        supervisor = self.supervisor

        def running() -> int | None:
            return next(s.pid for s in supervisor.statuses() if s.name == role)

        return int(self.until(running, f"{role} to run"))

    def publish(self, events: Iterable[tuple[Event, bytes]]) -> None:
        with Publisher(self.valkey.url) as publisher:
            publisher.publish(raw for _, raw in events)

    def rows(self, sql: str, **values: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(sql), values).all())

    def one(self, sql: str, **values: Any) -> Any:
        [row] = self.rows(sql, **values)
        return row[0] if len(row) == 1 else row

    def until(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """Wait for a condition; the failure shows the ends of the logs."""
        deadline = time.monotonic() + patience_s
        while not (found := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"waited {patience_s:g} s for {what}\n{self.logs()}")
            time.sleep(0.05)
        return found

    def quiet(self, events: int, patience_s: float = PATIENCE_S) -> None:
        """Wait until ``events`` were accepted and each has its verdict."""

        def done() -> bool:
            total, open_ = self.one("SELECT count(*), count(*) FILTER (WHERE verdict IS NULL) FROM events")
            return bool(total == events and open_ == 0)

        self.until(done, f"{events} events with a verdict", patience_s)

    def logs(self) -> str:
        parts = [self.one_line()]
        for log in sorted((self.folder / "logs").glob("*.log")):
            parts.append(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:]))
        return "\n".join(parts)

    def one_line(self) -> str:
        try:
            jobs = self.rows("SELECT stage, state, count(*), max(error) FROM jobs GROUP BY 1, 2 ORDER BY 1")
            events = self.rows("SELECT verdict, count(*) FROM events GROUP BY 1")
        except Exception as error:
            return f"database: {error}"
        return f"jobs: {[tuple(j) for j in jobs]} events: {[tuple(e) for e in events]}"

    def close(self) -> None:
        if self.supervisor:
            self.supervisor.stop()
        self.engine.dispose()
        self.valkey.stop()
        self.qdrant.stop()
        self.postgres.stop("immediate")


@pytest.fixture
def system() -> Iterator[System]:
    folder = Path(tempfile.mkdtemp(prefix="ve-"))
    folder.chmod(0o755)
    system = System(folder)
    yield system
    system.close()
    system.postgres.remove()
    shutil.rmtree(folder, ignore_errors=True)


def check_invariants(system: System) -> None:
    """What must hold once the system is quiet, whatever happened before."""
    assert system.rows("SELECT event_id FROM events WHERE verdict IS NULL") == []
    assert system.rows("SELECT id FROM plans WHERE verdict IS NULL") == []
    assert system.rows("SELECT fingerprint FROM jobs GROUP BY 1 HAVING count(*) > 1") == []
    assert system.rows("SELECT id FROM jobs WHERE state IN ('ready', 'running')") == []
    assert system.rows("SELECT id FROM runs WHERE state IN ('waiting', 'ready')") == []
    # The served revision is the newest of the product's live events.
    assert (
        system.rows(
            "SELECT p.product_id FROM products p LEFT JOIN presentations pr ON pr.product_id = p.id "
            "WHERE p.live AND pr.revision IS DISTINCT FROM p.revision"
        )
        == []
    )
    gone = "SELECT id FROM products WHERE NOT live"
    assert system.rows(f"SELECT product_id FROM presentations WHERE product_id IN ({gone})") == []
    # All that remains is the withdrawal's own effect: telling the outside that the product is gone.
    assert (
        system.rows(
            f"SELECT r.stage FROM runs r JOIN plans pl ON pl.id = r.plan_id "
            f"WHERE r.product_id IN ({gone}) AND pl.cause <> 'withdrawal'"
        )
        == []
    )
    assert (
        system.rows(
            "SELECT e.event_id FROM events e JOIN products p USING (source, product_id) "
            "WHERE NOT p.live AND e.body IS NOT NULL"
        )
        == []
    )
    assert system.rows("SELECT id FROM products WHERE NOT live AND facts IS NOT NULL") == []
    orphans = "SELECT id FROM jobs j WHERE NOT EXISTS (SELECT FROM runs r WHERE r.job_id = j.id)"
    assert system.rows(orphans) == []
    if system.effects.exists():
        served: dict[str, tuple[int, int]] = {}
        for line in system.effects.read_text().splitlines():
            product, revision, generation, _ = line.split()
            told = (int(revision), int(generation))
            assert told >= served.get(product, (0, 0)), f"the effect of {product} went back to {told}"
            served[product] = told
