"""The address guard: whatever way an inner address is written, nobody is asked there."""

from __future__ import annotations

import hashlib
import http.server
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from indexer.inputs.addresses import is_public, resolve_name, vetted
from indexer.inputs.fetch import Fetcher
from mmsearch.errors import MediaError

PUBLIC = "93.184.215.14"
PORT = "PORT"
"""Stands for the listener's port."""

# Every one of these means this machine, its network, or nothing that is a web address.
FORMS = [
    # plain
    "http://127.0.0.1:PORT/",
    "http://127.8.9.10:PORT/",
    "http://0.0.0.0:PORT/",
    "http://10.0.0.1:PORT/",
    "http://172.16.0.1:PORT/",
    "http://172.31.255.254:PORT/",
    "http://192.168.1.1:PORT/",
    "http://169.254.169.254:PORT/latest/meta-data/",
    "http://100.64.0.1:PORT/",
    "http://100.100.100.200:PORT/",
    "http://168.63.129.16:PORT/",
    "http://192.0.0.192:PORT/",
    "http://198.18.0.1:PORT/",
    "http://203.0.113.7:PORT/",
    "http://224.0.0.1:PORT/",
    "http://240.0.0.1:PORT/",
    "http://255.255.255.255:PORT/",
    # names
    "http://localhost:PORT/",
    "http://LOCALHOST.:PORT/",
    "http://a.localhost:PORT/",
    "http://metadata.google.internal:PORT/",
    "http://printer.local:PORT/",
    # other ways to write 127.0.0.1
    "http://2130706433:PORT/",
    "http://0x7f000001:PORT/",
    "http://017700000001:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://0x7f.0.0.1:PORT/",
    "http://0x7f.1:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://127.000.000.001:PORT/",
    "http://0:PORT/",
    "http://0x:PORT/",
    "http://127.0.0.256:PORT/",
    # other letters and digits
    "http://①②⑦.⓪.⓪.①:PORT/",
    "http://127。0。0。1:PORT/",
    "http://１２７.0.0.1:PORT/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://127.0.0.1%00.example.com:PORT/",
    # IPv6
    "http://[::1]:PORT/",
    "http://[::]:PORT/",
    "http://[0:0:0:0:0:0:0:1]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[::ffff:93.184.215.14]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[2002:c0a8:101::1]:PORT/",
    "http://[64:ff9b::127.0.0.1]:PORT/",
    "http://[64:ff9b::a9fe:a9fe]:PORT/",
    "http://[64:ff9b:1::1]:PORT/",
    "http://[2001:0:7f00:1::]:PORT/",
    "http://[2001:db8::1]:PORT/",
    "http://[fc00::1]:PORT/",
    "http://[fd00:ec2::254]:PORT/",
    "http://[fe80::1]:PORT/",
    "http://[fe80::1%25lo]:PORT/",
    "http://[fe80::1%lo]:PORT/",
    "http://[fec0::1]:PORT/",
    "http://[ff02::1]:PORT/",
    "http://[2a00:1450::5efe:127.0.0.1]:PORT/",
    # parsers that disagree
    "http://user@127.0.0.1:PORT/",
    "http://user:word@localhost:PORT/",
    "http://example.com@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT@example.com/",
    "http://example.com\\@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\\.example.com/",
    "http://127.0.0.1:PORT/ http://example.com/",
    "http://exa\tmple.com:PORT/",
    "http://exa\nmple.com:PORT/",
    "http:///127.0.0.1:PORT/",
    "http:127.0.0.1:PORT/",
    "http://:PORT/",
    "//127.0.0.1:PORT/",
    "http://[127.0.0.1]:PORT/",
    "http://[::1:PORT/",
    "http://-oProxyCommand=x:PORT/",
    "http://example.com:99999/",
    "http://example.com:22/",
    "http://example.com:25/",
    # other schemes
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "data:text/plain,inside",
    "ftp://127.0.0.1:PORT/",
    "gopher://127.0.0.1:PORT/_GET%20/",
    "dict://127.0.0.1:PORT/info",
    "ldap://127.0.0.1:PORT/",
    "jar:http://127.0.0.1:PORT/!/",
    "unix:///var/run/docker.sock",
    "simplecache::http://127.0.0.1:PORT/",
    "javascript:alert(1)",
    "/etc/passwd",
    "",
]


