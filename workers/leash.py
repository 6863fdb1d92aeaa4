"""Starts child processes that cannot outlive this one, not even when it is killed with SIGKILL.

On Linux the kernel sends a child its parent-death signal (``prctl(PR_SET_PDEATHSIG)``) when the *thread* that
started it ends, and forgets the setting when the child changes its user. So every child is started from one
thread that lives as long as this process, and this file, run as a program in the child, drops the privileges
first, then asks for the signal, then becomes the wanted program. Other systems have no such signal: there an
owner that is killed leaves its children behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leash")


def spawn(
    argv: Sequence[str | Path],
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    user: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    output: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``argv`` in a session of its own; it gets ``death_signal`` when this process ends.

    ``user`` is the numeric user and group that it runs as, None for ours. ``output`` takes its stdout and
    stderr. A program that cannot be executed exits with 127 after it said why there.
    """
    launcher = [
        sys.executable,
        "-I",
        "-S",
        __file__,
        str(os.getpid()),
        str(int(death_signal)),
        str(user or ""),
    ]
    return _starter.submit(
        subprocess.Popen[bytes],
        [*launcher, *map(str, argv)],
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        start_new_session=True,
    ).result()


def _become(parent: int, death_signal: int, user: str, argv: list[str]) -> None:
    if user:
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # The parent may have died before the signal was asked for.
    if os.getppid() != parent:
        sys.exit("the starting process is gone")
    try:
        os.execvp(argv[0], argv)  # noqa: S606 -- this is what the launcher is for
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
