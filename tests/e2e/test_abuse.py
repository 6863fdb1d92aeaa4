"""Hostile input through the real doors: each ends in a typed rejection, no worker is lost, neighbours pass."""

from __future__ import annotations

import gzip
import io
import json
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kombu import Connection
from PIL import Image

from tests.e2e.conftest import System
from tests.factories import upload
from workers.publisher import EXCHANGE, QUEUE, ROUTING_KEY

pytestmark = pytest.mark.timeout(180)


def picture(kind: str = "JPEG", size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 30, 40)).save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))


def text_bomb() -> bytes:
    png = picture("PNG")
    bomb = chunk(b"zTXt", b"x\x00\x00" + zlib.compress(bytes(80_000_000)))
    return png[:33] + bomb * 4 + png[33:]


BODIES: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "fine": (picture, None),
    "huge": (huge_png, "too-many-pixels"),
    "bomb": (text_bomb, "*"),
    "fits": (lambda: b"SIMPLE  =                    T" + b" " * 5000, "*"),
    "eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "*"),
    "psd": (lambda: b"8BPS\x00\x01" + bytes(200), "*"),
    "truncated": (lambda: picture(size=(640, 480))[:700], "*"),
    "empty": (lambda: b"", "*"),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "*"),
    "html": (lambda: b"<!doctype html><img src=x onerror=alert(1)>", "*"),
    "polyglot": (lambda: picture() + b"<script>alert(1)</script>", None),
}


class Hostile(BaseHTTPRequestHandler):
    """A server that serves what nobody should."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.split("?")[0].rsplit("/", 1)[-1].removesuffix(".jpg")
        if name == "inward":
            self.send_response(302)
            self.send_header("Location", "http://10.0.0.1/secret.jpg")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif name == "gzip":
            self.answer(gzip.compress(picture()), {"Content-Encoding": "gzip"})
        elif name == "lying":
            self.answer(picture(), {"Content-Length": str(10**12)})
        elif name == "endless":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            block = b"100000\r\n" + bytes(0x100000) + b"\r\n"
            try:
                for _ in range(64):
                    self.wfile.write(block)
            except OSError:
                self.close_connection = True
        elif name == "slow":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            try:
                while not self.server.closing.wait(0.1):  # type: ignore[attr-defined]
                    self.wfile.write(b"x")
            except OSError:
                self.close_connection = True
        elif name in BODIES:
            self.answer(BODIES[name][0](), {"Content-Type": "image/jpeg"})
        else:
            self.send_error(404)

    def answer(self, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silence."""


@pytest.fixture
def shop() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.closing = threading.Event()  # type: ignore[attr-defined]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.closing.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def children(system: System) -> set[str]:
    return {row.worker for row in system.rows("SELECT DISTINCT worker FROM jobs WHERE worker IS NOT NULL")}


def test_hostile_photos(system: System, shop: str) -> None:
    system.start_real(
        "fetch", VITRINE_ALLOW_NETWORKS='["127.0.0.1/32"]', VITRINE_FETCH_TIMEOUT_S="2", VITRINE_LOG="json"
    )
    elsewhere = {
        "metadata": ("http://169.254.169.254/latest/meta-data/", "blocked-address"),
        "private": ("http://10.0.0.1/x.jpg", "blocked-address"),
        "decimal": ("http://2130706434/x.jpg", "blocked-address"),
        "octal": ("http://0177.0.0.2/x.jpg", "*"),
        "mapped": ("http://[::ffff:10.0.0.1]/x.jpg", "blocked-address"),
        "file": ("file:///etc/passwd", "outside-file-roots"),
        "gopher": ("gopher://x.example/1", "unsupported-scheme"),
        "inward": (f"{shop}/inward.jpg", "blocked-address"),
        "gzip": (f"{shop}/gzip.jpg", "compressed-body"),
        "lying": (f"{shop}/lying.jpg", "too-large"),
        "endless": (f"{shop}/endless.jpg", "too-large"),
        "missing": (f"{shop}/nowhere.jpg", "photo-not-found"),
    }
    cases = {name: (f"{shop}/{name}.jpg", reason) for name, (_, reason) in BODIES.items()} | elsewhere
    cases["../../x"] = (f"{shop}/fine.jpg?2", None)
    system.publish(
        upload(name, urls={"a": url}, title="'; DROP TABLE jobs; -- <script>\u202e</script>")
        for name, (url, _) in cases.items()
    )
    ends = (
        "SELECT p.product_id, j.state, j.reason, j.outcome FROM jobs j JOIN runs r ON r.job_id = j.id "
        "JOIN products p ON p.id = r.product_id WHERE j.stage = 'photo' AND j.state IN ('done', 'parked')"
    )
    system.until(lambda: len(system.rows(ends)) == len(cases), "every photo to end")
    found = {row.product_id: row for row in system.rows(ends)}
    for name, (_, reason) in cases.items():
        if reason is None:
            assert found[name].state == "done", (name, found[name].reason)
        else:
            assert found[name].state == "parked", name
            assert found[name].reason not in (None, "defect", "poison", "retries-exhausted"), name
            assert reason in ("*", found[name].reason), (name, found[name].reason)
    assert not system.rows("SELECT id FROM jobs WHERE deaths > 0 OR suspect")
    stored = {path.relative_to(system.folder / "assets") for path in (system.folder / "assets").rglob("*.*")}
    assert stored
    assert all(".." not in path.parts for path in stored)
    image = found["polyglot"].outcome["image"]
    clean = (system.folder / "assets").rglob(f"{image['digest']}*")
    assert b"<script>" not in next(clean).read_bytes()


