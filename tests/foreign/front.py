"""What stands before the foreign GitHub: it adds what the emulator lacks, and nothing for the bot.

Added, as GitHub documents it: git over HTTP, the headers of an App's webhooks, the ``push`` event
of a merge, ``commits/SHA/pulls``, and which App made a check run. Bent, where the emulator does
otherwise than the REST reference says:

- labels of a pull request need ``pull_requests: write`` there, ``issues: write`` here;
- a merge that may not be is 405, and 409 where the head moved; it is 422 here.

There is no GraphQL and there are no deployments: the bot has to live without them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import requests
from flask import Flask, Request, Response, request
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.foreign.emulator import APP_ID, OWNER, Emulator, token_of
from tests.foreign.mirror import Mirror
from tests.world.tools import tool

API: Final = "/api/v3"
HOOK: Final = "/hook"
_PULLS_OF: Final = re.compile(r"/repos/([^/]+/[^/]+)/commits/([0-9a-f]{40})/pulls")
_LABELS: Final = re.compile(r"/repos/[^/]+/[^/]+/issues/\d+/labels")
_APP: Final = {"id": APP_ID, "slug": "lockkeeper", "name": "lockkeeper"}
_PASSED_ON: Final = ("Link", "ETag", "Location")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that passed through, and how it was answered."""

    method: str
    path: str
    body: Any
    status: int


