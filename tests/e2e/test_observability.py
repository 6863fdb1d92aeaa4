"""What operators see: traces through every stage, logs that name the work, metrics, and every container's process."""

from __future__ import annotations

import io
import json
import re
import socket
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from PIL import Image

from pipeline.events import parse_event
from tests.e2e.conftest import System
from tests.factories import upload
from workers.supervisor import Program

pytestmark = pytest.mark.timeout(180)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def photo(folder: Path) -> str:
    """A product on white, as a file URL."""
    image = Image.new("RGB", (320, 240), "white")
    image.paste((180, 20, 30), (80, 60, 240, 180))
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    path = folder / "photos" / "p.jpg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(stream.getvalue())
    return path.as_uri()


def test_trace_of_the_event_reaches_every_stage_and_logs_name_the_work(system: System) -> None:
    roots = json.dumps([str(system.folder / "photos")])
    system.start_real("fetch,vision,index", VITRINE_FILE_ROOTS=roots, VITRINE_LOG="json")
    _, raw = upload("p1", urls={"a": photo(system.folder)})
    traced = raw.replace(
        b'"source"', f'"traceparent": "00-{TRACE}-00f067aa0ba902b7-01", "source"'.encode(), 1
    )
    system.publish([(parse_event(traced), traced)])
    system.quiet(1)
    log = system.folder / "logs" / "worker.log"
    stages = {row.stage for row in system.rows("SELECT stage FROM runs WHERE state = 'done'")}
    assert {"photo", "screen"} <= stages

    def lines() -> dict[str, dict[str, object]]:
        entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        named = {entry.get("event", ""): entry for entry in entries}
        return {
            name.removeprefix("stage."): entry for name, entry in named.items() if name.startswith("stage.")
        }

    system.until(lambda: stages <= lines().keys(), "a line of every stage")
    for stage in stages:
        entry = lines()[stage]
        assert entry["traces"] == [TRACE], stage
        assert entry["products"] == ["p1"]
        assert entry["events"] == ["p1-1"]
        assert entry["runs"]


def test_metrics_tell_depth_age_durations_outcomes_and_parked(system: System) -> None:
    port = free_port()
    system.start_real("fetch,index", VITRINE_METRICS_PORT=str(port))
    system.publish([upload("p1", urls={"a": "file:///etc/passwd"})])
    system.quiet(1)

    def scraped() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    parked = re.compile(r'vitrine_parked_jobs\{reason="outside-file-roots",stage="photo"\} 1\.0')
    system.until(lambda: parked.search(scraped()), "the parked job in the metrics")
    ended = re.compile(r'vitrine_jobs_total\{engine="",stage="photo",state="parked"\} 1\.0')
    system.until(lambda: ended.search(scraped()), "the ended job in the metrics")
    for name in ("vitrine_stage_seconds", "vitrine_plans_total", "vitrine_events_unplanned"):
        assert name in scraped()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_every_container_of_ours_starts(system: System, tmp_path: Path) -> None:
    """The commands of docker-compose.yml, run as processes against real servers until each says it is ready."""
    services = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]
    ours = {
        name: s["command"] for name, s in services.items() if "build" in s or "vitrine" in str(s.get("image"))
    }
    assert {"intake", "relay", "worker-fetch", "worker-vision", "flower", "migrate"} <= ours.keys()
    port = free_port()
    system.qdrant.start()
    env = {
        "VITRINE_QDRANT_URL": system.qdrant.url,
        "VITRINE_SCENES": "[]",
        "VITRINE_DATABASE_URL": system.database,
        "VITRINE_BROKER_URL": system.valkey.url,
        "VITRINE_ASSETS_URL": (tmp_path / "assets").as_uri(),
        "VITRINE_FLOWER_PORT": str(port),
        "VITRINE_FLOWER_BASIC_AUTH": "night:shift",
    }
    (tmp_path / "assets").mkdir()
    ready = {
        "intake": "intake.consuming",
        "relay": "relay.leading",
        "worker-fetch": "ready.",
        "worker-vision": "ready.",
        "worker-index": "ready.",
        "worker-shadow": "ready.",
        "worker-scenes": "ready.",
        "flower": "Visit me at",
        "migrate": "the schema is at",
        "kit": "complete",
    }
    programs = [
        Program(name, [sys.executable, "-m", "workers.cli", *command], env) for name, command in ours.items()
    ]
    system.supervise(programs)
    for name in ours:
        log = system.folder / "logs" / f"{name}.log"
        system.until(
            lambda log=log, name=name: log.exists() and ready[name] in log.read_text(), f"{name} to start"
        )
