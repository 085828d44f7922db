"""One HTTP request to a granted registry, with its redirects, log-in and short retries.

Safe to use from several threads; a request is repeated only if its body can be made again.
Nothing is sent to a host outside the grant, ``Authorization`` never follows to another host, and
everything that is read has a limit. Errors name what was asked for, never URLs or headers: both
may carry secrets (``_state``, signed storage URLs).
"""

from __future__ import annotations

import base64
import contextlib
import logging
import random
import threading
import zlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, quote, urljoin, urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from bot.adapters.registry.auth import Authenticator
from bot.adapters.registry.calls import Call, Piece, Reply
from bot.adapters.registry.errors import (
    NotARegistryError,
    TransportRefusedError,
    connection_failure,
    failure,
    is_login_refused,
    is_temporary,
    is_throttled,
    retry_after,
)
from bot.adapters.registry.limits import HostLimits
from bot.adapters.registry.peers import LARGE_PIECE, Connections, host_of
from bot.adapters.registry.pools import Pools
from bot.domain.errors import LimitExceededError, RejectedError, UnavailableError
from bot.domain.grants import HostGrant, RegistryGrant, is_loopback
from bot.domain.oci import ImageRepository, canonical_host

if TYPE_CHECKING:
    from bot.ports.clock import Clock

_CONNECT_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.25  # seconds, doubled each time, with full jitter above a half
_LONGEST_PAUSE: Final = 5.0  # seconds between two attempts
LOOK_PATIENCE: Final = 2.0  # seconds; what only spares work is not worth more
_LOGINS: Final = 20  # times that one request is sent with another header
NEAR: Final = 0.005  # seconds to an answer; below it questions in sequence cost nothing
_FAR: Final = 0.05  # seconds that a registry is away, until it is known
_DOUBTS: Final = 2  # refusals of a token that has served nobody yet
_WINDOW: Final = timedelta(seconds=60)
_WINDOW_BYTES: Final = 64 * 1024  # a body that brings less in a window is given up
_REDIRECTS: Final = 5
REDIRECT_STATUS: Final = frozenset({301, 302, 303, 307, 308})
_AGENT: Final = f"lockkeeper/{version('lockkeeper')}"
_HUB, _HUB_API = "docker.io", "registry-1.docker.io"  # containers/image, docker_client.go