class _Asked(http.server.BaseHTTPRequestHandler):
    """Counts what it is asked; answers by path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Front)
        server.asked.append(f"{self.command} {self.headers['Host']} {self.path}")
        answer = server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
            return
        answer(self)

    do_HEAD = do_GET  # noqa: N815  # the name that http.server calls

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[[_Asked], None]


class Front(http.server.ThreadingHTTPServer):
    """A web server on loopback that tests reach under public addresses."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.asked: list[str] = []
        self.answers: dict[str, Answer] = {}
        self.connections = 0

    def verify_request(self, *_: object) -> bool:
        self.connections += 1
        return True

    def handle_error(self, *_: object) -> None:
        """A client that goes in the middle is what some tests are about."""


@pytest.fixture
def server() -> Iterator[Front]:
    made = Front()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def outside(server: Front, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Connections to public addresses end at `server`; returns where they were meant to go."""
    went: list[str] = []
    real = socket.socket.connect

    def connect(self: socket.socket, address: tuple[str, int]) -> None:
        if address[0] == "127.0.0.1":
            real(self, address)  # whoever really goes inside must be seen there
            return
        assert is_public(ipaddress.ip_address(address[0]))
        went.append(address[0])
        real(self, ("127.0.0.1", server.server_address[1]))

    monkeypatch.setattr(socket.socket, "connect", connect)
    return went


def public(*_: object) -> list[str]:
    return [PUBLIC]


def send(content: bytes, **headers: str) -> Answer:
    def answer(handler: _Asked) -> None:
        handler.send_response(200)
        for name, value in ({"Content_Length": str(len(content))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(content)

    return answer


def redirect(to: str, status: int = 302) -> Answer:
    def answer(handler: _Asked) -> None:
        handler.send_response(status)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def code(call: Callable[[], object]) -> str:
    with pytest.raises(MediaError) as caught:
        call()
    assert caught.value.reason.endswith(".")
    return caught.value.code


def at(server: Front, form: str) -> str:
    return form.replace(PORT, str(server.server_address[1]))


def test_there_are_enough_forms() -> None:
    assert len(set(FORMS)) == len(FORMS) >= 40
    assert len(ABSOLUTE) >= 40


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_an_inner_address_is_asked(server: Front, tmp_path: Path, form: str) -> None:
    """With the system's own resolver: refused before anything is connected."""
    target = tmp_path / "content"
    assert code(lambda: Fetcher(seconds=5).fetch(at(server, form), target)) == "refused"
    assert server.connections == 0
    assert not target.exists()


# In a Location header the others are paths of the same server, or no header at all.
ABSOLUTE = [
    form
    for form in FORMS
    if form.isascii()
    and form
    and not form.startswith(("/", "http:///", "http:1"))
    and not any(c in form for c in "\t\n")
]


@pytest.mark.parametrize("form", ABSOLUTE)
def test_no_redirect_leads_inside(
    server: Front, outside: list[str], tmp_path: Path, form: str
) -> None:
    """The first hop is a public server, which sends the fetcher to the form."""
    place = at(server, form)
    server.answers["/start"] = redirect(place)
    fetcher = Fetcher(seconds=5, resolve=_first_public)
    assert code(lambda: fetcher.fetch("http://start.example/start", tmp_path / "x")) == "refused"
    assert [line.split()[2] for line in server.asked] == ["/start"]
    assert outside == [PUBLIC]


def _first_public(name: str, port: int) -> list[str]:
    return [PUBLIC] if name == "start.example" else resolve_name(name, port)


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        [PUBLIC, "127.0.0.1"],
        ["::1", PUBLIC],
        ["::ffff:127.0.0.1"],
        ["fe80::1%eth0"],
        ["169.254.169.254"],
        ["10.1.2.3", "10.1.2.4"],
        ["64:ff9b::c0a8:101"],
        ["nonsense"],
    ],
)
def test_names_that_resolve_inside_are_refused(answers: list[str]) -> None:
    """One inner address among several is enough."""
    assert code(lambda: vetted("http://a.example/", resolve=lambda *_: answers)) == "refused"


