"""Qdrant's local mode behind Qdrant's own REST API: the one process that owns it, so that every other can use it."""

from __future__ import annotations

import json
import secrets
import signal
import sys
import time
from pathlib import Path

import httpx

from pipeline.errors import ConfigurationError
from workers.embedded.server import POLL_S, Server
from workers.embedded.valkey import PORTS, is_free
from workers.leash import spawn


class QdrantServer(Server):
    """Qdrant's local mode (of the ``qdrant-client`` wheel) on a loopback port, with an API key.

    It searches exactly and without quantisation, and suits some thousand points. Port and key are made at the
    first start and kept in the folder, so that a restarted server is found again.
    """

    name = "qdrant"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._access = self.folder / "access.json"

    @property
    def url(self) -> str:
        """The URL with the API key. Raises ConfigurationError before the first start."""
        try:
            access = json.loads(self._access.read_text())
        except FileNotFoundError:
            raise ConfigurationError(
                f"no Qdrant was ever started in {self.folder}: run `vitrine up`"
            ) from None
        return f"http://:{access['key']}@127.0.0.1:{access['port']}"

    def kill(self) -> None:
        """End the server as a power cut would, with SIGKILL."""
        self._end(signal.SIGKILL)
        self._unlock()

    def _launch(self, deadline: float) -> None:
        self._grant(deadline)
        with self.log.open("ab") as log:
            self._process = spawn(
                [sys.executable, "-m", "workers.embedded.qdrant_rest", str(self.folder)],
                death_signal=signal.SIGTERM,
                output=log,
            )
        if not self._await(self._answers, deadline):
            raise self._failure("does not start")

    def _grant(self, deadline: float) -> None:
        """Make the port and the key at the first start; wait for the port at every other."""
        if self._access.exists():
            port = json.loads(self._access.read_text())["port"]
            while not is_free(port):
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"port {port} is taken: end what listens there, or delete {self._access}"
                    )
                time.sleep(POLL_S)
            return
        port = next(p for p in iter(lambda: secrets.choice(PORTS), None) if is_free(p))
        written = self._access.with_suffix(".new")
        written.touch(mode=0o600)
        written.write_text(json.dumps({"key": secrets.token_urlsafe(24), "port": port}))
        written.rename(self._access)

    def _answers(self) -> bool:
        access = json.loads(self._access.read_text())
        try:
            told = httpx.get(
                f"http://127.0.0.1:{access['port']}/aliases",
                headers={"api-key": access["key"]},
                timeout=5,
                trust_env=False,
            )
        except httpx.TransportError:
            return False
        return told.status_code == httpx.codes.OK
