"""One HTTP request to a granted registry, with its redirects, log-in and short retries.

Safe to use from several threads; a request is repeated only if its body can be made again.
Nothing is sent to a host outside the grant, ``Authorization`` never follows to another host, and
everything that is read has a limit. Errors name what was asked for, never URLs or headers: both
may carry secrets (``_state``, signed storage URLs).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import PoolManager

from bot.adapters.registry.auth import Authenticator
from bot.adapters.registry.calls import Call, Reply
from bot.adapters.registry.errors import (
    NotARegistryError,
    TransportRefusedError,
    connection_failure,
    failure,
    is_temporary,
    is_throttled,
    retry_after,
)
from bot.adapters.registry.limits import PATIENCE, HostLimits
from bot.adapters.registry.peers import Connections, host_of, pool_classes
from bot.domain.errors import LimitExceededError, UnavailableError
from bot.domain.grants import HostGrant, RegistryGrant
from bot.domain.oci import ImageRepository, canonical_host
from bot.ports import Clock

CHUNK: Final = 2**20  # bytes per read at most; a quarter of it costs a tenth more CPU
_TIMEOUT: Final = (10.0, 60.0)  # seconds to connect; seconds without a byte
_FIRST_PAUSE: Final = 0.25  # seconds, doubled each time, with full jitter above a half
_WINDOW: Final = timedelta(seconds=60)
_WINDOW_BYTES: Final = 64 * 1024  # a body that brings less in a window is given up
_REDIRECTS: Final = 5
_REDIRECT_STATUS: Final = frozenset({301, 302, 303, 307, 308})
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

    def __init__(self, response: requests.Response, thing: str, clock: Clock) -> None:
        self._response, self._thing, self._host = response, thing, host_of(response.url)
        self._watchdog = _Watchdog(clock)
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def read(self, size: int) -> bytes:
        """The next bytes, undecoded, as many as are there; empty at the end.

        Raises:
            UnavailableError: the connection broke, ended before the promised length, or crawls.
        """
        try:
            content: bytes = self._response.raw.read1(size, decode_content=False)
        except (HTTPError, OSError) as error:
            raise connection_failure(error, self._thing, self._host) from error
        if content:
            self._watchdog.passed(len(content), self._host, self._thing)
        return content

    def close(self) -> None:
        """Give the connection back, or close it if bytes are left on it."""
        if self._response.raw.closed:
            self._response.raw.release_conn()
        else:
            self._response.close()


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
        self._clock, self._sleep, self._limits = clock, sleep, limits
        self._connections = Connections()
        self._adapter = _GuardedAdapter(grant, self._connections, clock, workers * 4)
        self._authenticator = Authenticator(grant, self._fetch, clock)

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

    def pause(self, attempt: int) -> None:
        """Wait before the next attempt, a little longer each time."""
        jitter = 0.5 + random.random() / 2  # noqa: S311 - spreads retries, guards nothing
        self._sleep(_FIRST_PAUSE * 2 ** (attempt - 1) * jitter)

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
        attempt = 1
        while True:
            try:
                answer = self._authorised_send(call, stream=stream)
                if isinstance(answer, Download) or not is_temporary(answer):
                    return answer
                raise failure(answer, call.thing, self.grant.name)
            except UnavailableError as error:
                if attempt >= call.attempts or (error.retry_after or 0) > PATIENCE:
                    raise
                if error.retry_after is None:  # else the limits know, for everybody
                    self.pause(attempt)
            attempt += 1

    def _authorised_send(self, call: Call, *, stream: bool) -> Download | Reply:
        header = self._authenticator.header(call.host, call.entry, call.scopes)
        answer = self._follow(call, header, stream=stream)
        if isinstance(answer, Reply) and self._authenticator.can_answer(answer, call, header):
            header = self._authenticator.header(call.host, call.entry, call.scopes)
            answer = self._follow(call, header, stream=stream)
        return answer

    def _follow(self, call: Call, authorization: str | None, *, stream: bool) -> Download | Reply:
        """Send, and follow redirects by hand: the next host gets no Authorization."""
        url = call.url
        for _ in range(_REDIRECTS + 1):
            same = _origin(url) == _origin(call.url)
            response = self._send(call, url, authorization if same else None)
            if stream and response.status_code in (200, 206):
                return Download(response, call.thing, self._clock)
            reply = self._read(response, call)
            if reply.status not in _REDIRECT_STATUS or call.method not in ("GET", "HEAD"):
                return reply
            url = self.location(reply, call.thing)
        raise NotARegistryError(call.thing, call.host, "too many redirects")

    def _send(self, call: Call, url: str, authorization: str | None) -> requests.Response:
        permissions = self._check(url)
        headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **call.headers}
        if authorization:
            headers["Authorization"] = authorization
        self._limits.admit(host_of(url), permissions.requests_per_second)
        body = call.body() if callable(call.body) else call.body
        proxies = dict.fromkeys(("http", "https"), permissions.proxy) if permissions.proxy else None
        try:
            # The adapter without a Session around it: no cookies, no netrc, no proxies or
            # authorities from the environment, and redirects stay ours to follow.
            prepared = requests.Request(call.method, url, headers=headers, data=body).prepare()
            return self._adapter.send(
                prepared,
                stream=True,
                timeout=_TIMEOUT,
                verify=permissions.ca_file or True,
                proxies=proxies,
            )
        except (requests.RequestException, HTTPError, OSError) as error:
            raise connection_failure(error, call.thing, host_of(url)) from error

    def _check(self, url: str) -> HostGrant:
        """The permissions of an address's host; it may come from the other side."""
        parts = urlsplit(url)
        host = host_of(url)
        permissions = self.grant.entry_for_host(host)
        if parts.scheme != "https" and not (parts.scheme == "http" and permissions.plain_http):
            raise TransportRefusedError(
                host, "plain HTTP needs plain_http for this host in the grant"
            )
        if parts.username is not None or parts.password is not None:
            raise TransportRefusedError(host, "it answers with an address that contains a user")
        return permissions

    def _read(self, response: requests.Response, call: Call) -> Reply:
        content = self._limited(response, call)
        pause = response.headers.get("Retry-After", "")
        reply = Reply(
            call.method,
            response.status_code,
            response.headers,
            response.url,
            content,
            tuple(response.raw.headers.getlist("WWW-Authenticate")),
            retry_after(pause, self._clock.now()) if pause else None,
        )
        if is_throttled(reply):
            self._limits.pause(reply.host, reply.retry_after)
        return reply

    def _limited(self, response: requests.Response, call: Call) -> bytes:
        parts: list[bytes] = []
        size = 0
        download = Download(response, call.thing, self._clock)
        while part := download.read(min(CHUNK, call.limit + 1 - size)):
            parts.append(part)
            size += len(part)
            if size > call.limit:
                response.close()
                if response.status_code >= 400:  # noqa: PLR2004 - a long error page is cut
                    break
                raise LimitExceededError(f"answer to {call.thing}", f"{call.limit} bytes")
        return b"".join(parts)

    def _fetch(self, call: Call, authorization: str | None) -> Reply:
        """One request of the authenticator: no redirects, no further log-in."""
        return self._read(self._send(call, call.url, authorization), call)