def test_a_name_that_changes_its_address_gains_nothing(
    server: Front, outside: list[str], tmp_path: Path
) -> None:
    """DNS rebinding: the name is resolved once for each request, and that address connected to."""
    turns = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    asked = []

    def rebinding(name: str, _port: int) -> list[str]:
        asked.append(name)
        return next(turns)

    server.answers["/"] = send(b"from outside")
    fetcher = Fetcher(resolve=rebinding)
    fetcher.fetch("http://rebind.example/", tmp_path / "first")
    assert (outside, asked) == ([PUBLIC], ["rebind.example"])
    assert code(lambda: fetcher.fetch("http://rebind.example/", tmp_path / "second")) == "refused"
    server.answers["/on"] = redirect("http://rebind.example/")
    turns = iter([[PUBLIC], ["127.0.0.1"]])
    assert code(lambda: fetcher.fetch("http://rebind.example/on", tmp_path / "third")) == "refused"
    assert outside == [PUBLIC, PUBLIC]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com:8443/a%20b?c=d#e",
        f"http://{PUBLIC}/x.jpg",
        "http://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
        "http://bücher.example/",
        "http://a_b.example.com./",
        "http://[64:ff9b::93.184.215.14]/",
    ],
)
def test_public_addresses_are_let_through(url: str) -> None:
    target = vetted(url, resolve=public)
    assert target.host.isascii()
    assert target.path.startswith("/")
    assert "#" not in target.path


def test_a_private_address_may_be_allowed(server: Front, tmp_path: Path) -> None:
    """By the setting, for one's own servers; other schemes stay refused."""
    server.answers["/a"] = send(b"mine", Last_Modified=formatdate(1_700_000_000, usegmt=True))
    url = at(server, "http://127.0.0.1:PORT/a")
    fetched = Fetcher(allow_private=True).fetch(url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"mine"
    assert fetched.sha256 == hashlib.sha256(b"mine").hexdigest()
    assert (fetched.size, fetched.mtime_ns) == (4, 1_700_000_000 * 10**9)
    assert Fetcher(allow_private=True).look(url).size == 4
    assert code(lambda: vetted("file:///etc/passwd", allow_private=True)) == "refused"
    assert code(lambda: vetted("http://a@localhost/", allow_private=True)) == "refused"


def test_limits_of_size_time_and_redirects(
    server: Front, outside: list[str], tmp_path: Path
) -> None:
    """Too large is recognized by the header or during the transfer; drips end at the deadline."""

    def endless(handler: _Asked) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"400\r\n" + b"x" * 1024 + b"\r\n")

    def dripping(handler: _Asked) -> None:
        for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 1000:
            handler.wfile.write(bytes([letter]))
            time.sleep(0.1)

    def broken(handler: _Asked) -> None:
        send(b"half", Content_Length="8")(handler)
        handler.close_connection = True

    server.answers |= {
        "/declared": send(b"x" * 2_000_000),
        "/endless": endless,
        "/dripping": dripping,
        "/loop": redirect("/loop"),
        "/packed": send(b"x", Content_Encoding="gzip"),
        "/nothing": send(b""),
        "/broken": broken,
    }
    expected = {
        "/declared": "too_large",
        "/endless": "too_large",
        "/dripping": "timeout",
        "/loop": "network",
        "/packed": "network",
        "/nothing": "empty",
        "/gone": "missing",
        "/broken": "network",
    }
    fetcher = Fetcher(max_bytes=2**20 // 2, seconds=1.0, resolve=public)
    began = time.monotonic()
    for path, wanted in expected.items():
        target = tmp_path / "content"
        assert code(lambda: fetcher.fetch(f"http://a.example{path}", target)) == wanted, path  # noqa: B023
        assert not target.exists()
    assert time.monotonic() - began < 10


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    fetcher = Fetcher(allow_private=True)
    assert code(lambda: fetcher.fetch(f"http://127.0.0.1:{port}/", tmp_path / "x")) == "network"
    assert code(lambda: vetted("http://no-such-host.invalid/")) == "network"
