"""What a guarded download may reach: addresses, URLs, redirects, certificates and files."""

from __future__ import annotations

import os
import socket
import ssl
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import trustme

from pipeline.errors import RejectedInput, Transient
from storage.egress import may_connect
from storage.fetch import Download, Fetcher, FetchPolicy, NotModified, _open_beneath
from tests.photo_server import Server, fetcher, ok, rejected, serving


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """A hostile name server: for each name the answers it gives, look-up by look-up."""
    answers: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def look_up(host: bytes | str, port: int, *args: object, **options: object) -> list[object]:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in answers:
            return real(host, port, *args, **options)  # type: ignore[arg-type,return-value]
        addresses = answers[name].pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return answers


# --- addresses ---

CLOSED = """
0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1
192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1
2001::1 2001:db8::1 2002:7f00:1::1 2002:a00:1::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0
fec0::1 ff02::1
"""

OPEN = """
1.1.1.1 8.8.8.8 93.184.216.34 172.15.255.255 172.32.0.1 192.0.1.1 198.20.0.1 223.255.255.255 100.63.0.1
100.128.0.1 2606:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808
2002:808:808::1
"""

LOOPBACK_SPELLINGS = """
127.0.0.1 127.1 2130706433 0x7f000001 0x7f.1 017700000001 localhost 0 127.0.0.1. [::1] [::] [::ffff:127.0.0.1]
[::ffff:7f00:1]
"""


@pytest.mark.parametrize("address", CLOSED.split())
def test_an_address_inside_is_closed(address: str) -> None:
    assert not may_connect(ip_address(address), ())


@pytest.mark.parametrize("address", OPEN.split())
def test_an_address_outside_is_open(address: str) -> None:
    assert may_connect(ip_address(address), ())


def test_an_exception_opens_its_network_only() -> None:
    cdn = (ip_network("10.8.0.0/16"), ip_network("fd00:8::/32"))
    assert may_connect(ip_address("10.8.1.1"), cdn)
    assert may_connect(ip_address("::ffff:10.8.1.1"), cdn)
    assert may_connect(ip_address("fd00:8::1"), cdn)
    assert not may_connect(ip_address("10.9.1.1"), cdn)


@pytest.mark.parametrize("host", LOOPBACK_SPELLINGS.split())
def test_no_spelling_of_loopback_is_connected_to(host: str) -> None:
    with serving(ok(b"secret")) as server:
        # "not found" is a spelling that this machine's C library does not read.
        with pytest.raises((RejectedInput, Transient), match=r"blocked-address|bad-url|is not found"):
            Fetcher(FetchPolicy(total_timeout_s=5)).fetch(f"http://{host}:{server.port}/")
        assert server.connections == 0


def test_the_metadata_service_is_blocked() -> None:
    error = rejected("http://169.254.169.254/latest/meta-data/", allow_networks=())
    assert error.reason == "blocked-address"
    assert "169.254.169.254" in str(error)


def test_a_name_that_changes_its_address_after_the_check_is_not_asked_twice(
    names: dict[str, list[list[str]]],
) -> None:
    with serving(ok(b"inside"), host="127.0.0.1") as inside:
        outside = Server(lambda connection, _: connection.sendall(ok(b"outside")), host="127.0.0.2")
        names["rebind.example"] = [["127.0.0.2"], ["127.0.0.1"]]
        only = (ip_network("127.0.0.2/32"),)
        url = f"http://rebind.example:{outside.port}/"
        assert fetcher(allow_networks=only).fetch(url).body == b"outside"  # type: ignore[union-attr]
        assert names["rebind.example"] == [["127.0.0.1"]]
        assert b"\r\nHost: rebind.example:" in outside.requests[0]
        assert rejected(url, allow_networks=only).reason == "blocked-address"
        outside.close()
        assert inside.connections == 0


def test_a_name_with_one_closed_address_is_refused_whole(names: dict[str, list[list[str]]]) -> None:
    with serving(ok(b"photo"), host="127.0.0.2") as server:
        names["mixed.example"] = [["127.0.0.2", "127.0.0.1"]]
        error = rejected(f"http://mixed.example:{server.port}/", allow_networks=(ip_network("127.0.0.2/32"),))
        assert error.reason == "blocked-address"
        assert server.connections == 0


