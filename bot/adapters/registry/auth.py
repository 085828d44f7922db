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
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from bot.adapters.registry.calls import Call, Reply
from bot.adapters.registry.errors import (
    AccessRefusedError,
    NotARegistryError,
    TransportRefusedError,
    failure,
)
from bot.adapters.registry.logins import Login, Logins
from bot.adapters.registry.peers import host_of
from bot.domain.grants import TOKEN_USER, HostGrant, RegistryGrant
from bot.domain.oci import canonical_host
from bot.formats import structs
from bot.formats.www_authenticate import Challenge, parse_challenges

if TYPE_CHECKING:
    from bot.ports.clock import Clock

_LIFE: Final = 60.0  # seconds, where the service does not say (distribution, docs/spec/auth)
_LONGEST_LIFE: Final = 86400.0
_SHORTEST_LIFE: Final = 0.1  # not a token for every request, however early they run out
_MARGIN: Final = 10.0  # seconds before the end, or a fifth of the life if that is more
_NAME_PARTS: Final = 3  # repository:<name>:<actions>
# Token services without the OAuth2 way (go-containerregistry, transport/bearer.go: 404).
_NO_EXCHANGE: Final = frozenset({404, 405})


class _TokenAnswer(msgspec.Struct):
    """Fields of any type: Azure has ``"token": null``, others have seconds as a text."""

    token: Any = None
    access_token: Any = None
    expires_in: Any = None


@dataclass(slots=True)
class _Token:
    header: str = field(repr=False)
    born: datetime
    renew_at: datetime
    has_served: bool = False
    """A registry has taken it: that it is refused later on means that it has run out."""


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
        self._lives: dict[_Key, float] = {}
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
        return self._token(self._key(challenge, host, entry, scopes))

    def accepted(self, authorization: str | None) -> None:
        """A registry has taken this header."""
        for token in tuple(self._tokens.values()):
            if token.header == authorization:
                token.has_served = True

    def learn(self, reply: Reply, call: Call, used: str | None, doubts: int) -> bool:
        """Take what a refusal says; what `header` gives from now on may differ from ``used``.

        Several threads may lose one token at once, and learn the same: whether another try is
        worth it, each sees by comparing what it has sent with what it would send now.

        Args:
            reply: the refusal.
            call: what was refused.
            used: the header that was sent.
            doubts: refusals of this request so far that may have been meant.

        Returns:
            Whether the refusal may be meant: it is none of a token that has run out.
        """
        if canonical_host(call.host) != call.entry.host:
            return True
        is_meant = used is not None and self._renew(used, call.entry)
        if reply.status == 401:  # noqa: PLR2004 - HTTP
            is_token = used is not None and used.startswith("Bearer ")
            self._challenged(reply.challenges, call, keeps_scheme=is_token and not doubts)
        return is_meant

    def _challenged(self, challenges: tuple[str, ...], call: Call, *, keeps_scheme: bool) -> None:
        """Believe the newest challenge; a refusal without one changes nothing.

        Harbor asks for Basic wherever an ``Authorization`` came, and so where a token has run out
        (goharbor/harbor#17930): then the next token is what is wanted.
        """
        known = self._wanted.get((call.host, call.entry.prefix))
        challenge = _preferred(parse_challenges(challenges))
        if challenge is None or (challenge.scheme == "basic" and not call.entry.has_credentials):
            return
        if keeps_scheme and known is not None and challenge.scheme != known.scheme:
            return
        self._wanted[call.host, call.entry.prefix] = challenge
        if known is not None and challenge.scheme == "bearer":
            self._widen(challenge, call)

    def _widen(self, challenge: Challenge, call: Call) -> None:
        """Put scopes in front that the challenge names and we lack, of our repositories only."""
        named = tuple(challenge.parameters.get("scope", "").split())
        ours = {_repository(scope) for scope in call.scopes}
        have = self._extra.get((call.host, call.scopes), ())
        lacking = tuple(
            s for s in named if s not in call.scopes and s not in have and _repository(s) in ours
        )
        if lacking:
            self._extra[call.host, call.scopes] = (*lacking, *have)

    def _renew(self, used: str, entry: HostGrant) -> bool:
        """Forget the token, or the log-in that a helper gave; whether it has never served."""
        if used.startswith("Bearer "):
            return self._discard(used)
        self._logins.forget(entry, lambda login: _basic(login) == used)
        return True

    def _discard(self, authorization: str) -> bool:
        """Forget a token; whether it was new, and refused for what it may do."""
        now, is_new = self._clock.now(), False
        with self._guard:
            stale = [key for key, one in self._tokens.items() if one.header == authorization]
            for key in stale:
                token = self._tokens.pop(key)
                is_new |= not token.has_served
                if token.has_served:  # it lives shorter than its service says
                    self._lives[key] = max((now - token.born).total_seconds(), 0.0)
        return is_new

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
            return token.header

    def _fetched(self, key: _Key) -> _Token:
        self._check_realm(key)
        login = self._logins.of(key.entry)
        reply = self._requested(key, login)
        if reply.status in (400, 401, 403) and self._logins.forget(key.entry, login.__eq__):
            reply = self._requested(key, self._logins.of(key.entry))
        if reply.status == 400:  # noqa: PLR2004 - several token services refuse a login like this
            raise AccessRefusedError(f"a token for {key.host}", reply.host, self._grant.name, 400)
        if reply.status != 200:  # noqa: PLR2004 - HTTP
            raise failure(reply, f"a token for {key.host}", self._grant.name)
        return self._parsed(reply, key)

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

    def _parsed(self, reply: Reply, key: _Key) -> _Token:
        try:
            answer = structs.decode(reply.content, _TokenAnswer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = _TokenAnswer()
        found = [one for one in (answer.token, answer.access_token) if isinstance(one, str) and one]
        if not found or not found[0].isascii() or not found[0].isprintable():
            raise NotARegistryError(f"a token for {key.host}", reply.host, "no token in the answer")
        life, now = _seconds(answer.expires_in), self._clock.now()
        usable = life - min(max(_MARGIN, life / 5), life / 2)
        seen = self._lives.get(key)
        if seen is not None:
            usable = min(usable, max(seen / 2, _SHORTEST_LIFE))
        return _Token(f"Bearer {found[0]}", now, now + timedelta(seconds=usable))


def _seconds(stated: object) -> float:
    """How long a token lives: as long as is said, a minute where nothing sensible is."""
    try:
        life = float(stated) if isinstance(stated, int | float | str) else 0.0
    except ValueError:
        life = 0.0
    return min(life, _LONGEST_LIFE) if life > 0 else _LIFE


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
