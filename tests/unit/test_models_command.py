"""``vitrine models``: what is pinned, written and fetched, against a small server that speaks the hub's API."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

from engines.kit import Kit
from engines.models import listing_digest, read_deployment
from engines.registry import load_adapters
from pipeline.errors import ConfigurationError
from tests import checkpoints
from tests.unit.test_cli import vitrine
from workers.cli import run
from workers.settings import settings

COMMIT, PICKLED, PIPELINE = "a" * 40, "b" * 40, "c" * 40
REPO = "someone/tiny-clip"
PIPELINE_READ = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "text_encoder/model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
)
PIPELINE_LEFT = (
    "v1-5-pruned.safetensors",
    "safety_checker/model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "vae/diffusion_pytorch_model.bin",
    "unet/run.py",
)
NOWHERE = "http://127.0.0.1:9"


class Hub(BaseHTTPRequestHandler):
    """One repository: branch ``main`` with safetensors, ``old`` without, ``scenes`` with a pipeline's."""

    files: ClassVar[dict[str, dict[str, bytes]]] = {}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(path)
        api, resolve = f"/api/models/{REPO}/", f"/{REPO}/resolve/"
        commits = {"main": COMMIT, "old": PICKLED, "scenes": PIPELINE, **{one: one for one in self.files}}
        if path.startswith(f"{api}revision/"):
            commit = commits.get(path.rpartition("/")[2])
            if commit is None:
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                return
            siblings = [{"rfilename": name} for name in self.files[commit]]
            self._json({"id": REPO, "modelId": REPO, "sha": commit, "siblings": siblings})
        elif path.startswith(f"{api}tree/"):
            commit = path.removeprefix(f"{api}tree/").partition("/")[0]
            self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in self.files[commit].items()
                ]
            )
        elif path.startswith(resolve):
            commit, _, name = path.removeprefix(resolve).partition("/")
            data = self.files[commit][name]
            self._send(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit})
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the tests look at ``asked``."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def hub(clip: Path) -> Iterator[str]:
    whole = {path.name: path.read_bytes() for path in clip.iterdir()}
    Hub.files = {
        COMMIT: whole
        | {"README.md": b"read me", "run.py": b"raise SystemExit", "pytorch_model.bin": b"\x80"},
        PICKLED: {"config.json": whole["config.json"], "pytorch_model.bin": b"\x80"},
        PIPELINE: dict.fromkeys((*PIPELINE_READ, *PIPELINE_LEFT), b"{}"),
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"VITRINE_MODELS": str(tmp_path / "models.toml"), "VITRINE_CACHE": str(tmp_path / "cache")}


