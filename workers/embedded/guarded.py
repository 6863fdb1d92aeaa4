"""What the embedded servers on a port share: a loopback port and a secret, made once and kept in the folder."""

from __future__ import annotations

import json
import secrets
import signal
import socket
import time
from pathlib import Path

from pipeline.errors import ConfigurationError
from workers.embedded.server import POLL_S, Server

# Below the ephemeral range: a client that reconnects to a stopped server there can connect to itself.
_PORTS = range(20_000, 32_768)


class GuardedServer(Server):
    """A server on a loopback port that asks for a secret. Both are made at the first start and kept, so that a
    restarted server is found again."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        super().__init__(folder)
        self._port = port
        self._file = self.folder / "access.json"

    @property
    def access(self) -> tuple[int, str]:
        """The port and the secret. Raises ConfigurationError before the first start."""
        try:
            held = json.loads(self._file.read_text())
        except FileNotFoundError:
            raise ConfigurationError(
                f"no {self.name} was ever started in {self.folder}: run `vitrine up`"
            ) from None
        return held["port"], held["password"]

    def kill(self) -> None:
        """End the server as a power cut would, with SIGKILL."""
        self._end(signal.SIGKILL)
        self._unlock()

    def _grant(self, deadline: float) -> tuple[int, str]:
        """The port and the secret of this folder; waits until the port is free."""
        if self._file.exists():
            held, password = self.access
            port = self._port or held
            while not _is_free(port):
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"port {port} is taken: end what listens there, or delete {self._file}"
                    )
                time.sleep(POLL_S)
        else:
            held, password = 0, secrets.token_urlsafe(24)
            port = self._port or next(p for p in iter(lambda: secrets.choice(_PORTS), None) if _is_free(p))
        if held != port:
            written = self._file.with_suffix(".new")
            written.touch(mode=0o600)
            written.write_text(json.dumps({"password": password, "port": port}))
            written.rename(self._file)
        return port, password


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
