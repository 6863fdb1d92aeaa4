"""Keeps a set of named processes running: restarts what exits, logs its output, stops all in time."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from workers.leash import spawn

_logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
# Whoever lived this long is well: the next exit is its first failure again.
_WELL_S = 60.0
_LOG_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Program:
    """What to run under which name; ``env`` is added to our own environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """One process as it is now.

    ``failures`` counts the exits since it last was well; above two it most likely cannot start at all, and
    ``last_lines`` of its log say why. ``exit_code`` is that of its last exit, negative for a signal.
    """

    name: str
    state: Literal["running", "waiting", "stopped"]
    pid: int | None
    restarts: int
    failures: int
    exit_code: int | None
    last_lines: tuple[str, ...]
    log: Path


class Supervisor:
    """Runs ``programs`` from ``start`` to ``stop``; their output goes to ``logs/NAME.log``.

    A process that exits, with whatever code, is started again after a pause that doubles from half a second
    to half a minute, with jitter. Each has a session of its own, so Ctrl-C reaches only the supervisor, and
    is killed when the supervisor's process ends in any way (on Linux; see ``workers.leash``).
    """

    def __init__(self, programs: Sequence[Program], logs: Path, *, stop_s: float = 30.0) -> None:
        if len({program.name for program in programs}) != len(programs):
            raise ValueError("two programs share a name")
        self._stop_s = stop_s
        self._stopping = threading.Event()
        self._keepers = [
            _Keeper(program, logs / f"{program.name}.log", self._stopping) for program in programs
        ]

    def start(self) -> None:
        """Start every program; returns at once."""
        for keeper in self._keepers:
            keeper.log.parent.mkdir(parents=True, exist_ok=True)
            keeper.start()

    def stop(self) -> None:
        """Ask every process to end (SIGTERM), kill what has not within ``stop_s``; then all are gone."""
        self._stopping.set()
        for keeper in self._keepers:
            keeper.signal(signal.SIGTERM)
        deadline = time.monotonic() + self._stop_s
        for keeper in self._keepers:
            keeper.join(max(0.0, deadline - time.monotonic()))
            keeper.signal(signal.SIGKILL)
            keeper.join()

    def statuses(self) -> list[Status]:
        """One status a program, in the order given."""
        return [keeper.status() for keeper in self._keepers]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Keeper(threading.Thread):
    """Keeps one program running until ``stopping`` is set."""

    def __init__(self, program: Program, log: Path, stopping: threading.Event) -> None:
        super().__init__(name=f"keeper-{program.name}", daemon=True)
        self._program = program
        self._stopping = stopping
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._failures = 0
        self._exit_code: int | None = None
        self.log = log

    def run(self) -> None:
        while process := self._spawn():
            began = time.monotonic()
            exit_code = process.wait()
            with suppress(ProcessLookupError):  # what it started itself must not live on beside its successor
                os.killpg(process.pid, signal.SIGKILL)
            with self._turn:
                self._process, self._exit_code = None, exit_code
                self._failures = 1 if time.monotonic() - began >= _WELL_S else self._failures + 1
            if self._stopping.is_set():
                return
            pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10))
            pause *= random.uniform(0.75, 1.25)  # noqa: S311 -- jitter, so that all do not return in step
            _logger.warning("%s exited with %d, starts again in %.1f s", self._program.name, exit_code, pause)
            self._stopping.wait(pause)

    def signal(self, number: signal.Signals) -> None:
        with self._turn:
            if self._process is None or self._process.returncode is not None:
                return
            with suppress(ProcessLookupError):
                if number == signal.SIGKILL:
                    os.killpg(self._process.pid, number)
                else:
                    self._process.send_signal(number)

    def status(self) -> Status:
        with self._turn:
            running = self._process is not None
            return Status(
                name=self._program.name,
                state="running" if running else "waiting" if self.is_alive() else "stopped",
                pid=self._process.pid if self._process else None,
                restarts=max(0, self._starts - 1),
                failures=self._failures,
                exit_code=self._exit_code,
                last_lines=_last_lines(self.log),
                log=self.log,
            )

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """The next process, or None once the supervisor stops; no process can start behind its back."""
        with self._turn:
            if self._stopping.is_set():
                return None
            if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
            with self.log.open("ab") as log:
                self._process = spawn(
                    self._program.argv, env=os.environ | dict(self._program.env), output=log
                )
            self._starts += 1
            return self._process


def _last_lines(log: Path) -> tuple[str, ...]:
    if not log.exists():
        return ()
    with log.open("rb") as content:
        content.seek(max(0, log.stat().st_size - 8192))
        return tuple(content.read().decode(errors="replace").splitlines()[-12:])
