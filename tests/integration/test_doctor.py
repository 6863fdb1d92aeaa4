"""The doctor against real servers, sound and ill."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from engines.kit import Kit
from storage.vectors import VectorIndex
from tests.conftest import QdrantServer
from workers.doctor import Check, diagnose
from workers.settings import Settings


@pytest.fixture
def sound(
    database_url: str, broker_url: str, index: VectorIndex, qdrant: QdrantServer, tmp_path: Path
) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url=broker_url,
        assets_url=f"file://{tmp_path}/assets",
        qdrant_url=qdrant.url,
        cache=None,
    )


def look(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in diagnose(settings)}


def test_a_sound_deployment_has_nothing_to_mend(sound: Settings, tmp_path: Path) -> None:
    checks = look(sound)
    assert [check for check in checks.values() if check.ok is False] == []
    assert {
        "database",
        "migrations",
        "clock",
        "broker durability",
        "broker eviction",
        "assets",
    } <= checks.keys()
    assert [path for path in (tmp_path / "assets").rglob("*") if path.is_file()] == []


def test_whatever_cannot_be_reached_is_named_with_a_remedy_and_no_password(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    checks = look(
        Settings(
            database_url="postgresql+psycopg://shop:s3cret@127.0.0.1:1/shop",
            broker_url="redis://:s3cret@127.0.0.1:1/0",
            assets_url=f"file://{tmp_path}/file/assets",
            qdrant_url="http://:s3cret@127.0.0.1:1",
            cache=tmp_path / "cache",
        )
    )
    failed = {name: check for name, check in checks.items() if check.ok is False}
    assert failed.keys() == {"database", "broker", "assets", "index", "kit"}
    assert all(check.remedy for check in failed.values())
    assert "VITRINE_DATABASE_URL" in failed["database"].remedy
    assert "u2netp" in failed["kit"].detail
    assert "s3cret" not in repr(checks)


def test_without_addresses_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    checks = look(Settings(home=tmp_path))
    assert checks["settings"].ok is False
    assert "VITRINE_DATABASE_URL" in checks["settings"].detail
    assert checks["packages"].ok
    assert "database" not in checks


def test_an_empty_database_needs_migrating(sound: Settings, postgres: object, database_url: str) -> None:
    from workers.embedded import PostgresServer

    assert isinstance(postgres, PostgresServer)
    empty = sound.model_copy(update={"database_url": postgres.create_database("never_migrated")})
    check = look(empty)["migrations"]
    assert check.ok is False
    assert check.detail.startswith("at revision none")
    assert check.remedy == "run `vitrine migrate`"


def test_a_broker_that_evicts_or_forgets_is_reported(sound: Settings, broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as client:
        client.config_set("maxmemory", "64mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        try:
            checks = look(sound)
        finally:
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("appendonly", "yes")
    assert (checks["broker eviction"].ok, checks["broker eviction"].detail) == (False, "policy allkeys-lru")
    assert checks["broker durability"].ok is False


def test_a_changed_model_file_is_reported(sound: Settings, tmp_path: Path) -> None:
    kit = Kit()
    cache = tmp_path / "cache"
    for artifact in kit.artifacts():
        if artifact.tree is None and not artifact.opt_in:
            source = kit.path(artifact.name)
            target = cache / "kit" / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    mine = sound.model_copy(update={"cache": cache})
    assert look(mine)["kit"].ok
    with Kit(cache).path("u2netp").open("r+b") as content:
        content.write(b"\0")
    check = look(mine)["kit"]
    assert check.ok is False
    assert str(Kit(cache).path("u2netp")) in check.detail


def test_a_stray_module_that_shadows_a_package_is_reported(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").touch()
    root = Path(__file__).parents[2]
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\nfrom workers.doctor import _packages\nprint(*_packages())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(root)], capture_output=True, text=True
    )
    assert "ok=False" in told.stdout, told.stderr
    assert f"tasks from {tmp_path}/tasks.py" in told.stdout
