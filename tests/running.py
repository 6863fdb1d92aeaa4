"""A whole running stack for tests of the commands."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from sqlalchemy import Engine

from engines.models import listing_digest
from pipeline.errors import RejectedInput
from pipeline.graph import StageGraph
from storage.database import open_database
from storage.timeline import Timeline
from tests.checkpoints_dual import siglip2

ROOT = Path(__file__).parents[1]
AUTH = "operator:s,ecret"
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Running:
    """A stack started by ``vitrine up`` and the folder that its photos may come from."""

    home: Path
    photos: Path
    flower: str
    timeline: Timeline
    database: Engine
    env: dict[str, str]

    def vitrine(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "workers.cli", *arguments],
            cwd=self.photos,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def ok(self, *arguments: str) -> str:
        done = self.vitrine(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def publish(self, name: str, colour: str) -> str:
        """A folder with one picture, published; the product's id."""
        folder = self.photos / name
        folder.mkdir()
        draw(folder / f"{name}.jpg", colour)
        assert "accepted 1 events" in self.ok("publish", str(folder), "--source", "urn:test:cli")
        return name

    def settled(self, product: str, verdict: str = "") -> Any:
        """What is known of the product once its latest plan has a verdict, or this one."""

        def look() -> Any:
            try:
                known = self.timeline.show(product)
            except RejectedInput:
                return None
            ended = known["plans"][0]["verdict"] if known["plans"] else None
            return known if ended and verdict in ("", ended) else None

        return until(look)

    def flower_says(self, path: str, auth: str | None = AUTH) -> Any:
        request = urllib.request.Request(f"{self.flower}{path}")
        if auth:
            request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)


def draw(path: Path, colour: str) -> None:
    picture = Image.new("RGB", (400, 400), "white")
    ImageDraw.Draw(picture).rounded_rectangle((110, 60, 290, 340), 40, fill=colour)
    picture.save(path)


def until(look: Callable[[], Any]) -> Any:
    """The first answer that is something."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def whole_stack() -> Iterator[Running]:
    """``vitrine up`` in a home of its own; stopped in the end, with what it says then."""
    folder = Path(tempfile.mkdtemp(prefix="vt-"))
    folder.chmod(0o755)
    photos = folder / "photos"
    photos.mkdir()
    flower, metrics = _free_port(), _free_port()
    known = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
    if cache := os.environ.get("VITRINE_CACHE"):
        known["VITRINE_CACHE"] = cache
    checkpoint = siglip2(folder / "checkpoint")
    models = folder / "models.toml"
    models.write_text(
        '[models.tiny]\nengine = "siglip2_embedder"\n'
        f'folder = {{ path = "checkpoint", sha256 = "{listing_digest(checkpoint)}" }}\n'
    )
    env = known | {
        "PYTHONPATH": str(ROOT),
        "VITRINE_MODELS": str(models),
        "VITRINE_HOME": str(folder / "home"),
        "VITRINE_FLOWER_PORT": str(flower),
        "VITRINE_FLOWER_BASIC_AUTH": AUTH,
        "VITRINE_METRICS_PORT": str(metrics),
        # Each takes seconds, and a plate first; one is asked for below.
        "VITRINE_SCENES": "[]",
    }
    command = ["up", "--file-root", str(photos), "--concurrency", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.cli", *command],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    told = ""
    while "Vitrine is up" not in told:
        line = process.stdout.readline()
        assert line, told
        told += line
    assert f"http://127.0.0.1:{flower}" in told
    assert f"http://127.0.0.1:{metrics}/metrics" in told
    addresses = json.loads((folder / "home" / "stack.json").read_text())
    engine = open_database(addresses["database_url"])
    try:
        timeline = Timeline(engine, StageGraph([], {}))
        yield Running(folder / "home", photos, f"http://127.0.0.1:{flower}", timeline, engine, env)
    finally:
        engine.dispose()
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=PATIENCE_S)
        left = (folder / "home" / "stack.json").exists()
        shutil.rmtree(folder, ignore_errors=True)
    assert process.returncode == 0, rest
    assert rest.splitlines()[-1] == "stopped"
    assert not left
