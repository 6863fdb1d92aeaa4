"""Guarded download of photos: what a stranger's URL may make this machine reach, and for how long."""

from __future__ import annotations

import errno
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import httpcore
import httpx

from pipeline.errors import RejectedInput, Transient
from storage.egress import GuardedSockets, Network

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TEMPORARY_STATUSES = frozenset({408, 425, 429})
_UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What may be fetched.

    ``file_roots`` are the folders `file:` URLs may read beneath; ``allow_networks`` are exceptions to the ban
    on addresses that are not public, such as an internal CDN. ``total_timeout_s`` bounds a whole fetch: name
    look-up, connection, headers, body and redirects together.
    """

    file_roots: tuple[Path, ...] = ()
    allow_networks: tuple[Network, ...] = ()
    max_bytes: int = 32 * 1024 * 1024
    total_timeout_s: float = 30.0
    max_redirects: int = 3


@dataclass(frozen=True, slots=True)
class Download:
    """A body, and the validators to hand to the next fetch of the same URL."""

    body: bytes
    etag: str | None
    last_modified: str | None
    final_url: str


@dataclass(frozen=True, slots=True)
class NotModified:
    """The body is still the one that the given validators name."""


class Fetcher:
    """Fetches http, https and `file:` URLs within a policy. May be shared by threads.

    Any port is allowed: the guard is the address. TLS is verified against the system's and certifi's
    authorities, and those of ``SSL_CERT_FILE``. Raises ``Transient`` for timeouts, failed look-ups and
    connections, broken answers and the statuses 408, 425, 429 and 5xx, else ``RejectedInput`` with a reason:

    ======================  ==========================================================================
    bad-url                 no URL, a host in a `file:` URL, no host in another
    unsupported-scheme      neither http, https nor file; or a redirect to a file
    url-credentials         a user name or password in the URL
    blocked-address         the host has an address that is not public
    untrusted-certificate   TLS cannot be verified
    insecure-redirect       from https to http
    too-many-redirects      more than the policy allows
    photo-not-found         404, 410, no such file
    http-status             any other status that is no success
    compressed-body         a Content-Encoding, though none was offered
    too-large               more bytes than the policy allows
    outside-file-roots      a file not beneath a configured root, symbolic links resolved
    not-a-file              a folder, pipe, socket or device
    unreadable-file         permissions, or a path changed under our feet
    ======================  ==========================================================================
    """

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self._tls = httpcore.default_ssl_context()

    def fetch(
        self, url: str, *, etag: str | None = None, last_modified: str | None = None
    ) -> Download | NotModified:
        """Fetch once; a matching ``etag`` or ``last_modified`` of an earlier download saves the body."""
        target = _parse(url)
        if target.scheme == "file":
            return self._read_file(target, etag)
        conditions = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        headers = {name: value for name, value in conditions.items() if value is not None}
        deadline = time.monotonic() + self._policy.total_timeout_s
        for _ in range(self._policy.max_redirects + 1):
            answer = self._ask(target, headers, deadline)
            if not isinstance(answer, httpx.URL):
                return answer
            target = answer
        raise RejectedInput(
            "too-many-redirects",
            f"{_shown(_parse(url))} redirects over {self._policy.max_redirects} times; publish the final URL",
        )

    def _ask(
        self, url: httpx.URL, conditions: dict[str, str], deadline: float
    ) -> Download | NotModified | httpx.URL:
        """One request: the body, word that it is unchanged, or the checked URL it redirects to."""
        shown = _shown(url)
        # Not an httpx.Client: it offers no public way to choose the socket. A pool for each request, so that
        # no connection outlives the check of its address or another thread's deadline.
        sockets = GuardedSockets(self._policy.allow_networks, deadline, shown)
        headers = [
            (b"Host", url.netloc),
            (b"User-Agent", b"vitrine"),
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", b"identity"),
            *((name.encode(), value.encode("latin-1")) for name, value in conditions.items()),
        ]
        location = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self._tls, network_backend=sockets) as pool,
                pool.stream("GET", location, headers=headers) as response,
            ):
                got = {name.lower(): value for name, value in response.headers}
                if response.status == 304 and conditions:
                    return NotModified()
                if response.status in _REDIRECTS and b"location" in got:
                    return _redirected(url, got[b"location"].decode("utf-8", "replace"))
                _check_status(response.status, shown)
                if got.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
                    raise RejectedInput(
                        "compressed-body",
                        f"{shown} answers with a compressed body; serve the photo without Content-Encoding",
                    )
                if int(got.get(b"content-length", b"0")) > self._policy.max_bytes:
                    raise self._too_large(shown)
                body = bytearray()
                for chunk in response.iter_stream():
                    body += chunk
                    if len(body) > self._policy.max_bytes:
                        raise self._too_large(shown)
        except httpcore.LocalProtocolError as error:
            raise RejectedInput("bad-url", f"{shown} cannot be asked for: {error}") from error
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise Transient(
                f"{shown} could not be fetched within {self._policy.total_timeout_s:g} s: "
                f"{type(error).__name__} {error}; it is retried: check that the server is up"
            ) from error
        version, changed = (got.get(name, b"").decode("latin-1") for name in (b"etag", b"last-modified"))
        return Download(bytes(body), version or None, changed or None, str(url))

    def _too_large(self, shown: str) -> RejectedInput:
        return RejectedInput(
            "too-large", f"{shown} is larger than {self._policy.max_bytes} bytes; publish a smaller photo"
        )

    def _read_file(self, url: httpx.URL, etag: str | None) -> Download | NotModified:
        shown = _shown(url)
        path = unquote_to_bytes(url.raw_path)
        if b"?" in url.raw_path or url.fragment or not path.startswith(b"/") or b"\0" in path:
            raise RejectedInput("bad-url", f"{shown} is no file:///absolute/path; percent-encode ? and #")
        try:
            real = Path(os.path.realpath(os.fsdecode(path)))
            for root in map(Path.resolve, self._policy.file_roots):
                if real.is_relative_to(root):
                    break
            else:
                # Said before the file is looked at, so that nobody learns what exists elsewhere.
                raise RejectedInput(
                    "outside-file-roots", f"{shown} is not beneath a configured file root; add its folder"
                )
            with os.fdopen(_open_beneath(root, real.relative_to(root).parts), "rb") as file:
                status = os.fstat(file.fileno())
                version = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
                if version == etag:
                    return NotModified()
                body = file.read(self._policy.max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RejectedInput("photo-not-found", f"{shown} does not exist; correct the URL") from error
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise RejectedInput("not-a-file", f"{shown} is no regular file; name a photo") from error
            if error.errno in _UNREADABLE:
                raise RejectedInput(
                    "unreadable-file", f"{shown} cannot be read: {error.strerror}; grant this user access"
                ) from error
            raise Transient(
                f"{shown} could not be read: {error.strerror}; it is retried: check the disk"
            ) from error
        if len(body) > self._policy.max_bytes:
            raise self._too_large(shown)
        return Download(body, version, None, real.as_uri())


def _parse(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise RejectedInput("bad-url", f"the photo's URL cannot be parsed: {error}; correct it") from error
    if parsed.scheme not in ("http", "https", "file"):
        raise RejectedInput(
            "unsupported-scheme", f"the photo's URL begins with {parsed.scheme!r:.40}; publish it over https"
        )
    if parsed.userinfo:
        raise RejectedInput(
            "url-credentials", f"{_shown(parsed)} carries a user name or password; use a signed URL"
        )
    has_host = (
        bool(parsed.host) and "%" not in parsed.host and (parsed.port is None or 0 < parsed.port < 65536)
    )
    if has_host == (parsed.scheme == "file"):
        raise RejectedInput(
            "bad-url", f"{_shown(parsed)} names no valid host and port, or is a file with a host"
        )
    return parsed


def _redirected(source: httpx.URL, location: str) -> httpx.URL:
    try:
        target = _parse(str(source.join(location)))
    except httpx.InvalidURL as error:
        raise RejectedInput("bad-url", f"{_shown(source)} redirects to no URL: {error}") from error
    if target.scheme == "file":
        raise RejectedInput("unsupported-scheme", f"{_shown(source)} redirects to a file; publish the photo")
    if source.scheme == "https" and target.scheme == "http":
        raise RejectedInput(
            "insecure-redirect", f"{_shown(source)} redirects from https to http; publish the final URL"
        )
    return target


def _check_status(status: int, shown: str) -> None:
    if status in (404, 410):
        raise RejectedInput(
            "photo-not-found", f"{shown} answers {status}; publish the photo or correct the URL"
        )
    if status in _TEMPORARY_STATUSES or status >= 500:
        raise Transient(f"{shown} answers {status}; it is retried: check that the server is well")
    if status != 200:
        raise RejectedInput("http-status", f"{shown} answers {status}; make it readable without a login")


def _open_beneath(root: Path, parts: tuple[str, ...]) -> int:
    """Open a regular file one name at a time: no symbolic link can be slipped in after the check.

    Anything that is no regular file is an ``OSError`` with ENXIO, as the kernel says it of a socket.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(root, flags | os.O_DIRECTORY)
    for depth, part in enumerate(parts, start=1):
        folder = descriptor
        try:
            kind = os.O_DIRECTORY if depth < len(parts) else 0
            descriptor = os.open(part, flags | kind, dir_fd=folder)
        finally:
            os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
    return descriptor


def _shown(url: httpx.URL) -> str:
    """The URL for people: without the query, which may be a signature, and without a password."""
    path = url.raw_path.partition(b"?")[0]
    return f"{url.scheme}://{url.netloc.decode()}{path.decode()}"[:300]
