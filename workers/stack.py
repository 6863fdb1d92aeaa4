"""The embedded stack: Postgres, Valkey, Qdrant and every worker process on one machine, in one folder."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.database import open_database
from storage.migrations import upgrade
from workers.bootstrap import every_queue
from workers.embedded import PostgresServer, QdrantServer, ValkeyServer
from workers.embedded.server import Server
from workers.settings import STACK_FILE, Settings
from workers.supervisor import Program, Status, Supervisor


class Stack(AbstractContextManager["Stack"]):
    """Everything in one go. Other commands find it through the ``stack.json`` in its folder."""

    def __init__(
        self,
        settings: Settings,
        *,
        file_roots: Sequence[Path] = (),
        concurrency: int = 2,
        flower: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.home = settings.home.absolute()
        self.settings = settings
        self._file_roots = [*settings.file_roots, *file_roots]
        self._concurrency = concurrency
        self._flower = flower
        self._say = say
        self._exits = ExitStack()
        self.supervisor: Supervisor | None = None
        self._servers: list[Server] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def tend(self) -> None:
        """Start a server of ours again that has died; the workers reconnect by themselves."""
        for server in self._servers:
            if server.pid is None:
                self._say(f"the {server.name} died: starting it again")
                server.start()

    def statuses(self) -> list[Status]:
        """The worker processes, as the supervisor sees them."""
        return self.supervisor.statuses() if self.supervisor else []

    def _start(self) -> None:
        self._say("starting Postgres")
        postgres = PostgresServer(self.home / "postgres")
        self._exits.enter_context(postgres)
        self._say("starting Valkey")
        valkey = ValkeyServer(self.home / "valkey")
        self._exits.enter_context(valkey)
        self._say("starting Qdrant")
        qdrant = QdrantServer(self.home / "qdrant")
        self._exits.enter_context(qdrant)
        self._servers = [postgres, valkey, qdrant]
        database = postgres.create_database("vitrine")
        engine = open_database(database)
        upgrade(engine)
        engine.dispose()
        assets = self.home / "assets"
        assets.mkdir(parents=True, exist_ok=True)
        addresses: dict[str, str | list[str]] = {
            "database_url": database,
            "broker_url": valkey.url,
            "assets_url": assets.as_uri(),
            "qdrant_url": qdrant.url,
            "file_roots": [str(path.absolute()) for path in self._file_roots],
        }
        self.settings = self.settings.model_copy(
            update={k: v for k, v in addresses.items() if k != "file_roots"}
            | {"file_roots": tuple(path.absolute() for path in self._file_roots)}
        )
        file = self.home / STACK_FILE
        self._exits.callback(lambda: file.unlink(missing_ok=True))
        file.touch(mode=0o600)
        file.write_text(json.dumps(addresses))
        self.supervisor = self._exits.enter_context(Supervisor(self._programs(addresses), self.home / "logs"))
        self._say("workers are up")

    def _programs(self, addresses: dict[str, str | list[str]]) -> list[Program]:
        env = {
            "VITRINE_HOME": str(self.home),
            "VITRINE_DATABASE_URL": str(addresses["database_url"]),
            "VITRINE_BROKER_URL": str(addresses["broker_url"]),
            "VITRINE_ASSETS_URL": str(addresses["assets_url"]),
            "VITRINE_QDRANT_URL": str(addresses["qdrant_url"]),
            "VITRINE_FILE_ROOTS": json.dumps(addresses["file_roots"]),
            # The embedded machine is small: a short window brings the first products out early.
            "VITRINE_WINDOW": os.environ.get("VITRINE_WINDOW", "24"),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        command = [sys.executable, "-m", "workers.cli"]
        queues = every_queue()
        programs = [
            Program("intake", [*command, "intake"], env),
            Program("relay", [*command, "relay"], env),
            Program(
                "worker",
                [*command, "worker", "--queues", ",".join(queues), "--concurrency", str(self._concurrency)],
                env,
            ),
        ]
        if self._flower:
            programs.append(Program("flower", [*command, "flower"], env))
        return programs
