"""Which network addresses a connection may reach, and how long an answer may take to begin.

A name can resolve to a harmless address when it is checked and to another one when it is used.
So the address of the connected peer is what is checked, after the connection and before its
first byte (before the TLS handshake, too).
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import queue
import socket
import threading
import weakref
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.grants import RegistryGrant

if TYPE_CHECKING:
    from bot.ports.clock import Clock

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# The instance metadata services of the large clouds: never, whatever the grant says.
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Google, Azure, OpenStack, Oracle
        "169.254.170.2",  # AWS ECS and EKS credentials
        "169.254.170.23",
        "fd00:ec2::254",  # AWS over IPv6
        "fd00:ec2::23",
        "fd20:ce::254",  # Google over IPv6
        "192.0.0.192",  # Oracle
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's host
    )
)
_NOT_EMBEDDED: Final = frozenset(map(ipaddress.ip_address, ("::", "::1")))
LARGE_PIECE: Final = 256 * 1024  # bytes: from here on a read is served from one buffer
_OWN: Final = threading.local()
SEND_SECONDS: Final = 60.0  # for one piece of a body
HEADER_SECONDS: Final = 60.0  # from an answer's first byte to the end of its headers
# An IPv4 address in the last 32 bits: RFC 6052, RFC 8215, RFC 4291 (2.5.5.1).
_NAT64: Final = tuple(
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")
)


class ForbiddenAddressError(RejectedError):
    """A granted host name leads to an address that the grant does not cover."""

    def __init__(self, host: str, address: str, way_out: str) -> None:
        """Name the host and where it led."""
        super().__init__(f"{host} leads to {address}; {way_out}")
        self.host, self.address = host, address


def check_address(address: str, host: str, *, private_allowed: bool) -> None:
    """Refuse an address that is not on the public internet, unless the grant says otherwise.

    Raises:
        ForbiddenAddressError: nothing may be sent there.
    """
    parsed = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    if parsed in _METADATA:
        raise ForbiddenAddressError(host, str(parsed), "instance metadata is never contacted")
    if parsed.is_multicast or parsed.is_unspecified:
        raise ForbiddenAddressError(host, str(parsed), "no registry can be there")
    if not private_allowed and not parsed.is_global:
        way_out = "a private address needs private_addresses for this host in the grant"
        raise ForbiddenAddressError(host, str(parsed), way_out)


def _unwrapped(address: _Address) -> _Address:
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded:
            return embedded
        if address not in _NOT_EMBEDDED and any(address in network for network in _NAT64):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def authority(host: str, port: int | None, scheme: str) -> str:
    """``host[:port]`` without the scheme's default port, IPv6 in brackets."""
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    default = {"http": 80, "https": 443}[scheme]
    return name if port in (None, default) else f"{name}:{port}"


