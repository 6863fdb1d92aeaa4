"""What the embedded servers share: a child process that owns a folder, one starter at a time."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pipeline.errors import ConfigurationError

START_S = 60.0
POLL_S = 0.02
_STOP_S = 30.0


class Server(AbstractContextManager["Server"]):
    """A child process that owns a folder: one starter at a time, one log, one deadline."""

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id, None while this object runs none."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start the server and return once it answers.

        Raises ConfigurationError, with the remedy, when it cannot run here or somebody else runs it.
        """
        if self.pid is not None:
            return
        self._lock = self._lock or self._acquire()
        try:
            self._launch(time.monotonic() + START_S)
        except BaseException as error:
            self._end(signal.SIGKILL)
            self._unlock()
            if isinstance(error, PermissionError):
                raise self._foreign(error) from error
            raise

    def _acquire(self) -> IO[bytes]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("ab")
        except PermissionError as error:
            raise self._foreign(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConfigurationError(
                f"another process runs the {self.name} in {self.folder}: stop it, or use another folder"
            ) from None
        return lock

    def _foreign(self, error: PermissionError) -> ConfigurationError:
        return ConfigurationError(
            f"{error.filename} belongs to another user: run {self.name} as that user, or delete {self.folder}"
        )

    def stop(self) -> None:
        """Stop the server in an orderly way and return when it is gone."""
        self._end(signal.SIGTERM)
        self._unlock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _launch(self, deadline: float) -> None:
        """Start the process and return once it answers, by ``deadline`` (monotonic seconds)."""

    def _unlock(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await(self, ready: Callable[[], bool], deadline: float) -> bool:
        """Wait until the server is ready (True) or has exited (False)."""
        assert self._process
        while not ready():
            try:
                self._process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise self._failure(f"does not answer within {START_S:.0f} s") from None
            else:
                return False
        return True

    def _failure(self, what: str) -> ConfigurationError:
        lines = self.log.read_text(errors="replace").splitlines()[-12:] if self.log.exists() else []
        return ConfigurationError("\n".join([f"the embedded {self.name} {what}; see {self.log}:", *lines]))