class _Watchdog:
    """Sees whether a body makes progress: a byte now and then keeps every timeout away."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._since, self._bytes = clock, clock.now(), 0

    def passed(self, size: int, host: str, thing: str) -> None:
        """So many bytes came; UnavailableError if that is too few for the time."""
        self._bytes += size
        now = self._clock.now()
        if now - self._since < _WINDOW:
            return
        if self._bytes < _WINDOW_BYTES:
            raise UnavailableError(f"{host}: {thing} ({self._bytes} bytes in a minute)")
        self._since, self._bytes = now, 0


class Download:
    """An answer whose body is still to be read, by one thread; close it."""

    def __init__(self, response: BaseHTTPResponse, thing: str, host: str, clock: Clock) -> None:
        self._response, self._thing, self._host = response, thing, host
        self._watchdog = _Watchdog(clock)
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def read(self, size: int) -> Piece:
        """The next bytes, undecoded, as many as are there; empty at the end.

        Where many are asked for they are the reader's until its thread reads again.

        Raises:
            UnavailableError: the connection broke, ended before the promised length, or crawls.
        """
        try:
            content: Piece = self._response.read1(size, decode_content=False)
        except (HTTPError, OSError) as error:
            raise connection_failure(error, self._thing, self._host) from error
        if content:
            self._watchdog.passed(len(content), self._host, self._thing)
        return content

    def close(self) -> None:
        """Give the connection back, or close it if bytes are left on it."""
        if not self._response.closed:
            self._response.close()
        self._response.release_conn()


class Transport:
    """Sends calls to the hosts of one grant."""

    def __init__(
        self,
        grant: RegistryGrant,
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        workers: int,
        limits: HostLimits,
    ) -> None:
        """Open no connection yet; ``sleep`` waits for so many seconds."""
        # Its DEBUG lines are addresses with their queries: upload states, signed storage URLs.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        self.grant = grant
        self.clock, self._sleep, self._limits = clock, sleep, limits
        self._written: set[ImageRepository] = set()
        self._latency: dict[str, float] = {}
        self._connections = Connections()
        self._pools = Pools(grant, self._connections, clock, workers * 4)
        self._authenticator = Authenticator(grant, self._fetch, clock)
        secrets = [(one.password, one.identity_token) for one in grant.entries]
        self._granted_secrets = tuple({text for pair in secrets for text in pair if text})

    def url(self, repository: ImageRepository, *segments: str) -> str:
        """The address of something below ``/v2/<name>/``.

        Raises:
            NotGrantedError: the repository is outside the grant.
        """
        entry = self.grant.entry_for(repository)
        is_hub = canonical_host(repository.host) == _HUB
        host = _HUB_API if is_hub else repository.host
        path = name_at(repository)
        scheme = "http" if entry.plain_http else "https"
        return f"{scheme}://{host}/v2/{path}/" + "/".join(
            quote(part, safe=":/") for part in segments
        )

    def will_write(self, repository: ImageRepository) -> None:
        """Ask for everything in this repository with the rights that writing needs, from now on.

        A registry may have no right to read for what is not there yet (Quay), and one token is
        cheaper than two.
        """
        self._written.add(repository)

    def scopes(self, repository: ImageRepository, *, write: bool = False) -> tuple[str, ...]:
        """What a token has to allow for a request to this repository."""
        writes = write or repository in self._written
        return (push_scope(repository) if writes else pull_scope(repository),)

    def call(self, call: Call) -> Reply:
        """The answer, whatever its status; temporary failures have been retried.

        Raises:
            UnavailableError: still no answer, or still a temporary failure.
            RejectedError: the host is not granted, not trusted, or not there.
        """
        answer = self._patiently(call, stream=False)
        if isinstance(answer, Download):
            raise NotARegistryError(call.thing, call.host, "a stream")
        return answer

    def download(self, call: Call) -> Download | Reply:
        """The answer to a GET: to be streamed if it is 200 or 206, else read whole."""
        return self._patiently(call, stream=True)

    def latency(self, host: str) -> float:
        """Seconds that a host takes to answer at least, as seen so far or as its name tells."""
        known = self._latency.get(canonical_host(host))
        return known if known is not None else 0.0 if is_loopback(host) else _FAR

    def warm(self, repository: ImageRepository, count: int) -> list[threading.Thread]:
        """Open so many connections before they are needed; that one fails is no news yet."""
        with contextlib.suppress(RejectedError, UnavailableError, HTTPError):
            url = self.url(repository)
            return self._pools.warm(url, self._check(url), count, _CONNECT_SECONDS)
        return []

    def patience(self, seconds: float | None = None) -> Patience:
        """A deadline for something that may pass by itself; None: as long as for a request."""
        over = self._connections
        return Patience(self.clock, self._sleep, self._limits, seconds, lambda: over.is_over)

    def cut(self) -> None:
        """End all that is under way, for good: somebody wants to stop."""
        self._connections.cut()

    def location(self, reply: Reply, thing: str) -> str:
        """The absolute address in an answer's ``Location``, on a granted host."""
        found = reply.headers.get("Location", "")
        if not found:
            raise NotARegistryError(thing, reply.host, "an answer without Location")
        try:
            target = urljoin(reply.url, found)
        except ValueError as error:
            raise NotARegistryError(thing, reply.host, "a Location that is none") from error
        self._check(target)
        return target

    def _patiently(self, call: Call, *, stream: bool) -> Download | Reply:
        patience = self.patience(LOOK_PATIENCE if call.is_look else None)
        while True:
            try:
                answer = self._authorised_send(call, stream=stream)
                if isinstance(answer, Download) or call.once or not is_temporary(answer):
                    return answer
                raise failure(answer, call.thing, self.grant.name)
            except UnavailableError as error:
                # A silence that was asked for is kept by the limits, for everybody.
                if call.once or not patience.goes_on(error.retry_after):
                    raise

    def _authorised_send(self, call: Call, *, stream: bool) -> Download | Reply:
        """Send, and again for as long as the header that would be sent now is another one."""
        header = self._authenticator.header(call.host, call.entry, call.scopes)
        doubts, sent = 0, 0
        while True:
            answer = self._follow(call, header, stream=stream)
            sent += 1
            if isinstance(answer, Download) or not is_login_refused(answer):
                self._authenticator.accepted(header)
                return answer
            if call.is_look and header is not None and answer.status != 401:  # noqa: PLR2004 - HTTP
                return answer
            doubts += self._authenticator.learn(answer, call, header, doubts)
            if doubts >= _DOUBTS or sent >= _LOGINS:
                return answer
            refused, header = header, self._authenticator.header(call.host, call.entry, call.scopes)
            if header == refused:
                return answer

    def _follow(self, call: Call, authorization: str | None, *, stream: bool) -> Download | Reply:
        """Send, and follow redirects by hand: the next host gets no Authorization."""
        url = call.url
        for _ in range(_REDIRECTS + 1):
            same = _origin(url) == _origin(call.url)
            response = self._send(call, url, authorization if same else None)
            if stream and response.status in (200, 206):
                self._limits.answered(host_of(url))
                return Download(response, call.thing, host_of(url), self.clock)
            reply = self._read(response, url, call, authorization)
            if reply.status not in REDIRECT_STATUS or not self._may_follow(call, reply):
                return reply
            url = self.location(reply, call.thing)
        raise NotARegistryError(call.thing, call.host, "too many redirects")

    def _may_follow(self, call: Call, reply: Reply) -> bool:
        """Whether the same request may be sent to where a redirect leads.

        A look is answered by the redirect itself: storage is signed for reading. A body that can
        be read once is its owner's to open again. distribution-spec 1.1.1, "Redirects": 303 asks
        for another method, and means nothing for a write.
        """
        if call.method in ("GET", "HEAD"):
            return not call.is_look
        return not callable(call.body) and reply.status != 303  # noqa: PLR2004 - HTTP

    def _send(self, call: Call, url: str, authorization: str | None) -> BaseHTTPResponse:
        permissions = self._check(url)
        headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **call.headers}
        if authorization:
            headers["Authorization"] = authorization
        self._limits.admit(host_of(url), permissions.requests_per_second)
        body = call.body() if callable(call.body) else call.body
        began = self.clock.now()
        self._connections.is_farewell = call.is_farewell
        try:
            timeout = (_CONNECT_SECONDS, call.seconds)
            response = self._pools.send(call.method, url, permissions, headers, body, timeout)
        except (HTTPError, OSError) as error:
            raise connection_failure(error, call.thing, host_of(url)) from error
        if not call.body:
            took = (self.clock.now() - began).total_seconds()
            host = canonical_host(host_of(url))
            self._latency[host] = min(self._latency.get(host, took), max(took, 0.0))
        return response

    def _check(self, url: str) -> HostGrant:
        """The permissions of an address's host; it may come from the other side."""
        parts = urlsplit(url)
        host = host_of(url)
        permissions = self.grant.reachable(host)
        if parts.scheme != "https" and not (parts.scheme == "http" and permissions.plain_http):
            raise TransportRefusedError(
                host, "plain HTTP needs plain_http for this host in the grant"
            )
        if parts.username is not None or parts.password is not None:
            raise TransportRefusedError(host, "it answers with an address that contains a user")
        return permissions

    def _read(
        self, response: BaseHTTPResponse, url: str, call: Call, authorization: str | None
    ) -> Reply:
        content = self._limited(response, url, call)
        pause = response.headers.get("Retry-After", "")
        reply = Reply(
            call.method,
            response.status,
            response.headers,
            url,
            content,
            tuple(response.headers.getlist("WWW-Authenticate")),
            retry_after(pause, self.clock.now()) if pause else None,
            (*_secrets(authorization, call), *self._granted_secrets),
        )
        if is_throttled(reply):
            self._limits.pause(reply.host, reply.retry_after)
        elif response.status < 500:  # noqa: PLR2004 - HTTP; a failure is no sign of strength
            self._limits.answered(reply.host)
        return reply

    def _limited(self, response: BaseHTTPResponse, url: str, call: Call) -> bytes:
        parts: list[bytes] = []
        size = 0
        download = Download(response, call.thing, host_of(url), self.clock)
        while part := download.read(min(LARGE_PIECE - 1, call.limit + 1 - size)):
            parts.append(bytes(part))
            size += len(part)
            if size > call.limit:
                response.close()
                if response.status >= 400:  # noqa: PLR2004 - a long error page is cut
                    break
                raise LimitExceededError(f"answer to {call.thing}", f"{call.limit} bytes")
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        return _decoded(b"".join(parts), encoding, call)

    def _fetch(self, call: Call, authorization: str | None) -> Reply:
        """One request of the authenticator: no redirects, no further log-in."""
        response = self._send(call, call.url, authorization)
        return self._read(response, call.url, call, authorization)


