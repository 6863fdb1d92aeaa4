"""Qdrant's local mode behind Qdrant's own REST API: the one process that owns it, so that every other can use it."""

from __future__ import annotations

import signal
import sys

import httpx

from workers.embedded.guarded import GuardedServer
from workers.leash import spawn


class QdrantServer(GuardedServer):
    """Qdrant's local mode (of the ``qdrant-client`` wheel) on a loopback port, with an API key.

    It searches exactly and without quantisation, and suits some thousand points.
    """

    name = "qdrant"

    @property
    def url(self) -> str:
        """The URL with the API key. Raises ConfigurationError before the first start."""
        port, key = self.access
        return f"http://:{key}@127.0.0.1:{port}"

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

    def _answers(self) -> bool:
        port, key = self.access
        try:
            told = httpx.get(
                f"http://127.0.0.1:{port}/aliases", headers={"api-key": key}, timeout=5, trust_env=False
            )
        except httpx.TransportError:
            return False
        return told.status_code == httpx.codes.OK
