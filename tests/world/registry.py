"""An OCI registry in memory, with everything that real ones do wrong on demand.

    registry = Registry()
    registry.start()                      # "http://127.0.0.1:PORT"
    registry.on("GET", "/blobs/", flip_bit(), times=1)
    ...
    registry.stop()

Distribution-spec 1.1: pull, push (one PUT, PATCH, chunks), mount, tags, referrers with pages,
deletes. Bearer tokens come from its own ``/token``. Every request is recorded, so that a test can
say what a host has seen.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
_ROUTE = re.compile(
    r"/v2/(?P<name>.+?)/(?P<kind>blobs/uploads|blobs|manifests|referrers|tags)/(?P<rest>[^/]*)"
)
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LIFE = 300  # seconds that a token says it lives
_PIECE = 256 * 1024


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    """With its query."""
    headers: Mapping[str, str]


Fault = Callable[["Handler"], bool]
"""Misbehaves and answers True, or changes how the request is answered and answers False."""


@dataclass
class _Planned:
    method: str
    pattern: re.Pattern[str]
    fault: Fault
    times: int


@dataclass
class Repository:
    """What one repository holds."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Digest -> media type, content."""
    tags: dict[str, str] = field(default_factory=dict)
    subjects: dict[str, list[str]] = field(default_factory=dict)
    """Subject -> digests of its referrers, in order of arrival."""


class Registry:
    """One registry; start and stop it, or use it as a context manager."""

    def __init__(
        self,
        *,
        login: Literal["none", "basic", "bearer"] = "none",
        users: Mapping[str, str] | None = None,
        referrers_api: bool = True,
        referrers_page: int = 0,
        immutable_tags: bool = False,
        mounts: bool = True,
        chunk_minimum: int = 0,
        strict_chunks: bool = False,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.login, self.users = login, dict(users or {})
        self.referrers_api, self.referrers_page = referrers_api, referrers_page
        self.immutable_tags, self.mounts = immutable_tags, mounts
        self.chunk_minimum, self.strict_chunks = chunk_minimum, strict_chunks
        self.reported_range: Callable[[int, int], int] = lambda _start, size: size - 1
        """(bytes before, bytes after a PATCH) -> the last position that its ``Range`` names."""
        self.token_field = "token"  # noqa: S105 - the name of a field
        self.token_life = _LIFE
        self.realm = ""
        """Where the challenge sends clients; empty: this registry's own ``/token``."""
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytearray] = {}
        self.tokens: dict[str, frozenset[str]] = {}
        """Token -> scopes; clear it and every token is stale."""
        self.refresh_tokens: set[str] = set()
        self.seen: list[Seen] = []
        self.connections = 0
        self.guard = threading.RLock()
        self._planned: list[_Planned] = []
        self._tls, self._port = tls, port
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Listen on 127.0.0.1; returns the base URL."""
        registry = self

        class Bound(Handler):
            world = registry

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's
                registry.connections += 1
                super().process_request(request, client_address)

            def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's
                """A client that goes away is no news."""

        self._server = Server(("127.0.0.1", self._port), Bound)
        if self._tls:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        return self.url

    def stop(self) -> None:
        """Close the listening socket."""
        if self._server and self._thread:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``."""
        assert self._server is not None, "start() it first"
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def on(self, method: str, pattern: str, fault: Fault, *, times: int = 1) -> None:
        """Misbehave for the next requests whose method and path (with query) match."""
        with self.guard:
            self._planned.append(_Planned(method, re.compile(pattern), fault, times))

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self.guard:
            for planned in self._planned:
                if planned.times and planned.method == method and planned.pattern.search(path):
                    planned.times -= 1
                    return planned.fault
        return None

    def repository(self, name: str) -> Repository:
        with self.guard:
            return self.repositories.setdefault(name, Repository())

    def requests(self, method: str, pattern: str = "") -> list[Seen]:
        """Recorded requests that match."""
        return [s for s in self.seen if s.method == method and re.search(pattern, s.path)]


