"""Registering an App: by hand, or from a manifest that its own set-up page sends."""

from __future__ import annotations

import functools
import secrets
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.world.github.errors import not_found
from tests.world.github.records import Account, App, NewApp
from tests.world.github.state import State

Json = dict[str, Any]

CODE_LIFE = timedelta(hours=1)
"""docs: Registering a GitHub App from a manifest."""


def add_account(state: State, login: str, kind: str) -> Account:
    """Add a person, an organization or a bot."""
    account = Account(state.new_id(), login, kind, state.clock())
    state.accounts[login.lower()] = account
    return account


def register(
    state: State,
    slug: str,
    owner: Account,
    *,
    permissions: dict[str, str],
    events: tuple[str, ...],
    webhook_url: str = "",
    webhook_secret: str = "",
    number: int | None = None,
) -> NewApp:
    """Register an App with a bot and a key; without a webhook address nothing is sent."""
    key = _key(slug)
    number = number or state.new_id()
    app = App(
        id=number,
        slug=slug,
        owner=owner,
        bot=add_account(state, f"{slug}[bot]", "Bot"),
        client_id=f"Iv23li{number:014d}",
        public_key=_public_pem(key),
        webhook_url=webhook_url,
        webhook_secret=webhook_secret,
        permissions={"metadata": "read", **permissions},
        events=events,
        created_at=state.clock(),
        webhook_active=bool(webhook_url),
    )
    state.apps[number] = app
    return NewApp(number, slug, _private_pem(key), webhook_secret, app)


def register_from_manifest(state: State, owner: Account, manifest: Json) -> str:
    """Register what a manifest describes and return the code to fetch it with, once.

    GitHub asks the person for the name and makes the webhook secret itself.
    """
    hook = manifest.get("hook_attributes", {})
    made = register(
        state,
        manifest["name"].lower().replace(" ", "-"),
        owner,
        permissions=manifest.get("default_permissions", {}),
        events=tuple(manifest.get("default_events", [])),
        webhook_url=hook["url"] if hook.get("active", True) and "url" in hook else "",
        webhook_secret=secrets.token_hex(20),
    )
    code = secrets.token_hex(20)
    state.manifest_codes[code] = made
    return code


def take_registered(state: State, code: str) -> NewApp:
    """Hand out what was registered; a code works once and for an hour."""
    made = state.manifest_codes.pop(code, None)
    if made is None or made.app.created_at + CODE_LIFE <= state.clock():
        raise not_found()
    return made


@functools.cache
def _key(_slug: str) -> rsa.RSAPrivateKey:
    """Make the key of an App, once in a process: it takes longer than all the rest of a world."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _private_pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def _public_pem(key: rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