def test_slow_server_is_retried_and_holds_up_nobody(system: System, shop: str) -> None:
    system.start_real("fetch", VITRINE_ALLOW_NETWORKS='["127.0.0.1/32"]', VITRINE_FETCH_TIMEOUT_S="1")
    slow = upload("slow", urls={"a": f"{shop}/slow.jpg"})
    system.publish([slow, *(upload(f"p{n}", urls={"a": f"{shop}/fine.jpg?{n}"}) for n in range(6))])
    system.until(
        lambda: system.one("SELECT count(*) FROM jobs WHERE stage = 'photo' AND state = 'done'") == 6,
        "the neighbours",
    )
    system.until(
        lambda: system.rows("SELECT id FROM jobs WHERE error LIKE 'Transient%' AND state = 'ready'"),
        "the slow one to be retried later",
    )


def test_hostile_messages(system: System) -> None:
    system.start()
    _, fine = upload("fine")
    hostile = {
        b"not json": "invalid-json",
        b"": "invalid-json",
        b"[" * 100_000: "too-deep",
        fine.replace(b'"title"', b'"price": {"amount": NaN, "currency": "EUR"}, "title"'): "not-finite",
        fine.replace(b"uploaded.v1", b"uploaded.v9"): "unknown-version",
        fine.replace(b"product.uploaded.v1", b"order.placed.v1"): "unknown-type",
        fine.replace(b"Product fine", b"zero \\u0000 byte"): "nul-character",
        fine.replace(b"Product fine", b"x" * 10_000_000): "too-large",
        b'{"x": "' + b"y" * 100_000_000 + b'"}': "too-large",
        fine.replace(b'"revision": 1', b'"revision": "1; DROP TABLE events"'): "invalid-field",
    }
    with Connection(system.valkey.url) as connection, connection.Producer() as producer:
        for raw in [*hostile, fine]:
            producer.publish(
                raw,
                exchange=EXCHANGE,
                routing_key=ROUTING_KEY,
                declare=[QUEUE],
                content_type="application/cloudevents+json",
                content_encoding="binary",
            )
    system.quiet(1)
    system.until(
        lambda: system.one("SELECT count(*) FROM quarantine") == len(hostile),
        "every message to be quarantined",
    )
    reasons = sorted(row.reason for row in system.rows("SELECT reason FROM quarantine"))
    assert reasons == sorted(hostile.values())
    assert system.one("SELECT max(length(head)) FROM quarantine") <= 4096
    assert system.one("SELECT verdict FROM events") == "done"


def test_hostile_tasks(system: System) -> None:
    system.start()
    system.publish([upload("p1")])
    system.quiet(1)
    pids = {system.pid(role) for role in ("intake", "relay", "worker")}
    marker = system.folder / "pwned"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(marker), "w"))

    import pickle

    with (
        Connection(system.valkey.url) as connection,
        connection.Producer(routing_key="vision.live") as producer,
    ):
        for task, body, kind in [
            ("stage.see", pickle.dumps(([[1], 0], {}, {})), "application/x-python-serialize"),
            ("stage.see", pickle.dumps(Evil()), "application/x-python-serialize"),
            ("os.system", json.dumps([["true"], {}, {}]).encode(), "application/json"),
            ("stage.see", json.dumps([[["1; DROP TABLE jobs"], 0], {}, {}]).encode(), "application/json"),
            ("stage.see", json.dumps([[[2**70], 0], {}, {}]).encode(), "application/json"),
            ("stage.see", json.dumps([[[1], 7], {}, {}]).encode(), "application/json"),
            ("stage.see", json.dumps([[[1], 0], {"x": 1}, {}]).encode(), "application/json"),
            ("stage.see", json.dumps("nonsense").encode(), "application/json"),
        ]:
            producer.publish(
                body,
                content_type=kind,
                content_encoding="binary" if "pickle" in kind or "python" in kind else "utf-8",
                headers={
                    "lang": "py",
                    "task": task,
                    "id": "forged",
                    "root_id": "forged",
                    "argsrepr": "",
                    "kwargsrepr": "",
                },
                correlation_id="forged",
            )
    system.publish([upload("p2")])
    system.quiet(2)
    assert not marker.exists()
    assert {system.pid(role) for role in ("intake", "relay", "worker")} == pids, "no process was lost"
    assert system.one("SELECT count(*) FROM events WHERE verdict = 'done'") == 2
