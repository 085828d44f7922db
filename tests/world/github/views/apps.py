"""Apps, installations and tokens as JSON."""

from __future__ import annotations

from typing import Any

from tests.world.github.clock import stamp, stamp_or_none
from tests.world.github.records import App, Installation, InstallationToken, node_id
from tests.world.github.state import State
from tests.world.github.views import repositories
from tests.world.github.views.accounts import simple_user, user_or_none

Json = dict[str, Any]


def app(state: State, app: App) -> Json:
    """Return an App (schema ``integration``)."""
    return {
        "id": app.id,
        "slug": app.slug,
        "client_id": app.client_id,
        "node_id": node_id("A", app.id),
        "owner": simple_user(state, app.owner),
        "name": app.slug,
        "description": None,
        "external_url": "https://lockkeeper.example.com",
        "html_url": f"{state.web}/apps/{app.slug}",
        "created_at": stamp(app.created_at),
        "updated_at": stamp(app.created_at),
        "permissions": app.permissions,
        "events": list(app.events),
    }


def app_or_none(state: State, found: App | None) -> Json | None:
    """Return an App, null where there is none."""
    return None if found is None else app(state, found)


def installation(state: State, installation: Installation) -> Json:
    """Return an installation."""
    url = f"{state.api}/app/installations/{installation.id}"
    account = installation.account
    return {
        "id": installation.id,
        "client_id": installation.app.client_id,
        "account": simple_user(state, account),
        "repository_selection": installation.selection,
        "access_tokens_url": f"{url}/access_tokens",
        "repositories_url": f"{state.api}/installation/repositories",
        "html_url": f"{state.web}/organizations/{account.login}/settings/installations/"
        f"{installation.id}",
        "app_id": installation.app.id,
        "app_slug": installation.app.slug,
        "target_id": account.id,
        "target_type": account.type,
        "permissions": installation.permissions,
        "events": list(installation.app.events),
        "created_at": stamp(installation.created_at),
        "updated_at": stamp(installation.created_at),
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_by": user_or_none(state, installation.suspended_by),
        "suspended_at": stamp_or_none(installation.suspended_at),
    }


def token(state: State, token: InstallationToken) -> Json:
    """Return a new installation token."""
    narrowed = token.repositories is not None or token.installation.repositories is not None
    body: Json = {
        "token": token.value,
        "expires_at": stamp(token.expires_at),
        "permissions": token.permissions,
        "repository_selection": "selected" if narrowed else "all",
    }
    if token.repositories is not None:
        body["repositories"] = [repositories.identity(state, r) for r in token.repositories]
    return body
