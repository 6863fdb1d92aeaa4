"""The embedded Qdrant keeps what it answered for, and deletes exactly what it was told to."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import httpx
import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from storage.vectors import Point, VectorIndex
from tests.conftest import QdrantServer

COLLECTION = "rest"


@pytest.fixture
def filled(index: VectorIndex) -> VectorIndex:
    """Three points of version 5."""
    index.create(COLLECTION, 4)
    index.write(COLLECTION, [_point(number, 5) for number in (1, 2, 3)])
    return index


def _point(number: int, version: int) -> Point:
    return Point(number, version, {"source": "shop"}, {"text": np.eye(4, dtype=np.float32)[:1]})


def _file(qdrant: QdrantServer) -> Path:
    [file] = (qdrant.folder / "points" / "collection" / COLLECTION).glob("*.sqlite")
    return file


def test_what_is_answered_is_in_the_file_and_not_only_in_its_log(
    filled: VectorIndex, qdrant: QdrantServer
) -> None:
    # Immutable: the log beside the file is not read.
    with sqlite3.connect(f"file:{_file(qdrant)}?immutable=1", uri=True) as file:
        assert file.execute("SELECT count(*) FROM points").fetchone() == (3,)


def test_a_write_does_not_force_each_point_to_the_disk(filled: VectorIndex, qdrant: QdrantServer) -> None:
    with sqlite3.connect(_file(qdrant)) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_points_survive_the_end_of_the_server(filled: VectorIndex, qdrant: QdrantServer) -> None:
    filled.delete(COLLECTION, {2: 5})
    qdrant.kill()
    qdrant.start()
    assert list(filled.versions(COLLECTION)) == [(1, 5), (3, 5)]


def test_only_the_named_and_not_younger_points_are_deleted(filled: VectorIndex) -> None:
    filled.delete(COLLECTION, {1: 4, 2: 5, 9: 9})
    assert list(filled.versions(COLLECTION)) == [(1, 5), (3, 5)]


def test_a_point_deleted_and_written_again_is_there(filled: VectorIndex) -> None:
    filled.delete(COLLECTION, {1: 6})
    filled.write(COLLECTION, [_point(1, 5)])
    filled.delete(COLLECTION, {1: 4})
    assert dict(filled.versions(COLLECTION))[1] == 5


def asked(server: QdrantServer, path: str, key: str | None = None) -> httpx.Response:
    address = httpx.URL(server.url)
    headers = {"api-key": address.password if key is None else key}
    return httpx.get(f"http://127.0.0.1:{address.port}{path}", headers=headers, trust_env=False)


@pytest.mark.parametrize("key", ["", "wrong"])
def test_who_has_no_key_learns_nothing(qdrant: QdrantServer, key: str) -> None:
    refused = asked(qdrant, "/collections", key)
    assert refused.status_code == 401
    assert refused.json()["result"] is None


def test_the_key_is_nobody_elses_to_read(qdrant: QdrantServer) -> None:
    assert stat.S_IMODE((qdrant.folder / "access.json").stat().st_mode) == 0o600


def test_what_is_not_answered_says_so(qdrant: QdrantServer) -> None:
    told = asked(qdrant, "/telemetry")
    assert told.status_code == 404
    assert "GET /telemetry is not answered" in told.json()["status"]["error"]


def test_a_folder_has_one_owner(qdrant: QdrantServer) -> None:
    with pytest.raises(ConfigurationError, match="another process runs the qdrant"):
        QdrantServer(qdrant.folder).start()


def test_a_folder_that_never_ran_has_no_url(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="vitrine up"):
        _ = QdrantServer(tmp_path).url
