"""Named places at which a process can be made to die, so that recovery is proven and not assumed."""

from __future__ import annotations

import itertools
import os
import signal

_passages = itertools.count(1)


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL if the environment asks for a death at ``name``; else do nothing.

    ``VITRINE_CRASH_AT`` is ``name`` (the first passage) or ``name:N`` (the N-th passage in this process).
    ``VITRINE_CRASH_ONCE`` is the path of a marker file: of all processes that come to their passage only the
    one that creates the file dies, so that a restarted process can be watched recovering.
    """
    wanted, _, passage = os.environ.get("VITRINE_CRASH_AT", "").partition(":")
    if wanted != name or next(_passages) != int(passage or 1):
        return
    marker = os.environ.get("VITRINE_CRASH_ONCE")
    if marker:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)
