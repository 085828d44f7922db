"""Logging in to registries: none, Basic, or bearer tokens from a token service.

A registry is first asked without credentials; its 401 says what it wants, and from then on every
request brings that. Tokens are kept until shortly before they expire; however many threads need
one, it is fetched once.

Sources: distribution, docs/spec/auth (token, oauth); go-containerregistry, transport/bearer.go.
"""

from __future__ import annotations

import base64
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from bot.adapters.registry.calls import Call, Reply
from bot.adapters.registry.errors import (
    AccessRefusedError,
    NotARegistryError,
    TransportRefusedError,
    error_codes,
    failure,
)
from bot.adapters.registry.logins import Login, Logins
from bot.adapters.registry.peers import host_of
from bot.domain.grants import TOKEN_USER, HostGrant, RegistryGrant
from bot.domain.oci import canonical_host
from bot.formats import structs
from bot.formats.www_authenticate import Challenge, parse_challenges
from bot.ports import Clock

_SHORTEST_LIFE: Final = 60  # seconds; the default, and what lower figures are raised to
_MARGIN: Final = 10  # seconds before the end, or a fifth of the life if that is more
_NAME_PARTS: Final = 3  # repository:<name>:<actions>
# Token services without the OAuth2 way (go-containerregistry, transport/bearer.go: 404).
_NO_EXCHANGE: Final = frozenset({404, 405})


