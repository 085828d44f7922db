"""From a thing that happened to the webhooks of the Apps that asked for it."""

from __future__ import annotations

from typing import Any

from tests.world.github.records import Account, App, Installation, Repository, node_id
from tests.world.github.state import State
from tests.world.github.views import apps, repositories
from tests.world.github.views.accounts import simple_user

Json = dict[str, Any]


def publish(
    state: State,
    repository: Repository,
    sender: Account,
    event: str,
    fields: Json,
    *,
    only: App | None = None,
) -> None:
    """Send an event of a repository to every App that is installed there and subscribed.

    ``only`` narrows it to one App: a requested action goes to the App that owns the check
    (docs: check_run). ``fields`` may bring their own ``repository``.
    """
    for installation in state.covering(repository):
        app = installation.app
        wanted = app is only if only else event in app.events
        if not wanted or installation.suspended_at:
            continue
        payload = {"repository": repositories.full(state, repository)} | fields
        organization = repositories.organization(state, repository)
        if organization is not None:
            payload["organization"] = organization
        payload["sender"] = simple_user(state, sender)
        payload["installation"] = {
            "id": installation.id,
            "node_id": node_id("I", installation.id),
        }
        state.webhooks.enqueue(app, event, payload, installation.id, repository.id)


def publish_installation(
    state: State,
    installation: Installation,
    sender: Account,
    event: str,
    action: str,
    fields: Json,
) -> None:
    """Send an event about an installation to its App."""
    payload = {
        "action": action,
        "installation": apps.installation(state, installation),
        **fields,
        "sender": simple_user(state, sender),
    }
    state.webhooks.enqueue(installation.app, event, payload, installation.id, None)
