"""git over HTTP: ``git http-backend`` over the same bare repositories, and what a push causes."""

from __future__ import annotations

import subprocess
from http import HTTPStatus

from flask import Request, Response

from tests.world.github.behaviour import refs
from tests.world.github.errors import ApiError
from tests.world.github.gitstore import GIT
from tests.world.github.permissions import Principal, authenticate, permit, refuse_workflows
from tests.world.github.records import Repository
from tests.world.github.state import State

_BACKEND = f"{subprocess.check_output([GIT, '--exec-path'], text=True).strip()}/git-http-backend"
_CAPABILITIES = "service=git-upload-pack", "version=2"
"""What is asked first in protocol 2; the answer names no repository (gitprotocol-v2)."""
_ANSWERS: dict[tuple[str, str], tuple[bytes, int, dict[str, str]]] = {}
CHALLENGE = {"WWW-Authenticate": 'Basic realm="GitHub"'}


def answer(state: State, request: Request, owner: str, name: str, rest: str) -> Response:
    """Serve one request of git's smart HTTP protocol (gitprotocol-http).

    Basic authentication with any user name and a token as the password (docs: Authenticating as a
    GitHub App installation, "HTTP-based Git access"). What may not be seen is not found.
    """
    pushes = "git-receive-pack" in (request.args.get("service"), rest)
    try:
        principal = authenticate(state, request.headers.get("Authorization"))
        repository = state.repository(f"{owner}/{name}")
        if principal.account is None and (repository.private or pushes):
            return Response("Authentication required", 401, CHALLENGE)
        permit(principal, ("contents:write" if pushes else "contents:read",), repository, None)
    except ApiError as error:
        headers = CHALLENGE if error.status == 401 else {}
        return Response(error.message, error.status, headers)
    if rest != "git-receive-pack":
        return _backend(repository, request, rest)
    with state.lock:
        return _push(state, principal, repository, request)


def _push(state: State, principal: Principal, repository: Repository, request: Request) -> Response:
    git = repository.git
    before = git.refs()
    response = _backend(repository, request, "git-receive-pack")
    git.forget_refs()
    after = git.refs()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    refusal = _refusal(principal, repository, changed, before, after)
    if refusal is not None:
        for name in changed:
            git.write_ref(name, before.get(name), after.get(name))
        return Response(refusal, 403, mimetype="text/plain")
    for name in sorted(changed):
        refs.announce(state, principal.actor, repository, name, before.get(name), after.get(name))
    return response


def _refusal(
    principal: Principal,
    repository: Repository,
    changed: set[str],
    before: dict[str, str],
    after: dict[str, str],
) -> str | None:
    """Return why GitHub would turn the push down (docs: rulesets; GH013, GH006)."""
    for name in changed:
        rules = repository.rules_of(name.removeprefix("refs/heads/"))
        app = principal.token.installation.app if principal.token else None
        if rules is None or not rules.stops(app):
            continue
        if rules.restricted:
            return "GH013: Repository rule violations found: Cannot update this protected ref."
        if rules.pull_request and name in before:
            return "GH013: Repository rule violations found: changes must be made through a PR."
    for name in changed & after.keys():
        try:
            refuse_workflows(principal, repository, after[name])
        except ApiError as error:
            return error.message
    return None


def _backend(repository: Repository, request: Request, rest: str) -> Response:
    """Run ``git http-backend``, a CGI program (git-http-backend(1))."""
    environment = repository.git.environment() | {
        "GIT_PROJECT_ROOT": str(repository.git.path.parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{repository.git.path.name}/{rest}",
        "QUERY_STRING": request.query_string.decode(),
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.content_type or "",
        "REMOTE_USER": "authenticated",
        "REMOTE_ADDR": request.remote_addr or "",
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
    }
    body = request.get_data()
    environment["CONTENT_LENGTH"] = str(len(body))
    key = environment["QUERY_STRING"], environment["GIT_PROTOCOL"]
    if key in _ANSWERS:
        return Response(*_ANSWERS[key])
    # It fails after it has answered, for example "not our ref": the answer is what counts.
    done = subprocess.run([_BACKEND], input=body, env=environment, capture_output=True, check=False)
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    status = int(headers.pop("Status", "200 OK").split(" ")[0])
    if status == HTTPStatus.OK and key == _CAPABILITIES:
        _ANSWERS[key] = content, status, headers
    return Response(content, status, headers)
