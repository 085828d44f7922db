"""/app, /installation: the App itself, its installations, tokens and webhook log."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from typing import Any

from tests.world.github.behaviour import registering
from tests.world.github.errors import ApiError, forbidden, not_found, unprocessable
from tests.world.github.permissions import grants
from tests.world.github.records import (
    App,
    Installation,
    InstallationToken,
    Permissions,
    Repository,
)
from tests.world.github.rest.endpoint import APP, Answer, Call, Endpoints
from tests.world.github.state import State
from tests.world.github.views import apps as views, repositories
from tests.world.github.webhooks import Delivery

Json = dict[str, Any]
ENDPOINTS = Endpoints()

TOKEN_LIFE = timedelta(hours=1)
"""docs: Generating an installation access token for a GitHub App."""


def _app(call: Call) -> App:
    if call.principal.app is None:
        raise not_found()
    return call.principal.app


def _installation(call: Call) -> Installation:
    found = call.state.installations.get(call.number("installation_id"))
    if found is None or found.app is not _app(call):
        raise not_found()
    return found


@ENDPOINTS.add("GET", "/app", APP)
def get_app(call: Call) -> Answer:
    """Return the App."""
    app = _app(call)
    mine = [i for i in call.state.installations.values() if i.app is app]
    return Answer(body=views.app(call.state, app) | {"installations_count": len(mine)})


@ENDPOINTS.add("GET", "/app/installations", APP)
def list_installations(call: Call) -> Answer:
    """List the App's installations."""
    mine = [i for i in call.state.installations.values() if i.app is _app(call)]
    return call.page(mine, lambda one: views.installation(call.state, one))


@ENDPOINTS.add("GET", "/app/installations/{installation_id}", APP)
def get_installation(call: Call) -> Answer:
    """Return one installation."""
    return Answer(body=views.installation(call.state, _installation(call)))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/installation", APP)
def get_repository_installation(call: Call) -> Answer:
    """Find the installation that covers a repository."""
    found = call.state.installation_on(call.repository, _app(call))
    if found is None:
        raise not_found()
    return Answer(body=views.installation(call.state, found))


@ENDPOINTS.add("GET", "/orgs/{org}/installation", APP)
def get_organization_installation(call: Call) -> Answer:
    """Find the installation on an organization."""
    account = call.state.account(call.path["org"])
    for one in call.state.installations.values():
        if one.app is _app(call) and one.account is account:
            return Answer(body=views.installation(call.state, one))
    raise not_found()


@ENDPOINTS.add("POST", "/app/installations/{installation_id}/access_tokens", APP)
def create_token(call: Call) -> Answer:
    """Mint a token, narrowed to repositories and permissions if the body says so.

    More than the installation has is a 422 (description of this operation); its texts are believed.
    """
    installation = _installation(call)
    if installation.suspended_at is not None:
        raise forbidden("This installation has been suspended")
    wish = call.body or {}
    token = InstallationToken(
        value=_token_value(installation),
        installation=installation,
        permissions=_narrowed(installation, wish.get("permissions")),
        repositories=_chosen(call.state, installation, wish),
        expires_at=call.state.clock() + TOKEN_LIFE,
    )
    call.state.tokens[token.value] = token
    return Answer(201, views.token(call.state, token))


def _token_value(installation: Installation) -> str:
    """Return a value of the stateless format, ``ghs_APPID_JWT``: far longer than 40 characters.

    Source: description of this operation in octokit/openapi 23.
    """
    parts = [secrets.token_bytes(n) for n in (27, 90, 128)]
    return f"ghs_{installation.app.id}_" + ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts
    )


def _narrowed(installation: Installation, wished: Permissions | None) -> Permissions:
    if not wished:  # An empty object narrows nothing: PyGithub sends one by default.
        return dict(installation.permissions)
    for name, level in wished.items():
        if not grants(installation.permissions, f"{name}:{level}"):
            raise unprocessable("The permissions requested are not granted to this installation.")
    return {"metadata": "read", **wished}