def test_the_next_address_is_tried_when_one_refuses(names: dict[str, list[list[str]]]) -> None:
    with serving(ok(b"photo"), host="127.0.0.2") as server:
        names["two.example"] = [["127.0.0.3", "127.0.0.2"]]
        url = f"http://two.example:{server.port}/"
        assert fetcher().fetch(url).body == b"photo"  # type: ignore[union-attr]


# --- URLs and redirects ---


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "unsupported-scheme"),
        ("photo.jpg", "unsupported-scheme"),
        ("//host/photo.jpg", "unsupported-scheme"),
        ("ftp://host/photo.jpg", "unsupported-scheme"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "unsupported-scheme"),
        ("data:image/png;base64,AAAA", "unsupported-scheme"),
        ("unix:///run/docker.sock", "unsupported-scheme"),
        ("http://user:hunter2@host/photo.jpg", "url-credentials"),
        ("http://127.0.0.1\\@host/photo.jpg", "url-credentials"),
        ("http:///photo.jpg", "bad-url"),
        ("http://host:0/", "bad-url"),
        ("http://host:65536/", "bad-url"),
        ("http://two words/", "bad-url"),
        ("http://[::1/", "bad-url"),
        ("http://host/\r\nX-Injected: 1", "bad-url"),
        ("http://host/" + "x" * 70_000, "bad-url"),
    ],
)
def test_a_url_that_is_no_photo_url(url: str, reason: str) -> None:
    error = rejected(url)
    assert error.reason == reason
    assert "hunter2" not in str(error)


def redirect(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def test_redirects_are_followed_up_to_the_limit() -> None:
    def answer(connection: socket.socket, head: bytes) -> None:
        left = int(head.split(b" ")[1].rsplit(b"/", 1)[1])
        connection.sendall(redirect(f"../a/{left - 1}") if left else ok(b"photo"))

    with serving(answer) as server:
        url = f"http://127.0.0.1:{server.port}/a/"
        download = fetcher().fetch(url + "3")
        assert isinstance(download, Download)
        assert (download.body, download.final_url) == (b"photo", url + "0")
        assert rejected(url + "4").reason == "too-many-redirects"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/", "blocked-address"),
        ("//10.0.0.1/", "blocked-address"),
        ("http://[::ffff:192.168.0.1]/", "blocked-address"),
        ("file:///etc/passwd", "unsupported-scheme"),
        ("gopher://127.0.0.1/", "unsupported-scheme"),
        ("http://user:hunter2@127.0.0.1/", "url-credentials"),
        ("http://[/", "bad-url"),
    ],
)
def test_every_hop_is_checked(location: str, reason: str, tmp_path: Path) -> None:
    with serving(redirect(location)) as server:
        error = rejected(f"http://127.0.0.1:{server.port}/", file_roots=(Path("/"),))
    assert error.reason == reason


# --- TLS ---


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


def tls_for(name: str, authority: trustme.CA, asked: list[str | None]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    context.sni_callback = lambda _socket, server_name, _context: asked.append(server_name)
    return context


def test_tls_is_verified_for_the_name_though_the_address_is_connected_to(
    authority: trustme.CA, names: dict[str, list[list[str]]]
) -> None:
    asked: list[str | None] = []
    names["cdn.example"] = [["127.0.0.1"]]
    with serving(ok(b"photo"), tls=tls_for("cdn.example", authority, asked)) as server:
        download = fetcher().fetch(f"https://cdn.example:{server.port}/")
    assert isinstance(download, Download)
    assert download.body == b"photo"
    assert asked == ["cdn.example"]
    assert f"\r\nHost: cdn.example:{server.port}\r\n".encode() in server.requests[0]


def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, names: dict[str, list[list[str]]]
) -> None:
    names["cdn.example"] = [["127.0.0.1"]]
    with serving(ok(b"photo"), tls=tls_for("other.example", authority, [])) as server:
        error = rejected(f"https://cdn.example:{server.port}/")
    assert error.reason == "untrusted-certificate"
    assert server.requests == []


def test_an_unknown_authority_is_refused() -> None:
    with serving(ok(b"photo"), tls=tls_for("localhost", trustme.CA(), [])) as server:
        assert rejected(f"https://localhost:{server.port}/").reason == "untrusted-certificate"


