"""The one way out of a scanner with a server: Trivy's own calls to the operator's server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from bot.adapters.scanning.trivy_server import Gate, TrivyServer
from bot.domain.errors import UnavailableError

SCAN = "/twirp/trivy.scanner.v1.Scanner/Scan"


@dataclass
class Upstream:
    """A server that notes what arrives."""

    url: str = ""
    answer: bytes = b'{"ok": true}'
    status: int = 200
    seen: list[tuple[str, str, bytes, Mapping[str, str]]] = field(default_factory=list)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    noted = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, content: bytes) -> None:
            noted.seen.append((self.command, self.path, content, dict(self.headers)))
            self.send_response(noted.status)
            if noted.status == 302:
                self.send_header("Location", "http://169.254.169.254/")
            self.send_header("Content-Length", str(len(noted.answer)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(noted.answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    noted.url = f"http://127.0.0.1:{server.server_port}"
    yield noted
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def inside(upstream: Upstream) -> Iterator[str]:
    """The gate's address, as a scanner sees it."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with Gate(upstream.url, "s3cret").serve(listener):
        yield f"http://127.0.0.1:{port}"


def ask(method: str, url: str, **headers: str) -> requests.Response:
    return requests.request(method, url, data=b"packages", headers=headers, timeout=10)


def test_trivys_calls_pass_and_the_bot_adds_the_token(upstream: Upstream, inside: str) -> None:
    answer = ask("POST", f"{inside}{SCAN}", **{"Content-Type": "application/protobuf"})

    ((method, path, content, headers),) = upstream.seen
    assert (method, path, content) == ("POST", SCAN, b"packages")
    assert headers["Trivy-Token"] == "s3cret"
    assert headers["Content-Type"] == "application/protobuf"
    assert (answer.status_code, answer.content) == (200, b'{"ok": true}')
    assert "s3cret" not in str(answer.headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", SCAN),
        ("PUT", SCAN),
        ("CONNECT", SCAN),
        ("POST", "/version"),
        ("POST", "/twirp/trivy.scanner.v1.Scanner/../../admin"),
        ("POST", "/twirp/trivy.scanner.v1.Scanner/%2e%2e/admin"),
        ("POST", f"{SCAN}?x=1"),
        ("POST", "//169.254.169.254/latest"),
    ],
)
def test_nothing_else_passes(upstream: Upstream, inside: str, method: str, path: str) -> None:
    host, port = inside.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        head = f"{method} {path} HTTP/1.0\r\nContent-Length: 1\r\n\r\nx"
        connection.sendall(head.encode())
        answer = connection.recv(100)

    assert answer.split()[1] in {b"403", b"501"}
    assert upstream.seen == []


def test_a_length_is_needed_and_bounded(upstream: Upstream, inside: str) -> None:
    host, port = inside.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        head = f"POST {SCAN} HTTP/1.0\r\nContent-Length: {64 * 2**20 + 1}\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.recv(100)

    assert answer.split()[1] == b"413"
    chunked = requests.post(f"{inside}{SCAN}", data=iter([b"x"]), timeout=10)
    assert chunked.status_code == 403
    assert upstream.seen == []


def test_a_redirect_is_not_followed(upstream: Upstream, inside: str) -> None:
    upstream.status = 302

    answer = requests.request(
        "POST", f"{inside}{SCAN}", data=b"", timeout=10, allow_redirects=False
    )

    assert answer.status_code == 302
    assert "Location" not in answer.headers
    assert len(upstream.seen) == 1


def test_an_endless_answer_ends(upstream: Upstream, inside: str) -> None:
    upstream.answer = b"x" * (64 * 2**20 + 1)

    assert ask("POST", f"{inside}{SCAN}").status_code == 502


@pytest.mark.parametrize(
    "answer", [b"", b"null", b"{}", b'{"VulnerabilityDB": {"UpdatedAt": "soon"}}', b"<html>"]
)
def test_a_server_without_a_database_is_named(upstream: Upstream, answer: bytes) -> None:
    upstream.answer = answer

    with pytest.raises(UnavailableError, match="does not say how old its database is"):
        TrivyServer(Gate(upstream.url)).database()


def test_a_server_that_is_away_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

    with pytest.raises(UnavailableError, match=f"{url} cannot be reached"):
        TrivyServer(Gate(url, "s3cret")).database()


def test_the_token_is_not_shown() -> None:
    assert "s3cret" not in repr(Gate("http://trivy.example.com", "s3cret"))
