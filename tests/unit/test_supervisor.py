"""The supervisor with real processes: what dies comes back, what cannot start says why, nothing stays."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from workers.supervisor import Program, Status, Supervisor

LIVES = "import signal; print('up', flush=True); signal.pause()"
LIVES_ON_AFTER_SIGTERM = (
    "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
)
LEAVES_CLEANLY = """
import signal, sys
signal.signal(15, lambda *_: sys.exit("bye"))
print("up", flush=True)
signal.pause()
"""
HAS_A_CHILD = (
    "import subprocess, signal; print(subprocess.Popen(['sleep', '600']).pid, flush=True); signal.pause()"
)
CANNOT_START = "import sys; print('reading settings'); sys.exit('VITRINE_BROKER_URL is missing')"


def python(name: str, code: str, **env: str) -> Program:
    return Program(name, [sys.executable, "-c", code], env)


def until(look: Callable[[], Status | bool | None], timeout_s: float = 20.0) -> Status:
    """The first status that ``look`` gives."""
    deadline = time.monotonic() + timeout_s
    while not isinstance(value := look(), Status):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)
    return value


def has_ended(pid: int, timeout_s: float = 10.0) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], timeout_s)[0])
    finally:
        os.close(handle)


def is_up(supervisor: Supervisor, index: int = 0) -> Status | None:
    status = supervisor.statuses()[index]
    return status if status.state == "running" and status.last_lines[status.restarts :] else None


def test_a_killed_process_comes_back_and_its_neighbour_stays(tmp_path: Path) -> None:
    with Supervisor([python("one", LIVES), python("two", LIVES)], tmp_path) as supervisor:
        one, two = (until(partial(is_up, supervisor, n)) for n in (0, 1))
        assert one.pid
        os.kill(one.pid, signal.SIGKILL)
        again = until(lambda: (now := is_up(supervisor)) and now.restarts == 1 and now)
        assert again.pid not in (None, one.pid)
        assert (again.exit_code, again.failures, again.last_lines) == (-signal.SIGKILL, 1, ("up", "up"))
        assert supervisor.statuses()[1] == two


@pytest.mark.parametrize("argv", [[sys.executable, "-c", CANNOT_START], ["/no/such/program"]])
def test_what_cannot_start_is_reported_with_its_last_words_and_restarted_ever_more_slowly(
    tmp_path: Path, argv: list[str]
) -> None:
    began = time.monotonic()
    with Supervisor([Program("broken", argv)], tmp_path) as supervisor:
        status = until(lambda: (now := supervisor.statuses()[0]).failures >= 3 and now)
        # Two pauses, of half a second and of one, at least three quarters of each.
        assert time.monotonic() - began >= 0.75 * 1.5
        assert status.state == "waiting"
        assert status.pid is None
        expected = (
            (1, "VITRINE_BROKER_URL is missing") if len(argv) > 1 else (127, "cannot start /no/such/program")
        )
        assert status.exit_code == expected[0]
        assert status.last_lines[-1].startswith(expected[1])
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 1, "stop waited for the next restart"


def test_stop_lets_a_process_end_in_its_own_way_and_kills_what_will_not(tmp_path: Path) -> None:
    programs = [python("clean", LEAVES_CLEANLY), python("stubborn", LIVES_ON_AFTER_SIGTERM)]
    supervisor = Supervisor(programs, tmp_path, stop_s=1.0)
    with supervisor:
        pids = [until(partial(is_up, supervisor, n)).pid for n in (0, 1)]
    assert all(has_ended(pid) for pid in pids if pid)
    clean, stubborn = supervisor.statuses()
    assert (clean.state, clean.exit_code, clean.last_lines) == ("stopped", 1, ("up", "bye"))
    assert (stubborn.state, stubborn.exit_code, stubborn.pid) == ("stopped", -signal.SIGKILL, None)


def test_what_a_killed_process_had_started_does_not_live_beside_its_successor(tmp_path: Path) -> None:
    with Supervisor([python("parent", HAS_A_CHILD)], tmp_path) as supervisor:
        parent = until(lambda: is_up(supervisor))
        child = int(parent.last_lines[-1])
        assert parent.pid
        os.kill(parent.pid, signal.SIGKILL)
        assert has_ended(child)


def test_a_process_gets_its_own_environment_on_top_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED", "ours")
    # One string, one write: of several the first alone may be read.
    code = "import os, signal; print('{INHERITED} {OWN}'.format(**os.environ), flush=True); signal.pause()"
    with Supervisor([python("env", code, OWN="its")], tmp_path) as supervisor:
        assert until(lambda: is_up(supervisor)).last_lines == ("ours its",)


def test_a_log_does_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.supervisor._LOG_BYTES", 1000)
    (tmp_path / "chatty.log").write_text("old\n" * 1000)
    with Supervisor([python("chatty", LIVES)], tmp_path) as supervisor:
        assert until(lambda: is_up(supervisor)).last_lines == ("up",)
    assert (tmp_path / "chatty.log.1").read_text().startswith("old\n")


def test_two_programs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two programs share a name"):
        Supervisor([python("one", LIVES), python("one", LIVES)], tmp_path)


OWNER = """
import json, sys, time
from functools import partial
from pathlib import Path
from workers.supervisor import Program, Supervisor
supervisor = Supervisor([Program("one", [sys.executable, "-c", sys.argv[2]])], Path(sys.argv[1]))
supervisor.start()
while not (status := supervisor.statuses()[0]).last_lines:
    time.sleep(0.01)
print(json.dumps(status.pid), flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_running_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), LIVES_ON_AFTER_SIGTERM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert owner.stdout
    pid = json.loads(owner.stdout.readline())
    owner.kill()
    owner.communicate()
    assert has_ended(pid)