def _chosen(state: State, installation: Installation, wish: Json) -> list[Repository] | None:
    names, ids = wish.get("repositories"), wish.get("repository_ids")
    if names is None and ids is None:
        return None
    mine = [r for r in state.repositories.values() if installation.covers(r)]
    chosen = [r for r in mine if r.name in (names or []) or r.id in (ids or [])]
    if len(chosen) != len(set(names or [])) + len(set(ids or [])):
        raise unprocessable(
            "There is at least one repository that does not exist or is not accessible to the "
            "parent installation."
        )
    return chosen


@ENDPOINTS.add("GET", "/installation/repositories", "metadata:read")
def list_installation_repositories(call: Call) -> Answer:
    """List what the token opens."""
    token = call.principal.token
    if token is None:
        raise forbidden("You must authenticate with an installation access token")
    mine = [r for r in call.state.repositories.values() if token.covers(r)]
    return call.page(mine, lambda one: repositories.identity(call.state, one), "repositories")


@ENDPOINTS.add("POST", "/app-manifests/{code}/conversions")
def convert_manifest(call: Call) -> Answer:
    """Hand out an App that was registered from a manifest, with its secrets; needs no token."""
    made = registering.take_registered(call.state, call.path["code"])
    secret = {
        "client_secret": secrets.token_hex(20),
        "webhook_secret": made.webhook_secret,
        "pem": made.private_key,
    }
    return Answer(201, views.app(call.state, made.app) | secret)


def _delivery(call: Call) -> Delivery:
    for one in call.state.webhooks.log:
        if one.id == call.number("delivery_id") and one.app is _app(call):
            return one
    raise not_found()


@ENDPOINTS.add("GET", "/app/hook/config", APP)
def get_hook_config(call: Call) -> Answer:
    """Return where webhooks are sent; the secret is masked (docs: Get a webhook configuration)."""
    app = _app(call)
    config = {"content_type": "json", "insecure_ssl": "0", "secret": "********"}
    return Answer(body=config | ({"url": app.webhook_url} if app.webhook_url else {}))


@ENDPOINTS.add("GET", "/app/hook/deliveries", APP)
def list_deliveries(call: Call) -> Answer:
    """List the delivery log, newest first; pages go by ``cursor``, not by number."""
    log = [one for one in reversed(call.state.webhooks.log) if one.app is _app(call)]
    status = call.query.get("status")
    if status not in {None, "success", "failure"}:
        raise unprocessable("Invalid status")
    if status is not None:
        log = [one for one in log if (one.status_code < 400) == (status == "success")]
    size = int(call.query.get("per_page", "30"))
    start = _after_cursor(log, call.query.get("cursor"))
    shown, rest = log[start : start + size], log[start + size :]
    more = f"{call.url}?per_page={size}&cursor=v1_{shown[-1].id}" if rest and shown else None
    if more and status:
        more += f"&status={status}"
    headers = {"Link": f'<{more}>; rel="next"'} if more else {}
    return Answer(200, [one.shown() for one in shown], headers)


def _after_cursor(log: list[Delivery], cursor: str | None) -> int:
    if cursor is None:
        return 0
    for position, one in enumerate(log):
        if cursor == f"v1_{one.id}":
            return position + 1
    raise ApiError(400, "Invalid cursor")


@ENDPOINTS.add("GET", "/app/hook/deliveries/{delivery_id}", APP)
def get_delivery(call: Call) -> Answer:
    """Return one delivery with request and response."""
    return Answer(body=_delivery(call).shown_whole())


@ENDPOINTS.add("POST", "/app/hook/deliveries/{delivery_id}/attempts", APP)
def redeliver(call: Call) -> Answer:
    """Deliver again."""
    call.state.webhooks.redeliver(_delivery(call))
    return Answer(202, {})
