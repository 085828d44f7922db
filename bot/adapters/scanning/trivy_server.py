"""Trivy with a server that has the database: the scanner sends it lists of packages.

The scanner stays without a network. In its own network namespace there is one listener, which
the bot serves: a `Gate` that lets ``POST /twirp/...`` of Trivy's own services through to the one
server that the operator has set, adds the token, and refuses everything else. Neither the
server's address nor the token are known to the scanner.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import ClassVar, Final

import msgspec
import requests

from bot.adapters.scanning.rooms import Room
from bot.adapters.scanning.sandbox import Port, Sandbox
from bot.adapters.scanning.tools import Session
from bot.adapters.scanning.trivy import NAME, examined, matched, version_of
from bot.domain.errors import UnavailableError
from bot.formats import structs
from bot.formats.lax_document import moment
from bot.ports.scanning import Examination

_PORT: Final = 4954  # Trivy's own; free in a network of its own
_REQUEST_LIMIT: Final = 64 * 2**20  # bytes of one list of packages
_ANSWER_LIMIT: Final = 64 * 2**20  # bytes
_SECONDS: Final = 120.0
# rpc/scanner/service.proto, rpc/cache/service.proto
_PATH: Final = re.compile(r"/twirp/trivy\.(scanner\.v1\.Scanner|cache\.v1\.Cache)/[A-Za-z]{1,40}")
_MEDIA_TYPES: Final = ("application/protobuf", "application/json")  # Twirp's two
_CHUNK: Final = 64 * 1024


class _Database(msgspec.Struct):
    UpdatedAt: str = ""


class _Version(msgspec.Struct):
    VulnerabilityDB: _Database | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """The one server that may be reached, for what it is there for."""

    url: str
    token: str | None = field(default=None, repr=False)

    def send(self, method: str, path: str, content: bytes, media_type: str) -> tuple[int, bytes]:
        """Ask the server; redirects are not followed.

        Raises:
            UnavailableError: it cannot be reached, or answers without an end.
        """
        headers = {
            "Content-Type": media_type,
            **({"Trivy-Token": self.token} if self.token else {}),
        }
        try:
            with (
                _session() as session,
                session.request(
                    method,
                    f"{self.url}{path}",
                    data=content,
                    headers=headers,
                    timeout=_SECONDS,
                    allow_redirects=False,
                    stream=True,
                ) as answer,
            ):
                return answer.status_code, _bounded(answer)
        except requests.RequestException as error:
            reason = type(error).__name__
            raise UnavailableError(
                f"the Trivy server {self.url} cannot be reached ({reason})"
            ) from error

    @contextlib.contextmanager
    def serve(self, listener: socket.socket) -> Iterator[None]:
        """Let requests of the listener through, in the background."""
        gate = self

        class Bound(_Handler):
            through = gate

        server = _Server(listener, Bound)
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no log-in of a .netrc goes there
    return session


def _bounded(answer: requests.Response) -> bytes:
    content = bytearray()
    for chunk in answer.iter_content(_CHUNK):
        content += chunk
        if len(content) > _ANSWER_LIMIT:
            raise UnavailableError(f"the Trivy server answers more than {_ANSWER_LIMIT} bytes")
    return bytes(content)


class _Server(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, handler: type[_Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def handle_error(self, request: object, client_address: object) -> None:
        """A scanner that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    through: Gate
    timeout: ClassVar[float | None] = _SECONDS

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not _PATH.fullmatch(self.path) or not length.isdecimal():
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        if int(length) > _REQUEST_LIMIT:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        asked = self.headers.get("Content-Type", "")
        media_type = asked if asked in _MEDIA_TYPES else _MEDIA_TYPES[0]
        try:
            status, content = self.through.send(
                "POST", self.path, self.rfile.read(int(length)), media_type
            )
        except UnavailableError:
            self.send_error(HTTPStatus.BAD_GATEWAY)
            return
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """The sandbox says how a run ended; single requests are no news."""


@dataclass(frozen=True, slots=True)
class TrivyServer:
    """Trivy as a client of the operator's server."""

    gate: Gate

    @property
    def name(self) -> str:
        """As its reports say."""
        return NAME

    def stamp(self) -> object:
        """The server's word about its database."""
        return self.database()

    def size(self) -> int | None:
        """It does not say."""
        return None

    def database(self) -> datetime:
        """By ``GET /version`` (trivy pkg/rpc/server/listen.go)."""
        status, content = self.gate.send("GET", "/version", b"", "application/json")
        try:
            known = structs.decode(content, _Version).VulnerabilityDB
        except msgspec.DecodeError:
            known = None
        built = moment(known.UpdatedAt) if known else None
        if built is None:
            raise UnavailableError(
                f"the Trivy server {self.gate.url} does not say how old its database is (HTTP"
                f" {status}); it needs one with a database and GET /version"
            )
        return built

    def session(self, sandbox: Sandbox, room: Room) -> Session:
        """It reaches the gate and no more."""
        return Session(NAME, sandbox, room, port=Port(_PORT, self.gate.serve))

    def version(self, session: Session) -> str:
        """By ``trivy version``."""
        return version_of(session, _flags(session))

    def examine(self, session: Session, image: Path) -> Examination:
        """One look; the SBOM is converted from the report."""
        return examined(session, image, _flags(session))

    def match(self, session: Session, sbom: Path) -> bytes:
        """What it finds in the SBOM."""
        return matched(session, sbom, _flags(session))


def _flags(session: Session) -> tuple[str, ...]:
    return (
        f"--cache-dir={session.room.work}/cache",
        f"--server=http://127.0.0.1:{_PORT}",
        "--skip-java-db-update",
    )
