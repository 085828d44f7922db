"""Installation tokens: each for one repository and the permissions of one request.

Contract. Safe from any thread; for one (repository, permissions) one token is asked for at a
time and kept until five minutes before it ends. Tokens live in memory only.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

import github
import jwt

from bot.adapters.github.calls import AccountToken, Calls, GitHubRefusedError, quoted
from bot.domain.environments import GitHubRepository
from bot.domain.errors import NotFoundError, RejectedError, UnavailableError

_MARGIN: Final = timedelta(minutes=5)
# GitHub, "Generating a JSON Web Token for a GitHub App": at most 10 minutes, 60 s in the past
# against clock drift.
_JWT_SECONDS: Final = 540
_DRIFT_SECONDS: Final = 60
_ALGORITHM: Final = "RS256"


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    ends: datetime = field()


class BadPrivateKeyError(RejectedError):
    """The App's private key cannot sign."""

    def __init__(self) -> None:
        """Say what is expected; nothing of the key."""
        super().__init__(
            "LOCKKEEPER_PRIVATE_KEY is not an RSA private key in PEM; "
            "download it on the App's settings page"
        )


@dataclass(frozen=True)
class Tokens:
    """The App's identity and the tokens that it asked for."""

    calls: Calls
    app_id: str
    private_key: str = field(repr=False)
    _tokens: dict[tuple[object, ...], _Token] = field(default_factory=dict, repr=False)
    _installations: dict[GitHubRepository, int] = field(default_factory=dict)
    _locks: dict[tuple[object, ...], threading.Lock] = field(
        default_factory=lambda: defaultdict(threading.Lock), repr=False
    )

    def app(self) -> github.Auth.Auth:
        """Who speaks for the App itself."""
        now = int(self.calls.clock.now().timestamp())
        claims = {"iat": now - _DRIFT_SECONDS, "exp": now + _JWT_SECONDS, "iss": self.app_id}
        return github.Auth.AppAuthToken(jwt.encode(claims, self._key, algorithm=_ALGORITHM))

    @cached_property
    def _key(self) -> Any:  # noqa: ANN401 - of the library behind PyJWT
        """The key as it is used: reading it checks its primes, which takes a tenth of a second."""
        try:
            key = jwt.get_algorithm_by_name(_ALGORITHM).prepare_key(self.private_key)
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise BadPrivateKeyError from error
        if not hasattr(key, "sign"):  # the public half is read as well
            raise BadPrivateKeyError
        return key

    def of(self, repository: GitHubRepository, permissions: Mapping[str, str]) -> github.Auth.Auth:
        """Who may do this, in this repository, and nothing else."""
        return AccountToken(repository.owner, self.text(repository, permissions))

    def text(self, repository: GitHubRepository, permissions: Mapping[str, str]) -> str:
        """The same as text, for git."""
        key = (repository, *sorted(permissions.items()))
        with self._locks[key]:
            token = self._tokens.get(key)
            if token is None or token.ends - _MARGIN <= self.calls.clock.now():
                token = self._ask(repository, permissions)
                self._tokens[key] = token
        return token.text

    def forget(self, repository: GitHubRepository) -> None:
        """Ask anew next time: GitHub said 401, or the installation changed."""
        self._installations.pop(repository, None)
        for key in [key for key in self._tokens if key[0] == repository]:
            self._tokens.pop(key, None)

    def _ask(self, repository: GitHubRepository, permissions: Mapping[str, str]) -> _Token:
        known = self._installations.get(repository)
        if known is not None:
            try:
                return self._given(known, repository, permissions)
            except NotFoundError:  # installed anew since then, under another number
                self._installations.pop(repository, None)
        path = f"/repos/{quoted(str(repository))}/installation"
        installation = int(self.calls.send(self.app(), "GET", path).data["id"])
        self._installations[repository] = installation
        return self._given(installation, repository, permissions)

    def _given(
        self, installation: int, repository: GitHubRepository, permissions: Mapping[str, str]
    ) -> _Token:
        try:
            answer = self.calls.send(
                self.app(),
                "POST",
                f"/app/installations/{installation}/access_tokens",
                body={"repositories": [repository.name], "permissions": dict(permissions)},
            )
        except GitHubRefusedError as error:
            if "suspended" in error.message.lower():
                raise SuspendedError(repository) from error
            raise
        return _Token(answer.data["token"], datetime.fromisoformat(answer.data["expires_at"]))


class SuspendedError(UnavailableError):
    """An owner has suspended the installation: everything waits until it is let work again."""

    def __init__(self, repository: GitHubRepository) -> None:
        """Name the repository and who ends it."""
        super().__init__(
            f"the App's installation on {repository} is suspended; an owner of {repository.owner} "
            "unsuspends it in the account's settings, GitHub Apps"
        )