def name_at(repository: ImageRepository) -> str:
    """The repository's name at its registry: Docker Hub's own images are in ``library``."""
    if canonical_host(repository.host) == _HUB and "/" not in repository.path:
        return f"library/{repository.path}"
    return repository.path


def _origin(url: str) -> tuple[str, str]:
    return urlsplit(url).scheme, host_of(url)


class _GuardedAdapter(HTTPAdapter):
    """requests' adapter over connections that check their peer."""

    def __init__(
        self, grant: RegistryGrant, connections: Connections, clock: Clock, size: int
    ) -> None:
        self._grant, self._connections, self._clock = grant, connections, clock
        # Not blocking: a worker holds a download while it opens an upload, so that a full pool
        # that made it wait could wait for ever. What is too much is closed after use.
        super().__init__(pool_connections=16, pool_maxsize=size, max_retries=0, pool_block=False)

    def init_poolmanager(
        self,
        connections: int,
        maxsize: int,
        block: bool = False,  # noqa: FBT001, FBT002 - requests' signature
        **kwargs: Any,  # noqa: ANN401 - requests' signature
    ) -> None:
        """Make the pools of guarded connections; requests calls this."""
        self.poolmanager = PoolManager(
            num_pools=connections, maxsize=maxsize, block=block, blocksize=CHUNK, **kwargs
        )
        self.poolmanager.pool_classes_by_scheme = pool_classes(
            self._grant, self._connections, self._clock
        )

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - requests' signature
        """Make the pools of connections through a proxy; requests calls this."""
        manager = super().proxy_manager_for(proxy, blocksize=CHUNK, **kwargs)
        manager.pool_classes_by_scheme = pool_classes(
            self._grant, self._connections, self._clock, proxy
        )
        return manager
