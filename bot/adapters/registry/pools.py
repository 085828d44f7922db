"""Connections by host, authorities and proxy, over urllib3 alone.

No cookies, no netrc, no proxies or authorities from the environment; redirects and retries are
somebody else's. Safe to use from several threads.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Timeout
from urllib3.util import make_headers

from bot.adapters.registry.calls import Body
from bot.adapters.registry.peers import Connections, WarmPool, pool_classes
from bot.domain.grants import HostGrant, RegistryGrant

if TYPE_CHECKING:
    from bot.ports.clock import Clock

CHUNK: Final = 2**20  # bytes per read at most; a quarter of it costs a tenth more CPU
_HOSTS: Final = 16  # whose connections are kept


class Pools:
    """Sends one request at a time to hosts of a grant, over connections that check their peer."""

    def __init__(
        self, grant: RegistryGrant, connections: Connections, clock: Clock, size: int
    ) -> None:
        """Open no connection yet; ``size`` of each host are kept at least."""
        self._grant, self._connections, self._clock, self._size = grant, connections, clock, size
        self._managers: dict[tuple[str, str], PoolManager] = {}
        self._guard = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        permissions: HostGrant,
        headers: dict[str, str],
        body: Body | bytes | None,
        timeout: tuple[float, float],
    ) -> BaseHTTPResponse:
        """The answer, whose body is still to be read.

        Args:
            method: of HTTP.
            url: what for.
            permissions: of its host.
            headers: all of them.
            body: of known length.
            timeout: seconds to connect, and without a byte of the answer.

        Raises:
            HTTPError: urllib3's, for whatever keeps the answer away.
        """
        if body is not None and not isinstance(body, bytes):
            headers = {**headers, "Content-Length": str(len(body))}
        return self._manager(url, permissions).urlopen(
            method,
            url,
            body=body,
            headers=headers,
            timeout=Timeout(*timeout),
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )

    def warm(
        self, url: str, permissions: HostGrant, count: int, seconds: float
    ) -> list[threading.Thread]:
        """Have so many connections to an address's host; who opens what is lacking."""
        pool = self._manager(url, permissions).connection_from_url(url)
        return pool.warm(count, seconds) if isinstance(pool, WarmPool) else []

    def _manager(self, url: str, permissions: HostGrant) -> PoolManager:
        needed = url.startswith("https://")
        authorities = (permissions.ca_file or _public_authorities()) if needed else ""
        key = (permissions.proxy, authorities)
        with self._guard:
            if key not in self._managers:
                self._managers[key] = self._new_manager(*key)
            return self._managers[key]

    def _new_manager(self, proxy: str, authorities: str) -> PoolManager:
        # Not blocking: a worker holds a download while it opens an upload, so that a full pool
        # that made it wait could wait for ever.
        shape: dict[str, Any] = {
            "num_pools": _HOSTS,
            "maxsize": self._size,
            "block": False,
            "blocksize": CHUNK,
            "cert_reqs": "CERT_REQUIRED",
            "ca_certs": authorities or None,
        }
        manager = _proxied(proxy, shape) if proxy else PoolManager(**shape)
        classes = pool_classes(self._grant, self._connections, self._clock, proxy)
        manager.pool_classes_by_scheme = classes
        return manager


def _public_authorities() -> str:
    """Those that requests trusts, which brings them along: the same for all our clients."""
    import certifi  # noqa: PLC0415 - slow import, and not needed for plain HTTP

    return certifi.where()


def _proxied(proxy: str, shape: dict[str, Any]) -> ProxyManager:
    parts = urlsplit(proxy)
    login = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    headers = make_headers(proxy_basic_auth=login) if login else {}
    return ProxyManager(proxy, proxy_headers=headers, **shape)
