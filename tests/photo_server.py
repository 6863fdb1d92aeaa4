"""Servers that answer a download byte for byte as a test wants it, and downloads that may reach them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import pytest

from pipeline.errors import RejectedInput
from storage.fetch import Fetcher, FetchPolicy

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
Answer = Callable[[socket.socket, bytes], None]


class Server:
    """A TCP server that reads a request's head and lets ``answer`` write whatever it likes, byte for byte."""

    def __init__(self, answer: Answer, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._answer, self._tls = answer, tls
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.connections = 0
        self.closing = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                if self._tls:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        piece = connection.recv(65536)
                        if not piece:
                            return
                        head += piece
                    self.requests.append(head)
                    self._answer(connection, head)
            except OSError:
                return  # the client hung up, as many of these tests want it to

    def close(self) -> None:
        self.closing.set()
        self._listener.close()


@contextmanager
def serving(answer: Answer | bytes, **options: object) -> Iterator[Server]:
    respond = answer if callable(answer) else lambda connection, _: connection.sendall(answer)
    server = Server(respond, **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close()


def ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def fetcher(**policy: object) -> Fetcher:
    return Fetcher(FetchPolicy(**{"allow_networks": LOOPBACK, "total_timeout_s": 5.0} | policy))  # type: ignore[arg-type]


def rejected(url: str, **policy: object) -> RejectedInput:
    with pytest.raises(RejectedInput) as caught:
        fetcher(**policy).fetch(url)
    return caught.value