def test_a_redirect_out_of_tls_is_refused(authority: trustme.CA) -> None:
    with serving(ok(b"photo")) as plain:
        answer = redirect(f"http://127.0.0.1:{plain.port}/")
        with serving(answer, tls=tls_for("localhost", authority, [])) as server:
            assert rejected(f"https://localhost:{server.port}/").reason == "insecure-redirect"
        assert plain.connections == 0


# --- files ---


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "ein Bild #1?.jpg").write_bytes(b"photo")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "root"


def test_a_file_beneath_a_root_is_read(root: Path) -> None:
    url = (root / "a" / "ein Bild #1?.jpg").as_uri()
    download = fetcher(file_roots=(root,)).fetch(url)
    assert isinstance(download, Download)
    assert (download.body, download.final_url) == (b"photo", url)
    assert fetcher(file_roots=(root,)).fetch(url, etag=download.etag) == NotModified()
    (root / "a" / "ein Bild #1?.jpg").write_bytes(b"another photo")
    changed = fetcher(file_roots=(root,)).fetch(url, etag=download.etag)
    assert isinstance(changed, Download)
    assert changed.body == b"another photo"


def test_a_root_may_itself_be_a_symbolic_link(root: Path) -> None:
    link = root.with_name("link")
    link.symlink_to(root)
    (root / "inner").symlink_to(root / "a")
    url = (link / "inner" / "ein Bild #1?.jpg").as_uri()
    assert fetcher(file_roots=(link,)).fetch(url).body == b"photo"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "%2e%2e/secret",
        "a/%2e%2e/%2e%2e/secret",
        "a%2F..%2F..%2Fsecret",
        "escape",
        "folder/secret",
        "../root-not/x",
        "../no-such-file",
    ],
)
def test_nothing_outside_the_roots_is_read(root: Path, path: str) -> None:
    (root / "escape").symlink_to(root.parent / "secret")
    (root / "folder").symlink_to(root.parent)
    (root.parent / "root-not").mkdir()
    (root.parent / "root-not" / "x").write_bytes(b"secret")
    error = rejected(f"{root.as_uri()}/{path}", file_roots=(root,))
    assert error.reason == "outside-file-roots"


def test_without_roots_no_file_is_read(root: Path) -> None:
    assert rejected((root / "a").as_uri()).reason == "outside-file-roots"
    assert rejected("file:///etc/passwd").reason == "outside-file-roots"


@pytest.mark.parametrize("url", ["file://host/x", "file:x", "file:///x?y", "file:///x%00y", "file:///x#y"])
def test_a_file_url_with_more_than_a_path_is_refused(url: str) -> None:
    assert rejected(url, file_roots=(Path("/"),)).reason == "bad-url"


def test_a_file_that_is_not_there(root: Path) -> None:
    for path in ("no.jpg", "a/ein Bild #1?.jpg/x"):
        assert rejected((root / path).as_uri(), file_roots=(root,)).reason == "photo-not-found"


def test_only_regular_files_are_read(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's path is short: bind by its name from within the folder.
        folder = Path.cwd()
        os.chdir(root)
        try:
            listener.bind("socket")
        finally:
            os.chdir(folder)
        for name in ("pipe", "socket", "a", ""):
            assert rejected((root / name).as_uri(), file_roots=(root,)).reason == "not-a-file"
    assert rejected("file:///dev/zero", file_roots=(Path("/dev"),)).reason == "not-a-file"


def test_symbolic_links_in_a_circle_end(root: Path) -> None:
    (root / "circle").symlink_to(root / "circle")
    assert rejected((root / "circle").as_uri(), file_roots=(root,)).reason == "unreadable-file"


def test_a_file_is_capped(root: Path) -> None:
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert rejected((root / "sparse").as_uri(), file_roots=(root,)).reason == "too-large"


def test_a_symbolic_link_slipped_in_after_the_check_is_not_followed(root: Path) -> None:
    (root / "folder").symlink_to(root.parent)
    (root / "photo").symlink_to(root.parent / "secret")
    for parts in (("folder", "secret"), ("photo",)):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            _open_beneath(root, parts)
