"""Connections out of this machine: to which addresses, and for how long."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future

import httpcore

from pipeline.errors import RejectedInput, Transient

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The IANA special-purpose registries, written out: `is_global` differs between patch releases of Python.
_CLOSED_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")
_CLOSED_V6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class GuardedSockets(httpcore.NetworkBackend):
    """Opens the sockets of one request: to checked addresses only, and never past the deadline.

    ``deadline`` is a reading of ``time.monotonic``; ``shown`` is the URL as messages may tell it. A host of
    which any address is closed is refused whole, with ``RejectedInput("blocked-address")``.
    """

    def __init__(self, allow_networks: tuple[Network, ...], deadline: float, shown: str) -> None:
        self._allow_networks = allow_networks
        self._deadline = deadline
        self._shown = shown
        self._sockets = httpcore.SyncBackend()

    def remaining(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self.too_slow()
        return left

    def too_slow(self) -> Transient:
        return Transient(
            f"{self._shown} was not complete at the deadline; it is retried: publish it on a faster server"
        )

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._checked_addresses(host, port)
        while True:
            # The address is a literal, so nothing is looked up again; each gets its share of the time left.
            address, share = addresses.pop(0), self.remaining() / (len(addresses) + 1)
            try:
                stream = self._sockets.connect_tcp(str(address), port, share, socket_options=socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise
            else:
                return _TimedStream(stream, self)

    def untrusted(self, error: ssl.SSLCertVerificationError) -> RejectedInput:
        return RejectedInput(
            "untrusted-certificate",
            f"{self._shown}: {error.verify_message}; renew the certificate or add its authority",
        )

    def _checked_addresses(self, host: str, port: int) -> list[Address]:
        answer: Future[list[str]] = Future()

        def look_up() -> None:
            try:
                # As bytes: for a str Python would apply its own, older IDNA on top.
                found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
                answer.set_result([str(info[4][0]) for info in found])
            except BaseException as error:
                answer.set_exception(error)

        # The C library knows no deadline: a look-up that takes too long is left to end by itself.
        threading.Thread(target=look_up, name="look-up", daemon=True).start()
        try:
            names = answer.result(self.remaining())
        except TimeoutError:
            raise self.too_slow() from None
        except OSError as error:
            raise Transient(
                f"{self._shown}: {host} is not found: {error.strerror}; it is retried: check the name"
            ) from error
        addresses = [ipaddress.ip_address(name) for name in dict.fromkeys(names)]
        for address in addresses:
            if not may_connect(address, self._allow_networks):
                raise RejectedInput(
                    "blocked-address",
                    f"{self._shown}: {host} is {address}, which is not public; "
                    "publish the photo on a public server, or have its network allowed",
                )
        return addresses


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every step gets the time that is left of the whole, whatever was asked for."""

    def __init__(self, stream: httpcore.NetworkStream, guard: GuardedSockets) -> None:
        self._stream = stream
        self._guard = guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._guard.remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._guard.remaining())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, self._guard.remaining())
        except httpcore.ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise self._guard.untrusted(error.__cause__) from error
            raise
        return _TimedStream(stream, self._guard)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def may_connect(address: Address, exceptions: tuple[Network, ...]) -> bool:
    """Whether the address, or the IPv4 address it stands for, is a public host or excepted."""
    if isinstance(address, ipaddress.IPv6Address):
        in_nat64 = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
        address = address.ipv4_mapped or address.sixtofour or in_nat64 or address
    if any(address in network for network in exceptions):
        return True
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    return address in _OPEN_V6 and not any(address in network for network in _CLOSED_V6)
