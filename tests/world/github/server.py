"""The HTTP side: routes, errors, ETags, faults, and the eye of the contract."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import socket
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import format_datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from tests.contract.validator import Exchange
from tests.world.github import githttp
from tests.world.github.errors import DOCUMENTATION, ApiError
from tests.world.github.faults import Fault, Faults
from tests.world.github.graphql import execution
from tests.world.github.pages import add_pages
from tests.world.github.permissions import Principal, authenticate
from tests.world.github.rest import (
    apps,
    attestations,
    checks,
    deployments,
    gitdata,
    issues,
    organizations,
    pulls,
    repositories,
)
from tests.world.github.rest.endpoint import Answer, Call, Endpoint
from tests.world.github.state import State

if TYPE_CHECKING:  # typeshed alone knows them
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ENDPOINTS: list[Endpoint] = [
    *apps.ENDPOINTS,
    *attestations.ENDPOINTS,
    *checks.ENDPOINTS,
    *deployments.ENDPOINTS,
    *gitdata.ENDPOINTS,
    *issues.ENDPOINTS,
    *organizations.ENDPOINTS,
    *pulls.ENDPOINTS,
    *repositories.ENDPOINTS,
]
"""Every operation of the REST API that the world has."""

API_VERSIONS = {"2022-11-28", "2026-03-10"}
ROOT = "/api/v3"
_SERVER = "lockkeeper.server"
"""Where a request keeps which server it came to."""

POLL = 0.02
"""Seconds until the server notices that it shall stop."""


Watch = Callable[[Exchange], None]


@dataclass(slots=True)
class Server:
    """A threaded HTTP server over one state; ``watch`` sees every REST exchange."""

    state: State
    faults: Faults
    watch: Watch
    watch_graphql: Callable[[str, dict[str, Any], dict[str, Any] | None], None]
    alarm: Callable[[str], None]
    """Gets the traceback of an error that the world itself made."""
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, path below the API root, status) of every API request so far."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    connections: list[socket.socket] = field(default_factory=list)
    """All so far. What is open ends with the server: nobody is answered who has asked before."""
    _server: BaseWSGIServer | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve at the address of the state, in a thread."""
        address = urlsplit(self.state.web)
        self._server = make_server(
            address.hostname or "127.0.0.1",
            address.port or 0,
            self._answer,
            threaded=True,
            request_handler=_handler(self.connections),
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL,), name="github", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the address; the state stays."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            for connection in self.connections:
                with contextlib.suppress(OSError):  # it is closed
                    connection.shutdown(socket.SHUT_RDWR)
            self._server.server_close()
            self._server = self._thread = None

    def _answer(
        self, environment: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        environment[_SERVER] = self
        return _application()(environment, start_response)

    # --- one request ------------------------------------------------------------------------

    def _with_faults(self, work: Callable[[], Response]) -> Response:
        path = request.path.removeprefix(ROOT).removeprefix("/api")
        fault = self.faults.take(request.method, path)
        if fault is None:
            response = work()
        elif fault.meanwhile:
            fault.meanwhile()
            response = work()
        else:
            if fault.when == "after":
                work()
            response = _broken(fault, request)
        self.requests.append((request.method, path, response.status_code))
        return response

    def rest(self, endpoint: Endpoint, path: dict[str, str]) -> Response:
        """Answer a request to the REST API."""
        return self._with_faults(lambda: self._rest(endpoint, path))

    def _rest(self, endpoint: Endpoint, path: dict[str, str]) -> Response:
        sent, answer = None, Answer()
        try:
            _refuse_malformed(request)
            sent = _body(request)
            with self.state.lock:
                principal = authenticate(self.state, request.headers.get("Authorization"))
                answer = endpoint.answer(self._call(principal, path, sent))
        except ApiError as error:
            answer = _refusal(error, path)
        exchange = Exchange(
            request.method,
            request.path.removeprefix(ROOT),
            endpoint.path,
            request.args.to_dict(),
            sent,
            answer.status,
            answer.body,
        )
        self.watch(exchange)
        return self._rendered(endpoint, answer)

    def _call(self, principal: Principal, path: dict[str, str], sent: object) -> Call:
        url = self.state.web + request.path
        return Call(self.state, principal, path, request.args.to_dict(), sent, url)

    def _rendered(self, endpoint: Endpoint, answer: Answer) -> Response:
        content = b"" if answer.body is None else json.dumps(answer.body).encode()
        response = Response(content, answer.status, mimetype="application/json")
        response.headers.extend(dict(answer.headers))
        response.headers["Date"] = format_datetime(self.state.clock(), usegmt=True)
        response.headers["X-GitHub-Request-Id"] = f"LOCAL:{next(self._numbers):06X}"
        if endpoint.accepted_permissions:
            response.headers["X-Accepted-GitHub-Permissions"] = endpoint.accepted_permissions
        if request.method == "GET" and answer.status == 200:
            etag = hashlib.sha256(content).hexdigest()
            response.set_etag(etag, weak=True)
            if request.if_none_match.contains_weak(etag):
                response.status_code = 304
                response.set_data(b"")
        return response

    def graphql(self) -> Response:
        """Answer a query or mutation."""
        return self._with_faults(self._graphql_answer)

    def _graphql_answer(self) -> Response:
        try:
            with self.state.lock:
                principal = authenticate(self.state, request.headers.get("Authorization"))
                sent = _body(request)
                document, variables = sent.get("query", ""), sent.get("variables") or {}
                body = execution.execute(self.state, principal, document, variables)
            self.watch_graphql(document, variables, body.get("data"))
        except ApiError as error:
            return Response(json.dumps(error.body()), error.status, mimetype="application/json")
        return Response(json.dumps(body), 200, mimetype="application/json")

    def failed(self, error: HTTPException) -> Response:
        """Answer for an address that the world does not have, or for a defect of the world."""
        path = request.path.removeprefix(ROOT)
        cause = getattr(error, "original_exception", None)
        if cause is not None:
            self.alarm("".join(traceback.format_exception(cause)))
        elif request.path.startswith(ROOT):
            query = request.args.to_dict()
            self.watch(Exchange(request.method, path, None, query, None, 404, None))
        status = 404 if cause is None else 500
        self.requests.append((request.method, path, status))
        answer = ApiError(status, "Not Found" if cause is None else "Server Error")
        return Response(json.dumps(answer.body()), status, mimetype="application/json")


def _asked() -> Server:
    """Which of the servers has the request at hand."""
    server = request.environ[_SERVER]
    assert isinstance(server, Server)
    return server


@cache
def _application() -> Flask:
    """The routes of every server: to compile them takes longer than to start one."""
    application = Flask("github")
    application.logger.disabled = True  # The alarm tells; no second report.
    application.url_map.strict_slashes = False
    for endpoint in ENDPOINTS:
        application.add_url_rule(
            ROOT + endpoint.rule,
            endpoint.name,
            _view(endpoint),
            methods=[endpoint.method],
            provide_automatic_options=False,
        )
    application.add_url_rule(
        "/api/graphql", "graphql", lambda: _asked().graphql(), methods=["POST"]
    )
    application.add_url_rule(
        "/<owner>/<name>.git/<path:rest>", "git", _git, methods=["GET", "POST"]
    )
    add_pages(application, lambda: _asked().state)
    application.register_error_handler(HTTPException, lambda error: _asked().failed(error))
    return application


def _view(endpoint: Endpoint) -> Callable[..., Response]:
    return lambda **path: _asked().rest(endpoint, path)


def _git(owner: str, name: str, rest: str) -> Response:
    return githttp.answer(_asked().state, request, owner, name, rest)


def _handler(connections: list[socket.socket]) -> type[WSGIRequestHandler]:
    return type("_Handler", (_QuietHandler,), {"connections": connections})


class _QuietHandler(WSGIRequestHandler):
    """Keep connections open and known, log nothing.

    Werkzeug's own way closes every connection, after a hundredth of a second in which something
    may still come: it does not know whether the body was read. Here it always is.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one answer, one write
    connections: list[socket.socket]

    def handle(self) -> None:
        """Answer one connection's requests."""
        self.connections.append(self.connection)
        super().handle()

    def finish(self) -> None:
        """End the connection, which the other side may have ended before."""
        with contextlib.suppress(OSError):
            super().finish()

    def make_environ(self) -> WSGIEnvironment:
        """Take the body whole, so that the next request begins where this one ends."""
        environment = super().make_environ()
        is_chunked = environment.get("wsgi.input_terminated", False)
        length = -1 if is_chunked else int(environment.get("CONTENT_LENGTH") or 0)
        environment["wsgi.input"] = io.BytesIO(environment["wsgi.input"].read(length))
        return environment

    def run_wsgi(self) -> None:
        """Answer one request."""
        with contextlib.suppress(OSError):  # nobody waits for the answer any more
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.wfile.flush()
            content, status, headers = run_wsgi_app(
                self.server.app, self.make_environ(), buffered=True
            )
            body = b"".join(content)
            headers["Content-Length"] = headers.get("Content-Length", str(len(body)))
            code, _, words = status.partition(" ")
            self.send_response(int(code), words)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)
            self.wfile.flush()
            return
        self.close_connection = True

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Log nothing."""


def _refusal(error: ApiError, path: dict[str, str]) -> Answer:
    """Render an error, or the redirection to a renamed repository.

    docs: Troubleshooting the REST API, "Redirects". GitHub names the new place by number.
    """
    if error.location is None:
        return Answer(error.status, error.body())
    status = 301 if request.method == "GET" else 307
    old = f"{path['owner']}/{path['repo']}"
    url = request.url.replace(f"/repos/{old}", f"/repos/{error.location}", 1)
    body = {"message": error.message, "url": url, "documentation_url": DOCUMENTATION}
    return Answer(status, body, {"Location": url})


def _refuse_malformed(incoming: Request) -> None:
    """Refuse what GitHub refuses before it looks at the path."""
    if not incoming.headers.get("User-Agent"):
        raise ApiError(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a "
            "User-Agent header",
        )
    version = incoming.headers.get("X-GitHub-Api-Version")
    if version is not None and version not in API_VERSIONS:
        raise ApiError(400, f"{version} is not a supported version")


def _body(incoming: Request) -> Any:  # noqa: ANN401 - JSON has any type
    content = incoming.get_data()
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError as error:
        raise ApiError(400, "Problems parsing JSON") from error


def _broken(fault: Fault, incoming: Request) -> Response:
    if fault.status == 0:
        connection: socket.socket = incoming.environ["werkzeug.socket"]
        connection.shutdown(socket.SHUT_RDWR)
        return Response(b"", 500)
    body = fault.body or ApiError(fault.status, fault.message).body()
    return Response(
        json.dumps(body), fault.status, dict(fault.headers), mimetype="application/json"
    )
