"""Who is calling, and whether GitHub would let them.

Each endpoint names the permission that GitHub's page "Permissions required for GitHub Apps" lists
for it (github/docs, ``src/github-apps/data/*/server-to-server-permissions.json``); this module
holds a caller against that name.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import jwt

from tests.world.github.errors import ApiError, forbidden, not_found, unauthorized
from tests.world.github.gitstore import BareRepository
from tests.world.github.records import (
    Account,
    Actor,
    App,
    InstallationToken,
    Permissions,
    Repository,
)
from tests.world.github.state import State

JWT_LIFE = 600
"""Seconds that an App's JWT may live (docs: Generating a JSON Web Token for a GitHub App)."""

STRENGTH = ("read", "write", "admin")
INTEGRATION = "Resource not accessible by integration"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller: an App (JWT), an installation, a person, or nobody."""

    account: Account | None = None
    app: App | None = None
    token: InstallationToken | None = None

    @property
    def is_app(self) -> bool:
        """Whether the caller showed an App's JWT."""
        return self.app is not None and self.token is None

    @property
    def actor(self) -> Actor:
        """The account under which things happen."""
        if self.account is None:
            raise unauthorized("Requires authentication")
        return Actor(self.account, self.app)


def authenticate(state: State, authorization: str | None) -> Principal:
    """Return who sent this ``Authorization`` header.

    Raises:
        ApiError: 401, as GitHub answers to what is wrong, expired or suspended.
    """
    if not authorization:
        return Principal()
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "basic":
        value = _password(value)
    elif scheme.lower() not in {"bearer", "token"}:
        raise unauthorized()
    if value.startswith("ghs_"):
        return _installation(state, value)
    if value.count(".") == 2:
        return Principal(app=_app(state, value))
    for account in state.accounts.values():
        if account.token and account.token == value:
            return Principal(account)
    raise unauthorized()


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError) as error:
        raise unauthorized() from error


def _installation(state: State, value: str) -> Principal:
    token = state.tokens.get(value)
    if token is None or token.expires_at <= state.clock():
        raise unauthorized()
    installation = token.installation
    if installation.id not in state.installations:
        raise unauthorized()
    if installation.suspended_at is not None:
        raise forbidden("This installation has been suspended")
    return Principal(installation.app.bot, installation.app, token)


def _app(state: State, value: str) -> App:
    """Check a JWT: RS256, ours, issued before now, expiring within ten minutes."""
    try:
        issuer = jwt.decode(value, options={"verify_signature": False}).get("iss")
    except jwt.InvalidTokenError as error:
        raise unauthorized("A JSON web token could not be decoded") from error
    app = next((a for a in state.apps.values() if str(issuer) in {str(a.id), a.client_id}), None)
    if app is None:
        raise ApiError(404, "Integration not found")
    try:
        claims = jwt.decode(
            value,
            app.public_key,
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except jwt.InvalidTokenError as error:
        raise unauthorized("A JSON web token could not be decoded") from error
    _check_times(claims, int(state.clock().timestamp()))
    return app


def _check_times(claims: dict[str, Any], now: int) -> None:
    """Texts: sigmavirus24/github3.py#1050 (expired), octokit/auth-app.js#698 (too long)."""
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int) or issued > now:
        raise unauthorized(
            "'Issued at' claim ('iat') must be an Integer representing the time that the "
            "assertion was issued"
        )
    if not isinstance(expires, int) or expires <= now:
        raise unauthorized(
            "'Expiration time' claim ('exp') must be a numeric value representing the future "
            "time at which the assertion expires"
        )
    if expires > now + JWT_LIFE:
        raise unauthorized("'Expiration time' claim ('exp') is too far in the future")


def grants(permissions: Permissions, need: str) -> bool:
    """Tell whether ``permissions`` hold ``need``, e.g. ``contents:write``."""
    name, _, level = need.partition(":")
    held = {"metadata": "read", **permissions}.get(name)
    return held is not None and STRENGTH.index(held) >= STRENGTH.index(level)


def permit(
    principal: Principal, needs: tuple[str, ...], repository: Repository | None, people: str | None
) -> None:
    """Let the caller pass, or answer as GitHub does.

    A repository that the caller may not see is a 404, a missing permission a 403 (docs:
    Troubleshooting the REST API). ``needs`` are alternatives; ``people`` is the role that a person
    needs, by default ``write`` to write and ``read`` to read.
    """
    if principal.token is not None:
        _permit_installation(principal.token, needs, repository)
    elif repository is not None:
        _permit_person(principal.account, needs, repository, people)


def _permit_installation(
    token: InstallationToken, needs: tuple[str, ...], repository: Repository | None
) -> None:
    if repository is not None and not token.covers(repository):
        if repository.private:
            raise not_found()
        if not all(need.endswith(":read") for need in needs):
            raise forbidden(INTEGRATION)
        return
    if needs and not any(grants(token.permissions, need) for need in needs):
        raise forbidden(INTEGRATION)


def _permit_person(
    account: Account | None, needs: tuple[str, ...], repository: Repository, people: str | None
) -> None:
    writes = any(not need.endswith(":read") for need in needs)
    role = people or ("write" if writes else "read")
    if account is None or not repository.allows(account, "read"):
        if repository.private:
            raise not_found()
        if role == "read":
            return
        raise forbidden("Must have push access to repository.")
    if not repository.allows(account, role):
        raise forbidden("Must have push access to repository.")


def refuse_workflows(principal: Principal, repository: Repository, commit: str) -> None:
    """Refuse a ref whose workflow files no branch has yet, without the ``workflows`` permission.

    Text: peter-evans/create-pull-request#1713 (git push) and, through the API,
    KeisukeYamashita/auto-pull-request-merge#481. That files which some branch has already pass is
    believed, not documented; so is the status.
    """
    if principal.token is None or grants(principal.token.permissions, "workflows:write"):
        return
    new = _workflows(repository.git, commit)
    for tip in repository.git.refs("refs/heads/").values():
        new -= _workflows(repository.git, tip) if new else set()
    if new:
        name = min(path for path, _ in new)
        raise forbidden(
            "refusing to allow a GitHub App to create or update workflow "
            f"`.github/workflows/{name}` without `workflows` permission"
        )


def _workflows(git: BareRepository, commit: str) -> set[tuple[str, str]]:
    folder = git.entry(commit, ".github/workflows")
    if folder is None or folder.type != "tree":
        return set()
    return {(entry.path, entry.id) for entry in git.entries(folder.id, recursive=True)}