def host_of(url: str) -> str:
    """``host[:port]`` of an address; empty if it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    return authority(host, port, "http" if parts.scheme == "http" else "https")


class Connections:
    """Every open connection of a client, so that all can be cut at once."""

    def __init__(self) -> None:
        self._open: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._is_cut = False
        self._thread = threading.local()

    @property
    def is_farewell(self) -> bool:
        """What this thread sends goes out even after the cut."""
        return getattr(self._thread, "is_farewell", False)

    @is_farewell.setter
    def is_farewell(self, value: bool) -> None:
        self._thread.is_farewell = value

    @property
    def is_over(self) -> bool:
        """Whether nothing may go out any more from this thread."""
        return self._is_cut and not self.is_farewell

    def add(self, connection: HTTPConnection) -> None:
        """Remember a connection; UnavailableError once they were cut."""
        with self._guard:
            if self.is_over:
                raise UnavailableError(f"{connection.host}: stopped")
            self._open.add(connection)

    def cut(self) -> None:
        """End every read and write that is under way, and allow no connection any more."""
        with self._guard:
            self._is_cut = True
            found = list(self._open)
        for connection in found:
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


class _Beginning(io.RawIOBase):
    """What a socket brings; until the headers are there, against a clock.

    A header that comes byte by byte keeps every timeout of the socket away.
    """

    def __init__(self, raw: io.RawIOBase, now: Callable[[], datetime]) -> None:
        self._raw, self._now = raw, now
        self._until: datetime | None = None
        self.is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:  # noqa: ANN401 - the protocol of buffers
        count = self._raw.readinto(buffer)
        if not self.is_over:
            now = self._now()
            self._until = self._until or now + timedelta(seconds=HEADER_SECONDS)
            if now > self._until:
                raise TimeoutError("its headers do not end")
        return count

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Reused(io.BufferedReader):
    """Large pieces come in one buffer of the thread that reads; they are its until it reads again.

    A new piece of memory for each costs as much as to receive it.
    """

    def read1(self, size: int = -1, /) -> Any:  # noqa: ANN401 - bytes, or a view of them
        if size < LARGE_PIECE:
            return super().read1(size)
        buffer = getattr(_OWN, "buffer", None)
        if buffer is None or len(buffer) < size:
            buffer = _OWN.buffer = memoryview(bytearray(size))
        return buffer[: self.readinto1(buffer[:size])]


def _answers(clock: Clock) -> type[http.client.HTTPResponse]:
    """Answers whose headers come in time."""

    class _Answer(http.client.HTTPResponse):
        def begin(self) -> None:
            beginning = _Beginning(self.fp.detach(), clock.now)
            self.fp = _Reused(beginning)
            super().begin()
            beginning.is_over = True

    return _Answer


class _Idle(queue.Queue[Any]):
    """Connections that are not in use, the oldest first, without a limit of their own.

    urllib3 fills its queue with empty places, so that nothing opened early could be put into it.
    As many as were ever needed at once are kept. The newest may still be on its way up.
    """

    def __init__(self, maxsize: int = 0) -> None:  # noqa: ARG002 - urllib3 sets it
        super().__init__()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ANN401, FBT001, FBT002 - the queue's signature
        """Keep a connection; an empty place is none."""
        if item is not None:
            super().put(item, block, timeout)


class WarmPool(HTTPConnectionPool):
    """A pool that opens connections before they are needed."""

    QueueCls: Any = _Idle

    def warm(self, count: int, seconds: float) -> list[threading.Thread]:
        """Have so many, each within so many seconds; those that fail are left out.

        Returns:
            Who opens what is lacking: nobody needs to wait for it.
        """

        def one() -> None:
            connection = self._new_conn()
            connection.timeout = seconds
            with contextlib.suppress(Exception):  # the request that needs it will tell
                connection.connect()
                self._put_conn(connection)

        lacking = max(count - self.num_connections, 0)
        threads = [threading.Thread(target=one, daemon=True) for _ in range(lacking)]
        for thread in threads:
            thread.start()
        return threads


def pool_classes(
    grant: RegistryGrant, connections: Connections, clock: Clock, proxy: str = ""
) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3 pools whose connections refuse peers outside the grant.

    With ``proxy``, its address, the peer is the proxy: the operator has named it, so it may have
    a private address, and what it connects to is its business; the host was granted by name.
    """

    class _Checked:
        host: str
        port: int
        scheme: str

        def _new_conn(self) -> socket.socket:
            name = authority(self.host, self.port, self.scheme)
            private_allowed = bool(proxy) or _permitted(grant, name)
            connected: socket.socket = super()._new_conn()  # type: ignore[misc] # urllib3's method
            try:
                check_address(connected.getpeername()[0], name, private_allowed=private_allowed)
                connections.add(self)  # type: ignore[arg-type] # it is a connection, see below
            except BaseException:
                connected.close()
                raise
            # urllib3 leaves the short time for connecting on it, for sending as well.
            connected.settimeout(SEND_SECONDS)
            return connected

    answers = _answers(clock)

    class _Http(_Checked, HTTPConnection):
        scheme = "http"
        response_class = answers

    class _Https(_Checked, HTTPSConnection):
        scheme = "https"
        response_class = answers

    class _HttpPool(WarmPool):
        ConnectionCls: Any = _Http

    class _HttpsPool(HTTPSConnectionPool, WarmPool):
        ConnectionCls: Any = _Https

    return {"http": _HttpPool, "https": _HttpsPool}


def _permitted(grant: RegistryGrant, name: str) -> bool:
    return grant.reachable(name).private_addresses