@pytest.fixture
def command(
    tmp_path: Path,
    hub: str,
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Said]]:
    """The command in this process. The hub's client reads HF_ENDPOINT when it is imported, which is done."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "ENDPOINT", hub)
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()

    def run_here(*arguments: str) -> Said:
        code = run(["models", *arguments])
        return Said(code, *capsys.readouterr())

    yield run_here
    settings.cache_clear()


def test_a_branch_is_pinned_to_its_commit_fetched_and_loaded_from(
    tmp_path: Path, hub: str, env: dict[str, str], command: Callable[..., Said], clip: Path
) -> None:
    pinned = command("pin", "clip", "--repo", REPO)
    assert pinned.code == 0, pinned.stderr
    assert f"pinned clip: {REPO}@{COMMIT[:12]}" in pinned.stdout
    model = read_deployment(tmp_path / "models.toml").models["clip"]
    assert (model.repo, model.revision) == (REPO, COMMIT)
    (line,) = json.loads(command("list", "--json").stdout)
    assert "run `vitrine models fetch`" in line["state"]

    fetched = vitrine("models", "fetch", cwd=tmp_path, env=env | {"HF_ENDPOINT": hub})
    assert fetched.returncode == 0, fetched.stderr
    folder = model.checkpoint(Kit(tmp_path / "cache").hub)
    # The weights and what belongs to them; no code, no pickle.
    assert {path.name for path in folder.iterdir()} == {path.name for path in clip.iterdir()}
    assert listing_digest(folder) == listing_digest(clip)
    (line,) = json.loads(command("list", "--json").stdout)
    assert line == {
        "name": "clip",
        "engine": "clip",
        "checkpoint": f"{REPO}@{COMMIT[:12]}",
        "lora": "",
        "licence": "MIT",
        "state": "here",
    }

    # A process that loads it asks nobody.
    Hub.asked.clear()
    script = (
        "from workers.bootstrap import build_engines\nfrom workers.settings import settings\n"
        "engines = build_engines(settings())\nassert not engines.spec('clip').lacks\nengines.get('clip')"
    )
    loaded = vitrine(cwd=tmp_path, env=env | {"HF_ENDPOINT": hub}, python=("-c", script))
    assert loaded.returncode == 0, loaded.stderr
    assert Hub.asked == []


def test_of_a_pipeline_only_the_parts_that_are_read_are_fetched(
    tmp_path: Path, hub: str, env: dict[str, str], command: Callable[..., Said]
) -> None:
    assert command("pin", "controlnet", "--repo", REPO, "--revision", "scenes").code == 0
    fetched = vitrine("models", "fetch", cwd=tmp_path, env=env | {"HF_ENDPOINT": hub})
    assert fetched.returncode == 0, fetched.stderr
    parts = load_adapters()["controlnet"].parts
    folder = (
        read_deployment(tmp_path / "models.toml")
        .models["controlnet"]
        .checkpoint(Kit(tmp_path / "cache").hub, parts)
    )
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    assert here == set(PIPELINE_READ)
    (line,) = json.loads(command("list", "--json").stdout)
    assert line["state"] == "here"


def test_a_pipeline_on_disk_is_pinned_whole(tmp_path: Path, command: Callable[..., Said]) -> None:
    for name in PIPELINE_READ:
        file = tmp_path / "sd" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"{}")
    assert command("pin", "controlnet", "--folder", "sd").code == 0
    (tmp_path / "sd" / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    refused = command("pin", "controlnet", "--folder", "sd")
    assert refused.code != 0
    assert "sd/vae has none" in refused.stderr


def test_a_folder_is_pinned_as_it_is_and_the_rest_of_the_file_stays(
    tmp_path: Path, command: Callable[..., Said], clip: Path
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(
        "# ours\n\n[models.clip-ours]  # the tagger\n"
        f'engine = "clip"\nrepo = "a/b"\nrevision = "{COMMIT}"\noptions = {{ temperature = 1.5 }} # fitted\n\n'
        '[[routes]]\nrole = "tagger"\nengines = ["clip-ours"]\n'
    )
    beside = tmp_path / "checkpoints" / "clip"
    beside.mkdir(parents=True)
    for path in clip.iterdir():
        (beside / path.name).write_bytes(path.read_bytes())
    done = command("pin", "clip-ours", "--folder", "checkpoints/clip")
    assert done.code == 0, done.stderr
    text = file.read_text()
    for kept in ("# ours", "# the tagger", "options = { temperature = 1.5 } # fitted", "[[routes]]"):
        assert kept in text
    assert 'path = "checkpoints/clip"' in text
    model = read_deployment(file).models["clip-ours"]
    assert (model.engine, model.repo, model.revision) == ("clip", "", "")
    assert model.folder is not None
    assert model.folder.sha256 == listing_digest(clip)
    assert model.options == {"temperature": 1.5}

    # Changed on purpose: pinned anew, it stays the folder that it was.
    (beside / "config.json").write_text((beside / "config.json").read_text() + "\n")
    with pytest.raises(ConfigurationError, match="has changed since it was pinned"):
        read_deployment(file).models["clip-ours"].checkpoint(tmp_path)
    assert command("pin", "clip-ours").code == 0
    anew = read_deployment(file).models["clip-ours"]
    assert anew.checkpoint(tmp_path) == beside
    assert anew.repo == ""


def test_an_adapter_is_pinned_on_top_of_what_is_pinned(
    tmp_path: Path, command: Callable[..., Said], clip: Path
) -> None:
    from transformers import CLIPModel

    adapter = checkpoints.lora(tmp_path / "tuned", clip, CLIPModel, ["q_proj"])
    for more in (("--folder", str(clip)), ("--lora", str(adapter))):
        done = command("pin", "clip", *more)
        assert done.code == 0, done.stderr
    model = read_deployment(tmp_path / "models.toml").models["clip"]
    assert model.folder is not None
    assert model.lora is not None
    assert model.lora.path == adapter


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("pin", "clip", "--repo", REPO, "--revision", "old"), 78, "holds no *.safetensors"),
        (("pin", "clip", "--repo", REPO, "--revision", "gone"), 78, "has no revision 'gone'"),
        (("pin", "clip", "--repo", "someone/else"), 78, "the hub has no repository someone/else"),
        (("pin", "clip", "--repo", "a/b/c"), 78, "is not the name of a repository"),
        (("pin", "u2netp"), 78, "there is no engine 'u2netp' that loads a checkpoint"),
        (("pin", "clip", "--folder", "."), 78, "loads weights from safetensors"),
        (("pin", "clip", "--folder", ".", "--repo", REPO), 2, "either a repository or a folder"),
        (("pin", "u2netp", "--engine", "clip", "--repo", REPO), 78, "bears the name of an engine"),
    ],
)
def test_what_cannot_be_pinned_is_told_and_nothing_is_written(
    tmp_path: Path, command: Callable[..., Said], arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = command(*arguments)
    assert done.code == code, done.stderr
    assert told in done.stderr
    assert [path.name for path in tmp_path.glob("*models.toml*")] == []


def test_a_hub_that_does_not_answer_is_told(
    command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    done = command("pin", "clip")
    assert done.code == 69
    assert "the hub does not answer for openai/clip-vit-large-patch14" in done.stderr
    assert "--folder" in done.stderr


def test_without_a_file_there_is_nowhere_to_write(
    command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VITRINE_MODELS")
    done = command("pin", "clip")
    assert done.code == 78
    assert "VITRINE_MODELS is not set" in done.stderr
    settings.cache_clear()
    assert command("list", "--json").stdout.strip() == "[]"