class Patience:
    """How long to go on with what may pass by itself: a deadline, however many attempts."""

    def __init__(
        self,
        clock: Clock,
        sleep: Callable[[float], None],
        limits: HostLimits,
        seconds: float | None = None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin now.

        Args:
            clock: for the deadline.
            sleep: waits for so many seconds.
            limits: for the deadline, and for the silences that are asked for beside it, in all.
            seconds: until the deadline, where it is another one.
            is_over: whether somebody wants to stop: then it has been enough.
        """
        self._is_over = is_over
        self._clock, self._sleep, self._longest = clock, sleep, limits.silence
        self._seconds = limits.patience if seconds is None else seconds
        self._since, self._waited, self._asked = clock.now(), 0.0, 0.0
        self._pause = _FIRST_PAUSE

    @property
    def passed(self) -> float:
        """Seconds since it began."""
        return (self._clock.now() - self._since).total_seconds()

    def goes_on(self, silence: float | None = None) -> bool:
        """Wait, a little longer each time; False, without waiting, once it has been enough.

        With ``silence``, the seconds that the other side asked for, nobody waits here: the pace
        of its host is kept by everybody.
        """
        if self._is_over():
            return False
        if silence is not None:
            self._asked += silence or _FIRST_PAUSE
            return self._asked <= self._longest
        passed = max(self.passed - self._asked, self._waited)
        if passed >= self._seconds:
            return False
        jitter = 0.5 + random.random() / 2  # noqa: S311 - spreads retries, guards nothing
        seconds = min(self._pause * jitter, max(self._seconds - passed, _FIRST_PAUSE / 2))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._waited += seconds
        self._sleep(seconds)
        return not self._is_over()


def _decoded(content: bytes, encoding: str, call: Call) -> bytes:
    """The body as it was before somebody on the way packed it, though asked not to."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return content
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        unpacked = unpack.decompress(content, call.limit + 1)
    except zlib.error:
        return content  # the header says so, the bytes do not: their digest decides
    if len(unpacked) > call.limit:
        raise LimitExceededError(f"answer to {call.thing}", f"{call.limit} bytes")
    return unpacked


def _secrets(authorization: str | None, call: Call) -> tuple[str, ...]:
    """What was sent with a request and must not be shown if the answer repeats it."""
    _, _, credentials = (authorization or "").partition(" ")
    found = [credentials]
    with contextlib.suppress(ValueError):
        found.append(base64.b64decode(credentials, validate=True).decode().partition(":")[2])
    if isinstance(call.body, bytes) and "form" in call.headers.get("Content-Type", ""):
        found += parse_qs(call.body.decode("ascii", "replace")).get("refresh_token", [])
    return tuple(filter(None, found))


def name_at(repository: ImageRepository) -> str:
    """The repository's name at its registry: Docker Hub's own images are in ``library``."""
    if canonical_host(repository.host) == _HUB and "/" not in repository.path:
        return f"library/{repository.path}"
    return repository.path


def pull_scope(repository: ImageRepository) -> str:
    """What a token needs for reading."""
    return f"repository:{name_at(repository)}:pull"


def push_scope(repository: ImageRepository) -> str:
    """What a token needs for writing."""
    return f"repository:{name_at(repository)}:pull,push"


def _origin(url: str) -> tuple[str, str]:
    return urlsplit(url).scheme, host_of(url)
