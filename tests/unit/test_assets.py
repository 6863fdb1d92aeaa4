"""The asset store: one contract on a folder, in memory and on S3 over HTTP; durability on a folder."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import obstore
import pytest
from moto.server import ThreadedMotoServer

from pipeline.errors import ConfigurationError, RejectedInput, Transient
from pipeline.outcomes import Blob
from storage.assets import Assets

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["file", "memory", "s3"])
def assets(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Assets:
    if request.param == "file":
        return Assets((tmp_path / "a folder").as_uri())
    if request.param == "memory":
        return Assets("memory://")
    endpoint = request.getfixturevalue("s3_endpoint")
    bucket = f"b{uuid.uuid4().hex}"
    httpx.put(f"{endpoint}/{bucket}", trust_env=False).raise_for_status()
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return Assets(f"s3://{bucket}/shop/assets")


@pytest.fixture
def local(tmp_path: Path) -> Assets:
    return Assets(tmp_path.as_uri())


def test_what_was_put_comes_back(assets: Assets) -> None:
    data = os.urandom(6_000_000)
    blob = assets.put(data, "image/jpeg")
    assert blob == Blob(digest=hashlib.sha256(data).hexdigest(), media_type="image/jpeg", size=len(data))
    assert assets.get(blob) == data
    assert assets.get(blob.digest, "image/jpeg") == data
    assert assets.exists(blob.digest, "image/jpeg")
    assert not assets.exists(blob.digest, "image/png")


def test_empty_bytes_are_a_blob_too(assets: Assets) -> None:
    assert assets.get(assets.put(b"", "image/png")) == b""


def test_putting_twice_leaves_the_first_writing(assets: Assets) -> None:
    blob = assets.put(b"photo", "image/jpeg")
    key = assets.key(blob.digest, blob.media_type)
    before = obstore.head(assets._store, key)
    obstore.put(assets._store, key, b"PHOTO")  # the same size: it is not looked into, so it stays
    assert assets.put(b"photo", "image/jpeg") == blob
    assert obstore.get(assets._store, key).bytes().to_bytes() == b"PHOTO"
    assert before["size"] == blob.size


def test_a_blob_of_another_size_is_repaired(assets: Assets) -> None:
    blob = assets.put(b"the whole photo", "image/jpeg")
    obstore.put(assets._store, assets.key(blob.digest, blob.media_type), b"the who")
    assert assets.put(b"the whole photo", "image/jpeg") == blob
    assert assets.get(blob) == b"the whole photo"


def test_a_changed_byte_is_refused_with_the_remedy(assets: Assets) -> None:
    blob = assets.put(b"photo", "image/jpeg")
    obstore.put(assets._store, assets.key(blob.digest, blob.media_type), b"phot0")
    with pytest.raises(RejectedInput, match=f"{blob.digest}.*--force") as caught:
        assets.get(blob)
    assert caught.value.reason == "damaged-asset"


def test_a_missing_blob_may_come_back(assets: Assets) -> None:
    digest = hashlib.sha256(b"nobody").hexdigest()
    with pytest.raises(Transient, match=f"{digest} is missing.*restore"):
        assets.get(digest, "image/png")


def test_deleting_is_idempotent(assets: Assets) -> None:
    blob = assets.put(b"photo", "image/jpeg")
    assets.delete(blob.digest, blob.media_type)
    assets.delete(blob.digest, blob.media_type)
    assert not assets.exists(blob.digest, blob.media_type)


def test_the_list_holds_blobs_and_nothing_else(assets: Assets) -> None:
    photo = assets.put(b"photo", "image/jpeg")
    other = assets.put(b"other", "text/html")
    obstore.put(assets._store, ".tmp/half", b"half a photo")
    obstore.put(assets._store, "README", b"not ours")
    obstore.put(assets._store, f"ab/cd/{photo.digest}.jpg", b"in the wrong folder")
    found = {blob.digest: blob for blob in assets.list()}
    assert set(found) == {photo.digest, other.digest}
    assert (found[photo.digest].media_type, found[photo.digest].size) == ("image/jpeg", 5)
    assert found[other.digest].media_type == "application/octet-stream"
    assert abs(datetime.now(UTC) - found[photo.digest].modified) < timedelta(minutes=5)


def test_many_threads_putting_the_same_bytes_agree(assets: Assets) -> None:
    with ThreadPoolExecutor(8) as pool:
        blobs = set(pool.map(lambda _: assets.put(b"same" * 1000, "image/jpeg"), range(24)))
    assert len(blobs) == 1
    assert assets.get(blobs.pop()) == b"same" * 1000
    assert len(list(assets.list())) == 1


def test_only_the_local_disk_has_paths(assets: Assets) -> None:
    blob = assets.put(b"photo", "image/jpeg")
    path = assets.local_path(blob.digest, blob.media_type)
    if assets.url.startswith("file:"):
        assert path is not None
        assert path.read_bytes() == b"photo"
    else:
        assert path is None


@pytest.mark.parametrize("digest", ["../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n", "", "/" * 64])
def test_no_digest_leads_out_of_the_store(local: Assets, digest: str) -> None:
    for call in (local.key, local.get, local.exists, local.delete, local.local_path):
        with pytest.raises(RejectedInput) as caught:
            call(digest, "image/jpeg")
        assert caught.value.reason == "bad-digest"


def test_the_key_takes_its_extension_from_a_list(local: Assets) -> None:
    digest = "ab" * 32
    assert local.key(digest, "image/webp") == f"ab/ab/{digest}.webp"
    assert local.key(digest, "text/html") == f"ab/ab/{digest}.bin"
    assert local.key(digest, "image/../../x") == f"ab/ab/{digest}.bin"


@pytest.mark.parametrize(
    "url", ["", "assets", "/srv/assets", "file:assets", "file://host/assets", "s3://", "ftp://h/x", "memory"]
)
def test_an_unknown_url_is_a_setting_to_correct(url: str) -> None:
    with pytest.raises(ConfigurationError, match="file:///absolute/folder"):
        Assets(url)


def test_a_folder_that_cannot_be_made_is_a_setting_to_correct(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="make the folder writable"):
        Assets((tmp_path / "file" / "assets").as_uri())


def test_a_folder_that_vanished_is_transient_until_it_is_back(local: Assets, tmp_path: Path) -> None:
    blob = local.put(b"photo", "image/jpeg")
    away = tmp_path.rename(tmp_path.with_name("away"))
    with pytest.raises(Transient, match="mount or restore"):
        local.get(blob)
    with pytest.raises(Transient, match="check free space"):
        local.put(b"another", "image/jpeg")
    away.rename(tmp_path)
    assert local.get(blob) == b"photo"


def test_an_unreachable_s3_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(Transient, match=r"s3://shop/assets.*endpoint"):
        Assets("s3://shop/assets").put(b"photo", "image/jpeg")


# --- durability on the local disk: what a death or a full disk leaves behind ---


def run_in_child(folder: Path, body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``body`` in its own process, with ``assets`` opened on ``folder``."""
    script = (
        f"import os, sys\nfrom storage.assets import Assets\nassets = Assets({folder.as_uri()!r})\n{body}"
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_death_between_write_and_rename_leaves_no_blob(local: Assets, tmp_path: Path) -> None:
    child = run_in_child(
        tmp_path, "assets.put(b'photo', 'image/jpeg')", VITRINE_CRASH_AT="asset.before_rename"
    )
    assert child.returncode == -signal.SIGKILL
    assert list(local.list()) == []
    assert [Path(name).parent.name for name in files_under(tmp_path)] == [".tmp"]
    assert local.sweep_temporary(older_than_s=3600) == 0
    assert local.sweep_temporary(older_than_s=-1) == 1
    assert files_under(tmp_path) == []
    assert local.get(local.put(b"photo", "image/jpeg")) == b"photo"


def test_a_crash_point_counts_passages(local: Assets, tmp_path: Path) -> None:
    body = "for n in range(5): assets.put(bytes([n]), 'image/jpeg')"
    child = run_in_child(tmp_path, body, VITRINE_CRASH_AT="asset.before_rename:3")
    assert child.returncode == -signal.SIGKILL
    assert len(list(local.list())) == 2


def test_a_crash_point_with_a_marker_kills_one_process_only(local: Assets, tmp_path: Path) -> None:
    environment = {
        "VITRINE_CRASH_AT": "asset.before_rename",
        "VITRINE_CRASH_ONCE": str(tmp_path / "crashed"),
    }
    body = "assets.put(b'photo', 'image/jpeg')"
    assert run_in_child(tmp_path, body, **environment).returncode == -signal.SIGKILL
    assert run_in_child(tmp_path, body, **environment).returncode == 0
    assert len(list(local.list())) == 1


def test_another_crash_point_kills_nobody(local: Assets, tmp_path: Path) -> None:
    child = run_in_child(tmp_path, "assets.put(b'photo', 'image/jpeg')", VITRINE_CRASH_AT="asset.before")
    assert child.returncode == 0
    assert len(list(local.list())) == 1


def test_a_file_limit_leaves_nothing_half(local: Assets, tmp_path: Path) -> None:
    # The kernel refuses the write in the middle of the file, as it does on a full disk.
    body = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (65536, {resource.RLIM_INFINITY}))\n"
        "from pipeline.errors import Transient\n"
        "try: assets.put(bytes(100_000), 'image/jpeg')\n"
        "except Transient as error: print(error)\n"
        "assets.put(b'small', 'image/jpeg')\n"
    )
    child = run_in_child(tmp_path, body)
    assert child.returncode == 0, child.stderr
    assert str(tmp_path) in child.stdout
    assert "File too large" in child.stdout
    assert [blob.size for blob in local.list()] == [5]
    assert len(files_under(tmp_path)) == 1


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk_is_transient_and_heals(tmp_path: Path) -> None:
    mounting = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    if subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("this machine does not let root mount")
    try:
        local = Assets(tmp_path.as_uri())
        first = local.put(os.urandom(150_000), "image/jpeg")
        with pytest.raises(Transient, match=f"(?s){tmp_path}.*No space left.*free space"):
            local.put(bytes(150_000), "image/jpeg")
        assert [blob.digest for blob in local.list()] == [first.digest]
        assert len(files_under(tmp_path)) == 1
        local.delete(first.digest, first.media_type)
        assert local.put(bytes(150_000), "image/jpeg").size == 150_000
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_fork_after_use_is_an_error_and_before_use_is_fine(tmp_path: Path) -> None:
    body = (
        "from pipeline.errors import ConfigurationError\n"
        "def in_child():\n"
        "    child = os.fork()\n"
        "    if child: return os.waitpid(child, 0)\n"
        "    try: print(assets.put(b'photo', 'image/jpeg').size, flush=True)\n"
        "    except ConfigurationError as error: print(error, flush=True)\n"
        "    os._exit(0)\n"
        "in_child()\n"
        "assets.put(b'photo', 'image/jpeg')\n"
        "in_child()\n"
    )
    before, after = run_in_child(tmp_path, body).stdout.splitlines()
    assert before == "5"
    assert "threads or solo pool" in after


def test_a_write_is_synced_before_its_rename_and_its_folders_after(
    local: Assets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spied_fsync(descriptor: int) -> None:
        fsync(descriptor)
        synced = Path(f"/dev/fd/{descriptor}").resolve().relative_to(tmp_path)
        calls.append("sync file" if synced.parent.name == ".tmp" else f"sync {synced}")

    def spied_replace(source: Path, target: Path) -> None:
        replace(source, target)
        calls.append("rename")

    monkeypatch.setattr(os, "fsync", spied_fsync)
    monkeypatch.setattr(os, "replace", spied_replace)
    digest = local.put(b"photo", "image/jpeg").digest
    first, second = digest[:2], digest[2:4]
    assert calls == ["sync file", "rename", f"sync {first}/{second}", f"sync {first}", "sync ."]