@dataclass
class Front:
    """The address that the bot and people know as GitHub."""

    emulator: Emulator
    mirror: Mirror
    secret: str
    bot: str = ""
    """Where webhooks go; empty: nobody listens yet."""
    url: str = ""
    _made: set[int] = field(default_factory=set)
    """Check runs that the App has made: the emulator forgets who did."""
    asked: list[Asked] = field(default_factory=list)
    hooks: list[tuple[str, int]] = field(default_factory=list)
    """Event and answer of each webhook."""

    @property
    def api(self) -> str:
        """Where its REST API is."""
        return self.url + API

    def application(self) -> Flask:
        """The routes."""
        app = Flask("foreign")
        app.logger.disabled = True
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        app.add_url_rule(f"{API}/<path:path>", "rest", self._rest, methods=methods)
        app.add_url_rule(HOOK, "hook", self._relay, methods=["POST"])
        app.add_url_rule("/api/graphql", "graphql", self._no_graphql, methods=["POST"])
        git = "/<owner>/<name>.git/<path:rest>"
        app.add_url_rule(git, "git", self._git, methods=["GET", "POST"])
        return app

    # --- REST ---

    def _rest(self, path: str) -> Response:
        path = f"/{path}"
        pulls = _PULLS_OF.fullmatch(path)
        if pulls and request.method == "GET":
            return _json(self._pulls_of(pulls[1], pulls[2]), 200)
        body = request.get_json(silent=True) if request.get_data() else None
        answer = self._forward(path, body)
        status = _status(path, answer)
        self.asked.append(Asked(request.method, path, body, status))
        passed = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        kind = answer.headers.get("Content-Type", "application/json")
        content = self._with_makers(answer) if "/check-runs" in path else answer.content
        return Response(content, status, passed, content_type=kind)

    def _with_makers(self, answer: requests.Response) -> bytes:
        """Check runs with the App that made them, as GitHub shows them."""
        found = answer.json() if answer.ok and answer.content else None
        if not isinstance(found, dict):
            return answer.content
        if request.method == "POST" and _is_of_app(request.headers.get("Authorization", "")):
            self._made.add(found["id"])
        for run in found.get("check_runs", [found]):
            if run["id"] in self._made:
                run["app"] = _APP
        return json.dumps(found).encode()

    def _forward(self, path: str, body: Any) -> requests.Response:  # noqa: ANN401 - JSON
        token = request.headers.get("Authorization", "")
        if _is_of_app(token) and _LABELS.fullmatch(path):
            token = f"Bearer {token_of(OWNER)}"
        return requests.request(
            request.method,
            self.emulator.url + path,
            params=request.args.to_dict(),
            json=body,
            headers={"Authorization": token},
            timeout=20,
        )

    def _pulls_of(self, repository: str, commit: str) -> list[Any]:
        """docs: "List pull requests associated with a commit": what it came by, or is in."""
        self.mirror.refresh(repository)
        listed = self.emulator.told(f"/repos/{repository}/pulls?state=all&per_page=100")
        numbers = [pull["number"] for pull in listed if self._holds(repository, pull, commit)]
        return [self.emulator.told(f"/repos/{repository}/pulls/{number}") for number in numbers]

    def _holds(self, repository: str, pull: Mapping[str, Any], commit: str) -> bool:
        if commit in (pull["merge_commit_sha"], pull["head"]["sha"]):
            return True
        span = f"{pull['base']['sha']}..{pull['head']['sha']}"
        return commit in self.mirror.git(repository, "rev-list", span).split()

    def _no_graphql(self) -> Response:
        self.asked.append(Asked("POST", "/graphql", request.get_json(), 404))
        return _json({"message": "Not Found"}, 404)

    # --- webhooks ---

    def _relay(self) -> Response:
        event, body = request.headers["X-GitHub-Event"], request.get_data()
        payload = json.loads(body)
        if event == "check_run" and payload["sender"]["login"].endswith("[bot]"):
            payload["check_run"]["app"] = _APP
            return Response(status=self._sign(event, payload))
        # The signature is the emulator's own; only what the front changes is signed by the front.
        status = self._deliver(event, body, request.headers["X-Hub-Signature-256"])
        for push in _pushes(event, payload):
            self._sign("push", push)
        return Response(status=status)

    def _sign(self, event: str, payload: Mapping[str, Any]) -> int:
        body = json.dumps(payload).encode()
        digest = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        return self._deliver(event, body, f"sha256={digest}")

    def _deliver(self, event: str, body: bytes, signature: str) -> int:
        if not self.bot:
            return HTTPStatus.OK
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/foreign",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-GitHub-Hook-ID": "1",
            "X-GitHub-Hook-Installation-Target-ID": str(APP_ID),
            "X-GitHub-Hook-Installation-Target-Type": "integration",
            "X-Hub-Signature-256": signature,
        }
        try:
            status = requests.post(self.bot, data=body, headers=headers, timeout=20).status_code
        except requests.ConnectionError:
            status = 0
        self.hooks.append((event, status))
        return status or HTTPStatus.BAD_GATEWAY

    # --- git ---

    def _git(self, owner: str, name: str, rest: str) -> Response:
        repository, token = f"{owner}/{name}", _password(request)
        if not token:
            return Response("", 401, {"WWW-Authenticate": 'Basic realm="GitHub"'})
        if not self.emulator.ask("GET", f"/repos/{repository}", token=token).ok:
            return Response("", 404)
        if "git-receive-pack" in (rest, request.args.get("service")):
            return Response("nobody pushes here", 403)
        if rest == "info/refs":
            self.mirror.refresh(repository)
        return self._backend(f"{repository}.git/{rest}")

    def _backend(self, path: str) -> Response:
        """Run ``git http-backend``, a CGI program (git-http-backend(1))."""
        body = request.get_data()
        environment = os.environ | {
            "GIT_PROJECT_ROOT": str(self.mirror.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{path}",
            "QUERY_STRING": request.query_string.decode(),
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.content_type or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        command = [str(tool("git")), "http-backend"]
        done = subprocess.run(
            command, input=body, env=environment, capture_output=True, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        return Response(content, int(headers.pop("Status", "200")[:3]), headers)


@contextlib.contextmanager
def serving(front: Front, port: int) -> Iterator[Front]:
    """Serve it on 127.0.0.1 until the end of the block."""
    server = make_server(
        "127.0.0.1", port, front.application(), threaded=True, request_handler=_Quiet
    )
    front.url = f"http://127.0.0.1:{port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield front
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Log nothing."""


def _is_of_app(authorization: str) -> bool:
    return authorization.rpartition(" ")[2].startswith("ghs_")


def _status(path: str, answer: requests.Response) -> int:
    if not (path.endswith("/merge") and answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY):
        return answer.status_code
    moved = "out of date" in answer.text
    return HTTPStatus.CONFLICT if moved else HTTPStatus.METHOD_NOT_ALLOWED


def _pushes(event: str, payload: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The pushes that GitHub announces beside an event and the emulator does not."""
    common = {name: payload[name] for name in ("repository", "installation", "sender")}
    if event == "pull_request" and payload["pull_request"].get("merged"):
        pull = payload["pull_request"]
        yield {
            **common,
            "ref": f"refs/heads/{pull['base']['ref']}",
            "before": pull["base"]["sha"],
            "after": pull["merge_commit_sha"],
        }


def _password(incoming: Request) -> str:
    kind, _, encoded = incoming.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return ""
    return base64.b64decode(encoded).decode().partition(":")[2]


def _json(value: object, status: int) -> Response:
    return Response(json.dumps(value), status, content_type="application/json")