def answer(status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> Fault:
    """Answer like this in place of doing anything."""

    def act(handler: Handler) -> bool:
        handler.drain()
        handler.reply(status, content, headers)
        return True

    return act


def error(status: int, code: str, headers: Mapping[str, str] | None = None) -> Fault:
    """Answer with an error of the distribution-spec."""
    content = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
    return answer(status, content, {"Content-Type": "application/json", **(headers or {})})


def drop() -> Fault:
    """Close the connection without a word."""

    def act(handler: Handler) -> bool:
        handler.close_connection = True
        return True

    return act


def flip_bit() -> Fault:
    """Change the last bit of the body."""

    def act(handler: Handler) -> bool:
        handler.mangle = lambda content: content[:-1] + bytes([content[-1] ^ 1])
        return False

    return act


def truncate(keep: int) -> Fault:
    """Promise the whole body, send so many bytes of it, and close."""

    def act(handler: Handler) -> bool:
        handler.keep = keep
        return False

    return act


def substitute(content: bytes) -> Fault:
    """Serve another body, with its right length."""

    def act(handler: Handler) -> bool:
        handler.mangle = lambda _content: content
        return False

    return act


def dribble(act_before_each: Callable[[], None]) -> Fault:
    """Send the body a byte at a time; something else happens before each."""

    def act(handler: Handler) -> bool:
        handler.before_each_byte = act_before_each
        return False

    return act


def before(action: Callable[[], None]) -> Fault:
    """Let something else happen first, then answer as usual."""

    def act(_handler: Handler) -> bool:
        action()
        return False

    return act


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    world: Registry
    mangle: Callable[[bytes], bytes] | None
    keep: int | None
    before_each_byte: Callable[[], None] | None
    _left: int
    _kept: bytes | None

    def log_message(self, *_: object) -> None:
        """Tests speak for themselves."""

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        self.mangle = self.keep = self.before_each_byte = self._kept = None
        self._left = int(self.headers.get("Content-Length") or 0)
        self.world.seen.append(Seen(self.command, self.path, dict(self.headers.items())))
        fault = self.world.fault_for(self.command, self.path)
        if fault and fault(self):
            return
        parts = urlsplit(self.path)
        if parts.path == "/token":
            self._token(parse_qs(parts.query))
        elif not self._is_allowed(parts.path):
            self._challenge(parts.path)
        elif parts.path in ("/v2/", "/v2"):
            self.reply(200, b"{}")
        elif route := _ROUTE.fullmatch(parts.path):
            self._routed(route["name"], route["kind"], route["rest"], parse_qs(parts.query))
        else:
            self._error(404, "NAME_UNKNOWN")

    def _routed(self, name: str, kind: str, rest: str, query: dict[str, list[str]]) -> None:
        repository = self.world.repository(name)
        if kind == "blobs":
            self._blob(repository, rest)
        elif kind == "blobs/uploads":
            self._upload(name, repository, rest, query)
        elif kind == "manifests" and self.command == "PUT":
            self._put_manifest(repository, rest)
        elif kind == "manifests":
            self._manifest(repository, rest)
        elif kind == "referrers" and self.world.referrers_api:
            self._referrers(name, repository, rest, query)
        elif kind == "tags":
            listing = {"name": name, "tags": sorted(repository.tags)}
            self.reply(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})
        else:
            self._error(404, "NOT_FOUND")

    # --- blobs

    def _blob(self, repository: Repository, digest: str) -> None:
        content = repository.blobs.get(digest)
        if content is None:
            self._error(404, "BLOB_UNKNOWN")
        elif self.command == "DELETE":
            del repository.blobs[digest]
            self.reply(202)
        elif wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, size = int(wanted[1]), len(content)
            span = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
            self.reply(206, content[start:], span)
        else:
            headers = {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"}
            self.reply(200, content, headers)

    def _upload(
        self, name: str, repository: Repository, session: str, query: dict[str, list[str]]
    ) -> None:
        if self.command == "POST":
            self._start_upload(name, repository, query)
            return
        received = self.world.uploads.get(session)
        if received is None:
            self.drain()
            self._error(404, "BLOB_UPLOAD_UNKNOWN")
        elif self.command == "DELETE":
            self.world.uploads.pop(session, None)
            self.reply(204)
        elif not self._is_next(received):
            self.drain()
            self._error(416, "BLOB_UPLOAD_INVALID")
        else:
            before = len(received)
            if self._receive(received):
                self._received(name, repository, session, query, before)

    def _start_upload(self, name: str, repository: Repository, query: dict[str, list[str]]) -> None:
        self.drain()
        digest, source = query.get("mount", [""])[0], query.get("from", [""])[0]
        known = self.world.repository(source).blobs.get(digest) if source else None
        if known is not None and self.world.mounts:
            repository.blobs[digest] = known
            self.reply(201, b"", {"Location": f"/v2/{name}/blobs/{digest}"})
            return
        session = secrets.token_hex(8)
        self.world.uploads[session] = bytearray()
        headers = {"Location": f"/v2/{name}/blobs/uploads/{session}?_state=abc"}
        if self.world.chunk_minimum:
            headers["OCI-Chunk-Min-Length"] = str(self.world.chunk_minimum)
        self.reply(202, b"", headers)

    def _is_next(self, received: bytearray) -> bool:
        """Whether a chunk begins where the last one ended: ``a-b``, no unit."""
        span = self.headers.get("Content-Range")
        if span is None or not self.world.strict_chunks:
            return True
        found = re.fullmatch(r"(\d+)-(\d+)", span)
        return found is not None and int(found[1]) == len(received)

    def _receive(self, received: bytearray) -> bool:
        """Whether the whole body came; a client that gives up in the middle commits nothing."""
        while self._left:
            piece = self.rfile.read(min(_PIECE, self._left))
            if not piece:
                self.close_connection = True
                return False
            received += piece
            self._left -= len(piece)
        return True

    def _received(
        self,
        name: str,
        repository: Repository,
        session: str,
        query: dict[str, list[str]],
        before: int,
    ) -> None:
        content = bytes(self.world.uploads[session])
        if self.command == "PATCH":
            last = self.world.reported_range(before, len(content))
            headers = {
                "Location": f"/v2/{name}/blobs/uploads/{session}?_state={len(content)}",
                "Range": f"0-{max(last, 0)}",
            }
            self.reply(202, b"", headers)
            return
        digest = query.get("digest", [""])[0]
        self.world.uploads.pop(session, None)
        if _digest(content) != digest:
            self._error(400, "DIGEST_INVALID")
            return
        repository.blobs[digest] = content
        self.reply(201, b"", {"Location": f"/v2/{name}/blobs/{digest}"})

    # --- manifests

    def _manifest(self, repository: Repository, reference: str) -> None:
        digest = repository.tags.get(reference, reference)
        found = repository.manifests.get(digest)
        if found is None:
            self._error(404, "MANIFEST_UNKNOWN")
        elif self.command == "DELETE":
            repository.tags.pop(reference, None)
            if reference == digest:
                del repository.manifests[digest]
            self.reply(202)
        else:
            self.reply(200, found[1], {"Content-Type": found[0], "Docker-Content-Digest": digest})

    def _put_manifest(self, repository: Repository, reference: str) -> None:
        content = self.drain()
        digest = _digest(content)
        document = json.loads(content)
        missing = [one for one in _named(document) if not _holds(repository, one)]
        if missing:
            self._error(400, "MANIFEST_BLOB_UNKNOWN")
        elif reference.startswith("sha256:") and reference != digest:
            self._error(400, "DIGEST_INVALID")
        elif self._is_taken(repository, reference, digest):
            self._error(400, "TAG_INVALID")
        else:
            media_type = self.headers.get("Content-Type", "")
            headers = {"Docker-Content-Digest": digest, "Location": f"manifests/{digest}"}
            with self.world.guard:
                repository.manifests[digest] = (media_type, content)
                if not reference.startswith("sha256:"):
                    repository.tags[reference] = digest
                headers |= self._listed(repository, document, digest)
            self.reply(201, b"", headers)

    def _is_taken(self, repository: Repository, reference: str, digest: str) -> bool:
        held = repository.tags.get(reference, digest)
        return self.world.immutable_tags and held != digest

    def _listed(
        self, repository: Repository, document: dict[str, Any], digest: str
    ) -> dict[str, str]:
        subject = document.get("subject", {}).get("digest")
        if not subject or not self.world.referrers_api:
            return {}
        listed = repository.subjects.setdefault(subject, [])
        if digest not in listed:
            listed.append(digest)
        return {"OCI-Subject": subject}

    def _referrers(
        self, name: str, repository: Repository, subject: str, query: dict[str, list[str]]
    ) -> None:
        digests = [d for d in repository.subjects.get(subject, []) if d in repository.manifests]
        start = int(query.get("start", ["0"])[0])
        size = self.world.referrers_page or max(len(digests), 1)
        entries = [_entry(*repository.manifests[d]) for d in digests[start : start + size]]
        listing = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        headers = {"Content-Type": INDEX}
        if start + size < len(digests):
            link = f"/v2/{name}/referrers/{subject}?start={start + size}"
            headers["Link"] = f'<{link}>; rel="next"'
        self.reply(200, json.dumps(listing).encode(), headers)

    # --- log-in

    def _is_allowed(self, path: str) -> bool:
        authorization = self.headers.get("Authorization", "")
        if self.world.login == "none":
            return True
        if self.world.login == "basic":
            return self._user(authorization) is not None
        scopes = self.world.tokens.get(authorization.removeprefix("Bearer "))
        return scopes is not None and self._scope(path) <= scopes

    def _scope(self, path: str) -> frozenset[str]:
        """What this request needs, one right per entry."""
        route = _ROUTE.fullmatch(path)
        if route is None:
            return frozenset()
        actions = {"pull", "push"} if self.command in _WRITES else {"pull"}
        return frozenset(f"{route['name']}:{action}" for action in actions)

    def _challenge(self, path: str) -> None:
        self.drain()
        wanted = 'Basic realm="test"'
        if self.world.login == "bearer":
            realm = self.world.realm or f"{self.world.url}/token"
            wanted = f'Bearer realm="{realm}",service="test"'
            if route := _ROUTE.fullmatch(path):
                actions = "pull,push" if self.command in _WRITES else "pull"
                wanted += f',scope="repository:{route["name"]}:{actions}"'
        self._error(401, "UNAUTHORIZED", {"WWW-Authenticate": wanted})

    def _token(self, query: dict[str, list[str]]) -> None:
        user = self._user(self.headers.get("Authorization", ""))
        scopes = query.get("scope", [])
        if self.command == "POST":
            form = parse_qs(self.drain().decode())
            scopes = form.get("scope", [""])[0].split()
            known = form.get("refresh_token", [""])[0] in self.world.refresh_tokens
            user = "refreshed" if known else None
        if user is None and (self.world.users or self.command == "POST"):
            self._error(401, "UNAUTHORIZED")
            return
        rights = frozenset(
            f"{scope.split(':')[1]}:{action}"
            for scope in scopes
            for action in scope.split(":")[2].split(",")
        )
        token = secrets.token_hex(16)
        self.world.tokens[token] = rights
        granted: dict[str, object] = {self.world.token_field: token}
        if self.world.token_life:
            granted["expires_in"] = self.world.token_life
        self.reply(200, json.dumps(granted).encode(), {"Content-Type": "application/json"})

    def _user(self, authorization: str) -> str | None:
        encoded = authorization.removeprefix("Basic ")
        with contextlib.suppress(ValueError):
            name, _, password = base64.b64decode(encoded).decode().partition(":")
            if name and self.world.users.get(name) == password:
                return name
        return None

    # --- answers

    def drain(self) -> bytes:
        """Read the request's body."""
        if self._kept is not None:
            content, self._kept = self._kept, None
            return content
        content = self.rfile.read(self._left)
        self._left = 0
        return content

    def peek(self) -> bytes:
        """The request's body, which can still be drained."""
        self._kept = self.drain()
        return self._kept

    def is_logged_in(self) -> bool:
        """Whether the request's log-in suffices for it."""
        return self._is_allowed(urlsplit(self.path).path)

    def challenge(self) -> None:
        """Ask for a log-in."""
        self._challenge(urlsplit(self.path).path)

    def reply(
        self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        body = self.mangle(content) if self.mangle and content else content
        self.send_header("Content-Length", str(len(body)))
        if self.keep is not None:
            self.close_connection = True
            body = body[: self.keep]
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.before_each_byte is None:
            self.wfile.write(body)
            return
        for position in range(len(body)):
            self.before_each_byte()
            self.wfile.write(body[position : position + 1])

    def _error(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        self.drain()
        content = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
        self.reply(status, content, {"Content-Type": "application/json", **(headers or {})})


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _named(document: dict[str, Any]) -> list[str]:
    """Digests of everything that has to be there before the manifest; never its subject."""
    entries = [*document.get("layers", []), *document.get("manifests", [])]
    entries += [document["config"]] if "config" in document else []
    return [entry["digest"] for entry in entries if "nondistributable" not in entry["mediaType"]]


def _holds(repository: Repository, digest: str) -> bool:
    return digest in repository.blobs or digest in repository.manifests


def _entry(media_type: str, content: bytes) -> dict[str, Any]:
    """A descriptor in the list of referrers: distribution-spec 1.1, "Listing Referrers"."""
    document = json.loads(content)
    kind = document.get("artifactType") or document.get("config", {}).get("mediaType", "")
    entry = {"mediaType": media_type, "digest": _digest(content), "size": len(content)}
    return {**entry, "artifactType": kind, "annotations": document.get("annotations", {})}
