"""Guarded download against real local servers: what they answer, how much of it, and for how long."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.errors import Transient
from storage.fetch import Download, NotModified
from tests.photo_server import fetcher, ok, rejected, serving

# --- what a good server gives ---


def test_a_photo_comes_with_its_validators() -> None:
    photo = os.urandom(300_000)
    with serving(ok(photo, 'ETag: "v1"', "Last-Modified: Mon, 05 Jan 2026 10:00:00 GMT")) as server:
        url = f"http://127.0.0.1:{server.port}/a%20b.jpg?w=1"
        assert fetcher().fetch(url) == Download(photo, '"v1"', "Mon, 05 Jan 2026 10:00:00 GMT", url)
        head = server.requests[0].decode()
    assert head.startswith("GET /a%20b.jpg?w=1 HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{server.port}\r\n" in head
    assert "\r\nAccept-Encoding: identity\r\n" in head


def test_a_photo_that_did_not_change_is_not_sent_again() -> None:
    with serving(b"HTTP/1.1 304 Not Modified\r\n\r\n") as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert fetcher().fetch(url, etag='"v1"', last_modified="yesterday") == NotModified()
        assert b'\r\nIf-None-Match: "v1"\r\nIf-Modified-Since: yesterday\r\n' in server.requests[0]
        assert rejected(url).reason == "http-status"


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(ok(b"photo")) as server:
        assert fetcher().fetch(f"http://127.0.0.1:{server.port}/").body == b"photo"  # type: ignore[union-attr]


def test_threads_share_a_fetcher() -> None:
    def answer(connection: socket.socket, head: bytes) -> None:
        connection.sendall(ok(head.split(b" ")[1]))

    with serving(answer) as server, ThreadPoolExecutor(8) as pool:
        shared = fetcher()
        urls = [f"http://127.0.0.1:{server.port}/{number}" for number in range(40)]
        bodies = [download.body for download in pool.map(shared.fetch, urls)]  # type: ignore[union-attr]
    assert bodies == [f"/{number}".encode() for number in range(40)]


# --- what servers answer ---


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "photo-not-found"),
        (410, "photo-not-found"),
        (401, "http-status"),
        (403, "http-status"),
        (204, "http-status"),
        (206, "http-status"),
        (302, "http-status"),
        (304, "http-status"),
    ],
)
def test_a_status_no_retry_changes(status: int, reason: str) -> None:
    with serving(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()) as server:
        error = rejected(f"http://127.0.0.1:{server.port}/photo.jpg?signature=secret")
    assert error.reason == reason
    assert f"127.0.0.1:{server.port}/photo.jpg" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass(status: int) -> None:
    with (
        serving(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()) as server,
        pytest.raises(Transient, match=str(status)),
    ):
        fetcher().fetch(f"http://127.0.0.1:{server.port}/")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nphoto",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly half",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nphoto",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nphoto",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "ssh", "no number", "short body", "gzip transfer", "broken chunk", "huge header"],
)
def test_a_broken_answer_is_tried_again(answer: bytes) -> None:
    with serving(answer) as server, pytest.raises(Transient, match="retried"):
        fetcher().fetch(f"http://127.0.0.1:{server.port}/")


def test_a_refused_connection_is_tried_again() -> None:
    with serving(b"") as server:
        pass
    with pytest.raises(Transient, match="check that the server is up"):
        fetcher().fetch(f"http://127.0.0.1:{server.port}/")


def test_an_unknown_host_is_tried_again() -> None:
    with pytest.raises(Transient, match=r"no-such-host.invalid is not found"):
        fetcher().fetch("http://no-such-host.invalid/")


def test_a_compressed_body_is_refused() -> None:
    with serving(ok(b"\x1f\x8b bomb", "Content-Encoding: GZip")) as server:
        assert rejected(f"http://127.0.0.1:{server.port}/").reason == "compressed-body"


# --- sizes and times ---


def test_the_size_is_capped_by_the_header_before_the_body() -> None:
    with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n") as server:
        assert rejected(f"http://127.0.0.1:{server.port}/", max_bytes=1000).reason == "too-large"
    with serving(ok(b"x" * 1000)) as server:
        download = fetcher(max_bytes=1000).fetch(f"http://127.0.0.1:{server.port}/")
    assert isinstance(download, Download)


def test_endless_chunks_are_cut_off() -> None:
    sent = 0
    hung_up = threading.Event()

    def answer(connection: socket.socket, head: bytes) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while sent < 200_000_000:
                connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                sent += 0x10000
        finally:
            hung_up.set()

    with serving(answer) as server:
        assert rejected(f"http://127.0.0.1:{server.port}/", max_bytes=100_000).reason == "too-large"
        assert hung_up.wait(10)
    assert sent < 50_000_000


def test_a_length_that_lies_low_ends_the_body() -> None:
    with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nphoto" + bytes(1_000_000)) as server:
        assert fetcher().fetch(f"http://127.0.0.1:{server.port}/").body == b"photo"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("prologue", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["status line", "headers", "hints", "body", "chunks"],
)
def test_a_server_that_drips_meets_the_deadline(prologue: bytes, drop: bytes) -> None:
    def answer(connection: socket.socket, head: bytes) -> None:
        connection.sendall(prologue)
        while not server.closing.wait(0.02):
            connection.sendall(drop)

    with serving(answer) as server:
        began = time.monotonic()
        with pytest.raises(Transient, match="retried"):
            fetcher(total_timeout_s=0.5).fetch(f"http://127.0.0.1:{server.port}/")
        assert 0.4 < time.monotonic() - began < 2


def test_redirects_share_one_deadline() -> None:
    def answer(connection: socket.socket, head: bytes) -> None:
        server.closing.wait(0.3)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    with serving(answer) as server:
        began = time.monotonic()
        with pytest.raises(Transient):
            fetcher(total_timeout_s=0.5, max_redirects=20).fetch(f"http://127.0.0.1:{server.port}/")
        assert time.monotonic() - began < 2


def test_a_stalled_handshake_meets_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts; nobody ever answers
        began = time.monotonic()
        with pytest.raises(Transient):
            fetcher(total_timeout_s=0.5).fetch(f"https://127.0.0.1:{silent.getsockname()[1]}/")
        assert 0.4 < time.monotonic() - began < 2


def test_a_stalled_name_server_meets_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: answered.wait(30) and [])
    began = time.monotonic()
    with pytest.raises(Transient, match="deadline"):
        fetcher(total_timeout_s=0.3).fetch("http://slow.example/")
    assert 0.2 < time.monotonic() - began < 2
    answered.set()