class _TokenAnswer(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    renew_at: datetime


@dataclass(frozen=True, slots=True)
class _Key:
    """Whose token: a token for one host, entry and set of scopes serves no other."""

    host: str
    entry: HostGrant
    realm: str
    service: str
    scopes: tuple[str, ...]


class Authenticator:
    """Knows what each host wants and what is in store for it."""

    def __init__(
        self, grant: RegistryGrant, fetch: Callable[[Call, str | None], Reply], clock: Clock
    ) -> None:
        self._grant, self._fetch, self._clock = grant, fetch, clock
        self._logins = Logins(clock)
        self._wanted: dict[tuple[str, str], Challenge] = {}
        self._tokens: dict[_Key, _Token] = {}
        self._extra: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        self._locks: defaultdict[_Key, threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()

    def header(self, host: str, entry: HostGrant, scopes: tuple[str, ...]) -> str | None:
        """The ``Authorization`` for a request; None where the host has not asked for any.

        The credentials belong to ``entry`` and go to its host only, or to its token service.
        """
        challenge = self._wanted.get((host, entry.prefix))
        if challenge is None or canonical_host(host) != entry.host:
            return None
        if challenge.scheme == "basic":
            return _basic(self._logins.of(entry))
        return f"Bearer {self._token(self._key(challenge, host, entry, scopes))}"

    def can_answer(self, reply: Reply, call: Call, used: str | None) -> bool:
        """Whether the request may be sent once more, with another ``Authorization``."""
        if canonical_host(call.host) != call.entry.host:
            return False
        if reply.status == 401:  # noqa: PLR2004 - HTTP
            return self._learn(reply.challenges, call, used)
        # 403: a token may lack a right that was given since. Public ECR says 400 DENIED for a
        # token that is too old (oras-go#1227).
        stale = reply.status == 403 or (reply.status == 400 and "DENIED" in error_codes(reply))  # noqa: PLR2004 - HTTP
        return stale and used is not None and self._renew(used, call.entry)

    def _learn(self, challenges: tuple[str, ...], call: Call, used: str | None) -> bool:
        known = self._wanted.get((call.host, call.entry.prefix))
        challenge = _preferred(parse_challenges(challenges))
        if challenge is None or (challenge.scheme == "basic" and not call.entry.has_credentials):
            return False
        self._wanted[call.host, call.entry.prefix] = challenge
        if used is None or known is None:
            return True
        if challenge.scheme == "basic":
            return self._renew(used, call.entry)
        return self._widen(challenge, call) | self._discard(used)

    def _widen(self, challenge: Challenge, call: Call) -> bool:
        """Put scopes in front that the challenge names and we lack, of our repositories only."""
        named = tuple(challenge.parameters.get("scope", "").split())
        ours = {_repository(scope) for scope in call.scopes}
        have = self._extra.get((call.host, call.scopes), ())
        lacking = tuple(
            s for s in named if s not in call.scopes and s not in have and _repository(s) in ours
        )
        if lacking:
            self._extra[call.host, call.scopes] = (*lacking, *have)
        return bool(lacking)

    def _renew(self, used: str, entry: HostGrant) -> bool:
        """Forget the token, or the log-in that a helper gave."""
        if used.startswith("Bearer "):
            return self._discard(used)
        login = self._logins.of(entry)
        return self._logins.forget(entry, login) and used == _basic(login)

    def _discard(self, authorization: str) -> bool:
        with self._guard:
            stale = [k for k, t in self._tokens.items() if f"Bearer {t.value}" == authorization]
            for key in stale:
                del self._tokens[key]
        return bool(stale)

    def _key(
        self, challenge: Challenge, host: str, entry: HostGrant, scopes: tuple[str, ...]
    ) -> _Key:
        wanted = (*self._extra.get((host, scopes), ()), *scopes)
        parameters = challenge.parameters
        return _Key(host, entry, parameters.get("realm", ""), parameters.get("service", ""), wanted)

    def _token(self, key: _Key) -> str:
        with self._guard:
            lock = self._locks[key]
        with lock:
            token = self._tokens.get(key)
            if token is None or token.renew_at <= self._clock.now():
                token = self._fetched(key)
                with self._guard:
                    self._tokens[key] = token
            return token.value

    def _fetched(self, key: _Key) -> _Token:
        self._check_realm(key)
        login = self._logins.of(key.entry)
        reply = self._requested(key, login)
        if reply.status in (400, 401, 403) and self._logins.forget(key.entry, login):
            reply = self._requested(key, self._logins.of(key.entry))
        if reply.status == 400:  # noqa: PLR2004 - several token services refuse a login like this
            raise AccessRefusedError(f"a token for {key.host}", reply.host, self._grant.name, 400)
        if reply.status != 200:  # noqa: PLR2004 - HTTP
            raise failure(reply, f"a token for {key.host}", self._grant.name)
        return self._parsed(reply, key.host)

    def _requested(self, key: _Key, login: Login) -> Reply:
        if login.identity_token:
            reply = self._exchange(key, login.identity_token)
            if reply.status not in _NO_EXCHANGE:
                return reply
        return self._ask(key, login)

    def _ask(self, key: _Key, login: Login) -> Reply:
        query = urlencode(_present(service=key.service) + [("scope", s) for s in key.scopes])
        scheme, host, path, old, _ = urlsplit(key.realm)
        url = urlunsplit((scheme, host, path, "&".join(filter(None, (old, query))), ""))
        authorization = _basic(login) if login else None
        return self._fetch(self._call(key, "GET", url), authorization)

    def _exchange(self, key: _Key, identity_token: str) -> Reply:
        form = [
            ("grant_type", "refresh_token"),
            *_present(service=key.service, scope=" ".join(key.scopes)),
            ("client_id", "lockkeeper"),
            ("refresh_token", identity_token),
        ]
        return self._fetch(self._call(key, "POST", key.realm, urlencode(form).encode()), None)

    def _call(self, key: _Key, method: str, url: str, body: bytes | None = None) -> Call:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        thing = f"a token for {key.host}"
        return Call(method, url, thing, key.entry, (), headers, body)

    def _check_realm(self, key: _Key) -> None:
        """Credentials go to the registry itself or to a granted host that has none of its own."""
        realm = canonical_host(host_of(key.realm))
        permissions = self._grant.entry_for_host(realm)
        if realm != key.entry.host and permissions.has_credentials:
            raise TransportRefusedError(
                key.host, f"it sends us to log in at {realm}, which has credentials of its own"
            )

    def _parsed(self, reply: Reply, host: str) -> _Token:
        try:
            answer = structs.decode(reply.content, _TokenAnswer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = _TokenAnswer()
        value = answer.token or answer.access_token
        if not value.isascii() or not value.isprintable() or not value:
            raise NotARegistryError(f"a token for {host}", reply.host, "no token in the answer")
        life = max(answer.expires_in or 0, _SHORTEST_LIFE)
        usable = timedelta(seconds=min(life - max(_MARGIN, life / 5), 86400))
        return _Token(value, self._clock.now() + usable)


def _preferred(challenges: tuple[Challenge, ...]) -> Challenge | None:
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme and (
                scheme == "basic" or challenge.parameters.get("realm")
            ):
                return challenge
    return None


def _repository(scope: str) -> str:
    parts = scope.split(":")
    is_repository = len(parts) == _NAME_PARTS and parts[0] == "repository"
    return parts[1] if is_repository else scope


def _present(**fields: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in fields.items() if value]


def _basic(login: Login) -> str:
    # Where a registry wants Basic, Azure takes a refresh token as the password of this user.
    username, password = login.username, login.password
    if login.identity_token:
        username, password = TOKEN_USER, login.identity_token
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
